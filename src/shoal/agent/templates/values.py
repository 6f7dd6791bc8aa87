"""The values of a template, compared as Go compares them.

Go's string, int, float64, bool, map and list are Python's str, int, float, bool, dict and list; nil is None. No
template can name a value of another type.
"""

from collections.abc import Mapping

from shoal.errors import InvalidArgument


class Struct(dict[str, object]):
    """Values with fixed names. A template that names another field is in error.

    `type_name` is the name of the Go type in error messages. Without one, the messages list the fields.
    """

    def __init__(self, type_name: str = "", /, **fields: object) -> None:
        super().__init__(fields)
        self.type_name = type_name


def type_name(value: object) -> str:
    """Return Go's name of a value's type."""
    if value is None:
        return "<nil>"
    if isinstance(value, Struct):
        fields = "; ".join(f"{name} {type_name(inner)}" for name, inner in value.items())
        return value.type_name or f"struct {{ {fields} }}"
    if isinstance(value, Mapping):
        return "map[string]string"
    names = {bool: "bool", int: "int", float: "float64", str: "string", list: "[]string"}
    return names[type(value)]


def is_true(value: object) -> bool:
    """Return whether Go's templates take a value for true: a struct always, other values when not empty or zero."""
    return isinstance(value, Struct) or bool(value)


def length(value: object) -> int:
    """Return the length of a list or map, or the number of bytes of a string.

    Raises InvalidArgument for other values.
    """
    if isinstance(value, str):
        return len(encoded(value))
    if isinstance(value, Mapping | list) and not isinstance(value, Struct):
        return len(value)
    raise InvalidArgument("len of nil pointer" if value is None else f"len of type {type_name(value)}")


def encoded(text: str) -> bytes:
    """Return the bytes of a string that `decoded` made."""
    return text.encode("utf-8", "surrogateescape")


def decoded(data: bytes) -> str:
    """Return the string for these bytes; they need not be UTF-8."""
    return data.decode("utf-8", "surrogateescape")


def equal(one: object, other: object) -> bool:
    """Return whether two values are equal. Raises InvalidArgument for values that Go cannot compare."""
    for value in (one, other):
        if isinstance(value, Mapping | list) and not isinstance(value, Struct):
            raise InvalidArgument(f"non-comparable type: {type_name(value)}")
    if one is None or other is None:
        return one is other
    if type(one) is not type(other):
        raise InvalidArgument("incompatible types for comparison")
    return one == other


def less(one: object, other: object) -> bool:
    """Return whether `one` is less than `other`. Raises InvalidArgument for values that Go cannot order."""
    for value in (one, other):
        if not isinstance(value, int | float | str) or isinstance(value, bool):
            raise InvalidArgument("invalid type for comparison")
    if isinstance(one, str) and isinstance(other, str):
        return encoded(one) < encoded(other)
    if isinstance(one, int) and isinstance(other, int):
        return one < other
    if isinstance(one, float) and isinstance(other, float):
        return one < other
    raise InvalidArgument("incompatible types for comparison")
