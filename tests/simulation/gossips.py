"""NetworkDBs in virtual time. Membership is given to them and not gossiped, because memberlist has tests of its own.

Packets are lost, delayed, duplicated and reordered. Streams are delayed, and lost only between two nodes that cannot
reach each other. Everything random comes from the seed. Each change that a consumer hears is checked when it comes;
`former` is what the consumer has.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from shoal.network.networkdb.networkdb import NetworkDB
from shoal.network.networkdb.rejoining import Contact

PORT = 7946
LIMIT = 1400 - 2 - 29  # for broadcasts, as memberlist provides it
TABLES = ("endpoint_table", "overlay_peer_table")


@dataclass(frozen=True)
class Peer:
    """A member as memberlist describes it."""

    name: str
    address: str
    port: int = PORT
    answered: bool = True


@dataclass
class Node:
    world: "Gossips"
    peer: Peer
    up: bool = True
    knows: dict[str, None] = field(default_factory=dict)  # members that it believes to be alive
    view: dict[tuple[str, str, str], tuple[str, bytes]] = field(default_factory=dict)
    seen_at: dict[tuple[str, str, str], float] = field(default_factory=dict)
    db: NetworkDB = field(init=False)
    wake_at: float = float("inf")

    # what NetworkDB needs of memberlist

    def send(self, name: str, message: bytes, reliable: bool) -> None:
        self.world.carry(self, name, [message], reliable)

    def tell(self, name: str, message: bytes, number: int) -> None:
        self.world.tell(self, name, message, number)

    def join(self, contacts: Sequence[Contact]) -> None:
        for address, _port in contacts:
            self.world.at(self.world.delay(), lambda address=address: self.world.call(self, address))  # type: ignore[misc]

    def hear_changes(self) -> None:
        for change in self.db.take_changes():
            key = (change.network, change.table, change.key)
            had = self.view.pop(key, None)
            assert (had[1] if had else None) == change.former, f"{self.peer.name}: {change} after {had}"
            if change.value is not None:
                self.view[key] = (change.owner, change.value)
                self.seen_at[key] = self.world.now


class Gossips:
    def __init__(self, seed: int, nodes: int, *, loss: float = 0.0, twice: float = 0.0, late: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.loss, self.twice, self.late = loss, twice, late
        self.counts: Counter[str] = Counter()
        self.nodes: dict[str, Node] = {}
        self.truth: dict[tuple[str, str, str], tuple[str, bytes]] = {}
        self.side: dict[str, int] = {}  # which node is on which side of a partition
        self._ids = count(1)
        self._sequence = count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        for number in range(nodes):
            self.add(f"10.9.{number // 250}.{number % 250 + 1}")

    # -- time ---------------------------------------------------------------------------------------------------------

    def at(self, delay: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + delay, next(self._sequence), act))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, act = heapq.heappop(self._heap)
            act()
        self.now = end

    def run_until(self, condition: Callable[[], bool], within: float, step: float = 0.1) -> float:
        """Let time pass until a condition is true. Returns how long it took."""
        began = self.now
        while not condition():
            assert self.now < began + within, self.differences()
            self.run(step)
        return self.now - began

    def delay(self) -> float:
        return self.rng.uniform(0.0005, 0.02)

    def touched(self, node: Node) -> None:
        """Read a node's changes after anything that happened to it, and wake it when it asks for that."""
        node.hear_changes()
        self.wake(node)

    def wake(self, node: Node) -> None:
        then = max(node.db.next_tick(), self.now)
        if then < node.wake_at:
            node.wake_at = then
            self.at(then - self.now, lambda: self._tick(node, then))

    def _tick(self, node: Node, at: float) -> None:
        if node.up and node.wake_at == at:
            node.wake_at = float("inf")
            self.counts["ticks"] += 1
            node.db.tick(self.now)
            self.touched(node)

    # -- membership ---------------------------------------------------------------------------------------------------

    def reach(self, one: Node, other: Node) -> bool:
        return one.up and other.up and self.side.get(one.peer.address, 0) == self.side.get(other.peer.address, 0)

    def here(self, address: str) -> Node | None:
        return next((node for node in self.nodes.values() if node.up and node.peer.address == address), None)

    def add(self, address: str) -> Node:
        """Start a node. After a while it knows all nodes that it can reach, and they know it."""
        name = f"{next(self._ids):012x}"
        node = Node(self, Peer(name, address))
        contacts = (("10.9.0.1", PORT),) if address != "10.9.0.1" else ()
        node.db = NetworkDB(name, node, random.Random(self.rng.random()), self.now, contacts)
        self.nodes[name] = node
        self.at(self.rng.uniform(0, 0.2), lambda: self._broadcast(node))
        self.at(self.rng.uniform(0, 30), lambda: self._push_pull(node))
        self.wake(node)
        return node

    def call(self, node: Node, address: str) -> None:
        """Make a push/pull with join = true, if somebody answers there."""
        other = self.here(address)
        if other is None or other is node or not self.reach(node, other):
            return
        self.exchange(node, other, join=True)
        for third in list(self.nodes.values()):
            if third is not node and self.reach(node, third):
                self.at(self.rng.uniform(0, 1.5), lambda third=third: self.learn(node, third))  # type: ignore[misc]
                self.at(self.rng.uniform(0, 1.5), lambda third=third: self.learn(third, node))  # type: ignore[misc]

    def learn(self, node: Node, other: Node) -> None:
        if self.reach(node, other) and other.peer.name not in node.knows:
            node.knows[other.peer.name] = None
            node.db.member_joined(other.peer, self.now)
            self.touched(node)

    def lose(self, node: Node, other: Node) -> None:
        if node.up and not self.reach(node, other) and other.peer.name in node.knows:
            del node.knows[other.peer.name]
            self.counts["failed"] += 1
            node.db.member_failed(other.peer, self.now)
            self.touched(node)

    def exchange(self, node: Node, other: Node, join: bool) -> None:
        told = node.db.local_state(join, self.now)
        answer = other.db.local_state(join, self.now)
        self.counts["push/pull bytes"] += len(told) + len(answer)
        self.learn(other, node)
        other.db.merge_state(told, join, self.now)
        self.learn(node, other)
        node.db.merge_state(answer, join, self.now)
        self.touched(node)
        self.touched(other)

    def split(self, sides: dict[str, int]) -> None:
        """Partition the swarm by address; {} heals it. Each pair of nodes notices after some seconds."""
        self.side = sides
        for node in list(self.nodes.values()):
            for other in list(self.nodes.values()):
                if node is other or not node.up or not other.up:
                    continue
                if self.reach(node, other):
                    if node.peer.name in other.knows:  # its refutation comes after somebody has called
                        self.at(self.rng.uniform(0.5, 4), lambda n=node, o=other: self.learn(n, o))  # type: ignore[misc]
                    else:
                        self.at(self.rng.uniform(1, 6), lambda n=node, o=other: self.learn(n, o))  # type: ignore[misc]
                else:
                    self.at(self.rng.uniform(2, 8), lambda n=node, o=other: self.lose(n, o))  # type: ignore[misc]

    def crash(self, node: Node) -> None:
        node.up = False
        self.counts["crashes"] += 1
        self.truth = {key: value for key, value in self.truth.items() if value[0] != node.peer.name}
        for other in list(self.nodes.values()):
            self.at(self.rng.uniform(2, 8), lambda other=other: self.lose(other, node))  # type: ignore[misc]

    def leave(self, node: Node) -> None:
        node.db.leave(self.now)
        self.truth = {key: value for key, value in self.truth.items() if value[0] != node.peer.name}
        self.at(2.0, lambda: self._left(node))

    def _left(self, node: Node) -> None:
        node.up = False
        self.counts["leaves"] += 1
        for other in list(self.nodes.values()):
            if other.up and node.peer.name in other.knows:
                del other.knows[node.peer.name]
                other.db.member_left(node.peer, self.now)
                self.touched(other)

    # -- bytes --------------------------------------------------------------------------------------------------------

    def carry(self, node: Node, name: str, messages: list[bytes], reliable: bool) -> None:
        """Carry one packet or stream. memberlist puts several broadcasts into a packet."""
        kind = "streams" if reliable else "packets"
        self.counts[kind] += 1
        size = sum(map(len, messages))
        self.counts[f"{kind} bytes"] += size
        assert reliable or size <= 1400
        other = self.nodes.get(name)
        if other is None:
            return
        for _ in range(2 if not reliable and self.rng.random() < self.twice else 1):
            if not reliable and self.rng.random() < self.loss:
                self.counts["lost"] += 1
                continue
            delay = self.rng.uniform(0, 2) if self.rng.random() < self.late else self.delay()
            self.at(delay, lambda: self._arrive(node, other, messages))

    def _arrive(self, node: Node, other: Node, messages: list[bytes]) -> None:
        if other.up and (not node.up or self.reach(node, other)):
            for message in messages:
                other.db.heard(message, self.now)
            self.touched(other)

    def tell(self, node: Node, name: str, message: bytes, number: int) -> None:
        """Carry a message with a ping behind it, and the answer, as memberlist does."""
        self.counts["told"] += 1
        self.counts["told bytes"] += len(message)
        if name not in node.knows:
            self.at(0, lambda: self._answered(node, number, arrived=False))
        elif self.rng.random() < self.loss:
            self.counts["lost"] += 1
        else:
            self.at(self.delay(), lambda: self._told(node, self.nodes[name], message, number))

    def _told(self, node: Node, other: Node, message: bytes, number: int) -> None:
        if not other.up or not self.reach(node, other):
            return
        other.db.heard(message, self.now)
        self.touched(other)
        if self.rng.random() >= self.loss:
            self.at(self.delay(), lambda: self._answered(node, number, arrived=True))

    def _answered(self, node: Node, number: int, *, arrived: bool) -> None:
        if node.up:
            node.db.confirmed(number, arrived, self.now)
            self.touched(node)

    def _broadcast(self, node: Node) -> None:
        """Gossip as memberlist does, every 200 ms to three members."""
        if not node.up:
            return
        self.at(0.2, lambda: self._broadcast(node))
        if not node.knows:
            return
        for name in self.rng.sample(list(node.knows), min(3, len(node.knows))):
            drawn = node.db.broadcasts(3, LIMIT, self.now)
            assert sum(len(message) + 3 for message in drawn) <= LIMIT
            if not drawn:
                break
            self.carry(node, name, drawn, False)

    def _push_pull(self, node: Node) -> None:
        if not node.up:
            return
        self.at(30.0, lambda: self._push_pull(node))
        if node.knows:
            other = self.nodes[self.rng.choice(list(node.knows))]
            if self.reach(node, other):
                self.exchange(node, other, join=False)

    # -- what a node wants, and what is true --------------------------------------------------------------------------

    def join_network(self, node: Node, network: str) -> None:
        node.db.join_network(network, self.now)
        self.touched(node)

    def leave_network(self, node: Node, network: str) -> None:
        node.db.leave_network(network, self.now)
        self.truth = {
            key: value for key, value in self.truth.items() if key[0] != network or value[0] != node.peer.name
        }
        self.touched(node)

    def put(self, node: Node, network: str, table: str, key: str, value: bytes) -> None:
        node.db.put(table, network, key, value, self.now)
        self.truth[network, table, key] = (node.peer.name, value)
        self.touched(node)

    def delete(self, node: Node, network: str, table: str, key: str) -> None:
        node.db.delete(table, network, key, self.now)
        del self.truth[network, table, key]
        self.touched(node)

    def networks_of(self, node: Node) -> set[str]:
        return {network for network in ("n0", "n1", "n2", "n3") if node.db.is_on(network)}

    def wanted(self, node: Node) -> dict[tuple[str, str, str], tuple[str, bytes]]:
        on = self.networks_of(node)
        return {key: value for key, value in self.truth.items() if key[0] in on}

    def agreed(self) -> bool:
        return all(node.view == self.wanted(node) for node in self.nodes.values() if node.up)

    def told(self, node: Node, key: tuple[str, str, str]) -> bool:
        """Return whether all that are on the network, and that a node knows, have seen its entry as it is."""
        return all(
            other.view.get(key) == self.truth[key]
            for other in self.nodes.values()
            if other.up and other.peer.name in node.knows and key[0] in self.networks_of(other)
        )

    def differences(self) -> list[str]:
        found = []
        for node in self.nodes.values():
            if node.up:
                missing = self.wanted(node).items() - node.view.items()
                extra = node.view.items() - self.wanted(node).items()
                if missing or extra:
                    found.append(
                        f"{node.peer.name} at {self.now:.1f}: lacks {list(missing)[:3]}, has {list(extra)[:3]}"
                    )
        return found[:10]
