"""A `shoald` that records how late its event loop is. `script/bench agents` starts it instead of the plain one.

Input: shoald's own arguments, and in `SHOAL_BENCH_STALLS` the file to write. Output: one line for each time that the
loop was late: when, for how long, and how long its thread had the CPU, all in seconds. SIGUSR1 starts and stops this,
because at rest it would cost most of the measured CPU. The process that carries etcd's bytes is watched all the time,
in a file of its own (`watched_tunnels`).
"""

import asyncio
import os
import signal
import sys
import time

import uvloop

from shoal.daemon.main import main
from shoal.manager.peers import keeper

FILE = "SHOAL_BENCH_STALLS"
TUNNELS = ".tunnels"  # appended to the file's name
PERIOD = 0.02
TOLD = 0.03  # a line is written if the loop is later than this


class Watch:
    """A timer that records when it is late."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str, told: float = TOLD) -> None:
        self._loop = loop
        self._told = told
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 - as long as the process
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = self._cpu = 0.0
        loop.add_signal_handler(signal.SIGUSR1, self.toggle)

    def toggle(self) -> None:
        """Start watching, or stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        else:
            self._arm()

    def _arm(self) -> None:
        self._due_at = time.monotonic() + PERIOD
        self._cpu = time.thread_time()
        self._timer = self._loop.call_later(PERIOD, self._look)

    def _look(self) -> None:
        late = time.monotonic() - self._due_at
        if late > self._told:
            self._file.write(f"{time.time():.3f} {late:.4f} {time.thread_time() - self._cpu:.4f}\n")
        self._arm()


def _watched_loop() -> uvloop.Loop:
    loop = _new_loop()
    Watch(loop, os.environ[FILE])
    return loop


_new_loop = uvloop.new_event_loop

if __name__ == "__main__":
    uvloop.new_event_loop = _watched_loop
    keeper.COMMAND = (sys.executable, "-m", "benchmarks.watched_tunnels")
    sys.exit(main())
