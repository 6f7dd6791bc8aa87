"""The gRPC services CA and NodeCA: the root for joining nodes, certificates, and the unlock key for managers.

Owns the calls that wait for a signature. `issuing` decides what is admitted and signed; this module writes and waits.
Source: SwarmKit ca/server.go.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.api.gen.ca_grpc import CABase, NodeCABase
from shoal.api.ids import new_id
from shoal.ca.csr import csr_key
from shoal.ca.identity import MANAGER_OU
from shoal.errors import Aborted, InvalidArgument, NotFound, ResourceExhausted, ShoalError
from shoal.manager.certificates.issuing import FINAL, Joiners, admit, check_request
from shoal.manager.certificates.rates import Requests
from shoal.manager.port.authorization import Caller
from shoal.store.changes import copy
from shoal.store.memory import Transaction
from shoal.store.watch import WatchLagged

if TYPE_CHECKING:
    from grpclib.server import Stream

    from shoal.store.store import Store

log = logging.getLogger(__name__)

Request = TypeVar("Request")

# Seconds. SwarmKit's nodes wait five seconds per call and call again. A call without a deadline ends after this time,
# with a status after which nodes call again, because callers without a certificate may make it too.
MAX_WAIT = 60.0
MAX_WAITING = 2_000


class CAServer(CABase):
    """Gives the root certificates to everybody and the unlock key to managers."""

    def __init__(self, store: "Store", cluster_id: str) -> None:
        self._store = store
        self._cluster_id = cluster_id

    async def GetRootCACertificate(  # noqa: N802 - the protocol's name
        self, stream: "Stream[api.GetRootCACertificateRequest, api.GetRootCACertificateResponse]"
    ) -> None:
        """Answer with the root bundle. The caller compares its digest with the one in its join token."""
        await received(stream)
        certificate = self._cluster().root_ca.ca_cert
        await stream.send_message(api.GetRootCACertificateResponse(certificate=certificate))

    async def GetUnlockKey(  # noqa: N802
        self, stream: "Stream[api.GetUnlockKeyRequest, api.GetUnlockKeyResponse]"
    ) -> None:
        """Answer with the key that seals managers' key files (empty with autolock off), and its version."""
        await received(stream)
        cluster = self._cluster()
        response = api.GetUnlockKeyResponse(version=cluster.meta.version)
        if cluster.spec.encryption_config.auto_lock_managers:
            keys = [key.key for key in cluster.unlock_keys if key.subsystem == MANAGER_OU]
            response.unlock_key = keys[0] if keys else b""
        await stream.send_message(response)

    def _cluster(self) -> api.Cluster:
        cluster = self._store.view().clusters.get(self._cluster_id)
        if cluster is None:
            raise Aborted("CA signer is still starting")
        return cluster


class NodeCAServer(NodeCABase):
    """Takes certificate requests and answers with certificates. `is_signing` says whether this manager leads."""

    def __init__(
        self,
        store: "Store",
        cluster_id: str,
        *,
        caller: Callable[[], Caller],
        is_signing: Callable[[], bool] = lambda: True,
        fresh_id: Callable[[], str] = new_id,
        requests: Requests | None = None,
    ) -> None:
        self._store = store
        self._cluster_id = cluster_id
        self._caller = caller
        self._is_signing = is_signing
        self._fresh_id = fresh_id
        self._waiting = 0
        self._joiners = Joiners()
        self._requests = requests or Requests()

    async def IssueNodeCertificate(  # noqa: N802
        self, stream: "Stream[api.IssueNodeCertificateRequest, api.IssueNodeCertificateResponse]"
    ) -> None:
        """Write the request into a node object: the caller's, or a new one for a join token."""
        request = await received(stream)
        self._check_signing()
        caller = self._caller()
        now = asyncio.get_running_loop().time()
        if caller.node_id:
            self._requests.take(caller.node_id, f"node {caller.node_id}", now)
        check_request(self._store.view(), request, caller, self._cluster_id)  # before it takes the writer's time
        if not caller.node_id:
            self._requests.take(csr_key(request.csr), "a node with this key", now)

        def write(transaction: Transaction) -> api.IssueNodeCertificateResponse:
            admitted = admit(transaction, request, caller, self._cluster_id, self._fresh_id, self._joiners)
            if admitted.change is not None:
                transaction.apply([admitted.change])
            return admitted.response

        response = await self._store.update(write)
        await stream.send_message(response)

    async def NodeCertificateStatus(  # noqa: N802
        self, stream: "Stream[api.NodeCertificateStatusRequest, api.NodeCertificateStatusResponse]"
    ) -> None:
        """Wait until the request of a node is signed or refused, and answer with its certificate."""
        request = await received(stream)
        node_id = request.node_id
        del request  # with whatever else is in it, while the call waits
        if not node_id:
            raise InvalidArgument("InvalidArgument")
        self._check_signing()
        if self._waiting >= MAX_WAITING:
            raise ResourceExhausted("too many nodes wait for their certificates")
        self._waiting += 1
        try:
            async with asyncio.timeout(MAX_WAIT):
                certificate = await self._wait_final(node_id)
        except TimeoutError as fault:
            raise GRPCError(Status.DEADLINE_EXCEEDED, "the certificate is not signed yet") from fault
        finally:
            self._waiting -= 1
        response = api.NodeCertificateStatusResponse(status=certificate.status, certificate=certificate)
        await stream.send_message(response)

    async def _wait_final(self, node_id: str) -> api.Certificate:
        with self._store.watch(api.Node) as watch:
            while True:
                node = self._store.view().nodes.get(node_id)
                if node is None:
                    raise NotFound("NotFound")
                if node.certificate.status.state in FINAL:
                    return copy(node.certificate)
                try:
                    await watch.next()
                except WatchLagged:
                    continue  # only the node's present state matters

    def _check_signing(self) -> None:
        if not self._is_signing():
            raise Aborted("CA signer is stopped")


async def received(stream: "Stream[Request, Any]") -> Request:
    """Return the one request of a call."""
    request = await stream.recv_message()
    if request is None:
        raise ShoalError("the call ended without a request")
    return request
