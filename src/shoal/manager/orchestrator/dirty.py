"""Whether a task still matches its service. In: service, task and node; out: a bool.

Source: SwarmKit manager/orchestrator/task.go (`IsTaskDirty`).
"""

from shoal.api import v1 as api
from shoal.errors import ShoalError
from shoal.manager.scheduler import constraints


def is_dirty(service: api.Service, task: api.Task, node: api.Node | None) -> bool:
    """Return whether a rolling update would replace the task.

    A task stays clean when only the placement changed and its node satisfies the new constraints. It also stays clean
    when only the registry's credentials changed and it has its image already.
    """
    if task.spec_version.index == service.spec_version.index:
        return False
    wanted = service.spec.task
    if wanted != task.spec:
        adjusted = api.TaskSpec()
        adjusted.CopyFrom(wanted)
        if _only_placement_differs(adjusted, task.spec):
            if _fits(service, node):
                return False
        elif _has_its_image(task):
            _take(adjusted, task.spec)
        if adjusted != task.spec:
            return True
    return bool(task.HasField("endpoint")) and service.spec.endpoint != task.endpoint.spec


def _only_placement_differs(wanted: api.TaskSpec, present: api.TaskSpec) -> bool:
    if wanted.placement == present.placement:
        return False
    trial = api.TaskSpec()
    trial.CopyFrom(wanted)
    trial.ClearField("placement")
    if present.HasField("placement"):
        trial.placement.CopyFrom(present.placement)
    return trial == present


def _fits(service: api.Service, node: api.Node | None) -> bool:
    if node is None:
        return False
    try:
        parsed = constraints.parse(service.spec.task.placement.constraints)
    except ShoalError:
        # Control refuses constraints that cannot be parsed. If one is stored all the same, no node satisfies it.
        return False
    return constraints.matches(parsed, node)


def _has_its_image(task: api.Task) -> bool:
    return task.desired_state <= api.RUNNING and api.READY <= task.status.state <= api.RUNNING


def _take(wanted: api.TaskSpec, present: api.TaskSpec) -> None:
    """Set the credentials of `wanted` to those of `present`."""
    if wanted.HasField("container") and present.HasField("container"):
        wanted.container.ClearField("pull_options")
        if present.container.HasField("pull_options"):
            wanted.container.pull_options.CopyFrom(present.container.pull_options)
