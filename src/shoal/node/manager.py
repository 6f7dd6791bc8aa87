"""A manager on this host: the server on port 2377, etcd and its connections, the store, and a term while it leads.

In: this node's identity and addresses, the managers that it knows. Out: Control and the log broker for the Engine API,
whichever manager leads. A manager leads while its own etcd member leads Raft; it then runs a `Term`. Otherwise it
follows, and forwards calls that only the leader answers. When one part fails, all parts of the manager end, and
`membership` starts it again.
"""

import asyncio
import logging
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from shoal.api import v1 as api
from shoal.api.gen import managers_pb2 as pb
from shoal.api.gen.ca_grpc import CABase, NodeCABase
from shoal.api.gen.dispatcher_grpc import DispatcherBase
from shoal.api.gen.logbroker_grpc import LogBrokerBase
from shoal.api.gen.managers_grpc import ManagersBase
from shoal.api.gen.placement_grpc import PlacementBase
from shoal.api.gen.resource_grpc import ResourceAllocatorBase
from shoal.api.gen.views_grpc import ViewsBase
from shoal.ca.security import SecurityConfig
from shoal.errors import InvariantBroken, RpcError, ShoalError, Unavailable
from shoal.manager.bootstrap import FirstLeader
from shoal.manager.control import ControlRpcs
from shoal.manager.forwarding import leader_link
from shoal.manager.forwarding.calls import Forwarder
from shoal.manager.forwarding.control import RemoteControl, RemoteLogs
from shoal.manager.forwarding.leader_link import LeaderLink, LeadsHere
from shoal.manager.forwarding.placement import RemotePlacement
from shoal.manager.forwarding.services import ControlService, LogBroker, LogsService, TermService
from shoal.manager.forwarding.views import RemoteViews
from shoal.manager.membership.managers import RaftMembershipServer
from shoal.manager.membership.quorum import HEARD_WITHIN, SLOW_HEARD_WITHIN, Reachability
from shoal.manager.peers.keeper import TunnelsProcess
from shoal.manager.port.authorization import Subject
from shoal.manager.port.health import HealthServer
from shoal.manager.port.server import ManagerServer, listen
from shoal.manager.port.standing import loses_standing, standing
from shoal.node import joining, refusals
from shoal.node.addresses import DEFAULT_PORT, split_host_port
from shoal.node.peers import Peers
from shoal.node.state import NodeState
from shoal.node.term import Setting, Term
from shoal.paths import Paths
from shoal.store import members, pace
from shoal.store.changes import Event
from shoal.store.etcd_client import EtcdClient
from shoal.store.etcd_process import EtcdConfig, EtcdProcess, RemovedMember
from shoal.store.leadership import LeaderWatch
from shoal.store.seal import Sealer
from shoal.store.store import Store
from shoal.store.watch import WatchLagged

log = logging.getLogger(__name__)

# Seconds between failed attempts to lead, or to reach the leader.
RETRY = 0.1
LONGEST_RETRY = 5.0
KeepOut = Callable[[int], AbstractAsyncContextManager[None]]
HAND_OVER_TIMEOUT = 1.0  # a leader that stops does not wait longer for another to take the lead


@dataclass(frozen=True, slots=True)
class Active:
    """What a manager offers to this host's Engine API."""

    control: ControlRpcs
    logs: LogBroker
    placement: RemotePlacement
    views: RemoteViews
    store: Store
    etcd: EtcdClient


class Manager:
    """One manager. `first` describes a swarm to found, or is None; `managers` returns the managers known before.

    `alone`: go on without the other managers, with this host's data. `keep_out` keeps this host's containers away from
    a port.
    """

    def __init__(
        self,
        paths: Paths,
        security: SecurityConfig,
        state: NodeState,
        first: FirstLeader | None,
        rng: Random,
        managers: Callable[[], Peers] = lambda: (),
        *,
        alone: bool = False,
        keep_out: KeepOut = lambda port: nullcontext(),
    ) -> None:
        self._keep_out = keep_out
        self._paths = paths
        self._security = security
        self._own_id = security.node_id
        self._address = state.advertise_addr
        self._listen_addr = state.listen_addr
        self._first = first
        self._rng = rng
        self._managers = managers
        self._alone = alone
        self._members: dict[str, str] = {}  # the addresses of the other managers, by node id
        self._reachability = Reachability(time.monotonic)
        self._is_slow = False  # whether etcds wait longer for a leader than usual
        self._link = LeaderLink(security)
        self._tunnels = TunnelsProcess(
            paths,
            security,
            removed=self._removed,
            heard=self._reachability.heard,
            is_member=lambda: self._store is not None,
        )
        self._server: ManagerServer | None = None
        self._store: Store | None = None
        self._term: Term | None = None
        self._active: Active | None = None  # set once this manager has all data of the swarm
        self._started: Callable[[Active], None] = lambda active: None
        self._is_told = False

    async def run(self, started: Callable[[Active], None], ended: Callable[[], None] = lambda: None) -> None:
        """Run the manager until cancelled.

        `started` is called once a manager leads. `ended` is called when the `Active` that it got cannot be used any
        more, because this manager was removed from the quorum. It then waits to become a worker, or to be admitted
        again.
        """
        self._started = started
        self._paths.etcd.mkdir(mode=0o700, parents=True, exist_ok=True)
        server = self._server = ManagerServer(
            self._security,
            self._services(),
            is_removed=self._is_removed,
            standing=self._standing,
            is_leader=lambda: self._term is not None,
            forward=Forwarder(self._link, self._address),
            raft_socket=self._tunnels.take,
        )
        try:
            async with self._keep_out(split_host_port(self._listen_addr, DEFAULT_PORT)[1]):
                await self._listen(server, ended)
        finally:
            self._link.close()
            self._store = self._term = None

    async def _listen(self, server: ManagerServer, ended: Callable[[], None]) -> None:
        try:
            listener = listen(*split_host_port(self._listen_addr, DEFAULT_PORT))
        except OSError as fault:
            raise ShoalError(refusals.NOT_LISTENING.format(fault.strerror)) from fault
        # Closed here too, because a child that is cancelled before its first step closes nothing.
        with listener:
            await self._run_port(server, listener, ended)

    async def _run_port(self, server: ManagerServer, listener: socket.socket, ended: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as group:
            children = [
                group.create_task(server.run(listener), name="port 2377"),
                group.create_task(self._tunnels.run(), name="etcd peers"),
            ]
            if not self._alone and any(node_id != self._own_id for node_id, _ in self._managers()):
                self._tunnels.start()  # early, because the start takes a while and etcd needs the tunnels
            try:
                await self._stay_member(ended)
            finally:
                for child in children:
                    child.cancel()

    def _services(self) -> list[Any]:
        return [
            HealthServer(raft=lambda: True),
            TermService(CABase, lambda: self._term and self._term.ca),
            TermService(NodeCABase, lambda: self._term and self._term.node_ca),
            TermService(DispatcherBase, lambda: self._term and self._term.dispatcher),
            TermService(LogBrokerBase, lambda: self._term and self._term.log_broker),
            TermService(ResourceAllocatorBase, lambda: self._term and self._term.attachments),
            TermService(ManagersBase, lambda: self._term and self._term.members),
            TermService(PlacementBase, lambda: self._term and self._term.placement),
            TermService(ViewsBase, lambda: self._term and self._term.views),
            RaftMembershipServer(),
            ControlService(self._control),
            LogsService(self._logs),
        ]

    def _is_removed(self, node_id: str) -> bool:
        if self._store is None:
            return False
        cluster = self._store.view().clusters.get(self._security.cluster_id)
        return cluster is not None and node_id in cluster.blacklisted_certificates

    def _standing(self, subject: Subject) -> str:
        return "" if self._store is None else standing(self._store.view(), subject)

    def _removed(self) -> list[str]:
        cluster = self._store.view().clusters.get(self._security.cluster_id) if self._store is not None else None
        return list(cluster.blacklisted_certificates) if cluster is not None else []

    # Membership in etcd's cluster.

    async def _stay_member(self, ended: Callable[[], None]) -> None:
        """Be a member of etcd's cluster. After a removal, join as a new member."""
        delay, was_removed = RETRY, False
        while True:
            try:
                config = await self._config()
            except RpcError as error:
                # A demoted manager gets here again and again, until its certificate says worker and this ends.
                if not was_removed:
                    raise
                log.debug("this manager is not taken in again: %s", error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, LONGEST_RETRY)
                continue
            try:
                await self._serve(config, ended)
            except* RemovedMember as group:
                log.warning("%s", group.exceptions[0])
            _raise_if_cancelled()
            was_removed = True
            await asyncio.to_thread(shutil.rmtree, self._paths.swarm / "etcd", ignore_errors=True)

    async def _config(self) -> EtcdConfig:
        """Return etcd's configuration. A manager that is no member of etcd's cluster joins it first."""
        known = {node_id: address for node_id, address in self._managers() if node_id != self._own_id}
        self._members = {node_id: address for node_id, address in known.items() if node_id} | self._members
        if self._alone:
            return EtcdConfig.member(self._own_id, force_new_cluster=True)
        if (self._paths.swarm / "etcd" / "member").is_dir():
            await self._tunnels.serve(self._members)
            return EtcdConfig.member(self._own_id, self._members.keys())
        if self._first is not None:
            return EtcdConfig.member(self._own_id)
        addresses = list(dict.fromkeys((*known.values(), *self._members.values())))
        if not addresses:
            return EtcdConfig.member(self._own_id, exists=True)  # which says what is missing
        reply = await self._join(addresses)
        if reply.data_key != self._security.data_key:
            await self._security.set_data_key(reply.data_key)
        self._members = {each.node_id: each.addr for each in reply.members if each.node_id != self._own_id}
        await self._tunnels.serve(self._members)
        return EtcdConfig.member(self._own_id, self._members.keys(), join=True)

    async def _join(self, addresses: list[str]) -> pb.JoinResponse:
        delay = RETRY
        while True:
            try:
                return await joining.enter_quorum(self._link, addresses, self._address)
            except Unavailable as error:
                log.info("this manager waits for the others to take it in: %s", error)
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_RETRY)

    async def _serve(self, config: EtcdConfig, ended: Callable[[], None]) -> None:
        """Run etcd, and follow or lead, until something fails. Raises RemovedMember if this member was removed."""
        data_key = self._security.data_key
        if data_key is None:
            raise InvariantBroken("this manager's key file holds no data key")
        self._paced(is_slow=False)
        async with self._etcd(config) as etcd:
            self._link.trouble = lambda: etcd.trouble
            await etcd.wait_serving()
            async with Store.follow(etcd.client, Sealer({0: data_key}, 0), trouble=lambda: etcd.trouble) as store:
                self._store = store
                setting = Setting(self._security, self._address, data_key, etcd.client, self._reachability, self._rng)
                watch = LeaderWatch(etcd, alone=lambda: not self._members, is_slow=lambda: self._is_slow)
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(watch.run(), name="leadership")
                        group.create_task(_heed_removal(etcd), name="removal")
                        group.create_task(self._track_members(store, watch), name="managers")
                        group.create_task(self._track_leader(watch), name="leader's address")
                        group.create_task(self._begin(store, watch, etcd.client), name="begin")
                        await self._take_turns(store, watch, setting)
                finally:
                    self._store = self._active = None
                    self._is_told = False
                    ended()

    def _etcd(self, config: EtcdConfig) -> EtcdProcess:
        return EtcdProcess(
            self._paths,
            config,
            wait=False,
            turn=lambda: pace.turn(self._own_id, self._members),
            are_there=lambda: all(map(self._reachability.is_reachable, self._members)),
            paced=lambda is_slow: self._paced(is_slow=is_slow),
        )

    def _paced(self, *, is_slow: bool) -> None:
        """Wait as long for what etcd does as its pace asks for."""
        self._is_slow = is_slow
        self._reachability.within = SLOW_HEARD_WITHIN if is_slow else HEARD_WITHIN
        self._link.patience = leader_link.SLOW_PATIENCE if is_slow else leader_link.PATIENCE

    # The leader, and the other managers.

    async def _track_leader(self, watch: LeaderWatch) -> None:
        state = watch.state
        while True:
            self._tell(watch)
            state = await watch.next(state)

    async def _track_members(self, store: Store, watch: LeaderWatch) -> None:
        while True:
            with store.watch(api.Node, api.Cluster) as events:
                await self._update_members(store)
                self._tell(watch)
                self._end_unfit(None)
                try:
                    while True:
                        changes = await events.next()
                        self._end_unfit(changes)
                        if _concerns_managers(changes):
                            await self._update_members(store)
                            watch.look()  # this manager may not be alone any more
                            self._tell(watch)
                except WatchLagged:
                    continue

    def _end_unfit(self, changes: list[Event] | None) -> None:
        """End the connections of demoted and removed nodes. None: changes were missed, so check all connections."""
        assert self._server is not None
        if changes is None:
            self._server.end_unfit()
            return
        node_ids = {node_id for node_id in map(loses_standing, changes) if node_id}
        if node_ids:
            self._server.end_unfit(node_ids)

    async def _update_members(self, store: Store) -> None:
        """Take the managers and their addresses from the store, once it knows this manager."""
        found = {
            node.id: node.manager_status.addr
            for node in store.view().nodes.all()
            if node.HasField("manager_status") and node.manager_status.addr
        }
        if self._own_id not in found:
            found = self._members | found
        found.pop(self._own_id, None)
        self._members = found
        self._tunnels.look()  # who is a member, or was removed, may be news as well
        await self._tunnels.serve(found)

    def _tell(self, watch: LeaderWatch) -> None:
        """Tell `LeaderLink` where the leader is. Call `started` when a leader is known for the first time."""
        store = self._store
        if self._term is not None:
            self._link.tell(self._own_id, self._address, leads=True)
        elif store is None or watch.state.leads or not watch.state.leader:
            self._link.tell("", "", leads=False)
        else:
            for node in store.view().nodes.all():
                if node.manager_status.raft_id == watch.state.leader:
                    self._link.tell(node.id, node.manager_status.addr, leads=False)
                    break
            else:
                self._link.tell("", "", leads=False)
        if self._active is not None and not self._is_told and (self._link.leads or self._link.address):
            self._is_told = True
            self._started(self._active)

    async def _begin(self, store: Store, watch: LeaderWatch, etcd: EtcdClient) -> None:
        """Become active once this manager has a vote and all acknowledged data, and then announce its address."""
        while True:
            try:
                await store.catch_up()
                break
            except Unavailable as error:
                log.debug("this manager is not ready yet: %s", error)
            await asyncio.sleep(RETRY / 4)
        control = RemoteControl(self._link, self._control)
        logs = RemoteLogs(self._link, self._logs)
        placement = RemotePlacement(self._link, lambda: None if self._term is None else self._term.placement)
        views = RemoteViews(self._link, lambda: None if self._term is None else self._term.views)
        self._active = Active(control, logs, placement, views, store, etcd)
        self._tell(watch)
        await self._announce(store)

    async def _announce(self, store: Store) -> None:
        """Tell the leader this manager's address if it has changed. A leader writes its own address itself."""
        with suppress(LeadsHere):
            while True:
                own = store.view().nodes.get(self._own_id)
                if own is not None and own.manager_status.addr in ("", self._address):
                    return
                try:
                    await joining.announce(self._link, self._address, has_data=True)
                except (RpcError, Unavailable) as error:
                    log.debug("the leader was not told where this manager is: %s", error)
                await asyncio.sleep(LONGEST_RETRY)

    # The lead.

    def _control(self) -> ControlRpcs | None:
        """Return the leader's Control while this manager leads, else None."""
        return None if self._term is None else self._term.control

    def _logs(self) -> LogBroker | None:
        return None if self._term is None else self._term.logs

    async def _take_turns(self, store: Store, watch: LeaderWatch, setting: Setting) -> None:
        """Lead whenever this manager's etcd leads Raft."""
        while True:
            await watch.wait(leads=True)
            try:
                await self._lead(store, watch, setting)
            except* Unavailable as group:
                log.info("this manager does not lead, though its etcd does: %s", group.exceptions[0])
            _raise_if_cancelled()
            await asyncio.sleep(RETRY)

    async def _lead(self, store: Store, watch: LeaderWatch, setting: Setting) -> None:
        await store.lead()
        term = Term(store, setting, self._first)
        try:
            await term.begin()
            self._first = None  # it is in the store now
            log.info("this manager leads the swarm")
            async with asyncio.TaskGroup() as group:
                running = group.create_task(term.run(), name="leader")
                self._term = term
                self._tell(watch)
                await _wait_lost(store, watch)
                log.info("this manager does not lead the swarm any more")
                self._term = None
                self._tell(watch)
                await store.step_down()  # before the parts end, so that their last writes do not wait
                running.cancel()
        except asyncio.CancelledError:
            if self._members:
                await _hand_over(setting)
            raise
        finally:
            self._term = None
            self._tell(watch)
            await store.step_down()


def _raise_if_cancelled() -> None:
    """Raise CancelledError if this child is being cancelled: in Python 3.11 a TaskGroup may raise only its failures."""
    current = asyncio.current_task()
    if current is not None and current.cancelling():
        raise asyncio.CancelledError


async def _heed_removal(etcd: EtcdProcess) -> None:
    await etcd.wait_removed()
    raise RemovedMember


async def _wait_lost(store: Store, watch: LeaderWatch) -> None:
    """Return when the lead is lost, by the store or by Raft."""
    async with asyncio.TaskGroup() as group:
        waits = [
            group.create_task(store.deposed.wait(), name="deposed"),
            group.create_task(watch.wait_lost(store.term), name="led elsewhere"),
        ]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()


async def _hand_over(setting: Setting) -> None:
    """Hand Raft's lead to another manager before this one stops, so that no election must wait for its silence."""
    try:
        async with asyncio.timeout(HAND_OVER_TIMEOUT):
            await members.move_lead(setting.etcd)
    except (Unavailable, TimeoutError) as error:
        log.debug("the lead was not handed over: %s", error)


def _concerns_managers(events: list[Event]) -> bool:
    for event in events:
        for obj in (event.obj, event.old):
            if isinstance(obj, api.Cluster) or (isinstance(obj, api.Node) and obj.HasField("manager_status")):
                return True
    return False
