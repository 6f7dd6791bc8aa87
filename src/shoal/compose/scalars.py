"""What a plain scalar of YAML means, as Docker's compose program (go-yaml) takes it: YAML 1.2 with 1.1's octals."""

import math
import re

_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_UNUSUAL = {  # go-yaml's table, resolve.go: no other spelling counts
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))\Z")
_LONGEST = 64  # digits; longer ones are no number that anybody meant
_LIMIT = 2**64


def resolved(text: str) -> bool | int | float | str | None:
    """Return the value of a plain scalar: text where it is nothing else."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] not in "0123456789+-." or len(text) > _LONGEST:
        return text
    if text in _UNUSUAL:
        return _UNUSUAL[text]
    number = integer(text)
    if number is not None:
        return number
    bare = text.replace("_", "")
    return _float(bare, text) if _FLOAT.match(bare) else text


def integer(text: str) -> int | None:
    """Return a text's whole number, in any base that YAML has, or None."""
    found = _INTEGER.match(text.replace("_", "")) if len(text) <= _LONGEST else None
    if found is None:
        return None
    sign, *digits = found.groups()
    value = next(int(part, base) for part, base in zip(digits, (16, 2, 8, 10), strict=True) if part is not None)
    value = -value if sign == "-" else value
    return value if -_LIMIT // 2 <= value < _LIMIT else None


def _float(bare: str, text: str) -> float | str:
    value = float(bare)
    return text if math.isinf(value) else value
