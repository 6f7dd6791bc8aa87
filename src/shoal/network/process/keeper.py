"""Keeps what others wrote in a file, for the next run of this process."""

import asyncio
import logging
from pathlib import Path

from shoal.network.process import memory
from shoal.network.process.memory import Memory

log = logging.getLogger(__name__)

# It is kept soon, for a small part of the time: what a killed process had not kept, its next one lacks.
PAUSE = 0.05  # seconds, at least
RETRY = 1.0
SHARE = 20  # a pause is so many times as long as the writing before it


class Keeper:
    """Writes a memory to its file again and again, when there is something new."""

    def __init__(self, folder: Path, kept: Memory) -> None:
        self._folder, self._memory = folder, kept
        self._news = asyncio.Event()

    def note(self) -> None:
        """There is something new."""
        self._news.set()

    async def run(self) -> None:
        """Keep it, until cancelled."""
        loop = asyncio.get_running_loop()
        pause = PAUSE
        while True:
            await self._news.wait()
            self._news.clear()
            began = loop.time()
            try:
                await asyncio.to_thread(memory.keep, self._folder, self._memory.text())
                pause = max(PAUSE, SHARE * (loop.time() - began))
            except OSError as error:  # only a process that is started anew misses it
                log.error("what other nodes wrote is not kept for the next start: %s", error)
                self._news.set()
                pause = RETRY
            await asyncio.sleep(pause)
