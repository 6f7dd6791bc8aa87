"""Notices when conmon cuts a log: one thread, woken by inotify, names the part that was cut off.

It is a thread, because the next cut may follow within milliseconds, while the event loop may be busy for longer.
"""

import logging
import os
import select
import threading
import time

from shoal.files import write_all
from shoal.host import linux
from shoal.runtime import log_files, log_options
from shoal.runtime.log_options import LogLimits
from shoal.runtime.types import Container, Phase

log = logging.getLogger(__name__)

# Seconds after each look. A log with a tiny limit is cut thousands of times a second, and must not use a whole core.
PAUSE = 0.005


class LogCuts:
    """Watches the logs of running containers that have a limit and more than one file. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, tuple[str, LogLimits]] = {}
        self._inotify = -1
        self._wake = (-1, -1)
        self._thread: threading.Thread | None = None
        self._apart = threading.Event()

    def begin(self, container: Container) -> None:
        """Prepare a container's log for conmon, and watch it. Blocks for a few system calls."""
        log_files.prepare(container.log_path, log_options.limits(container.config.log_options))
        self._watch(container)

    def adopt(self, container: Container) -> None:
        """Watch the log of a container from an earlier run, if the container still runs."""
        if container.phase is Phase.RUNNING:
            self._watch(container)

    def _watch(self, container: Container) -> None:
        path, limits = container.log_path, log_options.limits(container.config.log_options)
        if not limits.size_bytes or limits.files < 2:
            return
        with self._lock:
            if self._thread is None:
                self._inotify = linux.inotify_init()
                self._wake = os.pipe2(os.O_CLOEXEC)
                self._thread = threading.Thread(target=self._run, name="shoal-log-cuts", daemon=True)
                self._thread.start()
                self._apart.wait()
            number = linux.inotify_add(self._inotify, os.path.dirname(path), linux.IN_MOVED_TO)
            self._watched[number] = (path, limits)
            self._settle(number)

    def end(self, container: Container) -> None:
        """Stop watching the log of a container that has ended. May be repeated."""
        with self._lock:
            for number in [number for number, (path, _) in self._watched.items() if path == container.log_path]:
                linux.inotify_remove(self._inotify, number)
                self._settle(number)
                del self._watched[number]

    def close(self) -> None:
        """End the thread."""
        if self._thread is None:
            return
        write_all(self._wake[1], b"x")
        self._thread.join()
        self._thread = None
        for fd in (self._inotify, *self._wake):
            os.close(fd)

    def _run(self) -> None:
        # A thread shares its working folder with the one that started it, here a worker thread. While it does, that one
        # could not enter another mount namespace.
        linux.unshare(linux.CLONE_FS)
        self._apart.set()
        while True:
            ready, _, _ = select.select([self._inotify, self._wake[0]], [], [])
            if self._wake[0] in ready:
                return
            numbers = {number for number, _ in linux.inotify_read(self._inotify)}
            with self._lock:
                # -1 means that the kernel lost events.
                for number in self._watched if -1 in numbers else numbers & set(self._watched):
                    self._settle(number)
            time.sleep(PAUSE)

    def _settle(self, number: int) -> None:
        path, limits = self._watched[number]
        try:
            log_files.settle(path, limits)
        except FileNotFoundError:
            pass  # its container was removed
        except OSError as error:  # for example a full disk; older output is lost, but the limit holds
            log.warning("what was cut off the log %s is not kept: %s", path, error)
