"""Replicated jobs: a total of completions, and a limit of tasks at a time. The places are slots, counted from 0.

In: a draft, a service, maybe one slot. Out: changes in the draft. The job is done when each slot has a completed task.
A slot whose task failed and may not be restarted stays as it is until the job runs again. The counts are kept for each
service, so a completion costs the same among ten slots and among ten thousand. Source: SwarmKit
manager/orchestrator/jobs/replicated/reconciler.go.
"""

from enum import Enum, auto

from shoal.api import v1 as api
from shoal.manager.deciding.draft import Draft
from shoal.manager.orchestrator.modes import Visit
from shoal.manager.orchestrator.new_task import MakeTask
from shoal.manager.orchestrator.places import (
    Place,
    Places,
    by_place,
    has_completed,
    meant_to_run,
    occupants,
    of_this_run,
    tasks_in,
)


class Progress(Enum):
    """The progress of a slot."""

    AT_WORK = auto()  # its task runs, is on its way, or is about to be restarted
    COMPLETED = auto()
    GIVEN_UP = auto()  # its task failed and may not be restarted


class Tally:
    """The progress of the slots of one iteration of a job. A slot that is not listed is free."""

    def __init__(self) -> None:
        self._slots: dict[int, Progress] = {}
        self._lowest_free = 0
        self.at_work = 0

    def note(self, slot: int, progress: Progress | None) -> None:
        """Record the progress of a slot; None: the slot is free."""
        self.at_work -= self._slots.get(slot) is Progress.AT_WORK
        self.at_work += progress is Progress.AT_WORK
        if progress is not None:
            self._slots[slot] = progress
        elif self._slots.pop(slot, None) is not None:
            self._lowest_free = min(self._lowest_free, slot)

    def may_begin(self, job: api.ReplicatedJob) -> int:
        """Return how many more tasks may begin now."""
        return max(0, min(job.max_concurrent - self.at_work, job.total_completions - len(self._slots)))

    def begin(self) -> Place:
        """Take the lowest free slot, and return it."""
        while self._lowest_free in self._slots:
            self._lowest_free += 1
        self.note(self._lowest_free, Progress.AT_WORK)
        return Place(self._lowest_free)


class ReplicatedJobs:
    """The mode that has as many slots as the job asks for completions."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def reconcile(self, draft: Draft, service: api.Service, make: MakeTask) -> Places | None:
        """Count all slots again, remove running tasks of earlier iterations, and create the tasks that may begin."""
        tasks = draft.view.tasks.find("service_id", service.id)
        places = by_place(service, of_this_run(service, tasks))
        tally = self._tallies[service.id] = Tally()
        for place, in_slot in places.items():
            tally.note(place.slot, _progress(service, in_slot))
        counting = {task.id for in_slot in places.values() for task in in_slot}
        # Ended tasks of earlier iterations stay visible until the reaper removes them.
        former = [task for task in tasks if task.id not in counting and task.status.state <= api.RUNNING]
        if not draft.set_all_desired(former, api.REMOVE) or not _begin(draft, service, tally, make):
            return None
        filled = {place: occupants(in_slot, service) for place, in_slot in places.items()}
        return {place: filling for place, filling in filled.items() if filling}

    def grow(self, draft: Draft, service: api.Service, make: MakeTask) -> bool:
        """Return False: only `reconcile` can tell what is missing."""
        return False

    def visit(self, draft: Draft, service: api.Service, place: Place, make: MakeTask) -> Visit:
        """Count one slot again, and create the tasks that may begin."""
        tally = self._tallies.setdefault(service.id, Tally())
        if not draft.fills(service.id, place):
            tally.note(place.slot, _progress(service, of_this_run(service, tasks_in(draft.view, service, place))))
        return Visit.TEND if _begin(draft, service, tally, make) else Visit.AGAIN

    def forget(self, service_id: str | None = None) -> None:
        """Forget the tally of a service; without an id, of all services."""
        if service_id is None:
            self._tallies.clear()
        else:
            self._tallies.pop(service_id, None)


def _begin(draft: Draft, service: api.Service, tally: Tally, make: MakeTask) -> bool:
    """Create the tasks that may begin. Return whether the draft had room for all of them."""
    while tally.may_begin(service.spec.replicated_job):
        if draft.is_full:
            return False
        draft.create(make(service, tally.begin()))
    return True


def _progress(service: api.Service, tasks: list[api.Task]) -> Progress | None:
    filling = occupants(tasks, service)
    if not filling:
        return None
    if any(has_completed(task) for task in filling):
        return Progress.COMPLETED
    return Progress.AT_WORK if meant_to_run(filling) else Progress.GIVEN_UP
