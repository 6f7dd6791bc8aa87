"""Words of Go's own that clients see in refusals."""

from typing import Any


def go_kind(value: Any) -> str:
    """Return what Go's decoder calls a JSON value in its errors."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    kinds: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "null")
