import itertools

import pytest

from shoal.api import v1 as api
from shoal.manager.deciding.plan import Plan
from shoal.manager.keyring import GOSSIP, IPSEC, ROTATION, KeyManager
from shoal.store.changes import Update
from shoal.store.memory import Memory


@pytest.fixture
def manager() -> KeyManager:
    numbers = itertools.count(256)
    return KeyManager(lambda size: next(numbers).to_bytes(size, "big"))


def applied(plan: Plan) -> api.Cluster:
    (change,) = plan.changes
    assert isinstance(change, Update)
    assert isinstance(change.obj, api.Cluster)
    return change.obj


def times_of(cluster: api.Cluster, subsystem: str) -> list[int]:
    return [key.lamport_time for key in cluster.network_bootstrap_keys if key.subsystem == subsystem]


def test_cluster_without_keys_gets_three_of_each_kind(manager: KeyManager) -> None:
    cluster = applied(manager.decide(Memory.of([api.Cluster(id="c")]), 0.0, None))
    assert times_of(cluster, GOSSIP) == [257, 258, 259]  # the clock starts at a random 16-bit number: 256
    assert times_of(cluster, IPSEC) == [260, 261, 262]
    assert cluster.encryption_key_lamport_clock == 262
    assert {len(key.key) for key in cluster.network_bootstrap_keys} == {16}
    assert len({key.key for key in cluster.network_bootstrap_keys}) == 6


def test_keys_rotate_every_twelve_hours_of_the_term(manager: KeyManager) -> None:
    cluster = applied(manager.decide(Memory.of([api.Cluster(id="c")]), 100.0, None))
    memory = Memory.of([cluster])
    assert manager.decide(memory, 101.0, []) == Plan(look_again_at=100.0 + ROTATION)
    rotated = applied(manager.decide(memory, 100.0 + ROTATION, []))
    assert times_of(rotated, GOSSIP) == [258, 259, 263]
    assert times_of(rotated, IPSEC) == [261, 262, 264]
    assert rotated.encryption_key_lamport_clock == 264
    assert manager.decide(Memory.of([rotated]), 101.0 + ROTATION, []).look_again_at == 100.0 + 2 * ROTATION


def test_keys_wait_for_a_cluster(manager: KeyManager) -> None:
    assert manager.decide(Memory(), 5.0, None) == Plan(look_again_at=6.0)
