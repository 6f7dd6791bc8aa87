"""This node's certificate, renewed in time over port 2377, as every node of a swarm renews its own.

In: the node's identity, the address of a manager. Out: a new certificate with a new key in the same files, and a word
to who must register anew. Loop: wakes when the certificate is due, looked at every hour, as clocks are set and hosts
sleep; after a failure with back-off. Source: SwarmKit ca/renewer.go.
"""

import asyncio
import logging
from collections.abc import Callable
from random import Random

from grpclib.client import Channel
from grpclib.config import Configuration

from shoal.agent.client_session import Broken
from shoal.agent.remotes import split_address
from shoal.api import times
from shoal.api import v1 as api
from shoal.api.gen.ca_grpc import NodeCAStub
from shoal.ca.csr import make_csr, new_key
from shoal.ca.renewal import backoff, renew_at
from shoal.ca.security import MANAGER_SERVER_NAME, SecurityConfig
from shoal.errors import ShoalError

log = logging.getLogger(__name__)

LOOK_EVERY = 3600.0
SHORTEST_PAUSE = 60.0  # between two renewals, however short the certificates, and after a failure
CALL_TIMEOUT = 30.0


class Renewer:
    """Renews until cancelled. `renewed` is called after each renewal."""

    def __init__(
        self,
        security: SecurityConfig,
        manager: Callable[[], str],
        renewed: Callable[[], None],
        *,
        rng: Random,
        clock: Callable[[], float],
    ) -> None:
        self._security = security
        self._manager = manager
        self._renewed = renewed
        self._rng = rng
        self._clock = clock

    async def run(self) -> None:
        """Sleep until the certificate is due, renew it, and so on. What goes wrong is logged and tried again."""
        failures, due_at = 0, self._due_at()
        while True:
            left = due_at - self._clock()
            if left > 0:
                await asyncio.sleep(min(left, LOOK_EVERY))
                continue
            try:
                await self._renew()
            except (ShoalError, *Broken) as error:
                failures += 1
                pause = max(SHORTEST_PAUSE, backoff(failures, self._rng))
                log.warning("this node's certificate could not be renewed; again in %d s: %s", pause, error)
                due_at = self._clock() + pause
                continue
            failures, due_at = 0, max(self._due_at(), self._clock() + SHORTEST_PAUSE)
            until = times.rfc3339(times.timestamp(self._security.identity.not_after_at))
            log.info("this node's certificate is renewed and holds until %s", until)
            self._renewed()

    def _due_at(self) -> float:
        identity = self._security.identity
        return renew_at(identity.not_before_at, identity.not_after_at, self._rng)

    async def _renew(self) -> None:
        key = new_key()
        host, port = split_address(self._manager())
        config = Configuration(ssl_target_name_override=MANAGER_SERVER_NAME)
        channel = Channel(host, port, ssl=self._security.client_context(), config=config)
        try:
            stub = NodeCAStub(channel)
            request = api.IssueNodeCertificateRequest(csr=make_csr(key), role=self._security.identity.role)
            node_id = (await stub.IssueNodeCertificate(request, timeout=CALL_TIMEOUT)).node_id
            answer = await stub.NodeCertificateStatus(
                api.NodeCertificateStatusRequest(node_id=node_id), timeout=CALL_TIMEOUT
            )
        finally:
            channel.close()
        if answer.status.state != api.IssuanceStatus.ISSUED:
            raise ShoalError(answer.status.err or "the manager did not sign it in time")
        self._security.renew(answer.certificate.certificate, key, self._clock())
