"""A value of a compose file, and where it stands.

Nodes are never changed once made, so that an alias may be the node that it names.
"""

from dataclasses import dataclass, replace
from typing import Any

from shoal.compose.errors import Place

RESET, OVERRIDE = "!reset", "!override"


@dataclass(frozen=True, slots=True)
class Node:
    """A value: None, bool, int, float, str, a dict of nodes by key, or a list of nodes.

    `place` is where it begins; `key_place` where its key does, if it has one. `tag` is RESET, OVERRIDE or empty.
    """

    value: Any
    place: Place
    key_place: Place | None = None
    tag: str = ""

    @property
    def entries(self) -> dict[str, "Node"]:
        """Return the nodes of a mapping by key; none of anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list["Node"]:
        """Return the nodes of a list; none of anything else."""
        return self.value if isinstance(self.value, list) else []

    def get(self, *path: str) -> "Node | None":
        """Return the node at a path of keys, or None."""
        node: Node | None = self
        for key in path:
            node = node.entries.get(key) if node is not None else None
        return node

    def find(self, *path: str) -> Any:
        """Return the plain value at a path of keys, or None."""
        node = self.get(*path)
        return None if node is None else plain(node)

    def made(self, value: Any) -> "Node":
        """Return a node of another value at the same place."""
        return replace(self, value=value)

    @property
    def named_at(self) -> Place:
        """Return where its key stands, or itself if it has none."""
        return self.key_place or self.place


def node(value: Any, place: Place) -> Node:
    """Return plain values as nodes that all stand at one place."""
    if isinstance(value, dict):
        return Node({key: node(each, place) for key, each in value.items()}, place)
    if isinstance(value, list):
        return Node([node(each, place) for each in value], place)
    return Node(value, place)


def plain(of: Node) -> Any:
    """Return a node's value without places."""
    if isinstance(of.value, dict):
        return {key: plain(each) for key, each in of.value.items()}
    if isinstance(of.value, list):
        return [plain(each) for each in of.value]
    return of.value


def size(of: Node, limit: int) -> int:
    """Return how many nodes there are in one, itself included; something above `limit` if there are more."""
    total, left = 0, [of]
    while left and total <= limit:
        each = left.pop()
        total += 1
        if isinstance(each.value, dict):
            left.extend(each.value.values())
        elif isinstance(each.value, list):
            left.extend(each.value)
    return total


def kind_of(value: Any) -> str:
    """Return what a value is, in words for people."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "text"
