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

# Seconds that a SIGKILL may take before it counts as failed, because a process may hang in the kernel. moby waits as
# long.
KILL_TIMEOUT = 10.0


class Stopping:
    """Stops containers, or sends them signals."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def kill(self, life: Life, ref: str, signal: str) -> None:
        """Send a signal. `ref` is the caller's name for the container. Raises Conflict if it does not run."""
        number = process.parse_signal(signal)
        if not _send(life, number):
            raise Conflict(f"cannot kill container: {ref}: container {life.value.id} is not running")
        if number == SIGKILL:
            await self._thaw(life)
        self._tell(life, number)

    async def stop(self, life: Life, timeout: float | None) -> None:
        """Send its stop signal and, after `timeout` seconds, SIGKILL. Return when it has ended.

        A negative timeout means no SIGKILL; None means the container's own timeout. Raises ShoalError.
        """
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
        """Kill it, and return when it has ended. Raises ShoalError if it does not end in time."""
        if _send(life, SIGKILL):
            self._tell(life, SIGKILL)
        await self._thaw(life)
        try:
            async with asyncio.timeout(KILL_TIMEOUT):
                await life.wait_ended()
        except TimeoutError as error:
            raise ShoalError("tried to kill container, but did not receive an exit event") from error

    async def _thaw(self, life: Life) -> None:
        """Thaw it, because a frozen process does not die of a signal."""
        await self._tools.workers.run(self._tools.site.cgroups.thaw, life.value.id)

    def _tell(self, life: Life, number: int) -> None:
        self._tools.tell(life.value, "kill", signal=str(int(number)))


def _send(life: Life, number: int) -> bool:
    if life.value.phase is not Phase.RUNNING or life.running is None:
        return False
    return processes.send(life.value.pid, life.running.pid_started, number)
