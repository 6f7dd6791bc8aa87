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

# A start waits for its runtime most of the time, and making a container half of it for netlink, without a thread. More
# threads than this only queue for the CPUs and the kernel's mount lock.
THREADS_PER_CPU, THREADS_MOST = 3, 24

_own = threading.local()


def _prepare() -> None:
    linux.unshare(linux.CLONE_FS)
    _own.prepared = True


class Workers:
    """A bounded pool. Functions given to it run to their end, also when the caller has gone."""

    def __init__(self) -> None:
        threads = min(THREADS_PER_CPU * len(os.sched_getaffinity(0)), THREADS_MOST)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="shoal-runtime", initializer=_prepare)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it in a thread and return what it returns.

        A cancelled caller is told so when the function has ended: descriptors it uses may then be closed.
        """
        outcome = asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))
        try:
            await asyncio.wait([outcome])
        except asyncio.CancelledError:
            await asyncio.wait([outcome])
            if not outcome.cancelled():
                outcome.exception()  # nobody is left to hear it
            raise
        return outcome.result()

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        self._pool.shutdown()


@contextmanager
def folder(path: str) -> Iterator[None]:
    """Work in a folder, in this worker thread alone."""
    if not getattr(_own, "prepared", False):
        raise RuntimeError("only a worker thread may change folder")
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir("/")


class MountNamespace:
    """A mount namespace that this process alone holds open. What runs in it keeps it alive after us."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        """Make one, a slave of the present one, and call `prepare` inside. To be called in a worker thread."""
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
        """Be in it, in this worker thread alone."""
        if not getattr(_own, "prepared", False):
            raise RuntimeError("only a worker thread may change its mount namespace")
        linux.setns(self._fd, linux.CLONE_NEWNS)
        try:
            yield
        finally:
            linux.setns(self._home, linux.CLONE_NEWNS)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)
        os.close(self._home)
