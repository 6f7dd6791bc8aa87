"""Gets a node's certificates: from any manager, over TLS, or from this host's own manager while it leads.

In: managers to ask, TLS contexts, a request. Out: PEM bytes, or an `RpcError` with the text of Docker's own client. It
handles no files. `joining` and `renewal` use it. Source of times and the order of attempts: SwarmKit ca/config.go,
ca/certificates.go.
"""

import asyncio
import hashlib
import logging
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import TypeVar

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.exceptions import H2Error

from shoal.agent.remotes import Remotes, split_address
from shoal.api import v1 as api
from shoal.api.gen.ca_grpc import CAStub, NodeCAStub
from shoal.api.ids import new_id
from shoal.ca.security import unverified_context
from shoal.errors import RpcError, ShoalError, Unavailable
from shoal.manager.certificates.issuing import Joiners, admit
from shoal.manager.port.authorization import Caller
from shoal.store.memory import Transaction
from shoal.store.store import Store
from shoal.store.watch import WatchLagged

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 5
ATTEMPT_PAUSE = 2.0
RPC_TIMEOUT = 5.0
STATUS_PAUSE, LONGEST_STATUS_PAUSE = 1.0, 30.0
# Errors after which another attempt, or another manager, may succeed: a demoted manager, a lost leader.
_PASSING = frozenset(
    {Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.ABORTED, Status.UNKNOWN, Status.INTERNAL, Status.CANCELLED}
)
_READY = frozenset({api.IssuanceStatus.ISSUED, api.IssuanceStatus.ROTATE})


class CAClient:
    """Asks managers, another one after each failure. `server_name` is the name to verify; empty: none is verified."""

    def __init__(
        self, remotes: Remotes, context: Callable[[], ssl.SSLContext], server_name: str, rng: Random, *, avoid: str = ""
    ) -> None:
        self._remotes = remotes
        self._context = context
        self._server_name = server_name
        self._rng = rng
        self._failed = avoid

    async def request(self, csr: bytes, token: str = "", availability: int = 0) -> bytes:
        """Return the certificate for a request, with its intermediates. Raises RpcError."""
        return await _again(lambda: self._request(csr, token, availability))

    async def unlock_key(self) -> tuple[bytes, int]:
        """Return the key that unlocks managers (empty if they are not locked), and its version. Raises RpcError."""
        return await _again(self._unlock_key)

    async def _unlock_key(self) -> tuple[bytes, int]:
        async with self._channel() as channel:
            try:
                reply = await CAStub(channel).GetUnlockKey(api.GetUnlockKeyRequest(), timeout=RPC_TIMEOUT)
            except GRPCError as error:
                if error.status is Status.UNIMPLEMENTED:
                    return b"", 0
                raise
        return reply.unlock_key, reply.version.index

    async def _request(self, csr: bytes, token: str, availability: int) -> bytes:
        issue = api.IssueNodeCertificateRequest(
            csr=csr,
            token=token,
            availability=availability,  # type: ignore[arg-type]
        )
        node_id, pause = "", STATUS_PAUSE
        while True:
            certificate = None
            try:
                async with self._channel() as channel:
                    stub = NodeCAStub(channel)
                    if not node_id:
                        node_id = (await stub.IssueNodeCertificate(issue, timeout=RPC_TIMEOUT)).node_id
                    certificate = await _signed(stub, node_id, csr)
            except RpcError as error:
                # Once the swarm has the request, a failure leads to another manager, not to another request.
                if not node_id or error.grpc_status not in _PASSING:
                    raise
                log.debug("asking how the request for a certificate fares: %s", error)
            if certificate is not None:
                return certificate
            await asyncio.sleep(self._rng.uniform(0, pause))
            pause = min(2 * pause, LONGEST_STATUS_PAUSE)

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[Channel]:
        address = self._remotes.select(self._rng.random, but=self._failed)
        if address is None:
            raise RpcError(Status.UNAVAILABLE, "no manager is known")
        async with channel(address, self._context(), self._server_name) as opened:
            good = False
            try:
                yield opened
                good = True
            finally:
                self._failed = "" if good else address
                self._remotes.observe(address, good=good)


async def _signed(stub: NodeCAStub, node_id: str, csr: bytes) -> bytes | None:
    """Return the certificate for `csr` once it is issued. A certificate for an earlier request does not count."""
    reply = await stub.NodeCertificateStatus(api.NodeCertificateStatusRequest(node_id=node_id), timeout=RPC_TIMEOUT)
    if reply.certificate.csr != csr:
        return None
    if reply.status.state == api.IssuanceStatus.FAILED:
        raise ShoalError(f"the swarm's CA refuses to sign this node's certificate: {reply.status.err}")
    return bytes(reply.certificate.certificate) if reply.status.state in _READY else None


async def download_root(address: str, digest: str = "") -> bytes:
    """Return the root bundle of the swarm at `address`. With a `digest`, its SHA-256 must match.

    Raises RpcError if the manager does not answer, ShoalError if the root does not match.
    """
    return await _again(lambda: _download_root(address, digest))


async def _download_root(address: str, digest: str) -> bytes:
    async with channel(address, unverified_context(), "") as opened:
        reply = await CAStub(opened).GetRootCACertificate(api.GetRootCACertificateRequest(), timeout=RPC_TIMEOUT)
    if digest and hashlib.sha256(reply.certificate).hexdigest() != digest:
        raise ShoalError(f"remote CA does not match fingerprint. Expected: {digest}")
    return bytes(reply.certificate)


async def from_own_store(store: Store, node_id: str, cluster_id: str, csr: bytes) -> bytes:
    """Return the certificate for a renewal from this host's manager, which must lead, without TLS.

    So the only manager of a swarm can renew an expired certificate (SwarmKit uses a local socket for this). Raises
    Unavailable if this manager does not lead.
    """

    def write(transaction: Transaction) -> None:
        caller = Caller(node_id, api.MANAGER, cluster_id, "")
        admitted = admit(transaction, api.IssueNodeCertificateRequest(csr=csr), caller, cluster_id, new_id, Joiners())
        if admitted.change is not None:
            transaction.apply([admitted.change])

    with store.watch(api.Node) as watch:
        await store.update(write)
        while True:
            node = store.view().nodes.get(node_id)
            if node is None or node.certificate.csr != csr:
                raise Unavailable("another request for a certificate took this one's place")
            state = node.certificate.status.state
            if state in (api.IssuanceStatus.ISSUED, api.IssuanceStatus.ROTATE):
                return bytes(node.certificate.certificate)
            if state == api.IssuanceStatus.FAILED:
                raise ShoalError(node.certificate.status.err)
            try:
                await watch.next()
            except WatchLagged as error:
                raise Unavailable("this manager is too busy to sign a certificate") from error


@asynccontextmanager
async def channel(address: str, context: ssl.SSLContext, server_name: str) -> AsyncIterator[Channel]:
    """Open a channel to a manager. Errors inside the context are raised as RpcError."""
    host, port = split_address(address)
    config = Configuration(ssl_target_name_override=server_name or None)
    opened = Channel(host, port, ssl=context, config=config)
    try:
        yield opened
    except GRPCError as error:
        raise RpcError(error.status, error.message or error.status.name) from error
    except TimeoutError as error:
        raise RpcError(Status.DEADLINE_EXCEEDED, "context deadline exceeded") from error
    except (OSError, StreamTerminatedError, ProtocolError, H2Error) as error:
        raise RpcError(Status.UNAVAILABLE, f'connection error: desc = "{_transport(error, address)}"') from error
    finally:
        opened.close()


async def _again(attempt: Callable[[], Awaitable[T]]) -> T:
    """Return the result of an attempt. Failures that may pass are tried again, four times."""
    for left in reversed(range(ATTEMPTS)):
        try:
            return await attempt()
        except RpcError as error:
            if error.grpc_status not in _PASSING or not left:
                raise
            log.debug("asking the swarm's CA: %s; again in %s s", error, ATTEMPT_PAUSE)
        await asyncio.sleep(ATTEMPT_PAUSE)
    raise AssertionError("the last attempt returns or raises")


def _transport(error: Exception, address: str) -> str:
    """Return the text of Go's client for an error below gRPC."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = {
            9: "certificate has expired or is not yet valid: compare this host's clock with the manager's",
            10: "certificate has expired or is not yet valid: compare this host's clock with the manager's",
            62: "certificate is valid for other names",
        }.get(error.verify_code, "certificate signed by unknown authority")
        return f"transport: authentication handshake failed: tls: failed to verify certificate: x509: {reason}"
    if isinstance(error, ssl.SSLError):
        return f"transport: authentication handshake failed: {error.reason or error}"
    if isinstance(error, ConnectionResetError) or not isinstance(error, OSError):
        return f"error reading server preface: {error or 'connection lost'}"
    text = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
    return f"transport: Error while dialing: dial tcp {address}: connect: {text}"
