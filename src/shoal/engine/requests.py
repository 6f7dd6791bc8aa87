"""A call of the Engine API for its handler: path parameters, query, filters, JSON body, the client's API version.

Error texts are Docker's own. The handlers know what the parameters mean.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from shoal.engine.backend import Backend
from shoal.engine.go_words import go_kind
from shoal.errors import InvalidArgument
from shoal.json_text import BadJson, NoNumber, TooDeep, decoded, read_json
from shoal.patterns import BadPattern, compiled

# Far more than any spec has (a config of 1000 KiB is 1.4 MB in base64). A larger body is refused with 413.
MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_JSON_DEPTH_TEXT = "invalid JSON: exceeded max depth"

_FALSE_WORDS = frozenset({"", "0", "no", "false", "none"})


class Filters:
    """The `filters` of a list call: keys with values. Without a key, everything passes."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, tuple[str, ...]]) -> None:
        self._values = values

    @classmethod
    def parse(cls, text: str) -> "Filters":
        """Read both forms, `{"k": {"v": true}}` and the older `{"k": ["v"]}`. Raises InvalidArgument for others."""
        if not text:
            return cls({})
        try:
            raw = read_json(text)
        except BadJson:
            raise InvalidArgument("invalid filter") from None
        if not isinstance(raw, dict):
            if raw is None:
                return cls({})
            raise InvalidArgument("invalid filter")
        return cls({key: _filter_values(value) for key, value in raw.items()})

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def get(self, key: str) -> tuple[str, ...]:
        """Return the values of a key; none if it is absent."""
        return self._values.get(key, ())

    def check(self, accepted: frozenset[str]) -> None:
        """Raise InvalidArgument for a key that the call does not know."""
        for key in self._values:
            if key not in accepted:
                raise InvalidArgument(f"invalid filter '{key}'")

    def exact(self, key: str, value: str) -> bool:
        """Return whether a value equals one of the key's values."""
        values = self.get(key)
        return not values or value in values

    def prefix(self, key: str, value: str) -> bool:
        """Return whether a value begins with one of the key's values."""
        values = self.get(key)
        return not values or value.startswith(values)

    def pattern(self, key: str, value: str) -> bool:
        """Return whether a value equals one of the key's values, or one of them, as an expression, is found in it."""
        values = self.get(key)
        return not values or value in values or any(_searches(pattern, value) for pattern in values)

    def labels(self, key: str, labels: Mapping[str, str]) -> bool:
        """Return whether the labels have every `name` or `name=value` of the key."""
        for wanted in self.get(key):
            name, has_value, value = wanted.partition("=")
            if name not in labels or (has_value and labels[name] != value):
                return False
        return True

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a filter that is true or false. Raises InvalidArgument if it is neither or both."""
        if key not in self:
            return default
        values = set(self.get(key))
        is_true, is_false = bool(values & {"1", "true"}), bool(values & {"0", "false"})
        if is_true == is_false:
            shown = f"=[{' '.join(self.get(key))}]" if values else ""
            raise InvalidArgument(f"invalid filter '{key}{shown}'")
        return is_true


def _filter_values(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, dict) and all(isinstance(held, bool) for held in value.values()):
        return tuple(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(dict.fromkeys(value))
    raise InvalidArgument("invalid filter")


def _searches(pattern: str, value: str) -> bool:
    try:
        return compiled(pattern)(value)
    except BadPattern:  # in Docker it matches nothing
        return False


@dataclass(slots=True)
class Call:
    """One request. `api` is the minor number of its API version: 44 for /v1.44, the newest if it names none."""

    http: web.Request
    backend: Backend
    api: int
    path: Mapping[str, str] = field(default_factory=dict)  # parameters in the path

    def query(self, name: str, default: str = "") -> str:
        """Return a query parameter."""
        return self.http.query.get(name, default)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a query parameter by Docker's rule for booleans: anything but empty, 0, no, false and none is true."""
        value = self.http.query.get(name)
        return default if value is None else value.strip().lower() not in _FALSE_WORDS

    def integer(self, name: str, default: int = 0) -> int:
        """Return a query parameter as a whole number. Raises InvalidArgument with Go's words."""
        value = self.http.query.get(name, "")
        if not value:
            return default
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            raise InvalidArgument(f'strconv.Atoi: parsing "{value}": invalid syntax')
        return int(value)

    def filters(self, accepted: frozenset[str] | None = None) -> Filters:
        """Return the filters. Raises InvalidArgument for a key that is not accepted."""
        filters = Filters.parse(self.query("filters"))
        if accepted is not None:
            filters.check(accepted)
        return filters

    def header(self, name: str) -> str:
        """Return a request header, or an empty text."""
        return self.http.headers.get(name, "")

    async def json(self) -> Any:
        """Return the JSON value of the body, or None if it is empty.

        Raises InvalidArgument for another media type and for malformed JSON.
        """
        kind = self.header("Content-Type")
        length = self.http.content_length
        if kind or length:
            _check_json_type(kind)
        if length == 0 or not self.http.can_read_body:
            return None
        return parse_json(await self.http.read())

    async def json_object(self) -> dict[str, Any]:
        """Return the JSON object in the body, or an empty one if there is no body. Raises InvalidArgument."""
        value = await self.json()
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise InvalidArgument(f"invalid JSON: json: cannot unmarshal {go_kind(value)} into Go value of type struct")
        return value


def _check_json_type(kind: str) -> None:
    media_type = kind.partition(";")[0].strip().lower()
    if not media_type:
        raise InvalidArgument(f"malformed Content-Type header ({kind}): mime: no media type")
    if media_type != "application/json":
        raise InvalidArgument(f"unsupported Content-Type header ({kind}): must be 'application/json'")


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text. Raises InvalidArgument with Go's words."""
    text = body.decode("utf-8", "replace").strip(" \t\r\n")
    if not text:
        raise InvalidArgument("invalid JSON: got EOF while reading request body")
    try:
        value, rest = decoded(text)
    except TooDeep:
        raise InvalidArgument(MAX_JSON_DEPTH_TEXT) from None
    except NoNumber as error:
        raise InvalidArgument(
            f"invalid JSON: invalid character '{error.word[0]}' looking for beginning of value"
        ) from None
    except json.JSONDecodeError as error:
        raise InvalidArgument(f"invalid JSON: {_go_syntax_error(error)}") from None
    except BadJson:  # a number with thousands of digits
        raise InvalidArgument("invalid JSON: json: cannot unmarshal number into Go value of type int64") from None
    if rest.strip(" \t\r\n"):
        raise InvalidArgument("unexpected content after JSON")
    return value


# Python's words for a JSON syntax error, and Go's words for the same.
_GO_PLACES = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after value",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
}


def _go_syntax_error(error: json.JSONDecodeError) -> str:
    at = error.pos
    while at < len(error.doc) and error.doc[at] in " \t\r\n":
        at += 1
    if at >= len(error.doc) or error.msg.startswith("Unterminated string"):
        return "unexpected EOF"
    place = next((words for start, words in _GO_PLACES.items() if error.msg.startswith(start)), "in literal")
    return f"invalid character '{error.doc[at]}' {place}"
