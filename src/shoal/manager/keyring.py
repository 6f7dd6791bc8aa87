"""Makes and rotates the keys with which nodes encrypt their gossip and overlay traffic.

In: the cluster object. Out: the cluster object with other keys. Nodes get the keys from the dispatcher; Control never
shows them. Source: SwarmKit manager/keymanager.
"""

from collections.abc import Callable, Sequence

from shoal.api import v1 as api
from shoal.manager.deciding.plan import Plan
from shoal.store.changes import Event, Kind, Update, copy
from shoal.store.memory import View

GOSSIP, IPSEC = "networking:gossip", "networking:ipsec"
SUBSYSTEMS = (GOSSIP, IPSEC)
KEYS = 3  # of each subsystem: the previous one, the present one, the next one
KEY_BYTES = 16
ROTATION = 12 * 3600.0

RandomBytes = Callable[[int], bytes]


def give_keys(cluster: api.Cluster, random_bytes: RandomBytes) -> None:
    """Give a cluster that is about to be stored its first keys. The clock starts anywhere below 65536."""
    cluster.encryption_key_lamport_clock = int.from_bytes(random_bytes(2), "big")
    for subsystem in SUBSYSTEMS:
        for _ in range(KEYS):
            _add_key(cluster, subsystem, random_bytes)


def rotate_keys(cluster: api.Cluster, random_bytes: RandomBytes) -> None:
    """Drop the oldest key of each subsystem and add a new one, in a copy that is about to be stored."""
    kept: list[api.EncryptionKey] = []
    for subsystem in SUBSYSTEMS:
        keys = [copy(key) for key in cluster.network_bootstrap_keys if key.subsystem == subsystem]
        keys.sort(key=lambda key: key.lamport_time)
        kept.extend(keys[1 - KEYS :])
    cluster.ClearField("network_bootstrap_keys")
    cluster.network_bootstrap_keys.extend(kept)
    for subsystem in SUBSYSTEMS:
        _add_key(cluster, subsystem, random_bytes)


def _add_key(cluster: api.Cluster, subsystem: str, random_bytes: RandomBytes) -> None:
    cluster.encryption_key_lamport_clock += 1
    cluster.network_bootstrap_keys.add(
        subsystem=subsystem,
        algorithm=api.EncryptionKey.AES_128_GCM,
        key=random_bytes(KEY_BYTES),
        lamport_time=cluster.encryption_key_lamport_clock,
    )


class KeyManager:
    """The decider that gives a cluster without keys its first ones, and rotates them every 12 h of a leader's term."""

    name = "keys"
    kinds: tuple[Kind, ...] = ()  # only time wakes it; a cluster without keys gets them at the start of a term

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._rotate_at: float | None = None

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return the cluster with the keys it should have now."""
        cluster = next(iter(view.clusters.all()), None)
        if cluster is None:
            return Plan(look_again_at=now + 1)
        if self._rotate_at is None:
            self._rotate_at = now + ROTATION
        changed = copy(cluster)
        if not cluster.network_bootstrap_keys:
            give_keys(changed, self._random_bytes)
            return Plan((Update(changed),), look_again_at=self._rotate_at)
        if now < self._rotate_at:
            return Plan(look_again_at=self._rotate_at)
        rotate_keys(changed, self._random_bytes)
        self._rotate_at = now + ROTATION
        return Plan((Update(changed),), ("rotated the keys of the swarm's networks",), self._rotate_at)
