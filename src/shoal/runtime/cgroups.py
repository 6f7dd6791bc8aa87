"""The cgroups of this daemon's containers: `shoal-<tag>/<container id>` in whichever layout the host has.

The OCI runtime makes a container's cgroup; this finds it, reads it, and removes it. Blocking, but quick: the files are
the kernel's. In: container ids. Out: paths, numbers; OSError only where the kernel refuses what must be possible.
"""

import contextlib
import errno
import fcntl
import logging
import os
import signal
from enum import StrEnum
from pathlib import Path

log = logging.getLogger(__name__)

ROOT = "/sys/fs/cgroup"
# Beside the containers: those who hold them.
_MONITORS = "conmon"


class Layout(StrEnum):
    """How the host mounts cgroups."""

    UNIFIED = "v2"
    HYBRID = "v1 with v2 beside it"
    LEGACY = "v1"


def parse_mounts(mountinfo: str) -> tuple[Layout, dict[str, str]]:
    """The layout, and where each v1 controller (or "" for v2) is mounted. The first mount of each counts."""
    found: dict[str, str] = {}
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        if not separator:
            continue
        fields, kind = left.split(), right.split()
        if kind[0] == "cgroup2":
            found.setdefault("", fields[4])
        elif kind[0] == "cgroup":
            for option in kind[2].split(",") if len(kind) > 2 else ():
                if option not in ("rw", "ro", "xattr", "clone_children", "cpuset_v2_mode"):
                    found.setdefault(option.removeprefix("name="), fields[4])
    controllers = [name for name in found if name]
    if not controllers:
        return Layout.UNIFIED, found
    return (Layout.HYBRID if "" in found else Layout.LEGACY), found


class Cgroups:
    """This daemon's part of the cgroup tree. Two daemons on a host have two tags."""

    def __init__(self, tag: str, mountinfo: str | None = None) -> None:
        self.parent = f"shoal-{tag}"
        text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
        self.layout, self._mounts = parse_mounts(text)
        self.swap_accounting = self._has_swap_accounting()
        self._claimed: int | None = None

    def claim(self) -> bool:
        """Hold this daemon's part of the tree, on the whole host, until `release`; False when another process does.

        A lock on the folder itself: unlike a name of a socket or a file elsewhere, it is in no namespace and below no
        root, and what is swept by its name is just what it holds.
        """
        folder = self._claim_folder
        while True:
            os.makedirs(folder, mode=0o755, exist_ok=True)
            try:
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # its last holder has just removed it
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return False
            if os.path.exists(folder) and os.path.samestat(os.stat(folder), os.fstat(handle)):
                self._claimed = handle
                return True
            os.close(handle)

    def is_claimed(self) -> bool:
        """Return whether some process holds this part of the tree now."""
        try:
            handle = os.open(self._claim_folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def release(self) -> None:
        """Hold it no more, and remove it when it is empty. May be repeated."""
        if self._claimed is not None:
            self.remove_parent()
            os.close(self._claimed)
            self._claimed = None

    def path(self, id: str) -> str:  # noqa: A002 - a container's id
        """What `cgroupsPath` of an OCI config says."""
        return f"/{self.parent}/{id}"

    def folder(self, id: str, controller: str) -> str:  # noqa: A002
        """Where a container's files of a controller are."""
        mount = self._mounts[""] if self.layout is Layout.UNIFIED else self._mounts.get(controller, "")
        return f"{mount}/{self.parent}/{id}" if mount else ""

    def read(self, id: str, controller: str, name: str) -> str:  # noqa: A002
        """A file of a container's cgroup; empty when there is none."""
        folder = self.folder(id, controller)
        if not folder:
            return ""
        try:
            with open(f"{folder}/{name}") as file:
                return file.read()
        except OSError as error:
            # ENODEV and ENOENT: the container ended between two reads, or the kernel lacks the file.
            if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                return ""
            raise

    def pids(self, id: str) -> list[int]:  # noqa: A002
        """Every process in a container's cgroup."""
        controller = "" if self.layout is Layout.UNIFIED else self._tracking
        return [int(line) for line in self.read(id, controller, "cgroup.procs").split()]

    def kill(self, id: str) -> None:  # noqa: A002
        """SIGKILL to every process in it and below it, also to those that are frozen.

        At once where the kernel can (cgroup v2, Linux 5.14), forks or no forks.
        """
        if self.layout is Layout.UNIFIED:
            with contextlib.suppress(OSError), open(f"{self.folder(id, '')}/cgroup.kill", "w") as file:
                file.write("1")
                return
        controller = "" if self.layout is Layout.UNIFIED else self._tracking
        for folder in _tree(self.folder(id, controller)):
            for pid in _numbers(f"{folder}/cgroup.procs"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.thaw(id)

    def thaw(self, id: str) -> None:  # noqa: A002
        """Let what is frozen in it, or below it, go on: on v1 a frozen process does not die of SIGKILL before that.

        After the signal, then: what goes on can freeze itself again no more. Where the host cannot freeze, nothing
        happens.
        """
        unified = self.layout is Layout.UNIFIED
        name, word = ("cgroup.freeze", "0") if unified else ("freezer.state", "THAWED")
        top = self.folder(id, "freezer")
        for folder in _tree(top) if top else ():
            try:
                with open(f"{folder}/{name}", "r+") as file:
                    file.write(word)
            except OSError as error:
                # It has just gone, or is above what may be frozen.
                if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EACCES):
                    raise

    def keep_apart(self, pid: int) -> None:
        """Take a process that outlives the daemon (a conmon, the network process) out of the service's cgroup.

        It goes into one beside the containers. systemd would name each of them in its journal whenever the daemon
        ends and starts, end them with `systemctl kill`, and take one that the kernel kills for memory for the
        service's failure.
        """
        for mount in {self._mounts.get(name, "") for name in ("", "systemd")} - {""}:
            folder = f"{mount}/{self.parent}/{_MONITORS}"
            try:
                os.makedirs(folder, mode=0o755, exist_ok=True)
                with open(f"{folder}/cgroup.procs", "w") as file:
                    file.write(str(pid))
            except ProcessLookupError:
                return  # it has ended
            except OSError as error:
                # It works all the same.
                log.warning("process %s stays in the daemon's cgroup: %s", pid, error)

    def remove(self, id: str) -> bool:  # noqa: A002
        """Remove a container's cgroups. False when a process is still in one; may be repeated."""
        left = [mount for mount in set(self._mounts.values()) if not _remove_tree(f"{mount}/{self.parent}/{id}")]
        return not left

    def remove_parent(self) -> bool:
        """Remove what is left of this daemon's part, when no container is in it."""
        done = True
        for mount in set(self._mounts.values()):
            _remove_tree(f"{mount}/{self.parent}/{_MONITORS}")
            try:
                os.rmdir(f"{mount}/{self.parent}")
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                    raise
                done = False
        return done

    def ids(self) -> set[str]:
        """The containers that have a cgroup of ours."""
        found: set[str] = set()
        for mount in set(self._mounts.values()):
            with contextlib.suppress(FileNotFoundError):
                found.update(entry.name for entry in os.scandir(f"{mount}/{self.parent}") if entry.is_dir())
        return found - {_MONITORS}

    @property
    def _claim_folder(self) -> str:
        return f"{self._mounts['' if self.layout is Layout.UNIFIED else self._tracking]}/{self.parent}"

    @property
    def _tracking(self) -> str:
        return next((name for name in ("pids", "memory", "systemd", "freezer") if name in self._mounts), "")

    def _has_swap_accounting(self) -> bool:
        if self.layout is Layout.UNIFIED:
            return os.path.exists("/proc/swaps")
        return os.path.exists(f"{self._mounts.get('memory', '')}/memory.memsw.limit_in_bytes")


def _numbers(path: str) -> list[int]:
    """The process ids in a file of the kernel's; none when it is gone."""
    try:
        with open(path) as file:
            return [int(line) for line in file.read().split()]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return []
        raise


def _tree(folder: str) -> list[str]:
    """A cgroup that there is, and all below it, parents first. Not by recursion: who may make some makes them deep."""
    found = [folder] if os.path.isdir(folder) else []
    for at in found:  # which grows meanwhile
        try:
            found += [entry.path for entry in os.scandir(at) if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENAMETOOLONG):
                raise
    return found


def _remove_tree(folder: str) -> bool:
    for one in reversed(_tree(folder)):
        try:
            os.rmdir(one)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise
    return not os.path.isdir(folder)
