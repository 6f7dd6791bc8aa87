"""Names that are computed, not stored. Source: SwarmKit api/naming/naming.go."""

from shoal.api import v1 as api


def task_name(task: api.Task) -> str:
    """Return `<service>.<slot or node id>.<task id>`, or the task's own name where it has one."""
    if task.annotations.name:
        return task.annotations.name
    slot = str(task.slot) if task.slot else task.node_id
    return f"{task.service_annotations.name}.{slot}.{task.id}"
