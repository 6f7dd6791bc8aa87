"""Values of a template, as Go shows and compares them.

A string, whole number, fraction, truth, map and list are Python's own; nil is None. What no template can name (other
types of Go's) does not occur.
"""

from collections.abc import Mapping

from shoal.errors import InvalidArgument


class Struct(dict[str, object]):
    """Values with fixed names: one that is missing is a mistake in the template, as is a missing key of a map.

    `type_name` is Go's name of its type, for the messages; a type without a name is told by its fields.
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
    """Return whether Go's templates take a value for true: what is not empty, and every struct."""
    return isinstance(value, Struct) or bool(value)


def length(value: object) -> int:
    """Return what `len` does: of a string its bytes. Raises InvalidArgument for what has none."""
    if isinstance(value, str):
        return len(encoded(value))
    if isinstance(value, Mapping | list) and not isinstance(value, Struct):
        return len(value)
    raise InvalidArgument("len of nil pointer" if value is None else f"len of type {type_name(value)}")


def encoded(text: str) -> bytes:
    """Return a string's bytes."""
    return text.encode("utf-8", "surrogateescape")


def decoded(data: bytes) -> str:
    """Return the string of these bytes."""
    return data.decode("utf-8", "surrogateescape")


def equal(one: object, other: object) -> bool:
    """Return whether two values are equal. Raises InvalidArgument where Go compares no such two."""
    for value in (one, other):
        if isinstance(value, Mapping | list) and not isinstance(value, Struct):
            raise InvalidArgument(f"non-comparable type: {type_name(value)}")
    if one is None or other is None:
        return one is other
    if type(one) is not type(other):
        raise InvalidArgument("incompatible types for comparison")
    return one == other


def less(one: object, other: object) -> bool:
    """Return whether a value comes before another. Raises InvalidArgument where Go orders no such two."""
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
