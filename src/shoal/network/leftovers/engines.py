"""Whether a Docker Engine lives in this network namespace: its rules are then in use.

In: /proc. Out: process ids. A dockerd counts, and so does the shim of a container of Docker's: with `live-restore`
containers go on while their engine is away, and their rules with them. Engines in namespaces of their own (in
containers, rootless) are no matter here.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

PROC = Path("/proc")
_ENGINE, _SHIM = "dockerd", "containerd-shim"
# What dockerd calls its part of containerd.
_NAMESPACE = (b"-namespace", b"moby")


def living(proc: Path = PROC) -> tuple[int, ...]:
    """Return the processes of Docker's in the namespace of the calling thread."""
    home = _namespace(proc / "thread-self")
    return tuple(int(folder.name) for folder in _processes(proc) if is_docker(folder) and _namespace(folder) == home)


def still(processes: Iterable[int], proc: Path = PROC) -> bool:
    """Return whether one of these still is a process of Docker's."""
    return any(is_docker(proc / str(one)) for one in processes)


def is_docker(folder: Path) -> bool:
    """Return whether a process is dockerd or the shim of a container of Docker's."""
    try:
        name = (folder / "comm").read_text(errors="replace").strip()
        if name.startswith(_ENGINE):
            return True
        if not name.startswith(_SHIM):
            return False
        words = (folder / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False  # it has ended
    return _NAMESPACE in itertools.pairwise(words)


def networks_processes(proc: Path = PROC) -> set[str]:
    """Return the tags of the daemons that have a network process on this host."""
    found = set()
    for folder in _processes(proc):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"shoal.network.process.program" in words:
            found |= {
                word.removeprefix(b"--tag=").decode(errors="replace") for word in words if word.startswith(b"--tag=")
            }
    return found


def _processes(proc: Path) -> Iterator[Path]:
    return (folder for folder in proc.iterdir() if folder.name.isdecimal())


def _namespace(folder: Path) -> tuple[int, int] | None:
    try:
        found = (folder / "ns" / "net").stat()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return found.st_dev, found.st_ino
