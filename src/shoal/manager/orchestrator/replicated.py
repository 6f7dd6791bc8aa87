"""Replicated services: as many slots as replicas. In: a draft, a service; out: changes in it, and the filled slots.

This module decides only which slots are missing or too many. The supervisor and the update decide what happens in a
slot. Source of the rules: SwarmKit manager/orchestrator/replicated/.
"""

from shoal.api import v1 as api
from shoal.manager.deciding.draft import Draft
from shoal.manager.orchestrator.modes import Visit
from shoal.manager.orchestrator.new_task import MakeTask
from shoal.manager.orchestrator.places import Place, Places, by_place, occupants, tasks_in
from shoal.manager.orchestrator.slots import Taken, keep_order
from shoal.manager.orchestrator.update import is_under_way
from shoal.store.memory import Event


def asks_for_more_alone(event: Event) -> bool:
    """Return whether a service changed only in that it asks for more replicas, with no update under way."""
    new, old = event.obj, event.old
    if not isinstance(new, api.Service) or not isinstance(old, api.Service) or event.action != "update":
        return False
    if is_under_way(new) or is_under_way(old) or new.spec.replicated.replicas <= old.spec.replicated.replicas:
        return False
    grown = api.ServiceSpec()
    grown.CopyFrom(old.spec)
    grown.replicated.replicas = new.spec.replicated.replicas
    return grown == new.spec


class Replicated:
    """The mode that has as many slots as replicas.

    It remembers which slots are filled, so a further replica costs the same among ten and among ten thousand.
    """

    def __init__(self) -> None:
        self._taken: dict[str, Taken] = {}

    def reconcile(self, draft: Draft, service: api.Service, make: MakeTask) -> Places | None:
        """Create tasks in missing slots and empty the slots that are too many."""
        groups = by_place(service, draft.view.tasks.find("service_id", service.id))
        filled: Places = {}
        for slot, tasks in groups.items():
            filling = occupants(tasks, service)
            if filling:
                filled[slot] = filling
        free = {slot: tasks for slot, tasks in groups.items() if slot not in filled}
        wanted = service.spec.replicated.replicas
        keeps_ended = False
        if len(filled) > wanted:
            for slot in keep_order(filled)[wanted:]:
                # The slot's ended tasks stay visible until the service changes again, as in SwarmKit
                # (orchestrator/replicated/services.go: only tasks that may be updated are removed).
                free[slot] = filled.pop(slot)
                before = [task for task in groups[slot] if task not in free[slot]]
                if occupants(before, service):
                    free[slot] = groups[slot]  # Else one of its ended tasks would fill the slot again.
                keeps_ended = keeps_ended or len(free[slot]) < len(groups[slot])
        taken = self._taken[service.id] = Taken(filled, keeps_ended=keeps_ended)
        missing = wanted - len(filled)
        fresh = taken.free(min(missing, draft.room))
        for slot in fresh:
            free.pop(slot, None)
            draft.create(make(service, slot))
        if not all(draft.set_all_desired(tasks, api.REMOVE) for tasks in free.values()) or len(fresh) < missing:
            return None
        return filled

    def grow(self, draft: Draft, service: api.Service, make: MakeTask) -> bool:
        """Fill the lowest free slots. A task that is created here counts once the view shows it."""
        taken = self._taken.get(service.id)
        if taken is None or taken.keeps_ended:
            return False
        for place in taken.doubtful:
            taken.note(place, is_filled=bool(occupants(tasks_in(draft.view, service, place), service)))
        taken.doubtful.clear()
        missing = service.spec.replicated.replicas - len(taken)
        if not 0 <= missing <= draft.room:
            return False
        for slot in taken.free(missing):
            draft.create(make(service, slot))
        return True

    def visit(self, draft: Draft, service: api.Service, place: Place, make: MakeTask) -> Visit:
        """Leave the slot to the supervisor and an update, and check later whether it is filled."""
        taken = self._taken.get(service.id)
        if taken is not None:
            taken.doubtful.add(place)
        return Visit.TEND

    def forget(self, service_id: str | None = None) -> None:
        """Forget which slots of a service are filled; without an id, of all services."""
        if service_id is None:
            self._taken.clear()
        else:
            self._taken.pop(service_id, None)
