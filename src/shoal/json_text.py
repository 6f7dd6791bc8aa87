"""Reads JSON that anybody may have written: one function for all doors.

In: bytes or text. Out: a value whose depth is bounded, so that whatever goes through it level by level comes to an end,
or `BadJson`. Python's own reader raises four kinds of errors, takes numbers that are none (NaN, 1e999) and strings that
cannot be written again (half a surrogate pair), and reads what is so deep that `json.dumps` fails on it later.
"""

import json
import math
import re
from typing import Any

from shoal.errors import InvalidArgument

# The deepest thing that is read has about 15 levels: a service's spec, an image's config.
MOST_DEPTH = 100
# Far above what is read anywhere; most doors have a lower limit of their own. What Python makes of empty lists takes
# twenty times their bytes.
MOST_BYTES = 64 * 1024 * 1024

_HALF_PAIR = re.compile("[\ud800-\udfff]")
_SPACE = " \t\r\n"


class BadJson(InvalidArgument, ValueError):
    """This is no JSON, or too deep or too large. A ValueError too, for those who ask for any value of some form."""


class TooDeep(BadJson):
    """There are more levels than anybody needs."""


class NoNumber(BadJson):
    """A word of Python's that is no JSON: NaN, Infinity."""

    def __init__(self, word: str) -> None:
        self.word = word
        super().__init__(f"{word} is no value")


def read_json(
    data: bytes | bytearray | str,
    *,
    most_bytes: int = MOST_BYTES,
    most_values: int | None = None,
    halves: bool = False,
) -> Any:
    """Return the value. Raises BadJson.

    `most_values` limits how many values there may be, at all depths, and with them the memory; commas in strings count.
    With `halves`, halves of surrogate pairs stay, for files of our own with names of files in them.
    """
    if len(data) > most_bytes:
        raise BadJson(f"it has more than {most_bytes} bytes")
    try:
        text = data if isinstance(data, str) else data.decode()
    except UnicodeDecodeError as error:
        raise BadJson(f"it is no text: {error.reason} at byte {error.start}") from None
    if most_values is not None and text.count(",") + text.count("[") + text.count("{") > most_values:
        raise BadJson(f"it has more than {most_values} values")
    try:
        value, end = decoded(text.lstrip(_SPACE), halves=halves)
    except json.JSONDecodeError as error:
        raise BadJson(str(error)) from None
    if end.strip(_SPACE):
        raise BadJson("there is more after the value")
    return value


def decoded(text: str, *, halves: bool = False) -> tuple[Any, str]:
    """Return the value that a text begins with, and the rest. Raises json.JSONDecodeError, or BadJson."""
    try:
        value, end = _DECODER.raw_decode(text)
    except RecursionError:
        raise TooDeep(f"it has more than {MOST_DEPTH} levels") from None
    except (BadJson, json.JSONDecodeError):
        raise
    except ValueError:  # Python limits the digits of a number, to far more than any type of ours has
        raise BadJson("a number has too many digits") from None
    if text.count("[") + text.count("{") > MOST_DEPTH:
        _check_depth(value)
    # Half a pair may be written as an escape, or be in a text that was read with `surrogateescape`.
    may_have = not halves and ("\\u" in text or _HALF_PAIR.search(text) is not None)
    return (_mended(value) if may_have else value), text[end:]


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            part
            for each in level
            for part in (each.values() if isinstance(each, dict) else each)
            if type(part) in (dict, list)
        ]
        if not level:
            return
    raise TooDeep(f"it has more than {MOST_DEPTH} levels")


def _mended(value: Any) -> Any:
    """Return the value with each half of a surrogate pair replaced, as Go does."""
    if isinstance(value, str):
        return _HALF_PAIR.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(part) for part in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(part) for key, part in value.items()}
    return value


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise BadJson("a number is too large")
    return value


def _refuse(word: str) -> Any:
    raise NoNumber(word)


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)
