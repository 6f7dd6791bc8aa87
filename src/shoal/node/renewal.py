"""Renews a node's certificate in time, and when its role changes, without dropping connections.

In: this node's object as managers send it, the time. Out: a new certificate, in its files and in use. The renewal wakes
when the certificate is old enough, when the desired role changes, and when the CA asks for a new certificate. After a
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

# Seconds after which the clock is read again, because somebody may set it, or the host may have slept.
LONGEST_WAIT = 3600.0


class Renewable(Protocol):
    """This node's identity, as `SecurityConfig` keeps it."""

    @property
    def identity(self) -> Identity:
        """Return the certificate's node id, role and time of validity."""

    async def renew(self, chain_pem: bytes, key: PrivateKey, now: float) -> None:
        """Write and use a new certificate. Raises InvalidCertificate, OSError."""


class Renewal:
    """The renewal of one node's certificate.

    `request` takes a certificate request and returns the certificate. `renewed` is called after each renewal,
    `distrusted` after a certificate that cannot be trusted.
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
        """Note this node's object as a manager sent it. Renew if its desired role changed, or the CA asks for it."""
        if node.spec.desired_role != self._seen_role:
            self._seen_role = node.spec.desired_role
            self._expected = node.spec.desired_role
            self._wanted.set()
        if node.certificate.status.state == api.IssuanceStatus.ROTATE:
            self._wanted.set()

    def renew_soon(self) -> None:
        """Renew key and certificate now, because others may know the present key, or the role may have changed."""
        self._wanted.set()

    async def run(self) -> None:
        """Renew whenever it is time, until cancelled."""
        due = self._due()
        while True:
            if await self._wait(due):
                self._forced = True
                await asyncio.sleep(FORCED_DELAY)  # several reasons share one renewal, and the role has time to change
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
            self._failures += 1  # too early: a demoted node, for instance, has not left the quorum yet
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
        # A certificate may not be valid yet if it was made while a clock was ahead.
        return self._security.identity.not_before_at <= self._clock() <= self._security.identity.not_after_at

    async def _wait(self, due: float) -> bool:
        """Wait until `due`. Return whether something asked for an earlier renewal."""
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
