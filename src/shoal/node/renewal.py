"""Keeps a node's certificate valid and its role what the swarm says, without a connection being dropped.

In: this node as managers tell it, the time. Out: a new certificate in place of the old one, in its files and in use. It
wakes when the certificate is old enough, when the role asked for changes, when the CA wants another one; after a
failure it waits longer each time. Source: SwarmKit ca/renewer.go, node/node.go.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Protocol

from shoal.api import v1 as api
from shoal.ca.csr import make_csr, new_key
from shoal.ca.identity import Identity, InvalidCertificate, PrivateKey
from shoal.ca.renewal import FORCED_DELAY, backoff, renew_at
from shoal.errors import ShoalError

log = logging.getLogger(__name__)

# A clock that was set, a host that slept: the wait is measured against the clock this often.
LONGEST_WAIT = 3600.0


class Renewable(Protocol):
    """What is renewed: this node's identity, as `SecurityConfig` keeps it."""

    @property
    def identity(self) -> Identity:
        """Return who this node is, and from when to when."""

    async def renew(self, chain_pem: bytes, key: PrivateKey, now: float) -> None:
        """Use another certificate."""


class Renewal:
    """The renewal of one node's certificate.

    `request` gets one for a request; `renewed` is told of each, `distrusted` when one came that is not to be believed.
    """

    def __init__(
        self,
        security: Renewable,
        request: Callable[[bytes], Awaitable[bytes]],
        renewed: Callable[[], None],
        distrusted: Callable[[], Awaitable[None]],
        *,
        rng: Random,
        clock: Callable[[], float],
    ) -> None:
        self._security = security
        self._request = request
        self._renewed = renewed
        self._distrusted = distrusted
        self._rng = rng
        self._clock = clock
        self._seen_role = security.identity.role
        self._expected: int | None = None
        self._wanted = asyncio.Event()
        self._forced = False
        self._failures = 0

    def observe(self, node: api.Node) -> None:
        """Take in what a manager says of this node. A role counts when it changes, or each message would renew."""
        if node.spec.desired_role != self._seen_role:
            self._seen_role = node.spec.desired_role
            self._expected = node.spec.desired_role
            self._wanted.set()
        if node.certificate.status.state == api.IssuanceStatus.ROTATE:
            self._wanted.set()

    def renew_soon(self) -> None:
        """Take another key and certificate before their time: the key that is in use may be known to others."""
        self._wanted.set()

    async def run(self) -> None:
        """Renew whenever it is time, until cancelled."""
        due = self._due()
        while True:
            if await self._wait(due):
                self._forced = True
                await asyncio.sleep(FORCED_DELAY)  # several reasons make one renewal; the role follows its wish
            self._wanted.clear()
            try:
                await self._renew()
            except (ShoalError, OSError) as error:
                self._failed(error)
                if isinstance(error, InvalidCertificate):
                    await self._distrusted()
            due = self._due()

    async def _renew(self) -> None:
        key = new_key()
        chain = await self._request(make_csr(key))
        await self._security.renew(chain, key, self._clock())
        role = self._security.identity.role
        log.info("this node's certificate was renewed")
        self._renewed()
        if self._expected is not None and role != self._expected:
            self._failures += 1  # too early: the role follows when its manager has left the quorum, say
            return
        self._expected, self._forced, self._failures = None, False, 0

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if str(self._failures).strip("0") == "1":  # at 1, 10, 100, ...
            log.warning("this node's certificate was not renewed (%s failures in a row): %s", self._failures, error)

    def _due(self) -> float:
        """Return when to renew next."""
        identity, now = self._security.identity, self._clock()
        if self._forced or self._failures or not self._is_valid():
            return now + backoff(self._failures, self._rng)
        return renew_at(identity.not_before_at, identity.not_after_at, self._rng)

    def _is_valid(self) -> bool:
        # Not yet: it was made while a clock was ahead, and until it is valid nobody else believes it.
        return self._security.identity.not_before_at <= self._clock() <= self._security.identity.not_after_at

    async def _wait(self, due: float) -> bool:
        """Wait until it is time; return whether it was forced to be earlier."""
        while not self._wanted.is_set():
            left = due - self._clock()
            if left <= 0:
                return False
            try:
                async with asyncio.timeout(min(left, LONGEST_WAIT)):
                    await self._wanted.wait()
            except TimeoutError:
                if not self._failures and not self._is_valid():
                    return False
        return True
