"""What every part of Control shares: the store, the time, and who is in the quorum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shoal.api import v1 as api
from shoal.api.ids import new_id
from shoal.ca.tokens import new_kek
from shoal.errors import InvalidArgument
from shoal.manager.control.root_change import ExternalCAs
from shoal.manager.control.validate_service import Expand, unexpanded

if TYPE_CHECKING:
    from shoal.store.store import Store


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


class Part:
    """A part of Control: the methods of one resource.

    `clock` is in seconds since 1970. `expand` fills in the placeholders of a container's spec (the agent's own, so that
    both find the same mistakes). `external` reaches external CAs; without it none is reachable.
    """

    def __init__(
        self,
        store: Store,
        membership: Membership,
        clock: Callable[[], float],
        new_id: Callable[[], str] = new_id,
        new_unlock_key: Callable[[], bytes] = new_kek,
        expand: Expand = unexpanded,
        external: ExternalCAs | None = None,
    ) -> None:
        self._store = store
        self._membership = membership
        self._clock = clock
        self._new_id = new_id
        self._new_unlock_key = new_unlock_key
        self._expand = expand
        self._external = external


def require(*given: object) -> None:
    """Raise InvalidArgument in Swarm's bare words where an id, a version or a spec is missing."""
    if not all(given):
        raise InvalidArgument("invalid argument")
