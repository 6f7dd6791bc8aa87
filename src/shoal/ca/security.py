"""A node's identity in use: TLS contexts, the node's own id and role, and renewal without a restart.

In: the files of `NodeFiles`, or a certificate just issued. Out: `ssl.SSLContext`s that follow each renewal, the
identity, the data key. Files are written in threads, and what they hold is used on the event loop's. The TLS profile is
that of port 2377 (SwarmKit ca/transport.go, ca/config.go).
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

# The names that clients ask for and verify: any manager, or, for the first certificate, the CA.
MANAGER_SERVER_NAME = "swarm-manager"
CA_SERVER_NAME = "swarm-ca"
# What is spoken after the handshake (ALPN): gRPC, or the bytes of a manager's etcd on their way to another's.
GRPC_PROTOCOL = "h2"
RAFT_PROTOCOL = "shoal-raft"
DATA_KEY_BYTES = 32
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all fit


class SecurityConfig:
    """The identity of this node, and the TLS contexts that carry it.

    `server_context()` and `client_context()` are to be asked for at each connection. A renewal also changes the
    contexts handed out before, so that a channel that reconnects by itself shows the new certificate; a new root makes
    new ones, because OpenSSL cannot forget a root.
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
        self._changing = asyncio.Lock()  # files are written by one at a time, off the loop
        self.watchers: set[Callable[[], None]] = set()
        """Called whenever certificate, key or roots have changed, on the event loop's thread."""

    @classmethod
    def load(cls, folder: Path, now: float, kek: bytes | None = None) -> "SecurityConfig | None":
        """Return the identity that a folder holds; None if it holds none.

        One that ran out, or that is not valid yet by this host's clock, is returned all the same.
        Raises DamagedState (naming the file, which is left as it is), Locked, OSError.
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
        """Write a fresh identity, with a fresh data key, and return it. Raises InvalidCertificate, OSError."""
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
        """Return the cluster's id, which is the organization of every certificate."""
        return self.identity.organization

    @property
    def is_manager(self) -> bool:
        """Return whether the certificate is one of a manager."""
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
        """Return the private key as unprotected PKCS#8 PEM: for a program of ours that must have it in a file."""
        return key_to_pem(self._key_file.key)

    @property
    def data_key(self) -> bytes | None:
        """Return the key that the store's values are encrypted with."""
        return self._key_file.data_key

    def files(self) -> dict[str, bytes]:
        """Return what the files of this identity hold, by name; the key is sealed where it is on disk."""
        files, key = self._files, render_key_file(self._key_file)
        return {files.root.name: self._root_pem, files.certificate.name: self._chain_pem, files.key.name: key}

    @property
    def kek_version(self) -> int:
        """Return the cluster's version when the key-encryption key was learned."""
        return self._key_file.kek_version

    def server_context(self) -> ssl.SSLContext:
        """Return the context for accepting: the client's certificate is verified if it shows one."""
        return self._server

    def client_context(self) -> ssl.SSLContext:
        """Return the context for calling a manager; verify the name `MANAGER_SERVER_NAME`."""
        return self._client

    def peer_context(self) -> ssl.SSLContext:
        """Return the context for reaching another manager's etcd: as `client_context`, but speaking Raft."""
        return self._peer

    def outside_context(self, trust_pem: bytes) -> ssl.SSLContext:
        """Return a context for calling, as this node, a server that is none: an external CA of a root given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=trust_pem.decode("ascii"))
        _load_pair(context, self._chain_pem, self.key_pem)
        return context

    def tls_info(self) -> api.NodeTLSInfo:
        """Return what the node's description says of its certificate, by which a root rotation is followed."""
        subject, public_key = issuer_of(read_chain(self._chain_pem), read_chain(self._root_pem))
        return api.NodeTLSInfo(
            trust_root=self._root_pem, cert_issuer_subject=subject, cert_issuer_public_key=public_key
        )

    async def renew(
        self, chain_pem: bytes, key: PrivateKey, now: float, kek: bytes | None = None, kek_version: int | None = None
    ) -> None:
        """Write and use a new certificate with its key; `kek_version` None leaves the KEK as it is.

        Raises InvalidCertificate (nothing is changed) or OSError.
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
        """Write and use a new root bundle, if our certificate holds under it; return whether it changed anything.

        Raises InvalidCertificate (nothing is changed) or OSError.
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
        """Seal the key file by another key-encryption key, or unseal it. An older version changes nothing."""
        async with self._changing:
            key_file = self._key_file.with_kek(kek, version)
            if key_file is not self._key_file:
                await self._write_key(key_file)

    @property
    def kek(self) -> bytes | None:
        """Return the key-encryption key that seals the key file; None where it is not sealed."""
        return self._key_file.kek

    async def drop_kek(self) -> None:
        """Unseal the key file for good: a worker's is never sealed."""
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
    """A manager's identity towards others' etcds, for a process that has no files: made anew when anything changes."""

    def __init__(self, root_pem: bytes, chain_pem: bytes, key_pem: bytes) -> None:
        self._accepting = _server_context(RAFT_PROTOCOL)
        self._accepting.verify_mode = ssl.CERT_REQUIRED
        self._dialling = _client_context(RAFT_PROTOCOL)
        for context in (self._accepting, self._dialling):
            context.load_verify_locations(cadata=root_pem.decode("ascii"))
            _load_pair(context, chain_pem, key_pem)

    def server_context(self) -> ssl.SSLContext:
        """Return the context for accepting: nobody without a certificate gets through the handshake."""
        return self._accepting

    def peer_context(self) -> ssl.SSLContext:
        """Return the context for reaching another manager's etcd."""
        return self._dialling


def joining_context(root_pem: bytes) -> ssl.SSLContext:
    """Return the context for the first certificate request: no certificate of ours; verify `CA_SERVER_NAME`."""
    context = _client_context()
    context.load_verify_locations(cadata=root_pem.decode("ascii"))
    return context


def first_context(root_pem: bytes, chain_pem: bytes, key: PrivateKey, now: float) -> ssl.SSLContext:
    """Return the context for calling managers with a certificate that is in no file yet. Raises InvalidCertificate."""
    _verified(root_pem, chain_pem, key, now, any_time=False)
    context = joining_context(root_pem)
    _load_pair(context, chain_pem, key_to_pem(key))
    return context


def unverified_context() -> ssl.SSLContext:
    """Return the context for asking a swarm for its root, which only a token's digest can confirm."""
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
    # A resumed session would carry a certificate that was verified under an older root; and tickets cost memory.
    context.options |= ssl.OP_NO_TICKET
    return context


def _server_context(*protocols: str) -> ssl.SSLContext:
    context = _profile(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *(protocols or (GRPC_PROTOCOL, RAFT_PROTOCOL)))
    context.verify_mode = ssl.CERT_OPTIONAL  # a joiner has no certificate; each call is judged by itself
    context.num_tickets = 0
    return context


def _client_context(protocol: str = GRPC_PROTOCOL) -> ssl.SSLContext:
    return _profile(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), protocol)


def _load_pair(context: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    """Give a context a certificate and its key. `ssl` reads files only, so they are put into one that has no disk."""
    handle = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        write_all(handle, chain_pem + b"\n" + key_pem)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
