"""Many NetworkDBs in one process: whatever is lost, late or cut off, after a quiet half minute all see the same."""

import os
import random

import pytest

from tests.simulation.gossips import TABLES, Gossips, Node

SEED = int(os.environ.get("SHOAL_SEED", "1"))
NODES = int(os.environ.get("SHOAL_GOSSIP_NODES", "50"))
ONE_ROUND = 30.0


def up(world: Gossips) -> list[Node]:
    return [node for node in world.nodes.values() if node.up]


def all_know_all(world: Gossips) -> bool:
    here = up(world)
    return all(len(node.knows) >= len(here) - 1 for node in here)


def started(seed: int, nodes: int, networks: int = 4, **faults: float) -> Gossips:
    world = Gossips(seed, nodes, **faults)
    world.run_until(lambda: all_know_all(world), 60)
    for node in up(world):
        for network in range(networks):
            if network == 0 or world.rng.random() < 0.6:
                world.join_network(node, f"n{network}")
    return world


class Users:
    """They start, change and end tasks on all nodes."""

    def __init__(self, world: Gossips) -> None:
        self.world = world
        self.rng = random.Random(world.rng.random())
        self.keys: dict[tuple[str, str, str], Node] = {}
        self.number = 0

    def act(self) -> None:
        self.keys = {key: node for key, node in self.keys.items() if key in self.world.truth}
        what = self.rng.choices(["create", "update", "delete", "join", "leave"], [5, 2, 3, 0.3, 0.3])[0]
        node = self.rng.choice(up(self.world))
        if what in ("update", "delete") and self.keys:
            key = self.rng.choice(list(self.keys))
            if what == "update":
                self.world.put(self.keys[key], *key, self.value())
            else:
                self.world.delete(self.keys.pop(key), *key)
        elif what == "join":
            self.world.join_network(node, self.rng.choice(["n1", "n2", "n3"]))
        elif what == "leave":
            self.world.leave_network(node, self.rng.choice(["n1", "n2", "n3"]))
        else:
            self.create(node)

    def create(self, node: Node) -> None:
        network = self.rng.choice(sorted(self.world.networks_of(node)))
        key = (network, self.rng.choice(TABLES), f"{self.rng.getrandbits(256):064x}")
        self.keys[key] = node
        self.world.put(node, *key, self.value())

    def value(self) -> bytes:
        self.number += 1
        return b"%d " % self.number + self.rng.randbytes(self.rng.choice([60, 200]))


def converge(world: Gossips, within: float = ONE_ROUND + 3) -> float:
    """Return how long it took until all saw the same; they go on seeing it."""
    took = world.run_until(world.agreed, within)
    world.run(5)
    assert world.agreed(), world.differences()
    return took


@pytest.mark.parametrize("seed", [SEED, SEED + 1, SEED + 2])
def test_all_see_the_same_after_a_storm(seed: int) -> None:
    world = started(seed, 12, loss=0.2, twice=0.1, late=0.1)
    users = Users(world)
    for step in range(300):
        users.act()
        world.run(0.1)
        if step % 60 == 30:
            world.crash(world.rng.choice(up(world)[1:]))
        if step % 90 == 45:
            world.leave(world.rng.choice(up(world)[1:]))
            world.run(3)
        if step % 100 == 50:
            node = world.add(f"10.8.0.{step}")
            world.run(2)
            world.join_network(node, "n0")
    assert world.counts["lost"]
    assert world.counts["crashes"]
    assert world.counts["leaves"]
    world.run(8)  # until the last crash is noticed
    converge(world)


@pytest.mark.parametrize("seed", [SEED, SEED + 1, SEED + 2])
def test_all_see_the_same_after_a_partition(seed: int) -> None:
    """What changed on either side meanwhile is right too (known fault 1)."""
    world = started(seed, 12, loss=0.05)
    users = Users(world)
    for _ in range(60):
        users.act()
        world.run(0.1)
    converge(world)
    addresses = [node.peer.address for node in up(world)]
    world.split({address: number % 3 for number, address in enumerate(addresses)})
    for _ in range(150):
        users.act()
        world.run(0.2)
    assert world.counts["failed"]
    assert not world.agreed()
    world.split({})
    world.run(8)  # until all have noticed
    converge(world)
