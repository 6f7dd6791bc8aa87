"""Names that are computed, not stored. Source: SwarmKit api/naming/naming.go."""

from typing import Any

from shoal.api import v1 as api


def enum_name(kind: Any, value: int) -> str:
    """Return the lower-case name of an enum's value, or `unknown (9)` for a number that this version does not know.

    The enum's own `Name` raises for such a number, but an object that has one must still be shown.
    """
    found = kind.DESCRIPTOR.values_by_number.get(value)
    return found.name.lower() if found is not None else f"unknown ({value})"


def task_name(task: api.Task) -> str:
    """Return `<service>.<slot or node id>.<task id>`, or the task's own name where it has one."""
    if task.annotations.name:
        return task.annotations.name
    slot = str(task.slot) if task.slot else task.node_id
    return f"{task.service_annotations.name}.{slot}.{task.id}"
