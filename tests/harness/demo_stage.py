"""Shared by the demos: steps that are printed and timed, a folder that shows whether the demo lives, and removal.

A demo that lives holds a lock on a file in its folder. A demo that left its swarm up has put a mark there. A folder
with neither belongs to a demo that was killed, and the next demo removes it. The folder of a demo with one host is the
host's own folder. The folder of a demo with several hosts has the hosts' folders in it, and a file with the id of its
process, which is in the names of all its namespaces. So everything can be found again from the disk.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from tests.harness.hosts import Host, run

NAME = "demo"
LOCK = "demo.lock"
KEPT = "kept"
PID = "demo.pid"
NO_NAMESPACES = "no-namespaces"  # a mark: this machine had no named namespaces when the demo began
NAMESPACES = Path("/run/netns")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Story:
    """Prints the steps as they happen, and a table of them at the end."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float]] = []
        self._what = ""
        self._begun = 0.0
        self._last = ""

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Print what happens now, and then how long it took."""
        self._what, self._last = what, ""
        print(f"\033[1m==>\033[0m {what} ...", end="", flush=True)
        self._begun = time.monotonic()
        try:
            yield
        except BaseException:
            print(flush=True)  # an error begins on a line of its own
            raise
        took = time.monotonic() - self._begun
        self.steps.append((what, took))
        # Progress within the step is removed from a terminal's line; elsewhere it has its own lines.
        again = f"\r\033[K\033[1m==>\033[0m {what} ..." if self._last and sys.stdout.isatty() else ""
        print(f"{again} {took:.2f} s", flush=True)

    def progress(self, text: str) -> None:
        """Show the progress of the present step: in place on a terminal, elsewhere once for each news."""
        if sys.stdout.isatty():
            took = time.monotonic() - self._begun
            print(f"\r\033[K\033[1m==>\033[0m {self._what} ... {took:.0f} s, {text}", end="", flush=True)
        elif text != self._last:
            print(f" {text} ...", end="", flush=True)
        self._last = text

    def show(self, text: str) -> None:
        """Print the output of a command, between two steps."""
        print("".join(f"    {line}\n" for line in text.rstrip().splitlines()), end="", flush=True)

    def table(self) -> str:
        """Return a table of the steps and their times."""
        width = max(len(what) for what, _ in self.steps)
        lines = [f"  {what:<{width}}  {took:8.2f} s" for what, took in self.steps]
        return "\n".join([f"  {'STEP':<{width}}  {'TOOK':>10}", *lines])


class Signals:
    """Turns the first signal into an exception that unwinds everything. Later ones are ignored, so that the removal
    goes on.
    """

    def __enter__(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._interrupt)

    def __exit__(self, *_: object) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        self.__exit__()
        raise KeyboardInterrupt(signal.Signals(number).name)


class Remains(ABC):
    """What a demo has made: `folder`, and all that can be found from it, also after the demo has ended."""

    folder: Path

    def lock(self) -> IO[str]:
        """Show that the demo lives, until the returned file is closed."""
        lock = (self.folder / LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(FORWARDING.read_text())
        lock.flush()
        return lock

    @abstractmethod
    def take_down(self) -> None:
        """Remove everything, whether its demo lives or not."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """Return what it has made outside the folder and is still there."""

    @abstractmethod
    def log(self) -> str:
        """Return the ends of the daemons' logs."""

    def end(self) -> list[str]:
        """Remove everything. Returns what could not be removed."""
        self.take_down()
        return self.what_stays()

    def what_stays(self) -> list[str]:
        """Return what is left, after giving the kernel a moment to free what has ended."""
        end = time.monotonic() + 5.0
        while (left := self.leftovers()) and time.monotonic() < end:
            time.sleep(0.05)
        return left


class OneHost(Remains):
    """A host that shares this machine's network."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.folder = host.folder

    def take_down(self) -> None:
        """Remove the host, and what it changed on this machine."""
        lock = self.folder / LOCK
        before = lock.read_text() if lock.exists() else ""
        self.host.close()
        # The bridge needed IP forwarding. It is turned off again, unless somebody else's bridge may need it.
        if before.strip() == "0" and not list(Path("/sys/class/net").glob("*/bridge")):
            FORWARDING.write_text(before)

    def leftovers(self) -> list[str]:
        """Return what is left of the host."""
        return self.host.leftovers()

    def log(self) -> str:
        """Return the end of shoald's log."""
        return f"--- the end of shoald's log\n{self.host.log()}"


class ManyHosts(Remains):
    """Hosts in network namespaces of their own. Everything is read from the disk, so this also works for a demo that
    was killed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pid = (folder / PID).read_text()
        self._seen: dict[Path, Host] = {}

    @classmethod
    def begin(cls) -> "ManyHosts":
        """Return the hosts of a new demo: none yet."""
        folder = Path(tempfile.mkdtemp(prefix=f"shoal-{NAME}-"))
        (folder / PID).write_text(str(os.getpid()))
        if not _is_mounted(NAMESPACES):
            (folder / NO_NAMESPACES).touch()
        return cls(folder)

    def hosts(self) -> list[Host]:
        """Return the hosts that there are or were, each with its namespace if that still exists."""
        for path in sorted(self.folder.glob("shoal-*-*")):
            name = path.name.removeprefix("shoal-").rpartition("-")[0]
            if path not in self._seen:
                self._seen[path] = Host.of_the_dead(name, path)
        for host in self._seen.values():
            host.tag()  # only while the file exists
            namespace = f"shoal-{host.name}-{self._pid}"
            host.namespace = namespace if self._is_there(namespace) else ""
        return list(self._seen.values())

    def take_down(self) -> None:
        """Remove the hosts, the bridge between them, and the folder."""
        for host in self.hosts():
            host.close()
            host.namespace = ""
        run("ip", "netns", "delete", f"shoal-{NAME}-{self._pid}", check=False)
        if (self.folder / NO_NAMESPACES).exists() and not any(NAMESPACES.glob("*")):
            # `ip netns add` has mounted the folder, and nothing else unmounts it. It may be in use by now.
            run("umount", str(NAMESPACES), check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def leftovers(self) -> list[str]:
        """Return what is left of the hosts. After `take_down` also of their namespaces and the bridge."""
        names = [] if self.folder.exists() else [NAME, *(host.name for host in self._seen.values())]
        found = [
            f"namespace {name}" for name in (f"shoal-{each}-{self._pid}" for each in names) if self._is_there(name)
        ]
        for host in self.hosts():
            found += host.leftovers()
        return found

    def log(self) -> str:
        """Return the end of each shoald's log."""
        return "\n".join(f"--- the end of shoald's log on {host.name}\n{host.log()[-4000:]}" for host in self.hosts())

    @staticmethod
    def _is_there(namespace: str) -> bool:
        return (NAMESPACES / namespace).exists()


def _is_mounted(path: Path) -> bool:
    """Return whether something is mounted there, also from the same file system, which `Path.is_mount` does not see."""
    return any(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def abandoned(*, kept: bool) -> Iterator[Remains]:
    """Find what killed demos left. With `kept` also swarms that a demo left up on purpose."""
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"shoal-{NAME}-*")):
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            continue  # any user can make a folder with such a name
        if (folder / KEPT).exists() and not kept:
            continue
        try:
            with (folder / LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its demo lives, or has just begun
        yield ManyHosts(folder) if (folder / PID).exists() else OneHost(Host.of_the_dead(NAME, folder))
