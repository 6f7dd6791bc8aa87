"""Replicated services: as many slots as replicas. In: a draft, a service; out: changes in it, and the filled slots.

Which tasks are too few or too many, and nothing else: what happens in a slot is the supervisor's and the update's.
Source of the rules: SwarmKit manager/orchestrator/replicated/.
"""

from shoal.api import v1 as api
from shoal.manager.deciding.draft import Draft
from shoal.manager.orchestrator.modes import Visit
from shoal.manager.orchestrator.new_task import MakeTask
from shoal.manager.orchestrator.places import Place, Places, by_place, occupants
from shoal.manager.orchestrator.slots import free_slots, keep_order


class Replicated:
    """The mode whose places are as many slots as there are replicas."""

    def reconcile(self, draft: Draft, service: api.Service, make: MakeTask) -> Places | None:
        """Bring the number of slots to what is asked for."""
        groups = by_place(service, draft.view.tasks.find("service_id", service.id))
        filled: Places = {}
        for slot, tasks in groups.items():
            filling = occupants(tasks, service)
            if filling:
                filled[slot] = filling
        free = {slot: tasks for slot, tasks in groups.items() if slot not in filled}
        wanted = service.spec.replicated.replicas
        if len(filled) > wanted:
            for slot in keep_order(filled)[wanted:]:
                # What ended in it before stays to be seen until the service changes again, as with SwarmKit
                # (orchestrator/replicated/services.go: only tasks that may be updated are told to go).
                free[slot] = filled.pop(slot)
                before = [task for task in groups[slot] if task not in free[slot]]
                if occupants(before, service):
                    free[slot] = groups[slot]  # Else the slot would be filled again, by a task that is dead.
        missing = wanted - len(filled)
        fresh = free_slots(filled, min(missing, draft.room))
        for slot in fresh:
            free.pop(slot, None)
            draft.create(make(service, slot))
        if not all(draft.set_all_desired(tasks, api.REMOVE) for tasks in free.values()) or len(fresh) < missing:
            return None
        return filled

    def visit(self, draft: Draft, service: api.Service, place: Place, make: MakeTask) -> Visit:
        """Say that the supervisor and an update look after a slot, whatever happens in it."""
        return Visit.TEND

    def forget(self, service_id: str | None = None) -> None:
        """Do nothing: nothing is remembered."""
