"""The functions that templates may call: Go's own, and SwarmKit's `join`.

A function takes the values of its arguments, and raises InvalidArgument for those that Go refuses. `execution` reads
from its signature how many arguments it takes and which must be strings.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from urllib.parse import quote_plus

from shoal.agent.templates import printf
from shoal.agent.templates.values import Struct, decoded, encoded, equal, is_true, length, less, type_name
from shoal.errors import InvalidArgument

Function = Callable[..., object]

_HTML = str.maketrans({'"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"})
_JS = str.maketrans(
    {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}
)


def join(between: str, *parts: str) -> str:
    """Return the parts joined by `between` (SwarmKit, template/template.go)."""
    return between.join(parts)


def index(value: object, *keys: object) -> object:
    """Return the entry of a map, list or string at a key, and so on for each further key.

    A key that a map does not have gives Go's zero value, the empty string.
    """
    if value is None:
        raise InvalidArgument("index of untyped nil")
    for key in keys:
        if isinstance(value, Struct) or not isinstance(value, str | list | Mapping):
            raise InvalidArgument(f"can't index item of type {type_name(value)}")
        if isinstance(value, Mapping):
            if not isinstance(key, str):
                raise InvalidArgument(f"value has type {type_name(key)}; should be string")
            value = value.get(key, "")
            continue
        items: bytes | list[object] = encoded(value) if isinstance(value, str) else value
        at = _position(key, len(items) - 1)
        value = items[at]
    return value


def cut(value: object, *bounds: object) -> object:
    """Return a part of a string or list. Templates call it `slice`."""
    if value is None:
        raise InvalidArgument("slice of untyped nil")
    if not isinstance(value, str | list):
        raise InvalidArgument(f"can't slice item of type {type_name(value)}")
    if len(bounds) > 3:
        raise InvalidArgument(f"too many slice indexes: {len(bounds)}")
    if len(bounds) == 3 and isinstance(value, str):
        raise InvalidArgument("cannot 3-index slice a string")
    items: bytes | list[object] = encoded(value) if isinstance(value, str) else value
    ends = [_position(bound, len(items)) for bound in bounds]
    for one, other in pairwise(ends):
        if one > other:
            raise InvalidArgument(f"invalid slice index: {one} > {other}")
    first, last = (*ends, 0)[0], (ends[1] if len(ends) > 1 else len(items))
    part = items[first:last]
    return decoded(part) if isinstance(part, bytes) else part


def _position(key: object, most: int) -> int:
    if key is None:
        raise InvalidArgument("cannot index slice/array with nil")
    if not isinstance(key, int) or isinstance(key, bool):
        raise InvalidArgument(f"cannot index slice/array with type {type_name(key)}")
    if not 0 <= key <= most:
        raise InvalidArgument(f"index out of range: {key}")
    return key


def eq(value: object, *others: object) -> bool:
    """Return whether a value equals one of the others."""
    if not others:
        raise InvalidArgument("missing argument for comparison")
    return any(equal(value, other) for other in others)


def _text(values: Sequence[object]) -> str:
    return printf.sprint([printf.show(value) if value is None else value for value in values])


def html(*values: object) -> str:
    """Return the values as text that is escaped for HTML."""
    return _text(values).translate(_HTML)


def js(*values: object) -> str:
    """Return the values as text that is escaped for a string in JavaScript."""
    text = _text(values).translate(_JS)
    return "".join(_js_letter(letter) for letter in text)


def _js_letter(letter: str) -> str:
    code = ord(letter)
    if code < 32:
        return f"\\u{code:04X}"
    return letter if code < 128 or letter.isprintable() else f"\\u{code:04X}"


def urlquery(*values: object) -> str:
    """Return the values as text that is escaped for the query of a URL."""
    return quote_plus(encoded(_text(values))).replace("~", "%7E")


def call(function: object, *_arguments: object) -> object:
    """Raise InvalidArgument: no value of a template is a function."""
    if function is None:
        raise InvalidArgument("call of nil")
    raise InvalidArgument(f"non-function {printf.shown(function)} of type {type_name(function)}")


def formatted(form: str, *values: object) -> str:
    """Return the values formatted by `form`. Templates call it `printf`."""
    return printf.sprintf(form, values)


FUNCTIONS: Mapping[str, Function] = {
    "and": lambda value, *others: value,  # only the signatures of these two count; `execution` evaluates them
    "or": lambda value, *others: value,
    "not": lambda value: not is_true(value),
    "join": join,
    "index": index,
    "slice": cut,
    "len": length,
    "call": call,
    "print": lambda *values: printf.sprint(values),
    "println": lambda *values: " ".join(printf.shown(value) for value in values) + "\n",
    "printf": formatted,
    "html": html,
    "js": js,
    "urlquery": urlquery,
    "eq": eq,
    "ne": lambda one, other: not equal(one, other),
    "lt": less,
    "le": lambda one, other: less(one, other) or equal(one, other),
    "gt": lambda one, other: not (less(one, other) or equal(one, other)),
    "ge": lambda one, other: not less(one, other),
}
