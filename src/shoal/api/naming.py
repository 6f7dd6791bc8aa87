"""Names that are computed, not stored. Source: SwarmKit api/naming/naming.go."""

from typing import Any

from shoal.api import v1 as api


def enum_name(kind: Any, value: int) -> str:
    """Return the lower-case name of an enum's value; `unknown (9)` for one of another version, or that is none.

    An enum's own `Name` raises for such a one, and whoever shows an object must not.
    """
    found = kind.DESCRIPTOR.values_by_number.get(value)
    return found.name.lower() if found is not None else f"unknown ({value})"


def task_name(task: api.Task) -> str:
    """Return `<service>.<slot or node id>.<task id>`, or the task's own name where it has one."""
    if task.annotations.name:
        return task.annotations.name
    slot = str(task.slot) if task.slot else task.node_id
    return f"{task.service_annotations.name}.{slot}.{task.id}"
