"""Handles processes by pidfd. An end is noticed at once, and a signal never reaches another process with a reused pid.

In: pids. Out: pidfds that the event loop watches. It uses no threads and no SIGCHLD, and leaves asyncio's children
alone.
"""

import asyncio
import os
import signal
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from shoal import spawning


def started(pid: int) -> int:
    """Return when a process began, in clock ticks since boot; 0 if there is none.

    Together with the pid it is unique.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            data = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # The name in parentheses may contain anything, even ") R".
    fields = data[data.rindex(b")") + 2 :].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def open_if(pid: int, began: int) -> int | None:
    """Return a pidfd of this process, or None if it has ended. `began` 0: any process with the pid."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if began and started(pid) != began:
        os.close(fd)
        return None
    return fd


def send(pid: int, began: int, number: int) -> bool:
    """Send a signal to this process. Return False if it has ended. `began` 0: any process with the pid."""
    fd = open_if(pid, began)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def children(pid: int) -> list[int]:
    """Return the children of a process's first thread that have not ended. None if the process itself has ended."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return [int(word) for word in file.read().split() if started(int(word))]
    except (FileNotFoundError, ProcessLookupError):
        return []


def in_own_pid_namespace(pid: int) -> bool:
    """Return whether a process is in a pid namespace below ours."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return any(line.startswith(b"NSpid:") and len(line.split()) > 2 for line in file)
    except (FileNotFoundError, ProcessLookupError):
        return False


async def readable(fd: int) -> None:
    """Wait until a descriptor can be read. There may be only one waiter per descriptor."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


class Child:
    """A child process. If it has not been waited for, leaving the context kills it and waits."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.fd = os.pidfd_open(pid)
        self.exit_code: int | None = None  # 128 + signal when killed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.exit_code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.reap()
        os.close(self.fd)

    async def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        if self.exit_code is None:
            await readable(self.fd)
            self.reap()
        assert self.exit_code is not None
        return self.exit_code

    def reap(self) -> int:
        """Block until it has ended, and return its exit code."""
        if self.exit_code is None:
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
            self.exit_code = code if code >= 0 else 128 - code
        return self.exit_code


def spawn(args: Sequence[str], env: dict[str, str], fds: dict[int, int]) -> Child:
    """Start a program with only these descriptors (theirs -> ours) and with default signal handling.

    It uses posix_spawn, which is cheap even if this process is large, and may be called from any thread.
    """
    actions: list[tuple[int, ...]] = []
    # Ours are first moved to high numbers, so that no dup2 overwrites one that is still needed.
    high = max([*fds, *fds.values(), 9]) + 1
    for offset, ours in enumerate(fds.values()):
        actions.append((os.POSIX_SPAWN_DUP2, ours, high + offset))
    for offset, theirs in enumerate(fds):
        actions.append((os.POSIX_SPAWN_DUP2, high + offset, theirs))
        actions.append((os.POSIX_SPAWN_CLOSE, high + offset))
    with spawning.alone:
        pid = os.posix_spawn(  # noqa: TID251 - `alone` makes it safe
            args[0],
            list(args),
            env,
            file_actions=actions,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        )
    return Child(pid)
