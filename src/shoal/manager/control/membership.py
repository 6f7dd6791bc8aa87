"""The members of the managers' quorum, as Control needs to know them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from shoal.api import v1 as api


class Membership(Protocol):
    """The present members of the managers' quorum."""

    def statuses(self) -> Mapping[str, api.ManagerStatus]:
        """Return the status of every member by its node's id."""

    def can_remove(self, node_id: str) -> bool:
        """Return whether the managers keep their quorum without this member."""


@dataclass(frozen=True)
class SoleManager:
    """The membership of a swarm with one manager, which leads and cannot be removed."""

    node_id: str
    address: str
    raft_id: int = 1

    def statuses(self) -> Mapping[str, api.ManagerStatus]:
        """Return the only member."""
        status = api.ManagerStatus(
            raft_id=self.raft_id, addr=self.address, leader=True, reachability=api.RaftMemberStatus.REACHABLE
        )
        return {self.node_id: status}

    def can_remove(self, node_id: str) -> bool:
        """Return whether this node is another one than the only manager."""
        return node_id != self.node_id
