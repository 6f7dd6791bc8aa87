"""The process that carries etcd's bytes, which records how late its event loop is. `watched_daemon` makes shoald start
it.

Output: a line for each time that the loop was late, as in `watched_daemon`, in a file beside that one's.
"""

import asyncio
import os

import uvloop

from benchmarks.watched_daemon import FILE, TUNNELS, Watch
from shoal.manager.peers.process import main

TOLD = 0.01


def _watched_loop() -> asyncio.AbstractEventLoop:
    loop = uvloop.new_event_loop()
    watch = Watch(loop, os.environ[FILE] + TUNNELS, TOLD)
    loop.call_soon(watch.toggle)
    return loop


if __name__ == "__main__":
    main(_watched_loop)
