"""Decides whether a download may continue, and which download may start. Pure except for asyncio's semaphores.

In: received bytes and the time; the domain of a registry. Out: the reason to stop a download; permission to start one.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PULLS_OF_A_REGISTRY = 3
"""Docker's `max-concurrent-downloads`. It is per registry, so that one that stalls does not block pulls from others."""

PULLS_AT_ONCE = 12
"""The limit for all registries together, because each pull is a process and writes to the disk."""

STALLED_AFTER = 60.0
STALLED_BYTES = 64 << 10
"""A download that receives less than this in `STALLED_AFTER` seconds (1 KB/s) is given up, because it blocks others.
Docker has no such limit."""

SLACK_BYTES = 16 << 20
"""How many bytes more than the layers' sizes may be received: the config, the manifest, a layer that was retried."""


class Pace:
    """One download. `most_bytes` is the size of all wanted layers in the manifest."""

    def __init__(self, now: float, most_bytes: int) -> None:
        self._most = most_bytes + SLACK_BYTES
        self._since, self._before, self._highest = now, 0, 0

    def refusal(self, now: float, here_bytes: int) -> str | None:
        """Return why the download must stop, or None. Bytes that are loaded again do not count as progress."""
        if here_bytes > self._most:
            return f"the registry sends more than the {self._most - SLACK_BYTES} bytes that the manifest names"
        self._highest = max(self._highest, here_bytes)
        if self._highest - self._before >= STALLED_BYTES:
            self._since, self._before = now, self._highest
        elif now - self._since >= STALLED_AFTER:
            return f"the registry sent less than {STALLED_BYTES >> 10} KiB in {STALLED_AFTER:.0f} s"
        return None


class Places:
    """Lets pulls wait for their turn: few from one registry, more in all."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(PULLS_AT_ONCE)
        self._of: dict[str, asyncio.Semaphore] = {}
        self._wanted: Counter[str] = Counter()

    @asynccontextmanager
    async def taken(self, domain: str) -> AsyncIterator[None]:
        """Wait for a place for a registry's domain, and hold it within this block."""
        self._wanted[domain] += 1
        own = self._of.setdefault(domain, asyncio.Semaphore(PULLS_OF_A_REGISTRY))
        try:
            async with own, self._all:
                yield
        finally:
            self._wanted[domain] -= 1
            if not self._wanted[domain]:
                del self._wanted[domain], self._of[domain]
