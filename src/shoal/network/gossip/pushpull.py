"""Two nodes tell each other by a stream all that they know: members, and the delegate's state.

Pure. Reading is total and bounded. Source: gossip.md 1.8.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from shoal.errors import InvalidArgument
from shoal.network.gossip.delegate import State
from shoal.network.gossip.members import Members, Record, is_compatible
from shoal.network.gossip.messages import MAX_META, Alive, Dead, Fields, Kind, Suspect
from shoal.network.gossip.msgpack import Reader, pack_map

# Of one peer's list. More than a table holds, as a peer also lists those that are gone; Docker's limit is a million.
MAX_NODES = 20_000
_SMALL = 32  # nodes, up to which the interval is as it is


@dataclass(frozen=True, slots=True)
class Node:
    """A member as a peer lists it."""

    alive: Alive
    state: State


@dataclass(frozen=True, slots=True)
class PushPull:
    """What a peer tells. `join`: it has just come, or come back. `skipped`: nodes that make no sense."""

    join: bool
    nodes: tuple[Node, ...]
    state: bytes
    skipped: int = 0


def interval(base: float, members: int) -> float:
    """Return how long to wait between two exchanges, in seconds: the longer, the more members there are."""
    if members <= _SMALL:
        return base
    return base * (math.ceil(math.log2(members) - math.log2(_SMALL)) + 1)


def write(records: Iterable[Record], state: bytes, *, join: bool) -> bytes:
    """Return the message that tells of these members."""
    listed = [record.listed or _list(record) for record in records]
    header = pack_map({"Join": join, "Nodes": len(listed), "UserStateLen": len(state)})
    return b"".join((bytes((Kind.PUSH_PULL,)), header, *listed, state))


def _list(record: Record) -> bytes:
    record.listed = pack_map(
        {
            "Addr": record.address,
            "Incarnation": record.incarnation,
            "Meta": record.meta,
            "Name": record.name.encode(),
            "Port": record.port,
            "State": record.state,
            "Vsn": record.versions,
        }
    )
    return record.listed


def read(message: bytes) -> PushPull:
    """Read such a message. InvalidArgument where it is damaged.

    A node that makes no sense is skipped, and the rest is taken in: else one that got into the list by whatever way
    would keep all of them from learning anything.
    """
    reader = Reader(message, 1)
    header = Fields(reader.read_map())
    nodes, skipped = [], 0
    for _ in range(header.number("Nodes", MAX_NODES + 1)):
        fields = Fields(reader.read_map())
        try:
            node = _read_node(fields)
        except InvalidArgument:
            skipped += 1
            continue
        if is_compatible(node.alive.versions):
            nodes.append(node)
        else:
            skipped += 1
    state = reader.take(header.number("UserStateLen", len(message) + 1))
    return PushPull(header.flag("Join"), tuple(nodes), state, skipped)


def _read_node(fields: Fields) -> Node:
    alive = Alive(
        fields.number("Incarnation", 1 << 32),
        fields.name("Name"),
        fields.address("Addr"),
        fields.port("Port"),
        fields.raw("Meta", MAX_META),
        fields.raw("Vsn", MAX_META),
    )
    return Node(alive, State(fields.number("State", len(State))))


def merge(members: Members, told: PushPull, now: float) -> None:
    """Take in what a peer tells of members."""
    for node in told.nodes:
        if node.state == State.ALIVE:
            members.handle_alive(node.alive, now)
        elif node.state == State.LEFT:
            members.handle_dead(Dead(node.alive.incarnation, node.alive.node, node.alive.node), now)
        else:
            # Also where the peer says dead: the member may speak up first.
            members.handle_suspect(Suspect(node.alive.incarnation, node.alive.node, members.me.name), now)
