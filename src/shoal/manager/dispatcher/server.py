"""The Dispatcher service: what nodes ask for, and the streams that they hold open.

In: calls of nodes, by the certificate that they came with. Out: answers and messages. Which node is registered is
`nodes`' part, what there is to send `feed`'s and `assignments`', what becomes of a report `reports`'. Runs while this
manager leads; errors are `shoal.errors`, which `port/guard.py` translates.
"""

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherBase
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

MANAGER_WEIGHT = 10  # SwarmKit gives each manager the same (remotes.DefaultObservationWeight)


class Caller(Protocol):
    """Whose certificate the call came with, and from where."""

    @property
    def node_id(self) -> str:
        """The certificate's Common Name."""

    @property
    def address(self) -> str:
        """The peer's IP address, or the one a forwarding manager names; a port may follow."""


class Dispatcher(DispatcherBase):
    """The servicer.

    `managers` tells who may be asked instead, `caller` whose call this is, `clock` the time since 1970, `is_reachable`
    whether a manager is there, `probe` whether a host is.
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
        self._turns = Turns()  # for what one commit wakes at once: answers, messages to every node
        self._running = False

    async def run(self) -> None:
        """Serve until cancelled. Nodes known before are UNKNOWN until they register here, and DOWN if they do not."""
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
        """Tell every node the managers anew."""
        self._streams.wake_sessions()

    # What nodes ask.

    async def Session(self, stream: "Stream[api.SessionRequest, api.SessionMessage]") -> None:  # noqa: N802
        """Register a node and keep telling it of itself, of the managers and of the keys."""
        request = await _request(stream)
        self._require_running()
        caller = self._caller()
        node_id = caller.node_id
        session_id = await self._nodes.register(node_id, request, caller.address)
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
                    if message != last:
                        await stream.send_message(message)
                        last = message
                    await held.wake.wait()
                    await self._turns.wait_turn()
            finally:
                if self._running:
                    self._nodes.stream_ended(node_id, session_id)

    async def Heartbeat(self, stream: "Stream[api.HeartbeatRequest, api.HeartbeatResponse]") -> None:  # noqa: N802
        """Note that a node lives and say when to call again."""
        request = await _request(stream)
        self._require_running()
        period = self._nodes.beat(self._caller().node_id, request.session_id)
        await stream.send_message(api.HeartbeatResponse(period=duration(period)))

    async def UpdateTaskStatus(  # noqa: N802
        self, stream: "Stream[api.UpdateTaskStatusRequest, api.UpdateTaskStatusResponse]"
    ) -> None:
        """Write what became of tasks, and answer when it is durable."""
        request = await _request(stream)
        node_id = self._checked(request.session_id)
        if await self._reports.write(node_id, request.updates, lambda: self._check(node_id, request.session_id)):
            await self._turns.wait_turn()
        await stream.send_message(api.UpdateTaskStatusResponse())

    async def UpdateVolumeStatus(  # noqa: N802
        self, stream: "Stream[api.UpdateVolumeStatusRequest, api.UpdateVolumeStatusResponse]"
    ) -> None:
        """Acknowledge. There are no cluster volumes yet, so that every id is unknown, and unknown ids are skipped."""
        request = await _request(stream)
        self._checked(request.session_id)
        await stream.send_message(api.UpdateVolumeStatusResponse())

    async def Assignments(  # noqa: N802
        self, stream: "Stream[api.AssignmentsRequest, api.AssignmentsMessage]"
    ) -> None:
        """Send all that a node has to run, then each change as soon as it is committed."""
        request = await _request(stream)
        node_id = self._checked(request.session_id)
        messages = Messages()
        with self._streams.hold(node_id, self._assignment_set()) as held:
            assignments = self._fill(held, node_id)
            await stream.send_message(messages.next(assignments.take()))
            while True:
                await held.wake.wait()
                await self._turns.wait_turn()
                held.wake.clear()
                self._check(node_id, request.session_id)
                changes = assignments.take()
                if changes:
                    await stream.send_message(messages.next(changes))

    async def Tasks(self, stream: "Stream[api.TasksRequest, api.TasksMessage]") -> None:  # noqa: N802
        """Send the whole list of a node's tasks at each change, as agents of old ask for it."""
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
        """Return whose call this is, once its session is known to be alive."""
        node_id = self._caller().node_id
        self._check(node_id, session_id)
        return node_id


async def _request(stream: "Stream[Request, Any]") -> "Request":
    request = await stream.recv_message()
    if request is None:
        raise InvalidArgument("the call carries no request")
    return request
