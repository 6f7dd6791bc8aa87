"""The flags with which our etcd runs, and the names of its members. Pure.

In: the node's id and those of the other managers. Out: etcd's flags. Why peers are unix sockets named after nodes:
docs/decisions/0007-etcd-peers.md.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from shoal.errors import InvalidArgument
from shoal.paths import Paths

# One Raft message: the store's largest transaction (`store.batch`), with room for etcd's own framing. etcd warns if
# this is larger.
MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_TXN_OPS = 12_288
SNAPSHOT_COUNT = 1000
UNIX = "unix://"
# With several managers, a new leader is elected 0.6 to 1.2 s after the old one went silent. A process on the way of the
# peers' messages must never be slower than that. A single manager only waits for itself when it starts; five ticks are
# etcd's minimum. Both use the same tick, because the first of several managers was started as a single one. Why the
# tick is not longer: docs/decisions/0025-etcd-at-rest.md.
_HEARTBEAT_MS = 100
_ELECTION_ALONE_MS, _ELECTION_OF_MANY_MS = 500, 600
# On hosts that are too slow for that (`pace`): all times are so many times as long.
_SLOWER, _TICKS = 4, _ELECTION_OF_MANY_MS // _HEARTBEAT_MS
# How often etcd writes its database. A change is flushed to its log before anybody hears of it, so this loses nothing.
# By default, etcd checks ten times a second whether there is something to write.
_DATABASE_WRITES_EVERY = "1s"


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """The settings of our etcd. The defaults are for a single manager."""

    name: str = "manager"
    """This member's name among its peers."""
    peer_url: str = "unix://localhost:2"
    """The unix socket, beside the client's, on which it listens for peers and is reached by them."""
    peers: str = ""
    """`name=url,…` of all members when a cluster is made or joined. Empty: only this member."""
    join: bool = False
    """Join an existing cluster instead of making one. It has no effect if there is a data folder."""
    exists: bool = False
    """The member existed before, so its data folder must be there. Otherwise etcd would make a cluster of its own."""
    force_new_cluster: bool = False
    """At the first start, go on alone with the present data, whatever other members it names."""
    heartbeat_ms: int = _HEARTBEAT_MS
    """Raft's tick.

    A smaller one makes starts faster and costs CPU at rest (50: 0.7 % of a core, 100: 0.5, 500: 0.3).
    """
    election_ms: int = _ELECTION_ALONE_MS
    """A follower that hears nothing for one to two times this stands for election. So does a single member at start."""
    quota_bytes: int = 2 * 1024**3
    """etcd refuses writes when its database is larger. This is etcd's own default and recommendation."""
    kept_revisions: int = 1000
    """etcd drops older revisions every five minutes."""
    snapshot_count: int = SNAPSHOT_COUNT
    """Entries of Raft's log between snapshots. Fewer: a smaller log in memory, a faster start, more writing. `space`
    bounds their sum in bytes."""

    def __post_init__(self) -> None:
        """Raise InvalidArgument for values that etcd would refuse later and less clearly."""
        if self.election_ms < 5 * self.heartbeat_ms:
            raise InvalidArgument("election_ms must be at least 5 times heartbeat_ms")

    @classmethod
    def member(
        cls,
        node_id: str,
        others: Iterable[str] = (),
        *,
        join: bool = False,
        exists: bool = False,
        force_new_cluster: bool = False,
    ) -> Self:
        """Return the settings of a manager's etcd.

        `others` are node ids; they matter when a cluster is made or joined.
        """
        names = dict.fromkeys((node_id, *others))
        alone = len(names) == 1
        return cls(
            name=node_id,
            peer_url=peer_url(node_id),
            peers=",".join(f"{name}={peer_url(name)}" for name in names),
            join=join,
            exists=exists,
            force_new_cluster=force_new_cluster,
            election_ms=_ELECTION_ALONE_MS if alone else _ELECTION_OF_MANY_MS,
        )

    @property
    def is_alone(self) -> bool:
        """Return whether this is the only member, as far as is known."""
        return "," not in self.peers

    def slow(self) -> Self:
        """Return the settings for hosts on which elections follow one another: four times as patient.

        A manager that was started alone gets the same times as the others.
        """
        election_ms = _SLOWER * max(self.election_ms, _TICKS * self.heartbeat_ms)
        return replace(self, heartbeat_ms=_SLOWER * self.heartbeat_ms, election_ms=election_ms)

    def flags(self) -> list[str]:
        """Return etcd's flags, without `--force-new-cluster` and without the paths of its files."""
        return [
            *("--name", self.name, "--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
            *("--initial-cluster", self.peers or f"{self.name}={self.peer_url}"),
            *("--initial-cluster-state", "existing" if self.join else "new"),
            # etcd derives ids from this and the name, so each new cluster of a node is another one.
            *("--initial-cluster-token", secrets.token_hex(16)),
            *("--heartbeat-interval", str(self.heartbeat_ms), "--election-timeout", str(self.election_ms)),
            # So that a member that was cut off or paused does not depose a leader whom all others hear.
            "--pre-vote",
            # The check would refuse to add a member within five seconds of the last one. Shoal checks the quorum
            # itself.
            "--strict-reconfig-check=false",
            *("--quota-backend-bytes", str(self.quota_bytes), "--snapshot-count", str(self.snapshot_count)),
            *("--backend-batch-interval", _DATABASE_WRITES_EVERY),
            *("--auto-compaction-mode", "revision", "--auto-compaction-retention", str(self.kept_revisions)),
            *("--max-request-bytes", str(MAX_REQUEST_BYTES), "--max-txn-ops", str(MAX_TXN_OPS)),
            # etcd logs elections at this level, and `leadership` needs them.
            *("--logger", "zap", "--log-outputs", "stderr", "--log-level", "info"),
        ]


def peer_url(node_id: str) -> str:
    """Return the URL by which etcd knows a node's member: a socket in etcd's own working directory.

    It has a port because Go's HTTP client would add one.
    """
    return f"{UNIX}{node_id}:1"


def peer_socket(paths: Paths, node_id: str) -> Path:
    """Return a member's socket on this host. On our own node's, etcd listens; on another's, our tunnel to it."""
    return paths.etcd / f"{node_id}:1"
