"""The Dispatcher service: sessions, heartbeats, assignments out, statuses back.

Owns the streams that nodes hold open and the writes that follow from what nodes say or fail to say. Every decision is
in `sessions`, `assignments` and `statuses`. The cost of a change is that of the node it is about: streams are indexed
by node, nothing scans the tasks. Runs while this manager leads; errors are `shoal.errors`, which `port/guard.py`
translates.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherBase
from shoal.api.ids import new_id
from shoal.api.states import name_of
from shoal.api.times import duration, seconds, timestamp
from shoal.errors import Aborted, InvalidArgument, NotFound, ShoalError, Unavailable
from shoal.manager.dispatcher.assignments import AssignmentSet, Messages
from shoal.manager.dispatcher.budgets import Budgets
from shoal.manager.dispatcher.hosts import HostsWatch, Probe, Target
from shoal.manager.dispatcher.probe import host_answers, target_of
from shoal.manager.dispatcher.sessions import Sessions, described, host_of, orphan, ready, sent_away, silent, unknown
from shoal.manager.dispatcher.statuses import accepted, apply_report
from shoal.manager.dispatcher.streams import Held, Streams
from shoal.manager.port.turns import Turns
from shoal.repeats import Repeats
from shoal.store.changes import Event
from shoal.store.memory import Transaction
from shoal.store.store import Store
from shoal.store.watch import WatchLagged

if TYPE_CHECKING:
    from grpclib.server import Stream

log = logging.getLogger(__name__)
_told = Repeats(log)

Request = TypeVar("Request")

MANAGER_WEIGHT = 10  # SwarmKit gives each manager the same (remotes.DefaultObservationWeight)
RETRY_AFTER = 1.0  # a write about silent nodes that the store refused is tried again
NODES_PER_WRITE = 500  # a new leader writes every node, and an etcd transaction has a limit
STEP_DOWN_TIMEOUT = 2.0  # a leader that is going does not wait longer to say so


class Caller(Protocol):
    """Whose certificate the call came with, and from where."""

    @property
    def node_id(self) -> str:
        """The certificate's Common Name."""

    @property
    def address(self) -> str:
        """The peer's IP address, or the one a forwarding manager names; a port may follow."""


class Dispatcher(DispatcherBase):
    """The servicer, and what the leader has to do for it.

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
        self._node_id = node_id
        self._managers = managers
        self._caller = caller
        self._clock = clock
        self._root_ca = root_ca
        self._is_reachable = is_reachable
        self._sessions = Sessions(rng.uniform, new_id)
        self._hosts = HostsWatch(
            probe,
            target=self._target,
            others=lambda: self._sessions.others(node_id),
            gone=self._host_is_gone,
            now=self._now,
        )
        self._streams = Streams()
        self._budgets = Budgets()
        self._turns = Turns()  # for what one commit wakes at once: answers, messages to every node
        self._look = asyncio.Event()
        self._running = False

    # What the leader runs.

    async def run(self) -> None:
        """Serve until cancelled. Nodes known before are UNKNOWN until they register here, and DOWN if they do not."""
        await self._take_over()
        self._running = True
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_store(), name="dispatcher-follow")
                group.create_task(self._watch_expiry(), name="dispatcher-expiry")
                group.create_task(self._hosts.run(), name="dispatcher-hosts")
        finally:
            self._running = False
            self._streams.wake_all()
            await self._step_down()

    def membership_changed(self) -> None:
        """Tell every node the managers anew."""
        self._streams.wake_sessions()

    async def _take_over(self) -> None:
        self._read_cluster()
        now = self._now()
        node_ids = [node.id for node in self._store.view().nodes.all()]
        for at in range(0, len(node_ids), NODES_PER_WRITE):
            part = node_ids[at : at + NODES_PER_WRITE]
            await self._store.update(lambda transaction, part=part: _mark_unknown(transaction, part))  # type: ignore[misc]
        for node in self._store.view().nodes.all():
            if node.status.state == api.NodeStatus.DOWN:
                self._sessions.watch_orphan(node.id, now)
                continue
            is_manager = bool(node.manager_status.addr)
            self._sessions.expect(node.id, now, is_manager=is_manager)
            if is_manager and node.id != self._node_id:
                self._hosts.expect(node.id)

    async def _step_down(self) -> None:
        leaving = self._sessions.live_nodes()

        def mark(transaction: Transaction) -> None:
            for node_id in leaving:
                node = transaction.nodes.get(node_id)
                changed = sent_away(node) if node is not None else None
                if changed is not None:
                    transaction.update(changed)

        try:
            async with asyncio.timeout(STEP_DOWN_TIMEOUT):
                await self._store.update(mark)
        except (ShoalError, TimeoutError) as error:
            # A leader without a quorum cannot write this; its successor marks the nodes UNKNOWN.
            log.debug("nodes not marked as disconnected: %s", error)

    async def _follow_store(self) -> None:
        while True:
            with self._store.watch(api.Task, api.Node, api.Cluster) as watch:
                self._resync()
                try:
                    while True:
                        self._apply(await watch.next())
                except WatchLagged:
                    log.warning("the dispatcher fell behind the store and reads all assignments again")

    async def _watch_expiry(self) -> None:
        while True:
            self._look.clear()
            try:
                async with asyncio.timeout_at(self._sessions.next_look()):
                    await self._look.wait()
            except TimeoutError:
                await self._expire()

    async def _expire(self) -> None:
        now = self._now()
        gone = self._sessions.expired(now, self._is_reachable)
        lost = self._sessions.orphaned(now)

        def mark(transaction: Transaction) -> None:
            for registration in gone:
                node = transaction.nodes.get(registration.node_id)
                # It may have registered again while this waited for the writer.
                if node is None or self._sessions.is_registered(node.id):
                    continue
                changed = silent(node, registration)
                if changed is not None:
                    transaction.update(changed)
            for node_id in lost:
                if self._sessions.is_registered(node_id):
                    continue
                for task in transaction.tasks.find("node_id", node_id):
                    orphaned = orphan(task)
                    if orphaned is not None:
                        transaction.update(orphaned)

        for registration in gone:
            log.warning("node %s is down: no heartbeat", registration.node_id)
            self._hosts.forget(registration.node_id)
            self._streams.wake(registration.node_id)
        while gone or lost:
            try:
                await self._store.update(mark)
                break
            except Unavailable as error:
                log.debug("silent nodes not marked as down yet: %s", error)
                await asyncio.sleep(RETRY_AFTER)

    def _host_is_gone(self, node_id: str, now: float) -> None:
        log.warning("the host of node %s does not answer: its heartbeats are not waited for", node_id)
        self._sessions.cut_short(node_id, now)
        self._look.set()

    def _target(self, node_id: str) -> Target | None:
        node = self._store.view().nodes.get(node_id)
        return target_of(node.status.addr, node.manager_status.addr) if node is not None else None

    # What the store tells.

    def _apply(self, events: Iterable[Event]) -> None:
        view = self._store.view()
        for event in events:
            obj = event.obj
            if isinstance(obj, api.Task):
                # The view and not the event: a stream that has just been opened has read the view already.
                self._streams.put_task(obj.id, obj.node_id, view.tasks.get(obj.id))
            elif isinstance(obj, api.Node):
                self._node_changed(event, obj)
            else:
                self._read_cluster()
                self._streams.wake_sessions()

    def _node_changed(self, event: Event, node: api.Node) -> None:
        if event.action == "remove":
            self._sessions.forget(node.id)
            self._hosts.forget(node.id)
            self._budgets.forget(node.id)
            self._streams.wake(node.id)
            return
        old = event.old
        if isinstance(old, api.Node) and old.manager_status.addr != node.manager_status.addr:
            self._streams.wake_sessions()
        self._streams.wake_session(node.id)

    def _resync(self) -> None:
        view = self._store.view()
        self._streams.resync(lambda node_id: view.tasks.find("node_id", node_id))
        self._read_cluster()
        self._streams.wake_all()

    def _read_cluster(self) -> None:
        cluster = self._cluster()
        if cluster is not None:
            self._sessions.set_period(seconds(cluster.spec.dispatcher.heartbeat_period))
            self._hosts.set_period(self._sessions.mean_period)

    # What nodes ask.

    async def Session(self, stream: "Stream[api.SessionRequest, api.SessionMessage]") -> None:  # noqa: N802
        """Register a node and keep telling it of itself, of the managers and of the keys."""
        request = await _request(stream)
        self._require_running()
        caller = self._caller()
        session_id = await self._register(caller, request)
        with self._streams.hold(caller.node_id, None) as held:
            last: api.SessionMessage | None = None
            try:
                while True:
                    held.wake.clear()
                    if not self._running:
                        await stream.send_message(self._session_message(caller.node_id, session_id))
                        raise Aborted("node must disconnect")
                    self._sessions.check(caller.node_id, session_id)
                    message = self._session_message(caller.node_id, session_id)
                    if message != last:
                        await stream.send_message(message)
                        last = message
                    await held.wake.wait()
                    await self._turns.wait_turn()
            finally:
                if self._running and self._sessions.is_live(caller.node_id, session_id):
                    self._hosts.lose(caller.node_id)

    async def Heartbeat(self, stream: "Stream[api.HeartbeatRequest, api.HeartbeatResponse]") -> None:  # noqa: N802
        """Note that a node lives and say when to call again."""
        request = await _request(stream)
        self._require_running()
        node_id = self._caller().node_id
        period = self._sessions.beat(node_id, request.session_id, self._now())
        self._hosts.hear(node_id)
        await stream.send_message(api.HeartbeatResponse(period=duration(period)))

    async def UpdateTaskStatus(  # noqa: N802
        self, stream: "Stream[api.UpdateTaskStatusRequest, api.UpdateTaskStatusResponse]"
    ) -> None:
        """Write what became of tasks. The answer comes after the commit: what was acknowledged is not lost."""
        request = await _request(stream)
        node_id = self._checked(request.session_id)
        tasks = self._store.view().tasks
        updates, refused = accepted(request.updates, node_id, tasks.get)
        if refused:
            _told.log(
                logging.WARNING,
                ("status", node_id),
                "node %s says that task %s is %s, which no agent may report of one that is %s: it is not believed",
                node_id,
                refused[0].task_id,
                name_of(refused[0].status.state),
                name_of(_state(tasks.get(refused[0].task_id))),
            )
        if updates:
            # A task is written whole, whatever its node says of it.
            sizes = (_size(tasks.get(update.task_id)) + update.status.ByteSize() for update in updates)
            delay = self._budgets.spend(node_id, sum(sizes), self._now())
            if delay:
                await asyncio.sleep(delay)
                self._checked(request.session_id)
            await self._store.update(lambda transaction: self._write(transaction, updates))
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
                self._checked(request.session_id)
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
                    self._checked(request.session_id)

    async def _register(self, caller: Caller, request: api.SessionRequest) -> str:
        node_id, now, address = caller.node_id, self._now(), host_of(caller.address)
        known = self._store.view().nodes.get(node_id)
        if known is None:
            raise NotFound("node not found")
        description = described(request.description) if request.HasField("description") else None
        if self._sessions.is_live(node_id, request.session_id):
            session_id = request.session_id
            if ready(known, description, address) is not None:
                self._sessions.admit_change(node_id, now)
            self._sessions.beat(node_id, session_id, now)
        else:
            self._sessions.admit(node_id, now)
            session_id = self._sessions.register(node_id, now)
            self._streams.wake(node_id)  # the streams of the former session end
            self._look.set()

        def mark(transaction: Transaction) -> None:
            node = transaction.nodes.get(node_id)
            if node is None:
                raise NotFound("node not found")
            changed = ready(node, description, address)
            if changed is not None:
                transaction.update(changed)

        await self._store.update(mark)
        self._hosts.meet(node_id)
        await self._turns.wait_turn()
        return session_id

    def _write(self, transaction: Transaction, updates: list[api.UpdateTaskStatusRequest.TaskStatusUpdate]) -> None:
        now = timestamp(self._clock())
        for update in updates:
            task = transaction.tasks.get(update.task_id)
            changed = apply_report(task, update.status, self._node_id, now) if task is not None else None
            if changed is not None:
                transaction.update(changed)

    def _session_message(self, node_id: str, session_id: str) -> api.SessionMessage:
        view, cluster = self._store.view(), self._cluster()
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

    def _cluster(self) -> api.Cluster | None:
        return next(iter(self._store.view().clusters.all()), None)

    def _require_running(self) -> None:
        if not self._running:
            raise Aborted("dispatcher is stopped")

    def _checked(self, session_id: str) -> str:
        self._require_running()
        node_id = self._caller().node_id
        self._sessions.check(node_id, session_id)
        return node_id

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _mark_unknown(transaction: Transaction, node_ids: list[str]) -> None:
    for node_id in node_ids:
        node = transaction.nodes.get(node_id)
        changed = unknown(node) if node is not None else None
        if changed is not None:
            transaction.update(changed)


def _state(task: api.Task | None) -> int:
    return task.status.state if task is not None else api.NEW


def _size(task: api.Task | None) -> int:
    return task.ByteSize() if task is not None else 0


async def _request(stream: "Stream[Request, Any]") -> "Request":
    request = await stream.recv_message()
    if request is None:
        raise InvalidArgument("the call carries no request")
    return request
