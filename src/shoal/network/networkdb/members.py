"""The other nodes: which are here, which are silent, which have left. Memberlist tells the first two, they the third.

A node's name is new each time that it starts. Its address says that an older name was the same node: that one has left.
"""

from dataclasses import dataclass
from typing import Protocol

from shoal.network.networkdb.crowd import Crowd

# Nodes that are gone are remembered for a day. A swarm whose nodes restart all the time, or a forger, is held to this.
MOST_GONE = 4096


class Member(Protocol):
    """A member as memberlist tells it."""

    @property
    def name(self) -> str:
        """Its name in gossip, not its node id."""

    @property
    def address(self) -> str:
        """Its address, without port."""

    @property
    def port(self) -> int:
        """Where it gossips."""

    @property
    def answered(self) -> bool:
        """Whether it has ever answered: one that has not may have been made up."""


@dataclass(slots=True)
class Node:
    """A node that memberlist told of."""

    name: str
    address: str
    port: int
    alive: bool = True  # says memberlist
    answered: bool = False  # it has, at least once, before it fell silent
    left: bool = False  # it said so itself, or a newer name has its address
    l_time: int = 0  # of the latest NodeEvent about it
    gone_at: float = 0.0  # since when it is not active

    @property
    def active(self) -> bool:
        """Whether it counts as here."""
        return self.alive and not self.left


class Members:
    """All nodes but this one."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._at: dict[tuple[str, int], str] = {}
        self._gone: dict[str, None] = {}  # not active, the longest gone first
        self.active = Crowd()
        self.failed = Crowd()  # silent, have not left, and have answered before: worth calling again

    def get(self, name: str) -> Node | None:
        """Return a node, whatever has become of it."""
        return self._nodes.get(name)

    def at(self, address: str, port: int) -> bool:
        """Whether an active node has this address."""
        return self._at.get((address, port), "") in self.active

    def is_active(self, name: str) -> bool:
        """Whether the node is here."""
        return name in self.active

    def joined(self, member: Member, now: float) -> str | None:
        """Take a member as alive. Returns the older name at its address, which has thereby left."""
        node = self._nodes.get(member.name)
        if node is None:
            node = self._nodes[member.name] = Node(member.name, member.address, member.port)
        node.alive, node.left = True, False
        self._move(node, member)
        older = self._at.get((node.address, node.port))
        self._at[node.address, node.port] = node.name
        self._sort(node, now)
        if older is None or older == node.name:
            return None
        former = self._nodes.get(older)
        if former is not None:
            former.alive, former.left = False, True
            self._sort(former, now)
        return older

    def updated(self, member: Member) -> None:
        """Take a member's new address."""
        node = self._nodes.get(member.name)
        if node is not None:
            self._move(node, member)
            self._at.setdefault((node.address, node.port), node.name)

    def silent(self, member: Member, now: float) -> None:
        """Take a member as dead."""
        node = self._nodes.get(member.name)
        if node is not None:
            node.alive, node.answered = False, member.answered
            self._sort(node, now)

    def said(self, name: str, left: bool, now: float) -> None:
        """Take what a node said of itself: that it has left, or is here."""
        node = self._nodes.get(name)
        if node is not None:
            node.left = left
            self._sort(node, now)

    def forget(self, before: float) -> list[str]:
        """Forget those that are gone since before a time, and the longest gone of too many. Returns their names."""
        forgotten = []
        for name in list(self._gone):
            if self._nodes[name].gone_at > before and len(self._gone) <= MOST_GONE:
                break
            del self._gone[name]
            self.failed.discard(name)
            node = self._nodes.pop(name)
            if self._at.get((node.address, node.port)) == name:
                del self._at[node.address, node.port]
            forgotten.append(name)
        return forgotten

    def _move(self, node: Node, member: Member) -> None:
        if (node.address, node.port) != (member.address, member.port):
            if self._at.get((node.address, node.port)) == node.name:
                del self._at[node.address, node.port]
            node.address, node.port = member.address, member.port

    def _sort(self, node: Node, now: float) -> None:
        if node.active:
            self.active.add(node.name)
            self.failed.discard(node.name)
            self._gone.pop(node.name, None)
            return
        self.active.discard(node.name)
        if node.left or not node.answered:
            self.failed.discard(node.name)
        else:
            self.failed.add(node.name)
        if node.name not in self._gone:
            self._gone[node.name] = None
            node.gone_at = now
