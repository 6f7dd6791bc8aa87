"""The interface of a mode. A mode decides which places a service has, and who looks after each of them.

In: a draft, a service. Out: changes in the draft, and a `Visit` for the orchestrator. The modes are `replicated`,
`by_node` (global services and global jobs) and `replicated_job`.
"""

from enum import Enum
from typing import Protocol

from shoal.api import v1 as api
from shoal.manager.deciding.draft import Draft
from shoal.manager.orchestrator.new_task import MakeTask
from shoal.manager.orchestrator.places import Place, Places


class Visit(Enum):
    """What happens to a place after its mode has looked at it."""

    TEND = "the supervisor starts and restarts its task, and an update waits for it"
    KEEP = "the supervisor starts what waits to start, and no update begins there"
    LEAVE = "it is left as it is, and no update waits for it"
    AGAIN = "the draft is full: it is visited again for the next one"


class Mode(Protocol):
    """A mode of services. Whatever a mode remembers can be read from the view again."""

    def reconcile(self, draft: Draft, service: api.Service, make: MakeTask) -> Places | None:
        """Fill and empty the places of a service as its spec asks. Return the filled places and their tasks.

        Places that are to be left as they are (`Visit.LEAVE`) are not returned. None: the draft has no room for all
        changes; call this again with the next draft.
        """

    def grow(self, draft: Draft, service: api.Service, make: MakeTask) -> bool:
        """Create the missing tasks after the service asked for more of them and changed in nothing else.

        False: the mode does not know what is missing; call `reconcile` instead.
        """

    def visit(self, draft: Draft, service: api.Service, place: Place, make: MakeTask) -> Visit:
        """Handle a change in one place, or of the node that is the place."""

    def forget(self, service_id: str | None = None) -> None:
        """Forget everything about a service; without an id, about all services."""
