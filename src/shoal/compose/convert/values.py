"""Canonical values as the Engine API's numbers."""

from typing import Any

from shoal.compose import units
from shoal.compose.errors import ComposeError
from shoal.compose.node import Node


def nanos(of: Node | None) -> int | None:
    """Return a duration in nanoseconds."""
    return None if of is None or of.value is None else units.nanoseconds(of.value)


def number(of: Node | None) -> int:
    """Return a size or a number, 0 where there is none."""
    return 0 if of is None or of.value is None else int(of.value)


def cpus(of: Node | None, key: str) -> int:
    """Return processors in billionths, 0 where there are none. Raises ComposeError."""
    if of is None or of.value is None:
        return 0
    found = units.nano_cpus(str(of.value))
    if found is None:
        raise ComposeError(of.place, key, f"{of.value} is no number of processors: Swarm counts in billionths")
    return found


def given(**values: Any) -> dict[str, Any]:
    """Return the values that are there, by their keys in the API."""
    return {key: value for key, value in values.items() if value is not None}
