"""A `shoald` that notes how long its event loop was away: what `script/bench agents` starts in place of the plain one.

In: shoald's own arguments, and in `SHOAL_BENCH_STALLS` the file to write. Out: one line for each time the loop came
back late: when, for how long, and how much of that its thread had the CPU, all in seconds. SIGUSR1 starts and stops it:
at rest it would be most of what there is to measure. The process that carries etcd's bytes is watched as well, all the
time, in a file of its own (`watched_tunnels`).
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
TUNNELS = ".tunnels"  # behind the file's name
PERIOD = 0.02
TOLD = 0.03  # later than this is worth a line


class Watch:
    """A timer that says when it is late."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str, told: float = TOLD) -> None:
        self._loop = loop
        self._told = told
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 - as long as the process
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = self._cpu = 0.0
        loop.add_signal_handler(signal.SIGUSR1, self.toggle)

    def toggle(self) -> None:
        """Watch, or stop watching."""
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
