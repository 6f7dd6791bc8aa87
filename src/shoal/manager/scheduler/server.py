"""The `shoal.v1.Placement` service, which runs while this manager leads: explains why a task is on its node."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.api.gen import placement_pb2 as pb
from shoal.api.gen.placement_grpc import PlacementBase
from shoal.errors import ShoalError
from shoal.manager.scheduler.scheduler import Scheduler

if TYPE_CHECKING:
    from grpclib.server import Stream

    from shoal.store.store import Store


class PlacementServer(PlacementBase):
    """Asks the scheduler that places the tasks, because only it knows failures of tasks that are already removed."""

    def __init__(self, store: "Store", scheduler: Scheduler, clock: Callable[[], float]) -> None:
        self._store = store
        self._scheduler = scheduler
        self._clock = clock

    def explain(self, task_id: str) -> pb.Explanation:
        """Return why a task is on its node, or has none. Raises NotFound."""
        return self._scheduler.explain(self._store.view(), task_id, self._clock())

    async def Explain(self, stream: "Stream[pb.ExplainRequest, pb.Explanation]") -> None:  # noqa: N802
        """Answer another manager."""
        request = await stream.recv_message()
        if request is None:
            raise ShoalError("the call ended without a request")
        await stream.send_message(self.explain(request.task_id))
