"""The messages between a manager and the process that carries its etcd's bytes: JSON, one in each line. Pure.

The manager first sends a `Beginning`, and then the whole desired state (`Orders`) at each change, so that a process
that was started again gets everything. The process sends `Reply`s.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

# Orders with the ids of all removed nodes are the longest lines: there is room for a million of them.
MAX_LINE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Line:
    @classmethod
    def read(cls, line: bytes) -> Self:
        """Return the message of a line."""
        return cls(**json.loads(line))

    def line(self) -> bytes:
        """Return the message as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Beginning(_Line):
    """What never changes: where etcd's sockets are, this node and its cluster, and the log level."""

    data_root: str
    exec_root: str
    node_id: str
    cluster_id: str
    log_level: int


@dataclass(frozen=True, slots=True)
class Orders(_Line):
    """The desired state: the addresses of managers by node id, the removed nodes, and this node's identity in PEM."""

    number: int
    root_pem: str
    chain_pem: str
    key_pem: str = field(repr=False)
    addresses: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] | list[str] = ()


@dataclass(frozen=True, slots=True)
class Reply(_Line):
    """The number of the orders that are carried out, their error if any, and who was heard since the last reply."""

    done: int
    trouble: str = ""
    heard: tuple[str, ...] | list[str] = ()
