"""The Dispatcher service: answers the calls of nodes and serves the streams that they hold open.

In: calls of nodes; the certificate of a call tells the node. Out: answers and messages. `nodes` keeps the
registrations, `feed` and `assignments` provide what is sent, `reports` writes statuses. The service runs while this
manager leads. It raises errors of `shoal.errors`, which `port/guard.py` translates.
"""

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherBase
from shoal.api.gen.views_pb2 import ViewRequest
from shoal.api.times import duration
from shoal.errors import Aborted, InvalidArgument
from shoal.manager.dispatcher.assignments import AssignmentSet, Messages
from shoal.manager.dispatcher.feed import Feed
from shoal.manager.dispatcher.hosts import Probe
from shoal.manager.dispatcher.nodes import Nodes
from shoal.manager.dispatcher.probe import host_answers
from shoal.manager.dispatcher.reports import Reports
from shoal.manager.dispatcher.streams import Held, Streams
from shoal.manager.port.turns import Turns
from shoal.store.store import Store

if TYPE_CHECKING:
    from grpclib.server import Stream

Request = TypeVar("Request")

MANAGER_WEIGHT = 10  # the same for each manager, as in SwarmKit (remotes.DefaultObservationWeight)


class Caller(Protocol):
    """Who makes a call, and from where."""

    @property
    def node_id(self) -> str:
        """The Common Name of the caller's certificate."""

    @property
    def address(self) -> str:
        """The caller's IP address, as seen here or by the manager that forwarded the call; a port may follow."""


class Dispatcher(DispatcherBase):
    """The Dispatcher service of this manager, whose node id is `node_id`.

    `managers` returns the swarm's managers, `caller` the caller of the present call, `clock` seconds since 1970,
    `is_reachable` whether a manager can be reached, `probe` whether a host answers. `root_ca` is sent to nodes while
    the store has no cluster with a root.
    """

    def __init__(
        self,
        store: Store,
        *,
        node_id: str,
        managers: Callable[[], Iterable[api.Peer]],
        caller: Callable[[], Caller],
        clock: Callable[[], float],
        rng: Random,
        root_ca: bytes = b"",
        is_reachable: Callable[[str], bool] = lambda node_id: False,
        probe: Probe = host_answers,
    ) -> None:
        self._store = store
        self._managers = managers
        self._caller = caller
        self._root_ca = root_ca
        self._streams = Streams()
        self._nodes = Nodes(
            store, own_id=node_id, rng=rng, is_reachable=is_reachable, probe=probe, left=self._streams.wake
        )
        self._reports = Reports(store, own_id=node_id, clock=clock)
        self._feed = Feed(store, self._streams, set_period=self._nodes.set_period, removed=self._forget)
        self._turns = Turns()  # one commit may wake calls and streams of every node: they go on one after the other
        self._running = False

    async def run(self) -> None:
        """Serve until cancelled. Known nodes are UNKNOWN until they register here, and DOWN if they do not."""
        self._feed.read_cluster()
        await self._nodes.take_over()
        self._running = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed.run(), name="dispatcher-follow")
                group.create_task(self._nodes.run(), name="dispatcher-nodes")
        finally:
            self._running = False
            self._streams.wake_all()
            await self._nodes.step_down()

    def membership_changed(self) -> None:
        """Send the list of managers to every node again."""
        self._streams.wake_sessions()

    def ask(self, node_id: str, request: ViewRequest) -> bool:
        """Ask a node what it sees of networks; False where it has no session here. It answers by `shoal.v1.Views`."""
        return self._running and self._streams.ask(node_id, request)

    # The RPCs.

    async def Session(self, stream: "Stream[api.SessionRequest, api.SessionMessage]") -> None:  # noqa: N802
        """Register a node, then send it its own object, the managers and the keys whenever one of these changes."""
        request = await _request(stream)
        self._require_running()
        caller = self._caller()
        node_id = caller.node_id
        session_id = await self._nodes.register(node_id, request, caller.address)
        del request  # with whatever else is in it, while the session lasts
        await self._turns.wait_turn()
        with self._streams.hold(node_id, None) as held:
            last: api.SessionMessage | None = None
            try:
                while True:
                    held.wake.clear()
                    if not self._running:
                        await stream.send_message(self._session_message(node_id, session_id))
                        raise Aborted("node must disconnect")
                    self._nodes.check(node_id, session_id)
                    message = self._session_message(node_id, session_id)
                    asked = held.take_asked()
                    if message != last or asked:
                        last = message
                        await stream.send_message(_asking(message, asked))
                    await held.wake.wait()
                    await self._turns.wait_turn()
            finally:
                if self._running:
                    self._nodes.stream_ended(node_id, session_id)

    async def Heartbeat(self, stream: "Stream[api.HeartbeatRequest, api.HeartbeatResponse]") -> None:  # noqa: N802
        """Note a heartbeat and answer when the next one is due."""
        request = await _request(stream)
        self._require_running()
        period = self._nodes.beat(self._caller().node_id, request.session_id)
        await stream.send_message(api.HeartbeatResponse(period=duration(period)))

    async def UpdateTaskStatus(  # noqa: N802
        self, stream: "Stream[api.UpdateTaskStatusRequest, api.UpdateTaskStatusResponse]"
    ) -> None:
        """Write the reported statuses of tasks, and answer after the commit."""
        request = await _request(stream)
        node_id = self._checked(request.session_id)
        if await self._reports.write(node_id, request, lambda: self._check(node_id, request.session_id)):
            await self._turns.wait_turn()
        await stream.send_message(api.UpdateTaskStatusResponse())

    async def UpdateVolumeStatus(  # noqa: N802
        self, stream: "Stream[api.UpdateVolumeStatusRequest, api.UpdateVolumeStatusResponse]"
    ) -> None:
        """Acknowledge. There are no cluster volumes yet, so all ids are unknown; SwarmKit too ignores unknown ids."""
        request = await _request(stream)
        self._checked(request.session_id)
        await stream.send_message(api.UpdateVolumeStatusResponse())

    async def Assignments(  # noqa: N802
        self, stream: "Stream[api.AssignmentsRequest, api.AssignmentsMessage]"
    ) -> None:
        """Send everything that a node has to run, then each change after its commit."""
        request = await _request(stream)
        node_id = self._checked(request.session_id)
        messages = Messages()
        with self._streams.hold(node_id, self._assignment_set()) as held:
            assignments = self._fill(held, node_id)
            for message in messages.split(assignments.take()):
                await stream.send_message(message)
            while True:
                await held.wake.wait()
                await self._turns.wait_turn()
                held.wake.clear()
                self._check(node_id, request.session_id)
                changes = assignments.take()
                if changes:
                    for message in messages.split(changes):
                        await stream.send_message(message)

    async def Tasks(self, stream: "Stream[api.TasksRequest, api.TasksMessage]") -> None:  # noqa: N802
        """Send the whole list of a node's tasks at each change. Only old agents ask for it."""
        request = await _request(stream)
        node_id = self._checked(request.session_id)
        with self._streams.hold(node_id, self._assignment_set()) as held:
            assignments = self._fill(held, node_id)
            while True:
                assignments.take()
                await stream.send_message(api.TasksMessage(tasks=assignments.tasks()))
                while not assignments:
                    await held.wake.wait()
                    await self._turns.wait_turn()
                    held.wake.clear()
                    self._check(node_id, request.session_id)

    def _session_message(self, node_id: str, session_id: str) -> api.SessionMessage:
        view = self._store.view()
        cluster = next(iter(view.clusters.all()), None)
        return api.SessionMessage(
            session_id=session_id,
            node=view.nodes.get(node_id),
            managers=[api.WeightedPeer(peer=peer, weight=MANAGER_WEIGHT) for peer in self._managers()],
            network_bootstrap_keys=cluster.network_bootstrap_keys if cluster is not None else (),
            RootCA=cluster.root_ca.ca_cert if cluster is not None and cluster.root_ca.ca_cert else self._root_ca,
        )

    def _assignment_set(self) -> AssignmentSet:
        return AssignmentSet(
            lambda secret_id: self._store.view().secrets.get(secret_id),
            lambda config_id: self._store.view().configs.get(config_id),
        )

    def _fill(self, held: Held, node_id: str) -> AssignmentSet:
        assert held.assignments is not None
        held.assignments.resync(self._store.view().tasks.find("node_id", node_id))
        return held.assignments

    def _forget(self, node_id: str) -> None:
        self._nodes.forget(node_id)
        self._reports.forget(node_id)

    def _require_running(self) -> None:
        if not self._running:
            raise Aborted("dispatcher is stopped")

    def _check(self, node_id: str, session_id: str) -> None:
        self._require_running()
        self._nodes.check(node_id, session_id)

    def _checked(self, session_id: str) -> str:
        """Return the caller's node id. Raises as `Nodes.check` does if the session is not the live one."""
        node_id = self._caller().node_id
        self._check(node_id, session_id)
        return node_id


def _asking(message: api.SessionMessage, requests: Iterable[ViewRequest]) -> api.SessionMessage:
    """Return a message that asks the node besides; the given one stays as it is."""
    made = api.SessionMessage(view_requests=requests)
    made.MergeFrom(message)
    return made


async def _request(stream: "Stream[Request, Any]") -> "Request":
    request = await stream.recv_message()
    if request is None:
        raise InvalidArgument("the call carries no request")
    return request
