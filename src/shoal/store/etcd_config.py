"""How an etcd of ours runs, and what its members are called among each other. Pure.

In: the node's id and those of the other managers. Out: etcd's flags. Why peers are unix sockets named after nodes:
docs/decisions/0007-etcd-peers.md.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shoal.errors import InvalidArgument
from shoal.paths import Paths

# One Raft message: the store's largest transaction (`store.batch`) with room for etcd's own wrapping. etcd warns above.
MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_TXN_OPS = 12_288
SNAPSHOT_COUNT = 1000
UNIX = "unix://"
# Among several a new leader is there 0.6 to 1.2 s after the old one went silent. Every process that peers' messages go
# through must be quicker than that, however busy. A single one has nobody to wait for but itself, at its start:
# five ticks are the fewest that etcd takes. All tick alike, for the first of several was alone when it was started. Why
# not less often: docs/decisions/0025-etcd-at-rest.md.
_HEARTBEAT_MS = 100
_ELECTION_ALONE_MS, _ELECTION_OF_MANY_MS = 500, 600
# What etcd has taken in is in its log, flushed, before anybody hears of it; its database follows that often. By default
# it looks ten times a second whether there is something to write there.
_DATABASE_WRITES_EVERY = "1s"


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """How our etcd runs. The defaults are those of a single manager."""

    name: str = "manager"
    """This member's name among its peers."""
    peer_url: str = "unix://localhost:2"
    """Where it listens for peers, and where they reach it: a unix socket beside the client's."""
    peers: str = ""
    """`name=url,…` of all members when a cluster is made or joined; empty: this one alone."""
    join: bool = False
    """Join a cluster that exists, instead of making one. Without effect once there is a data folder."""
    exists: bool = False
    """Its data folder must be there, as it was a member before: a cluster of its own is not what is wanted."""
    force_new_cluster: bool = False
    """Go on alone with the data that is there, whatever other members it names. At the first start only."""
    heartbeat_ms: int = _HEARTBEAT_MS
    """Raft's tick. Smaller: a quicker start, more CPU at rest (50: 0.7 %, 100: 0.5 %, 500: 0.3 % of a core)."""
    election_ms: int = _ELECTION_ALONE_MS
    """A follower that hears nothing for one to two times this stands for election; so does a single member at start."""
    quota_bytes: int = 2 * 1024**3
    """Above this size of its database etcd refuses to write. Its own default and recommendation."""
    kept_revisions: int = 1000
    """Older revisions are forgotten, looked at every five minutes."""
    snapshot_count: int = SNAPSHOT_COUNT
    """Entries of Raft's log between snapshots: a smaller log in memory, a quicker start, more writing. `space` bounds
    how large they are in sum."""

    def __post_init__(self) -> None:
        """Refuse what etcd would refuse later and less clearly."""
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
        """Return how the etcd of a manager runs. `others`, by node id, matter where a cluster is made or joined."""
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

    def flags(self) -> list[str]:
        """Return etcd's flags for all of this but `force_new_cluster`, without where its files are."""
        return [
            *("--name", self.name, "--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
            *("--initial-cluster", self.peers or f"{self.name}={self.peer_url}"),
            *("--initial-cluster-state", "existing" if self.join else "new"),
            # Of this and the name the ids are made: a cluster of the same node's that was made before is another one.
            *("--initial-cluster-token", secrets.token_hex(16)),
            *("--heartbeat-interval", str(self.heartbeat_ms), "--election-timeout", str(self.election_ms)),
            # A member that was cut off or paused must not depose a leader that all others hear.
            "--pre-vote",
            # Refuses to add a member within five seconds of the last; who may come and go is Swarm's to say.
            "--strict-reconfig-check=false",
            *("--quota-backend-bytes", str(self.quota_bytes), "--snapshot-count", str(self.snapshot_count)),
            *("--backend-batch-interval", _DATABASE_WRITES_EVERY),
            *("--auto-compaction-mode", "revision", "--auto-compaction-retention", str(self.kept_revisions)),
            *("--max-request-bytes", str(MAX_REQUEST_BYTES), "--max-txn-ops", str(MAX_TXN_OPS)),
            # Elections are told on this level (`leadership`).
            *("--logger", "zap", "--log-outputs", "stderr", "--log-level", "info"),
        ]


def peer_url(node_id: str) -> str:
    """Return the URL under which etcd knows the member of a node: a socket in its own working directory.

    The port is for Go's HTTP client, which adds one to a host without.
    """
    return f"{UNIX}{node_id}:1"


def peer_socket(paths: Paths, node_id: str) -> Path:
    """Return the socket of a member on this host: of our own node's etcd listens there, of another's our tunnel."""
    return paths.etcd / f"{node_id}:1"
