"""Sends signals to a running container: `kill`, and `stop`, which kills a container that does not end by itself.

In: a Life. Out: events, and errors with Docker's words. `watching` notices the end itself.
"""

import asyncio
from signal import SIGKILL

from shoal.errors import Conflict, ShoalError
from shoal.runtime import process, processes
from shoal.runtime.life import Life
from shoal.runtime.tools import Tools
from shoal.runtime.types import Phase

# How long a SIGKILL may take before it is called a failure: a process in the kernel's hands (moby waits as long).
KILL_TIMEOUT = 10.0


class Stopping:
    """Stops containers, or sends them signals."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def kill(self, life: Life, ref: str, signal: str) -> None:
        """Send a signal. Conflict when it does not run; `ref` is what the caller calls it."""
        number = process.parse_signal(signal)
        if not _send(life, number):
            raise Conflict(f"cannot kill container: {ref}: container {life.value.id} is not running")
        if number == SIGKILL:
            await self._thaw(life)
        self._tell(life, number)

    async def stop(self, life: Life, timeout: float | None) -> None:
        """Ask it to end with its stop signal, then kill it. Ends when it has ended; a negative timeout never kills."""
        if life.value.phase is not Phase.RUNNING:
            return
        wait = life.value.config.stop_timeout if timeout is None else timeout
        if _send(life, life.value.stop_signal):
            self._tell(life, life.value.stop_signal)
        try:
            async with asyncio.timeout(wait if wait >= 0 else None):
                await life.wait_ended()
        except TimeoutError:
            await self.kill_and_wait(life)
        self._tools.tell(life.value, "stop")

    async def kill_and_wait(self, life: Life) -> None:
        """Kill it; returns when it has ended. ShoalError where the kernel does not let it end."""
        if _send(life, SIGKILL):
            self._tell(life, SIGKILL)
        await self._thaw(life)
        try:
            async with asyncio.timeout(KILL_TIMEOUT):
                await life.wait_ended()
        except TimeoutError as error:
            raise ShoalError("tried to kill container, but did not receive an exit event") from error

    async def _thaw(self, life: Life) -> None:
        """A frozen process does not die of a signal."""
        await self._tools.workers.run(self._tools.site.cgroups.thaw, life.value.id)

    def _tell(self, life: Life, number: int) -> None:
        self._tools.tell(life.value, "kill", signal=str(int(number)))


def _send(life: Life, number: int) -> bool:
    if life.value.phase is not Phase.RUNNING or life.running is None:
        return False
    return processes.send(life.value.pid, life.running.pid_started, number)
