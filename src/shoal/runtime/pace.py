"""Decides whether a download may continue, and which may start now. Pure but for asyncio's semaphores.

In: bytes that are here, and the time; the domain of a registry. Out: why a download is given up; a place to work in.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PULLS_OF_A_REGISTRY = 3
"""Docker's `max-concurrent-downloads`; more would only share the same line. A registry that stalls takes no other's."""

PULLS_AT_ONCE = 12
"""Of all registries: each is a process, a folder and a share of the disk."""

STALLED_AFTER = 60.0
STALLED_BYTES = 64 << 10
"""A download that brings less than this in `STALLED_AFTER` seconds is given up: 1 KB/s is no line, but a registry that
keeps a place taken. Docker has no such limit."""

SLACK_BYTES = 16 << 20
"""How much more than the layers' sizes may come: the config, the manifest, a layer begun again."""


class Pace:
    """One download. `most_bytes`: what all that is wanted has by its manifest."""

    def __init__(self, now: float, most_bytes: int) -> None:
        self._most = most_bytes + SLACK_BYTES
        self._since, self._before, self._highest = now, 0, 0

    def refusal(self, now: float, here_bytes: int) -> str | None:
        """Return why it is to be given up, or None. What is loaded a second time is no progress."""
        if here_bytes > self._most:
            return f"the registry sends more than the {self._most - SLACK_BYTES} bytes that the manifest names"
        self._highest = max(self._highest, here_bytes)
        if self._highest - self._before >= STALLED_BYTES:
            self._since, self._before = now, self._highest
        elif now - self._since >= STALLED_AFTER:
            return f"the registry sent less than {STALLED_BYTES >> 10} KiB in {STALLED_AFTER:.0f} s"
        return None


class Places:
    """Where pulls wait for their turn: few of one registry, more of all."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(PULLS_AT_ONCE)
        self._of: dict[str, asyncio.Semaphore] = {}
        self._wanted: Counter[str] = Counter()

    @asynccontextmanager
    async def taken(self, domain: str) -> AsyncIterator[None]:
        """Wait for a place of a registry, and hold it."""
        self._wanted[domain] += 1
        own = self._of.setdefault(domain, asyncio.Semaphore(PULLS_OF_A_REGISTRY))
        try:
            async with own, self._all:
                yield
        finally:
            self._wanted[domain] -= 1
            if not self._wanted[domain]:
                del self._wanted[domain], self._of[domain]
