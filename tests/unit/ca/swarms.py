"""A swarm's root, and nodes with real certificates and files, for tests."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shoal.api import v1 as api
from shoal.ca.csr import make_csr, new_key
from shoal.ca.root import RootCA, create_root
from shoal.ca.security import SecurityConfig

NOW = 1_790_000_000.0
CLUSTER_ID = "c" * 25


def bent(label: str, der: bytes) -> Iterator[bytes]:
    """Yield DER data as PEM with one wrong byte, for each byte in turn and in several ways."""
    for place in range(len(der)):
        for change in (0x01, 0x03, 0x10, 0x80, 0xFF):
            wrong = der[:place] + bytes([der[place] ^ change]) + der[place + 1 :]
            yield f"-----BEGIN {label}-----\n{base64.encodebytes(wrong).decode()}-----END {label}-----\n".encode()


@dataclass
class Swarm:
    """A root and the certificates that it signs. `now` is the time at which everything is made."""

    folder: Path
    now: float = NOW
    cluster_id: str = CLUSTER_ID
    root: RootCA = field(init=False)

    def __post_init__(self) -> None:
        self.root = create_root(self.now)

    def node(self, node_id: str, role: int = api.WORKER) -> SecurityConfig:
        key = new_key()
        chain = self.root.issue(make_csr(key), node_id, role, self.cluster_id, now=self.now)
        folder = self.folder / node_id
        return SecurityConfig.create(folder, root_pem=self.root.certs_pem, chain_pem=chain, key=key, now=self.now)

    def manager(self, node_id: str = "manager") -> SecurityConfig:
        return self.node(node_id, api.MANAGER)
