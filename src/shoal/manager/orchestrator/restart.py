"""The rules of restarts: whether an ended task is replaced, and when its replacement may start.

In: the task, the tasks of its place, its node, the time; out: answers. This module keeps no state: it counts attempts
in the history of the place, which the reaper keeps long enough. Source: SwarmKit
manager/orchestrator/restart/restart.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.times import instant, seconds
from shoal.manager.orchestrator.marks import Marks, read

if TYPE_CHECKING:
    from random import Random

DEFAULT_DELAY = 5.0  # seconds, as all times here

# From its creation on, a replacement waits at most this long for the old task to end (SwarmKit: 1 minute).
OLD_TASK_TIMEOUT = 60.0

# SwarmKit has no back-off. Here tasks that fail as soon as they start are retried ever more slowly, up to
# LONGEST_BACKOFF (the longest delay of Docker's own restart manager). The delay grows from the second rejected task in
# a row on, but only after FREE_FAILURES failed ones: a few crashes at the start are common, for instance while a
# database is not up yet.
LONGEST_BACKOFF = 60.0
SHORTEST_BACKOFF = 0.1
QUICK_FAILURE = 2.0  # a task that fails within this time counts as failed as soon as it started
FREE_FAILURES = 3


def is_wanted(task: api.Task, place_tasks: list[api.Task]) -> bool:
    """Return whether the restart policy allows a replacement. `place_tasks` are all tasks of its place, with itself."""
    policy = task.spec.restart
    condition = policy.condition if task.spec.HasField("restart") else api.RestartPolicy.ANY
    if condition == api.RestartPolicy.NONE:
        return False
    # A completed task of a job is not run again: for jobs "any" means "on failure".
    at_success = condition == api.RestartPolicy.ANY and not task.HasField("job_iteration")
    if task.status.state == api.COMPLETE and not at_success:
        return False
    if policy.max_attempts == 0:
        return True
    return _attempts(task, place_tasks, seconds(policy.window)) < policy.max_attempts


def _attempts(task: api.Task, place_tasks: list[api.Task], window: float) -> int:
    """Return how many restarts of this spec version the place has had.

    With a `window` (seconds), only restarts within that time before the task's end count.
    """
    born = sorted(
        (_born_at(other), not read(other).anew)
        for other in place_tasks
        if other.spec_version.index == task.spec_version.index and other.desired_state < api.REMOVE
    )
    first = max((number for number, (_, is_restart) in enumerate(born) if not is_restart), default=0)
    restarts = [at for at, _ in born[first + 1 :]]
    if not window:
        return len(restarts)
    ended_at = reported_at(task)
    return sum(1 for at in restarts if ended_at - window < at < ended_at)


def _born_at(task: api.Task) -> float:
    # A task without this stamp was created in the present transaction, so it is the newest.
    return instant(task.meta.created_at) if task.meta.HasField("created_at") else float("inf")


def failures_in_a_row(task: api.Task) -> int:
    """Return how many tasks of the place in a row, up to `task`, were rejected or failed as soon as they started."""
    before = read(task)
    if task.status.state == api.REJECTED:
        return before.failures + 1
    if task.status.state != api.FAILED:
        return 0
    begun_at = max(before.start_at, instant(task.meta.created_at))
    return before.failures + 1 if reported_at(task) - begun_at < QUICK_FAILURE else 0


def reported_at(task: api.Task) -> float:
    """Return when the task's status was written (seconds since 1970): by the manager's clock, else by the agent's."""
    return instant(task.status.applied_at if task.status.HasField("applied_at") else task.status.timestamp)


def delay_of(task: api.Task) -> float:
    """Return the delay that the restart policy asks for, in seconds."""
    policy = task.spec.restart
    return max(0.0, seconds(policy.delay)) if policy.HasField("delay") else DEFAULT_DELAY


def delay_before(task: api.Task, node: api.Node | None, failures: int, rng: Random) -> float:
    """Return how many seconds the replacement of `task` waits, at least the delay of the policy.

    On a drained node there is no delay. On a node that is down there is none either, unless the policy names one: the
    default delay slows down tasks that end by themselves, and a node does not go down again and again in a moment.
    `failures` is the result of `failures_in_a_row`.
    """
    if node is not None and node.spec.availability == api.NodeSpec.DRAIN:
        return 0.0
    if node is not None and node.status.state == api.NodeStatus.DOWN and not task.spec.restart.HasField("delay"):
        return 0.0
    floor = delay_of(task)
    doublings = failures - 1 if task.status.state == api.REJECTED else failures - FREE_FAILURES
    if doublings < 1:
        return floor
    growing: float = max(floor, SHORTEST_BACKOFF) * 2.0 ** min(doublings, 16)
    return max(floor, min(LONGEST_BACKOFF, growing) * rng.uniform(0.8, 1.0))


def has_stopped(task: api.Task | None, node: api.Node | None) -> bool:
    """Return whether the task cannot be running: it ended, it never had a node, or its node is gone or DOWN."""
    if task is None or not api.ASSIGNED <= task.status.state <= api.RUNNING:
        return True
    return node is None or node.status.state == api.NodeStatus.DOWN


def start_time(task: api.Task, marks: Marks, old: api.Task | None, old_node: api.Node | None, now: float) -> float:
    """Return when a waiting replacement may start if nothing else happens. Up to `now` means that it may start now."""
    if marks.start_at > now or not marks.replaces or has_stopped(old, old_node):
        return marks.start_at
    born_at = instant(task.meta.created_at) if task.meta.HasField("created_at") else now
    return born_at + OLD_TASK_TIMEOUT
