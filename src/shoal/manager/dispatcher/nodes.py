"""The nodes of this leader: which have registered, which are awaited, and their state in the store.

In: registrations, heartbeats and ended streams, as the RPCs report them; the nodes that the previous leader knew. Out:
sessions, and the state of each node in the store. `sessions` decides which nodes are silent, `doubts` whose host is
gone, `node_states` what is written. The cost of a call does not depend on the number of nodes.
"""

import asyncio
import logging
from collections.abc import Callable
from random import Random

from shoal.api import v1 as api
from shoal.api.ids import new_id
from shoal.errors import NotFound, ShoalError, Unavailable
from shoal.manager.dispatcher.hosts import HostsWatch, Probe, Target
from shoal.manager.dispatcher.node_states import described, host_of, orphan, ready, sent_away, silent, unknown
from shoal.manager.dispatcher.probe import target_of
from shoal.manager.dispatcher.sessions import Registration, Sessions
from shoal.store.memory import Transaction
from shoal.store.store import Store

log = logging.getLogger(__name__)

RETRY_AFTER = 1.0  # seconds until a refused write about silent nodes is tried again
NODES_PER_WRITE = 500  # a new leader writes every node, and an etcd transaction has a limit
STEP_DOWN_TIMEOUT = 2.0  # seconds that a leader that steps down spends on writing that


class Nodes:
    """All nodes. The owner calls `take_over`, runs `run` as a child, and calls `step_down` at the end.

    `is_reachable` returns whether a manager can be reached, `probe` whether a host answers. `left` is called with the
    id of a node whose previous session is over, so that the streams of that session end.
    """

    def __init__(
        self,
        store: Store,
        *,
        own_id: str,
        rng: Random,
        is_reachable: Callable[[str], bool],
        probe: Probe,
        left: Callable[[str], None],
    ) -> None:
        self._store = store
        self._own_id = own_id
        self._is_reachable = is_reachable
        self._left = left
        self._sessions = Sessions(rng.uniform, new_id)
        self._hosts = HostsWatch(
            probe,
            target=self._target,
            others=lambda: self._sessions.others(own_id),
            gone=self._host_is_gone,
            now=_now,
        )
        self._look = asyncio.Event()

    # Calls of the leader.

    async def take_over(self) -> None:
        """Write all known nodes as UNKNOWN, except those that are DOWN, and expect them to register here."""
        node_ids = [node.id for node in self._store.view().nodes.all()]
        for at in range(0, len(node_ids), NODES_PER_WRITE):
            part = node_ids[at : at + NODES_PER_WRITE]
            await self._store.update(lambda transaction, part=part: _mark_unknown(transaction, part))  # type: ignore[misc]
        now = _now()
        nodes = list(self._store.view().nodes.all())
        among = sum(node.status.state != api.NodeStatus.DOWN and node.HasField("description") for node in nodes)
        for node in nodes:
            if node.status.state == api.NodeStatus.DOWN:
                self._sessions.watch_orphan(node.id, now)
                continue
            is_manager = bool(node.manager_status.addr)
            came = node.HasField("description")
            self._sessions.expect(node.id, now, is_manager=is_manager, among=among, came=came)
            if is_manager and node.id != self._own_id:
                self._hosts.expect(node.id)

    async def run(self) -> None:
        """Write which nodes are down and which tasks are lost, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_expiry(), name="dispatcher-expiry")
            group.create_task(self._hosts.run(), name="dispatcher-hosts")

    async def step_down(self) -> None:
        """Write the nodes as DISCONNECTED, because they must find another leader."""
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

    def set_period(self, period: float) -> None:
        """Set the heartbeat period of the cluster's spec, in seconds; 0 means the default."""
        self._sessions.set_period(period)
        self._hosts.set_period(self._sessions.spec_period)  # not stretched: kernels answer fast in large swarms too

    def forget(self, node_id: str) -> None:
        """Drop a node that was removed from the swarm."""
        self._sessions.forget(node_id)
        self._hosts.forget(node_id)

    # Calls of a node.

    async def register(self, node_id: str, request: api.SessionRequest, address: str) -> str:
        """Write a node as READY and return the id of its session, which is the one that it names if that is live.

        Raises NotFound for a node that was removed, InvalidArgument for a description that is too large, Unavailable
        for a node that registers or changes its description too often.
        """
        now, host = _now(), host_of(address)
        known = self._store.view().nodes.get(node_id)
        if known is None:
            raise NotFound("node not found")
        description = described(request.description) if request.HasField("description") else None
        if self._sessions.is_live(node_id, request.session_id):
            session_id = request.session_id
            if ready(known, description, host) is not None:
                self._sessions.admit_change(node_id, now)
            self._sessions.beat(node_id, session_id, now)
        else:
            self._sessions.admit(node_id, now)
            session_id = self._sessions.register(node_id, now)
            self._left(node_id)
            self._look.set()

        def mark(transaction: Transaction) -> None:
            node = transaction.nodes.get(node_id)
            if node is None:
                raise NotFound("node not found")
            changed = ready(node, description, host)
            if changed is not None:
                transaction.update(changed)

        await self._store.update(mark)
        self._hosts.meet(node_id)
        return session_id

    def beat(self, node_id: str, session_id: str) -> float:
        """Note a heartbeat, and return after how many seconds the next one is due. Raises as `check` does."""
        period = self._sessions.beat(node_id, session_id, _now())
        self._hosts.hear(node_id)
        return period

    def check(self, node_id: str, session_id: str) -> None:
        """Raise NotFound if the node is not registered, InvalidArgument if this is not its live session."""
        self._sessions.check(node_id, session_id)

    def stream_ended(self, node_id: str, session_id: str) -> None:
        """Note that a session's stream ended. If the session is live, the host is put in doubt."""
        if self._sessions.is_live(node_id, session_id):
            self._hosts.lose(node_id)

    # Silent nodes.

    async def _watch_expiry(self) -> None:
        while True:
            self._look.clear()
            try:
                async with asyncio.timeout_at(self._sessions.next_look()):
                    await self._look.wait()
            except TimeoutError:
                await self._expire()

    async def _expire(self) -> None:
        now = _now()
        gone = self._sessions.expired(now, self._is_reachable)
        lost = self._sessions.orphaned(now)
        for registration in gone:
            log.warning("node %s is down: no heartbeat", registration.node_id)
            self._hosts.forget(registration.node_id)
            self._left(registration.node_id)
        while gone or lost:
            try:
                await self._store.update(lambda transaction: self._mark_gone(transaction, gone, lost))
                break
            except Unavailable as error:
                log.debug("silent nodes not marked as down yet: %s", error)
                await asyncio.sleep(RETRY_AFTER)

    def _mark_gone(self, transaction: Transaction, gone: list[Registration], lost: list[str]) -> None:
        for registration in gone:
            node = transaction.nodes.get(registration.node_id)
            # The node may have registered again while this transaction waited.
            if node is None or self._sessions.is_registered(node.id):
                continue
            changed = silent(node, was_here=registration.session_id != "")
            if changed is not None:
                transaction.update(changed)
        for node_id in lost:
            if self._sessions.is_registered(node_id):
                continue
            for task in transaction.tasks.find("node_id", node_id):
                orphaned = orphan(task)
                if orphaned is not None:
                    transaction.update(orphaned)

    def _host_is_gone(self, node_id: str, now: float) -> None:
        log.warning("the host of node %s does not answer: its heartbeats are not waited for", node_id)
        self._sessions.cut_short(node_id, now)
        self._look.set()

    def _target(self, node_id: str) -> Target | None:
        node = self._store.view().nodes.get(node_id)
        return target_of(node.status.addr, node.manager_status.addr) if node is not None else None


def _mark_unknown(transaction: Transaction, node_ids: list[str]) -> None:
    for node_id in node_ids:
        node = transaction.nodes.get(node_id)
        changed = unknown(node) if node is not None else None
        if changed is not None:
            transaction.update(changed)


def _now() -> float:
    return asyncio.get_running_loop().time()
