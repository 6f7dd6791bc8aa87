"""What a mode decides for a service: which places there are, and who looks after one.

In: a draft, a service. Out: changes in the draft, and a word for the orchestrator. The modes are `replicated`,
`by_node` (global services and jobs) and `replicated_job`.
"""

from enum import Enum
from typing import Protocol

from shoal.api import v1 as api
from shoal.manager.deciding.draft import Draft
from shoal.manager.orchestrator.new_task import MakeTask
from shoal.manager.orchestrator.places import Place, Places


class Visit(Enum):
    """What is to happen to a place after its mode has looked at it."""

    TEND = "the supervisor starts and restarts its task, and an update waits for it"
    KEEP = "the supervisor starts what waits to start, and no update begins there"
    LEAVE = "it is left as it is, and no update waits for it"
    AGAIN = "the draft is full: it is visited again for the next one"


class Mode(Protocol):
    """One of the modes of services. What it remembers it can read from the view again."""

    def reconcile(self, draft: Draft, service: api.Service, make: MakeTask) -> Places | None:
        """Bring a service's places to what is asked for; return the filled ones but for those that are to be left.

        None: the draft has no room for all of it, and this is to be called again for the next one.
        """

    def grow(self, draft: Draft, service: api.Service, make: MakeTask) -> bool:
        """Make what is missing where more is asked for than before, and nothing else has changed.

        False: that is not known without a look at all places, which `reconcile` takes.
        """

    def visit(self, draft: Draft, service: api.Service, place: Place, make: MakeTask) -> Visit:
        """Do what follows from a change in one place, or of the node that is the place."""

    def forget(self, service_id: str | None = None) -> None:
        """Forget what is remembered of a service; of all without an id."""
