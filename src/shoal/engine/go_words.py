"""Go's own words in error texts that clients see."""

from typing import Any


def go_kind(value: Any) -> str:
    """Return the word of Go's JSON decoder for the kind of a value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    kinds: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "null")
