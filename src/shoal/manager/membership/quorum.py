"""Which nodes belong to the managers' quorum, which of them are reachable, and which may be removed. Pure.

In: etcd's members, when each manager was last heard, the store's nodes. Out: statuses as Docker shows them, and the
members to remove. Source of the rules: SwarmKit manager/state/raft (`CanRemoveMember`), manager/role_manager.go.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from shoal.api import v1 as api
from shoal.store.memory import View

# A manager that is there says something every 100 ms: etcd's heartbeats.
HEARD_WITHIN = 1.0
SLOW_HEARD_WITHIN = 4.0  # where etcds are slow (`store/pace`), and say something every 400 ms


class Reachability:
    """When each of the other managers was last heard. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float], within: float = HEARD_WITHIN) -> None:
        self._clock = clock
        self.within = within
        self._heard_at: dict[str, float] = {}

    def heard(self, node_id: str) -> None:
        """Note that bytes came from a manager just now."""
        self._heard_at[node_id] = self._clock()

    def is_reachable(self, node_id: str) -> bool:
        """Return whether a manager was heard within the last `within` seconds."""
        heard_at = self._heard_at.get(node_id)
        return heard_at is not None and self._clock() - heard_at <= self.within


@dataclass(frozen=True, slots=True)
class Seat:
    """One member of etcd's cluster: its id there, and whether it has a vote."""

    raft_id: int
    votes: bool = True


class Quorum:
    """The members as the leader knows them. `own_id` is the leader's node."""

    def __init__(self, own_id: str, view: Callable[[], View], is_reachable: Callable[[str], bool]) -> None:
        self._own_id = own_id
        self._view = view
        self._is_reachable = is_reachable
        self.seats: Mapping[str, Seat] = {}
        """By node id."""

    def is_there(self, node_id: str) -> bool:
        """Return whether a member is reachable. The leader itself always is."""
        return node_id == self._own_id or self._is_reachable(node_id)

    def statuses(self) -> Mapping[str, api.ManagerStatus]:
        """Return the status of every member by its node's id, with leader and reachability, which are never stored."""
        nodes = self._view().nodes
        statuses: dict[str, api.ManagerStatus] = {}
        for node_id, seat in self.seats.items():
            node = nodes.get(node_id)
            statuses[node_id] = api.ManagerStatus(
                raft_id=seat.raft_id,
                addr=node.manager_status.addr if node is not None else "",
                leader=node_id == self._own_id,
                reachability=api.RaftMemberStatus.REACHABLE
                if self.is_there(node_id)
                else api.RaftMemberStatus.UNREACHABLE,
            )
        return statuses

    def can_remove(self, node_id: str) -> bool:
        """Return whether a majority of the remaining managers would be reachable. A learner can always be removed."""
        seat = self.seats.get(node_id)
        if seat is not None and not seat.votes:
            return True
        remaining = [other for other, each in self.seats.items() if each.votes and other != node_id]
        return sum(map(self.is_there, remaining)) >= len(remaining) // 2 + 1

    def to_remove(self) -> Iterable[str]:
        """Return the members that must go: they were demoted, or their node was removed. The leader comes last."""
        nodes = self._view().nodes
        gone: list[str] = []
        for node_id in self.seats:
            node = nodes.get(node_id)
            # The leader is never removed for a missing node: at the start of a swarm it has yet to write its own.
            if (node is None and node_id != self._own_id) or (
                node is not None and node.spec.desired_role == api.WORKER
            ):
                gone.append(node_id)
        return sorted(gone, key=lambda node_id: (node_id == self._own_id, node_id))

    def peers(self) -> list[api.Peer]:
        """Return the members' node ids and addresses, as they are sent to nodes."""
        nodes = self._view().nodes
        found = ((node_id, nodes.get(node_id)) for node_id in self.seats)
        return [
            api.Peer(node_id=node_id, addr=node.manager_status.addr)
            for node_id, node in found
            if node is not None and node.manager_status.addr
        ]
