"""The `shoal.v1.Managers` service, by which managers join, and the leader's care for etcd's members.

Owns etcd's membership while this manager leads. Managers join as learners and get a vote once they have caught up. A
manager that was demoted, or whose node was removed, is removed as soon as the quorum survives that; a leader that is
demoted first hands the lead on. `quorum` decides who may be removed. In: calls of managers, nodes of the store. Out:
etcd's members, `manager_status` of nodes (id in etcd and address; leader and reachability are never stored).
Source of order and texts: SwarmKit manager/state/raft/raft.go (`Join`), manager/role_manager.go.
"""

import asyncio
import logging
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shoal.api import v1 as api
from shoal.api.gen import managers_pb2 as pb
from shoal.api.gen.managers_grpc import ManagersBase
from shoal.api.gen.raft_grpc import RaftMembershipBase
from shoal.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ShoalError,
    Unavailable,
)
from shoal.manager.membership.quorum import Quorum, Seat
from shoal.manager.port.authorization import Caller
from shoal.store import members
from shoal.store.changes import copy
from shoal.store.etcd_client import EtcdClient
from shoal.store.memory import Transaction
from shoal.store.watch import WatchLagged

if TYPE_CHECKING:
    from grpclib.server import Stream

    from shoal.store.store import Store

log = logging.getLogger(__name__)

Request = TypeVar("Request")

QUORUM_LOST = "can't remove member from the raft: this would result in a loss of quorum"
NO_ENGINES = (
    "a Docker Engine cannot be a manager of a Shoal swarm: leave, and join with the token that "
    "docker swarm join-token worker prints"
)
# Seconds until a member that cannot be removed now is looked at again, because other managers may have come back.
RETRY = 1.0


class Probe(Protocol):
    """Asks whether a certain manager serves at an address."""

    async def __call__(self, node_id: str, address: str) -> None:
        """Return if the manager serves there. Raises ShoalError otherwise."""


class Members(ManagersBase):
    """The service, and a component of the leader. `changed` is called when members or their addresses changed."""

    def __init__(
        self,
        store: "Store",
        etcd: EtcdClient,
        quorum: Quorum,
        *,
        own_id: str,
        own_address: str,
        caller: Callable[[], Caller],
        probe: Probe,
        data_key: bytes,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._etcd = etcd
        self._quorum = quorum
        self._own_id = own_id
        self._own_address = own_address
        self._caller = caller
        self._probe = probe
        self._data_key = data_key
        self._changed = changed
        self._changing = asyncio.Lock()
        self._admitted = asyncio.Event()
        self._held_back: set[str] = set()  # members for which the log already says that they stay for the quorum

    # Calls of the leader.

    async def begin(self) -> None:
        """Read the members, and write this manager's id and address. Call it once, before `run`."""
        await self._refresh()
        await self._note(self._own_id, self._own_address)
        await self._forget_strangers()

    async def run(self) -> None:
        """Give learners a vote and remove demoted members, until cancelled."""
        if any(not seat.votes for seat in self._quorum.seats.values()):
            self._admitted.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._settle(), name="learners")
            group.create_task(self._tend(), name="demotions")

    async def _settle(self) -> None:
        while True:
            await self._admitted.wait()
            self._admitted.clear()
            try:
                await members.settle_learners(self._etcd)
                await self._refresh()
                await self._forget_strangers()
            except Unavailable as error:
                log.debug("managers that join have no vote yet: %s", error)
                self._admitted.set()
                await asyncio.sleep(RETRY)

    async def _tend(self) -> None:
        while True:
            with self._store.watch(api.Node) as watch:
                try:
                    while True:
                        pending = await self._remove_due()
                        try:
                            async with asyncio.timeout(RETRY if pending else None):
                                await watch.next()
                        except TimeoutError:
                            pass
                except WatchLagged:
                    continue

    async def _remove_due(self) -> bool:
        """Remove the members that must go and may. Return whether some of them are left."""
        left = False
        for node_id in self._quorum.to_remove():
            try:
                async with self._changing:
                    left |= not await self._remove(node_id)
            except Unavailable as error:
                log.debug("manager %s could not be removed: %s", node_id, error)
                left = True
        return left

    async def _remove(self, node_id: str) -> bool:
        if not self._quorum.can_remove(node_id):
            if node_id not in self._held_back:
                self._held_back.add(node_id)
                log.warning("manager %s stays a member for now: without it there would be no quorum", node_id)
            return False
        self._held_back.discard(node_id)
        if node_id == self._own_id:
            log.info("this manager is demoted: it hands the lead to another one")
            await members.move_lead(self._etcd)
            return False  # the next leader removes it
        await members.expel(self._etcd, node_id)
        log.info("manager %s has left the quorum", node_id)
        await self._refresh()
        await self._forget_strangers()
        return True

    async def _refresh(self) -> None:
        found = await members.listed(self._etcd)
        seats = {node_id: Seat(each.id, not each.is_learner) for node_id, each in found.items()}
        if seats != self._quorum.seats:
            self._quorum.seats = seats
            self._changed()

    async def _note(self, node_id: str, address: str) -> None:
        """Write a member's id and address to its node, unless they are there."""
        seat = self._quorum.seats.get(node_id)
        if seat is None:
            return
        status = api.ManagerStatus(raft_id=seat.raft_id, addr=address)

        def write(transaction: Transaction) -> None:
            current = transaction.nodes.get(node_id)
            if current is not None and current.manager_status != status:
                node = copy(current)
                node.manager_status.CopyFrom(status)
                transaction.update(node)

        await self._store.update(write)
        self._changed()

    async def _forget_strangers(self) -> None:
        """Clear `manager_status` of nodes that are no members. The role manager then changes their role."""
        seats = self._quorum.seats

        def write(transaction: Transaction) -> None:
            for current in list(transaction.nodes.find("role", api.MANAGER)):
                if current.id not in seats and current.HasField("manager_status"):
                    node = copy(current)
                    node.ClearField("manager_status")
                    transaction.update(node)

        await self._store.update(write)

    # The service.

    async def Join(  # noqa: N802 - the protocol's name
        self, stream: "Stream[pb.JoinRequest, pb.JoinResponse]"
    ) -> None:
        """Make the caller a member, or record its new address."""
        request = await _received(stream)
        caller = self._caller()
        address = joining_address(request.addr, caller.address)
        self._check_joining(caller.node_id)
        await self._probe(caller.node_id, address)
        async with self._changing:
            self._check_joining(caller.node_id)
            anew = caller.node_id not in self._quorum.seats or not request.has_data
            if anew:
                await self._admit(caller.node_id)
            await self._note(caller.node_id, address)
        await stream.send_message(self._reply(anew=anew))

    def _check_joining(self, node_id: str) -> None:
        node = self._store.view().nodes.get(node_id)
        if node is None:
            raise NotFound(f"node {node_id} not found")
        if node.spec.desired_role != api.MANAGER:
            raise FailedPrecondition(f"node {node_id} is to be a worker")

    async def _admit(self, node_id: str) -> None:
        # The joiner has no data. It has forgotten its votes, so under its old id it could break Raft's guarantees.
        if node_id in self._quorum.seats and not self._quorum.can_remove(node_id):
            raise FailedPrecondition(QUORUM_LOST)
        try:
            await members.admit(self._etcd, node_id)
        finally:
            await self._refresh()
        self._admitted.set()
        log.info("manager %s joins the quorum", node_id)

    def _reply(self, *, anew: bool) -> pb.JoinResponse:
        nodes = self._store.view().nodes
        response = pb.JoinResponse(data_key=self._data_key, anew=anew)
        for node_id in self._quorum.seats:
            node = nodes.get(node_id)
            response.members.add(node_id=node_id, addr=node.manager_status.addr if node is not None else "")
        return response


class RaftMembershipServer(RaftMembershipBase):
    """SwarmKit's service for joining the quorum, which only Docker Engines call. It refuses them with the reason.

    Without it, an Engine that joins with a manager token would only hear that a method is unknown.
    """

    async def Join(self, stream: "Stream[api.JoinRequest, api.JoinResponse]") -> None:  # noqa: N802 - the protocol's name
        """Raise FailedPrecondition."""
        raise FailedPrecondition(NO_ENGINES)

    async def Leave(self, stream: "Stream[api.LeaveRequest, api.LeaveResponse]") -> None:  # noqa: N802
        """Raise FailedPrecondition."""
        raise FailedPrecondition(NO_ENGINES)


def joining_address(address: str, caller: str) -> str:
    """Return the address (`host:port`) of a joining manager. If it names no host, it is the host that it calls from.

    Raises InvalidArgument for an address without a valid host or port.
    """
    host, colon, port = address.rpartition(":")
    try:
        if not colon or not 0 < int(port) < 65536:
            raise ValueError
        found = ip_address(host.strip("[]")) if host else None
    except ValueError as fault:
        raise InvalidArgument(f"invalid address {address} in raft join request") from fault
    if found is not None and not found.is_unspecified:
        return address
    return f"{caller.rpartition(':')[0]}:{port}"


async def _received(stream: "Stream[Request, Any]") -> Request:
    request = await stream.recv_message()
    if request is None:
        raise ShoalError("the call ended without a request")
    return request
