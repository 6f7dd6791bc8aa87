"""What a manager and the process that carries its etcd's bytes say to each other: JSON, a line each. Pure.

The manager says once who it is (`Beginning`), and then, whenever something of it changes, all that it wants (`Orders`):
so that a process which was started anew has all that the last one had. Back come `Reply`s.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

# The longest are orders with the ids of all nodes that were ever removed: a million of them fit in.
MAX_LINE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Line:
    @classmethod
    def read(cls, line: bytes) -> Self:
        """Return what a line says."""
        return cls(**json.loads(line))

    def line(self) -> bytes:
        """Return it as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Beginning(_Line):
    """What does not change: where etcd's sockets are, whose they are, how much is logged."""

    data_root: str
    exec_root: str
    node_id: str
    cluster_id: str
    log_level: int


@dataclass(frozen=True, slots=True)
class Orders(_Line):
    """All that a manager wants: whom etcd shall reach where, by node id; whom nobody lets in; as who, in PEM."""

    number: int
    root_pem: str
    chain_pem: str
    key_pem: str = field(repr=False)
    addresses: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] | list[str] = ()


@dataclass(frozen=True, slots=True)
class Reply(_Line):
    """The orders that are carried out, and why not, if so; who was heard since the last reply."""

    done: int
    trouble: str = ""
    heard: tuple[str, ...] | list[str] = ()
