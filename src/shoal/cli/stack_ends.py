"""What became of the tasks of a service that may end for good: a job, or one with another restart condition than any.

In: a service and tasks, as the API shows them. Out: counts of its places, and why a task is not started again. Pure.
A place is a slot, or a node; its newest task counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from shoal.cli.json_client import Object
from shoal.cli.stack_api import identity_of

_JOBS = ("ReplicatedJob", "GlobalJob")
_FAILED = ("failed", "rejected")
_STOPPED = ("shutdown", "orphaned")


@dataclass(frozen=True, slots=True)
class Ends:
    """Counts of places by their newest task, of those alone that somebody still wants.

    `given_up`: it failed, and is not started again; `why` is its error. `others`: it runs, or is on its way.
    """

    completed: int = 0
    given_up: int = 0
    others: int = 0
    why: str = ""


def is_job(service: Object) -> bool:
    """Return whether a service is a job."""
    mode = (service.get("Spec") or {}).get("Mode") or {}
    return any(each in mode for each in _JOBS)


def may_end(service: Object) -> bool:
    """Return whether tasks of a service may end without being started again."""
    task = (service.get("Spec") or {}).get("TaskTemplate") or {}
    condition = (task.get("RestartPolicy") or {}).get("Condition") or "any"
    return is_job(service) or condition != "any"


def ends(service: Object, tasks: Iterable[Object]) -> Ends:
    """Return what became of a service's tasks, of a job's those of its present iteration. `tasks` may have others."""
    newest: dict[str, Object] = {}
    by_node = not {"Global", "GlobalJob"}.isdisjoint((service.get("Spec") or {}).get("Mode") or {})
    for each in sorted(tasks, key=lambda each: str(each.get("CreatedAt", "")).rstrip("Z")):
        is_ours = each.get("ServiceID") == identity_of(service) and each.get("DesiredState") != "remove"
        if is_ours and (not is_job(service) or _iteration(each) == _iteration(service.get("JobStatus"))):
            newest[str(each.get("NodeID", "") if by_node else each.get("Slot", 0))] = each
    # A global service has no task on a node that was drained or is lost: what was stopped there is no failure.
    failed = _FAILED if by_node else (*_FAILED, *_STOPPED)
    completed = sum(_state(each) == "complete" for each in newest.values())
    stopped = [each for each in newest.values() if each.get("DesiredState") == "shutdown"]
    given_up = [each for each in stopped if _state(each) in failed]
    others = sum(_state(each) != "complete" and each.get("DesiredState") != "shutdown" for each in newest.values())
    why = ""
    if given_up:
        why = str((given_up[-1].get("Status") or {}).get("Err") or _state(given_up[-1]))
    return Ends(completed, len(given_up), others, why)


def _iteration(of: Object | None) -> int:
    return int(((of or {}).get("JobIteration") or {}).get("Index", 0))


def _state(task: Object) -> str:
    return str((task.get("Status") or {}).get("State", ""))
