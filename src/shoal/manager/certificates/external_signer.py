"""Calls external CAs, and runs the leader's loop that lets them sign the admitted certificate requests.

Owns the HTTPS connections with this node's certificate, their timeouts, and retries. Requests and answers are in
`external_ca`; `issuing` decides which requests are admitted. Source: SwarmKit ca/external.go.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import aiohttp

from shoal.api import v1 as api
from shoal.ca.identity import InvalidCertificate, identity_of, read_chain, validate_chain
from shoal.ca.root import root_from_api
from shoal.errors import ShoalError, Unavailable
from shoal.manager.certificates.external_ca import (
    MAX_ANSWER_BYTES,
    ExternalCAUnreachable,
    SignRequest,
    certificate_of,
    node_request,
    signing_urls,
    trusted_pem,
)
from shoal.manager.certificates.issuing import RETRY, awaits_signature, issued, refused
from shoal.repeats import Repeats
from shoal.store.changes import Event
from shoal.store.memory import Transaction
from shoal.store.watch import Watch, WatchLagged

if TYPE_CHECKING:
    from shoal.store.store import Store

log = logging.getLogger(__name__)
_told = Repeats(log)  # thousands of nodes may wait, with a leaked token

TIMEOUT = 5.0
AT_ONCE = 8  # concurrent requests
_Broken = (OSError, TimeoutError, aiohttp.ClientError, ssl.SSLError, ValueError)


class Security(Protocol):
    """This node's identity; see `shoal.ca.security`."""

    def outside_context(self, trust_pem: bytes) -> ssl.SSLContext:
        """Return the context for calling an external CA as this node."""


class ExternalCAClient:
    """Calls external CAs."""

    def __init__(self, security: Security, *, wait: float = TIMEOUT) -> None:
        self._security = security
        self._wait = wait

    async def is_reachable(self, url: str, trust_pem: bytes) -> bool:
        """Return whether a TLS connection to the URL works, with a server certificate that `trust_pem` signed."""
        try:
            parts = urlsplit(url)
            if parts.scheme != "https" or not parts.hostname:
                return False
            async with asyncio.timeout(self._wait):
                _, writer = await asyncio.open_connection(
                    parts.hostname, parts.port or 443, ssl=self._security.outside_context(trust_pem)
                )
        except _Broken as error:
            log.warning("external CA %s: %s", url, error)
            return False
        writer.transport.abort()
        return True

    async def sign(self, urls: Sequence[str], trust_pem: bytes, request: SignRequest) -> bytes:
        """Return the certificate from the first URL that signs. If none does, raise the error of the last one.

        Raises ExternalCAUnreachable, ExternalCARefused.
        """
        failure: ShoalError = ExternalCAUnreachable("no external CA URLs")
        for url in urls:
            try:
                return await self._sign(url, trust_pem, request)
            except ShoalError as error:
                log.debug("%s does not sign: %s", url, error)
                failure = error
        raise failure

    async def _sign(self, url: str, trust_pem: bytes, request: SignRequest) -> bytes:
        try:
            connector = aiohttp.TCPConnector(ssl=self._security.outside_context(trust_pem))
            async with (
                asyncio.timeout(self._wait),
                aiohttp.ClientSession(connector=connector) as session,
                session.post(url, json=request, allow_redirects=False) as answer,
            ):
                body = bytearray()
                while len(body) < MAX_ANSWER_BYTES:
                    part = await answer.content.read(MAX_ANSWER_BYTES - len(body))
                    if not part:
                        break
                    body += part
        except _Broken as error:
            raise ExternalCAUnreachable(f"unable to perform certificate signing request: {error}") from error
        return certificate_of(answer.status, bytes(body))


class ExternalSigner:
    """Lets external CAs sign while the cluster's spec names one (`external_ca.signing_urls`)."""

    def __init__(
        self,
        store: "Store",
        cluster_id: str,
        client: ExternalCAClient,
        clock: Callable[[], float],
        retry: float = RETRY,
    ) -> None:
        self._store = store
        self._cluster_id = cluster_id
        self._client = client
        self._clock = clock
        self._retry = retry
        self._waiting: dict[str, float] = {}  # waiting nodes, and when to ask for each (the event loop's time)

    async def run(self) -> None:
        """Let CAs sign until cancelled. If no CA answers, or the result cannot be stored, ask again after `retry`."""
        while True:
            with self._store.watch(api.Node, api.Cluster) as watch:
                self._waiting.clear()
                self._note(self._store.view().nodes.all())
                try:
                    while True:
                        await self._sign_due()
                        self._heed(await self._wait(watch))
                except WatchLagged:
                    continue

    async def _wait(self, watch: Watch) -> list[Event]:
        has_external = self._cluster_and_urls() is not None
        until = min(self._waiting.values(), default=None) if has_external else None
        try:
            async with asyncio.timeout_at(until):
                return await watch.next()
        except TimeoutError:
            return []

    def _heed(self, events: Iterable[Event]) -> None:
        nodes = self._store.view().nodes
        changed: set[str] = set()
        for event in events:
            # A change of the cluster may name another CA, so all nodes are tried again at once.
            changed.update([event.obj.id] if isinstance(event.obj, api.Node) else self._waiting)
        for node_id in changed:
            self._waiting.pop(node_id, None)
        self._note(node for node in map(nodes.get, changed) if node is not None)

    def _note(self, nodes: Iterable[api.Node]) -> None:
        now = asyncio.get_running_loop().time()
        self._waiting.update((node.id, now) for node in nodes if awaits_signature(node))

    def _cluster_and_urls(self) -> tuple[api.Cluster, tuple[str, ...]] | None:
        cluster = self._store.view().clusters.get(self._cluster_id)
        if cluster is None:
            return None
        urls = signing_urls(cluster)
        return (cluster, urls) if urls else None

    async def _sign_due(self) -> None:
        found = self._cluster_and_urls()
        if found is None:
            return
        now = asyncio.get_running_loop().time()
        due = sorted(node_id for node_id, at in self._waiting.items() if at <= now)
        for at in range(0, len(due), AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for node_id in due[at : at + AT_ONCE]:
                    group.create_task(self._sign_one(node_id, *found), name=f"external CA for {node_id}")

    async def _sign_one(self, node_id: str, cluster: api.Cluster, urls: Sequence[str]) -> None:
        node = self._store.view().nodes.get(node_id)
        self._waiting.pop(node_id, None)
        if node is None or not awaits_signature(node):
            return
        asked = node.certificate
        pem, reason = b"", ""
        try:
            request = node_request(asked.csr, asked.cn, asked.role, self._cluster_id)
            signed = await self._client.sign(urls, trusted_pem(cluster.root_ca), request)
            pem = self._believed(signed, cluster, asked)
        except Unavailable as error:
            self._again(node_id, error)
            return
        except ShoalError as error:
            reason = str(error)
            _told.log(logging.WARNING, "refused", "node %s gets no certificate: %s", node_id, reason)

        def write(transaction: Transaction) -> None:
            present = transaction.nodes.get(node_id)
            if present is not None and awaits_signature(present) and present.certificate.csr == asked.csr:
                transaction.update(issued(present, pem) if pem else refused(present, reason))

        try:
            await self._store.update(write)
        except Unavailable as error:
            self._again(node_id, error)

    def _believed(self, signed: bytes, cluster: api.Cluster, asked: api.Certificate) -> bytes:
        """Return a certificate with its intermediates. Raises InvalidCertificate unless it is the one asked for."""
        pem = signed + root_from_api(cluster.root_ca).intermediates_pem
        chain = read_chain(pem)
        identity = identity_of(chain[0])
        if (identity.node_id, identity.role, identity.organization) != (asked.cn, asked.role, self._cluster_id):
            raise InvalidCertificate("the external CA gave a certificate for another node")
        validate_chain(chain, read_chain(cluster.root_ca.ca_cert), self._clock())
        return pem

    def _again(self, node_id: str, error: Exception) -> None:
        _told.log(logging.WARNING, "waits", "the certificate of node %s waits: %s", node_id, error)
        self._waiting[node_id] = asyncio.get_running_loop().time() + self._retry
