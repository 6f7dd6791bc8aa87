"""A node's identity in use: TLS contexts, the node's id and role, and renewal without a restart.

In: the files of `NodeFiles`, or a new certificate. Out: `ssl.SSLContext`s that follow each renewal, the identity, the
data key. Files are written in worker threads; everything else happens on the event loop's thread. Source of the TLS
profile, that of port 2377: SwarmKit ca/transport.go, ca/config.go.
"""

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from shoal.api import v1 as api
from shoal.ca.identity import (
    Identity,
    InvalidCertificate,
    PrivateKey,
    identity_of,
    issuer_of,
    public_key_der,
    read_chain,
    validate_chain,
)
from shoal.ca.keyfile import KeyFile, render_key_file
from shoal.ca.node_files import NodeFiles
from shoal.ca.root import key_to_pem
from shoal.ca.tokens import root_digest
from shoal.errors import DamagedState
from shoal.files import write_all

# The server names that clients verify: `swarm-manager`, and `swarm-ca` while a node has no certificate yet.
MANAGER_SERVER_NAME = "swarm-manager"
CA_SERVER_NAME = "swarm-ca"
# The protocol after the handshake (ALPN): gRPC, or the traffic between the etcds of two managers.
GRPC_PROTOCOL = "h2"
RAFT_PROTOCOL = "shoal-raft"
DATA_KEY_BYTES = 32
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # for TLS 1.2; all ciphers of TLS 1.3 are acceptable


class SecurityConfig:
    """The identity of this node, and the TLS contexts that show it.

    Call `server_context()` and `client_context()` for each connection. A renewal also changes contexts that were
    returned before, so that a channel that reconnects by itself shows the new certificate. A new root bundle needs new
    contexts, because OpenSSL cannot forget a root.
    """

    def __init__(self, files: NodeFiles, root_pem: bytes, chain_pem: bytes, key_file: KeyFile, now: float) -> None:
        self._files = files
        self._root_pem = root_pem
        self._chain_pem = chain_pem
        self._key_file = key_file
        self.identity: Identity = _verified(root_pem, chain_pem, key_file.key, now, any_time=True)
        self._server = _server_context()
        self._client = _client_context()
        self._peer = _client_context(RAFT_PROTOCOL)
        self._fill()
        self._changing = asyncio.Lock()  # one change at a time, because files are written off the loop
        self.watchers: set[Callable[[], None]] = set()
        """These are called on the event loop's thread when the certificate or the roots have changed."""

    @classmethod
    def load(cls, folder: Path, now: float, kek: bytes | None = None) -> "SecurityConfig | None":
        """Return the identity that a folder holds, or None if it holds none.

        A certificate that has expired, or is not valid yet by this host's clock, is accepted.
        Raises DamagedState (which names the file; it is left as it is), Locked, OSError.
        """
        files = NodeFiles(folder)
        stored = files.read(kek)
        if stored is None:
            return None
        try:
            return cls(files, stored.root_pem, stored.chain_pem, stored.key_file, now)
        except InvalidCertificate as fault:
            raise DamagedState(str(files.certificate), str(fault)) from fault

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        root_pem: bytes,
        chain_pem: bytes,
        key: PrivateKey,
        now: float,
        kek: bytes | None = None,
        kek_version: int = 0,
    ) -> "SecurityConfig":
        """Write a new identity with a new data key, and return it. Raises InvalidCertificate, OSError."""
        key_file = KeyFile(key, os.urandom(DATA_KEY_BYTES), kek, kek_version)
        files = NodeFiles(folder)
        made = cls(files, root_pem, chain_pem, key_file, now)
        files.write_root(root_pem)
        files.write(chain_pem, key_file)
        return made

    @property
    def node_id(self) -> str:
        """Return this node's id."""
        return self.identity.node_id

    @property
    def cluster_id(self) -> str:
        """Return the cluster's id. It is the organization in every certificate."""
        return self.identity.organization

    @property
    def is_manager(self) -> bool:
        """Return whether the certificate is a manager's."""
        return self.identity.role == api.MANAGER

    @property
    def root_pem(self) -> bytes:
        """Return the bundle that this node trusts."""
        return self._root_pem

    @property
    def root_digest(self) -> str:
        """Return the SHA-256 of the bundle as 64 hex digits."""
        return root_digest(self._root_pem)

    @property
    def chain_pem(self) -> bytes:
        """Return the node's certificate, followed by its intermediates."""
        return self._chain_pem

    @property
    def key_pem(self) -> bytes:
        """Return the private key as unprotected PKCS#8 PEM, for the process that carries etcd's traffic."""
        return key_to_pem(self._key_file.key)

    @property
    def data_key(self) -> bytes | None:
        """Return the key that the store's values are encrypted with."""
        return self._key_file.data_key

    def files(self) -> dict[str, bytes]:
        """Return the contents of this identity's files by name. The key is sealed if it is sealed on disk."""
        files, key = self._files, render_key_file(self._key_file)
        return {files.root.name: self._root_pem, files.certificate.name: self._chain_pem, files.key.name: key}

    @property
    def kek_version(self) -> int:
        """Return the version of the cluster object from which the key-encryption key was taken."""
        return self._key_file.kek_version

    def server_context(self) -> ssl.SSLContext:
        """Return the context for accepting connections. A client's certificate is verified if it shows one."""
        return self._server

    def client_context(self) -> ssl.SSLContext:
        """Return the context for calling a manager. The caller must verify the name `MANAGER_SERVER_NAME`."""
        return self._client

    def peer_context(self) -> ssl.SSLContext:
        """Return the context for reaching another manager's etcd: as `client_context`, but with `RAFT_PROTOCOL`."""
        return self._peer

    def outside_context(self, trust_pem: bytes) -> ssl.SSLContext:
        """Return a context for calling an external CA as this node. `trust_pem` has the roots that vouch for it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=trust_pem.decode("ascii"))
        _load_pair(context, self._chain_pem, self.key_pem)
        return context

    def tls_info(self) -> api.NodeTLSInfo:
        """Return the part of the node's description that tells its issuer. A root rotation is followed by it."""
        subject, public_key = issuer_of(read_chain(self._chain_pem), read_chain(self._root_pem))
        return api.NodeTLSInfo(
            trust_root=self._root_pem, cert_issuer_subject=subject, cert_issuer_public_key=public_key
        )

    async def renew(
        self, chain_pem: bytes, key: PrivateKey, now: float, kek: bytes | None = None, kek_version: int | None = None
    ) -> None:
        """Write and use a new certificate with its key. With `kek_version` None the KEK stays.

        Raises InvalidCertificate (then nothing has changed) or OSError.
        """
        async with self._changing:
            identity = _verified(self._root_pem, chain_pem, key, now, any_time=False)
            held = self._key_file if kek_version is None else self._key_file.with_kek(kek, kek_version)
            key_file = replace(held, key=key)
            await asyncio.to_thread(self._files.write, chain_pem, key_file)
            self._chain_pem, self._key_file, self.identity = chain_pem, key_file, identity
            for context in (self._server, self._client, self._peer):
                _load_pair(context, chain_pem, key_to_pem(key))
            self._tell()

    async def trust(self, root_pem: bytes, now: float) -> bool:
        """Write and use a new root bundle. Return False if it is the one in use.

        Raises InvalidCertificate if this node's certificate is not valid under it (then nothing has changed), OSError.
        """
        async with self._changing:
            if root_pem == self._root_pem:
                return False
            _verified(root_pem, self._chain_pem, self._key_file.key, now, any_time=True)
            await asyncio.to_thread(self._files.write_root, root_pem)
            self._root_pem = root_pem
            self._server, self._client = _server_context(), _client_context()
            self._peer = _client_context(RAFT_PROTOCOL)
            self._fill()
            self._tell()
            return True

    async def set_data_key(self, data_key: bytes | None) -> None:
        """Write another data key into the key file's header."""
        async with self._changing:
            await self._write_key(replace(self._key_file, data_key=data_key))

    async def set_kek(self, kek: bytes | None, version: int) -> None:
        """Seal the key file with another key-encryption key, or unseal it (None). An older version changes nothing."""
        async with self._changing:
            key_file = self._key_file.with_kek(kek, version)
            if key_file is not self._key_file:
                await self._write_key(key_file)

    @property
    def kek(self) -> bytes | None:
        """Return the key-encryption key that seals the key file, or None if it is not sealed."""
        return self._key_file.kek

    async def drop_kek(self) -> None:
        """Unseal the key file and forget the KEK's version. A worker's key file is never sealed."""
        async with self._changing:
            if self._key_file.kek is not None:
                await self._write_key(replace(self._key_file, kek=None, kek_version=0))

    async def _write_key(self, key_file: KeyFile) -> None:
        await asyncio.to_thread(self._files.write_key, key_file)
        self._key_file = key_file

    def _fill(self) -> None:
        for context in (self._server, self._client, self._peer):
            context.load_verify_locations(cadata=self._root_pem.decode("ascii"))
            _load_pair(context, self._chain_pem, self.key_pem)

    def _tell(self) -> None:
        for tell in list(self.watchers):
            tell()


class RaftIdentity:
    """A manager's identity in the process that carries etcd's traffic. It has no files; each change makes a new one."""

    def __init__(self, root_pem: bytes, chain_pem: bytes, key_pem: bytes) -> None:
        self._accepting = _server_context(RAFT_PROTOCOL)
        self._accepting.verify_mode = ssl.CERT_REQUIRED
        self._dialling = _client_context(RAFT_PROTOCOL)
        for context in (self._accepting, self._dialling):
            context.load_verify_locations(cadata=root_pem.decode("ascii"))
            _load_pair(context, chain_pem, key_pem)

    def server_context(self) -> ssl.SSLContext:
        """Return the context for accepting connections. The handshake fails without a client certificate."""
        return self._accepting

    def peer_context(self) -> ssl.SSLContext:
        """Return the context for reaching another manager's etcd."""
        return self._dialling


def joining_context(root_pem: bytes) -> ssl.SSLContext:
    """Return the context for a node's first certificate request. The node shows no certificate.

    The caller must verify the name `CA_SERVER_NAME`.
    """
    context = _client_context()
    context.load_verify_locations(cadata=root_pem.decode("ascii"))
    return context


def first_context(root_pem: bytes, chain_pem: bytes, key: PrivateKey, now: float) -> ssl.SSLContext:
    """Return the context for calling managers with a certificate that is not written yet. Raises InvalidCertificate."""
    _verified(root_pem, chain_pem, key, now, any_time=False)
    context = joining_context(root_pem)
    _load_pair(context, chain_pem, key_to_pem(key))
    return context


def unverified_context() -> ssl.SSLContext:
    """Return the context for asking a swarm for its root. It verifies nothing: the digest in the token does."""
    context = _client_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _verified(root_pem: bytes, chain_pem: bytes, key: PrivateKey, now: float, *, any_time: bool) -> Identity:
    chain = read_chain(chain_pem)
    validate_chain(chain, read_chain(root_pem), now, any_time=any_time)
    if public_key_der(chain[0]) != public_key_der(key):
        raise InvalidCertificate("the certificate does not belong to the private key")
    return identity_of(chain[0])


def _profile(context: ssl.SSLContext, *protocols: str) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(protocols)
    # A resumed session would trust a certificate that was verified under an older root. Tickets also cost memory.
    context.options |= ssl.OP_NO_TICKET
    return context


def _server_context(*protocols: str) -> ssl.SSLContext:
    context = _profile(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *(protocols or (GRPC_PROTOCOL, RAFT_PROTOCOL)))
    context.verify_mode = ssl.CERT_OPTIONAL  # a joining node has no certificate; `port.authorization` checks each call
    context.num_tickets = 0
    return context


def _client_context(protocol: str = GRPC_PROTOCOL) -> ssl.SSLContext:
    return _profile(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), protocol)


def _load_pair(context: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    """Give a context a certificate and its key. `ssl` only reads files, so they go through a file in memory."""
    handle = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        write_all(handle, chain_pem + b"\n" + key_pem)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
