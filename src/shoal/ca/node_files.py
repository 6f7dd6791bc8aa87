"""The three files that make a host a node of a swarm, and the order in which they are written.

Owns `swarm-root-ca.crt`, `swarm-node.crt` (0644) and `swarm-node.key` (0600). A new certificate is written to a
dot-file, then the key is written, then the dot-file is renamed. So after a crash at any point, one of the two
certificates belongs to the key. A damaged file is named and left as it is. Everything here blocks. Source: SwarmKit
ca/keyreadwriter.go.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from shoal.ca.identity import InvalidCertificate, public_key_der, read_chain
from shoal.ca.keyfile import KeyFile, parse_key_file, render_key_file
from shoal.errors import DamagedState
from shoal.files import sync_folder, write_atomic

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """The content of the files: root bundle, chain, key. The key belongs to the chain's first certificate."""

    root_pem: bytes
    chain_pem: bytes
    key_file: KeyFile


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """The files of a node's identity below one folder (`<swarm>/certificates`)."""

    folder: Path

    @property
    def root(self) -> Path:
        """The root bundle."""
        return self.folder / "swarm-root-ca.crt"

    @property
    def certificate(self) -> Path:
        """The node's certificate and its intermediates."""
        return self.folder / "swarm-node.crt"

    @property
    def pending_certificate(self) -> Path:
        """The new certificate, until it is renamed to `certificate`."""
        return self.folder / ".swarm-node.crt"

    @property
    def key(self) -> Path:
        """The private key, with headers."""
        return self.folder / "swarm-node.key"

    def read(self, kek: bytes | None = None) -> Stored | None:
        """Return what is stored, or None if there is no node yet. Raises DamagedState, Locked, OSError."""
        key_bytes, chain_pem, root_pem = _bytes(self.key), _bytes(self.certificate), _bytes(self.root)
        if key_bytes is None and chain_pem is None:
            return None  # there may be a root bundle, from a join that was not completed
        if root_pem is None:
            raise DamagedState(str(self.root), "the file is missing")
        if key_bytes is None:
            raise DamagedState(str(self.key), "the file is missing")
        _checked(self.root, root_pem, read_chain)
        try:
            key_file = parse_key_file(key_bytes, kek)
        except InvalidCertificate as fault:
            raise DamagedState(str(self.key), str(fault)) from fault
        return Stored(root_pem, self._fitting(chain_pem, key_file), key_file)

    def write_root(self, root_pem: bytes) -> None:
        """Write the bundle that this node trusts. Makes the folder (0700) if it is missing."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self.root, root_pem, 0o644)

    def write(self, chain_pem: bytes, key_file: KeyFile) -> None:
        """Write a new certificate with its key. After an error, `read` finds either the old or the new pair."""
        write_atomic(self.pending_certificate, chain_pem, 0o644)
        self.write_key(key_file)
        self._settle()

    def write_key(self, key_file: KeyFile) -> None:
        """Write only the key file: the same key with other headers or another KEK."""
        write_atomic(self.key, render_key_file(key_file), 0o600)

    def _settle(self) -> None:
        self.pending_certificate.replace(self.certificate)
        sync_folder(self.folder)

    def _fitting(self, chain_pem: bytes | None, key_file: KeyFile) -> bytes:
        if chain_pem is not None and _fits(_checked(self.certificate, chain_pem, _leaf_key), key_file):
            return chain_pem
        pending = _bytes(self.pending_certificate)
        if pending is not None and _fits(_checked(self.pending_certificate, pending, _leaf_key), key_file):
            self._settle()
            return pending
        reason = "the file is missing" if chain_pem is None else f"it does not belong to the key in {self.key}"
        raise DamagedState(str(self.certificate), reason)


def _leaf_key(chain_pem: bytes) -> bytes:
    return public_key_der(read_chain(chain_pem)[0])


def _fits(leaf_key: bytes, key_file: KeyFile) -> bool:
    return leaf_key == public_key_der(key_file.key)


def _checked(path: Path, data: bytes, read: Callable[[bytes], T]) -> T:
    try:
        return read(data)
    except InvalidCertificate as fault:
        raise DamagedState(str(path), str(fault)) from fault


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
