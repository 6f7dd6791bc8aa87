"""Who is in the managers' quorum, as Control asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from shoal.api import v1 as api


class Membership(Protocol):
    """Who belongs to the managers' quorum right now."""

    def statuses(self) -> Mapping[str, api.ManagerStatus]:
        """Return every member by its node's id."""

    def can_remove(self, node_id: str) -> bool:
        """Return whether the quorum survives without this member."""


@dataclass(frozen=True)
class SoleManager:
    """The membership of a swarm with one manager: that one leads, and cannot be spared."""

    node_id: str
    address: str
    raft_id: int = 1

    def statuses(self) -> Mapping[str, api.ManagerStatus]:
        """Return the one member."""
        status = api.ManagerStatus(
            raft_id=self.raft_id, addr=self.address, leader=True, reachability=api.RaftMemberStatus.REACHABLE
        )
        return {self.node_id: status}

    def can_remove(self, node_id: str) -> bool:
        """Return whether this node is not that manager."""
        return node_id != self.node_id
