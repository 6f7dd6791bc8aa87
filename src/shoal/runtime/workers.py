"""The few threads for blocking work: mounts, files, starting processes.

Each thread has its own working folder and mount namespace (Linux keeps both for each thread). So a function may change
the folder for a call, and enter another mount namespace while it starts a process.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from shoal.host import linux

P = ParamSpec("P")
R = TypeVar("R")

# A start mostly waits for its runtime. Making a container waits half of the time for netlink, without a thread. More
# threads would only queue for the CPUs and the kernel's mount lock.
THREADS_PER_CPU, THREADS_MOST = 3, 24

_own = threading.local()


def _prepare() -> None:
    linux.unshare(linux.CLONE_FS)
    _own.prepared = True


class Workers:
    """A bounded pool of threads. Functions run to their end, even if the caller is cancelled."""

    def __init__(self) -> None:
        threads = min(THREADS_PER_CPU * len(os.sched_getaffinity(0)), THREADS_MOST)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="shoal-runtime", initializer=_prepare)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in a thread and return its result.

        A cancelled caller only continues when the function has ended, so that it may close descriptors in use.
        """
        outcome = asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))
        try:
            await asyncio.wait([outcome])
        except asyncio.CancelledError:
            await asyncio.wait([outcome])
            if not outcome.cancelled():
                outcome.exception()  # nobody waits for the error any more
            raise
        return outcome.result()

    def close(self) -> None:
        """Wait for running functions, and end the threads."""
        self._pool.shutdown()


@contextmanager
def folder(path: str) -> Iterator[None]:
    """Change the working folder of this worker thread, within this block."""
    if not getattr(_own, "prepared", False):
        raise RuntimeError("only a worker thread may change folder")
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir("/")


class MountNamespace:
    """A mount namespace that only this process holds open. Processes in it keep it alive after us."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        """Make a slave of the present namespace, and call `prepare` inside. For a worker thread."""
        self._home = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            linux.unshare(linux.CLONE_NEWNS)
            try:
                linux.mount("", "/", flags=linux.MS_REC | linux.MS_SLAVE)
                prepare()
                self._fd = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                linux.setns(self._home, linux.CLONE_NEWNS)
        except BaseException:
            os.close(self._home)
            raise

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Enter it with this worker thread, within this block."""
        if not getattr(_own, "prepared", False):
            raise RuntimeError("only a worker thread may change its mount namespace")
        linux.setns(self._fd, linux.CLONE_NEWNS)
        try:
            yield
        finally:
            linux.setns(self._home, linux.CLONE_NEWNS)

    def close(self) -> None:
        """Close our descriptors of it."""
        os.close(self._fd)
        os.close(self._home)
