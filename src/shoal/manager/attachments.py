"""The gRPC service ResourceAllocator: it puts a container that belongs to no service on an attachable network.

In: calls of nodes, identified by their certificates. Out: tasks without a service. The allocator gives them addresses,
and the node gets them with its assignments. Source of semantics and texts: SwarmKit manager/resourceapi/allocator.go.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shoal.api import times
from shoal.api import v1 as api
from shoal.api.gen.resource_grpc import ResourceAllocatorBase
from shoal.errors import InvalidArgument, NotFound, PermissionDenied, ShoalError
from shoal.store.memory import Transaction, View

if TYPE_CHECKING:
    from grpclib.server import Stream

    from shoal.store.store import Store

Request = TypeVar("Request")


class Caller(Protocol):
    """The caller, identified by its certificate."""

    @property
    def node_id(self) -> str:
        """The certificate's Common Name."""


class Attachments(ResourceAllocatorBase):
    """Makes and removes attachments, while this manager leads. `clock` is in seconds since 1970."""

    def __init__(
        self, store: "Store", *, caller: Callable[[], Caller], clock: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._caller = caller
        self._clock = clock
        self._new_id = new_id

    async def AttachNetwork(  # noqa: N802
        self, stream: "Stream[api.AttachNetworkRequest, api.AttachNetworkResponse]"
    ) -> None:
        """Put a container of the calling node on a network."""
        request = await _request(stream)
        node_id = self._caller().node_id

        def attach(transaction: Transaction) -> str:
            task = new_attachment(transaction, request, node_id, self._new_id(), self._clock())
            transaction.create(task)
            return task.id

        await stream.send_message(api.AttachNetworkResponse(attachment_id=await self._store.update(attach)))

    async def DetachNetwork(  # noqa: N802
        self, stream: "Stream[api.DetachNetworkRequest, api.DetachNetworkResponse]"
    ) -> None:
        """Take a container of the calling node off its network."""
        request = await _request(stream)
        node_id = self._caller().node_id

        def detach(transaction: Transaction) -> None:
            check_detach(transaction, request.attachment_id, node_id)
            transaction.remove(api.Task, request.attachment_id)

        await self._store.update(detach)
        await stream.send_message(api.DetachNetworkResponse())


def new_attachment(view: View, request: api.AttachNetworkRequest, node_id: str, task_id: str, now: float) -> api.Task:
    """Return the task that stands for a container on a network. Raises NotFound or PermissionDenied."""
    wanted = request.config.target
    network = view.networks.get(wanted) or next(
        (each for each in view.networks.find("name", wanted) if each.spec.annotations.name == wanted), None
    )
    if network is None:
        raise NotFound(f"network {wanted} not found")
    if not network.spec.attachable:
        raise PermissionDenied(f"network {wanted} not manually attachable")
    task = api.Task(id=task_id, node_id=node_id, desired_state=api.RUNNING)
    task.spec.attachment.container_id = request.container_id
    config = task.spec.networks.add(target=network.id, addresses=request.config.addresses)
    config.aliases.extend(request.config.aliases)
    config.driver_attachment_opts.update(request.config.driver_attachment_opts)
    task.status.state = api.NEW
    task.status.message = "created"
    task.status.timestamp.CopyFrom(times.timestamp(now))
    return task


def check_detach(view: View, attachment_id: str, node_id: str) -> None:
    """Raise an error unless the task is an attachment of this node, which the node may remove."""
    if not attachment_id:
        raise InvalidArgument("invalid argument")
    task = view.tasks.get(attachment_id)
    # A task of a service is no attachment. A node that could remove it could stop what the swarm wants to run.
    if task is None or task.spec.WhichOneof("runtime") != "attachment":
        raise NotFound(f"attachment {attachment_id} not found")
    if task.node_id != node_id:
        raise PermissionDenied(f"attachment {attachment_id} doesn't belong to this node")


async def _request(stream: "Stream[Request, Any]") -> Request:
    request = await stream.recv_message()
    if request is None:
        raise ShoalError("the call ended without a request")
    return request
