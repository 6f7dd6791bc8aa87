"""Only one etcd for a data folder: the daemon holds a lock on it, and ends an etcd that outlived its daemon.

Blocking, Linux only. The lock comes first: whoever holds it knows that any etcd on the folder has lost its daemon.
"""

import fcntl
import logging
import os
import select
import signal
from pathlib import Path

from shoal.errors import Unavailable

log = logging.getLogger(__name__)

# Seconds each is given. One that was killed is still there until the disk has done what it waits for.
_PATIENCE = {signal.SIGTERM: 3.0, signal.SIGKILL: 60.0}


class Lock:
    """A file that only one process at a time can lock. The lock is released when that process ends in any way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock. Raises Unavailable if another process holds it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise Unavailable(f"{self._path} is held by another daemon: two cannot share a data root") from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock. May be repeated. The file stays, or two processes could lock two different files."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def end_leftovers(data: Path) -> None:
    """End every etcd that runs on a data folder, and return when all have ended. Raises Unavailable if one does not."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _is_etcd_on(int(entry), data):
            _end(int(entry), data)


def _is_etcd_on(pid: int, data: Path) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended meanwhile
        return False
    return b"--data-dir" in arguments and os.fsencode(data) in arguments and b"--initial-cluster" in arguments


def _end(pid: int, data: Path) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Checked again now that there is a handle, because another process may have got the number in between.
        if not _is_etcd_on(pid, data):
            return
        log.warning("ending etcd %d, which an earlier daemon left on %s", pid, data)
        for number, patience in _PATIENCE.items():
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            if poll.poll(patience * 1000):
                return
        raise Unavailable(f"etcd {pid} holds {data} and does not end")
    finally:
        os.close(handle)
