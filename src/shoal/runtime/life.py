"""One container in memory: its present value, its watchers, and the lock that orders operations on it."""

import asyncio
import dataclasses
import os
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from shoal.runtime.records import Running
from shoal.runtime.types import Container, Phase

# A watcher this far behind loses the oldest values; the newest always reaches it.
_WATCHED = 64


class _Watcher:
    def __init__(self, first: Container) -> None:
        self.values: deque[Container] = deque([first], maxlen=_WATCHED)
        self.ready = asyncio.Event()


class Life:
    """A container's present value, and the means to follow it."""

    def __init__(self, value: Container) -> None:
        self.value = value
        self.lock = asyncio.Lock()  # held while it is created, started, cleaned up or removed
        self.running: Running | None = None
        self.conmon_fd: int | None = None
        self.removed = False
        self.probing: asyncio.Task[None] | None = None
        self._watchers: set[_Watcher] = set()

    def change(self, **changes: Any) -> Container:
        """Replace fields of the value, and tell the watchers."""
        return self.become(dataclasses.replace(self.value, **changes))

    def become(self, value: Container) -> Container:
        """Replace the value, and tell the watchers."""
        self.value = value
        self._tell(value)
        return value

    def end(self) -> None:
        """Note that it was removed. Watchers end after their queued values."""
        self.removed = True
        self._tell(None)

    def _tell(self, value: Container | None) -> None:
        for watcher in self._watchers:
            if value is not None:
                watcher.values.append(value)
            watcher.ready.set()

    async def changes(self) -> AsyncIterator[Container]:
        """Yield the present value, then each new one, until it is removed."""
        watcher = _Watcher(self.value)
        self._watchers.add(watcher)
        try:
            while True:
                while watcher.values:
                    yield watcher.values.popleft()
                if self.removed:
                    return
                watcher.ready.clear()
                await watcher.ready.wait()
        finally:
            self._watchers.discard(watcher)

    async def wait_ended(self) -> Container:
        """Wait until its process has ended or it was removed, and return its value."""
        watcher = _Watcher(self.value)
        self._watchers.add(watcher)
        try:
            while self.value.phase not in (Phase.EXITED, Phase.DEAD, Phase.REMOVING) and not self.removed:
                watcher.ready.clear()
                await watcher.ready.wait()
            return self.value
        finally:
            self._watchers.discard(watcher)

    def close(self) -> None:
        """Close its descriptors."""
        if self.conmon_fd is not None:
            os.close(self.conmon_fd)
            self.conmon_fd = None
