"""The cgroups of this daemon's containers: `shoal-<tag>/<container id>`, in the host's layout.

The OCI runtime makes a container's cgroup; this module finds it, reads it and removes it. Its methods block, but only
for files of the kernel. In: container ids. Out: paths, numbers. OSError if the kernel refuses what must be possible.
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
# The cgroup of the conmons, beside those of the containers.
_MONITORS = "conmon"


class Layout(StrEnum):
    """How the host mounts cgroups."""

    UNIFIED = "v2"
    HYBRID = "v1 with v2 beside it"
    LEGACY = "v1"


def parse_mounts(mountinfo: str) -> tuple[Layout, dict[str, str]]:
    """Return the layout, and where each v1 controller (or "" for v2) is mounted. The first mount of each counts."""
    found: dict[str, str] = {}
    for line in mountinfo.split("\n"):
        left, separator, right = line.partition(" - ")
        if not separator:
            continue
        fields, kind = left.split(" "), right.split()
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
    """This daemon's part of the cgroup tree. Each daemon on a host has its own tag."""

    def __init__(self, tag: str, mountinfo: str | None = None) -> None:
        self.parent = f"shoal-{tag}"
        text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape") if mountinfo is None else mountinfo
        self.layout, self._mounts = parse_mounts(text)
        self.swap_accounting = self._has_swap_accounting()
        self._claimed: int | None = None

    def claim(self) -> bool:
        """Lock this daemon's part of the tree until `release`. Return False if another process of this host has it.

        The lock is on the cgroup's folder itself. Unlike a socket or a file elsewhere, that is in no namespace and
        below no root, and it covers exactly the cgroups that are cleaned up by this name.
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
        """Return whether a process holds the lock now."""
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
        """Release the lock, and remove this part of the tree if it is empty. May be repeated."""
        if self._claimed is not None:
            self.remove_parent()
            os.close(self._claimed)
            self._claimed = None

    def path(self, id: str) -> str:  # noqa: A002 - a container's id
        """Return the value of `cgroupsPath` in an OCI config."""
        return f"/{self.parent}/{id}"

    def folder(self, id: str, controller: str) -> str:  # noqa: A002
        """Return the folder with a container's files of a controller, or an empty text."""
        mount = self._mounts[""] if self.layout is Layout.UNIFIED else self._mounts.get(controller, "")
        return f"{mount}/{self.parent}/{id}" if mount else ""

    def read(self, id: str, controller: str, name: str) -> str:  # noqa: A002
        """Return the content of a file of a container's cgroup. Empty if there is none."""
        folder = self.folder(id, controller)
        if not folder:
            return ""
        try:
            with open(f"{folder}/{name}") as file:
                return file.read()
        except OSError as error:
            # The container ended between two reads, or the kernel lacks the file.
            if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                return ""
            raise

    def pids(self, id: str) -> list[int]:  # noqa: A002
        """Return the pids of a container's cgroup."""
        controller = "" if self.layout is Layout.UNIFIED else self._tracking
        return [int(line) for line in self.read(id, controller, "cgroup.procs").split()]

    def kill(self, id: str) -> None:  # noqa: A002
        """Send SIGKILL to every process in it and below it, also to frozen ones.

        With cgroup v2 and Linux 5.14 the kernel kills all at once, so that forks cannot escape.
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
        """Thaw the frozen processes in it and below it. On v1 a frozen process does not die of SIGKILL before that.

        Call it after the signal; then the processes cannot freeze themselves again. Without a freezer it does nothing.
        """
        unified = self.layout is Layout.UNIFIED
        name, word = ("cgroup.freeze", "0") if unified else ("freezer.state", "THAWED")
        top = self.folder(id, "freezer")
        for folder in _tree(top) if top else ():
            try:
                with open(f"{folder}/{name}", "r+") as file:
                    file.write(word)
            except OSError as error:
                # It has just gone, or cannot be frozen.
                if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EACCES):
                    raise

    def keep_apart(self, pid: int) -> None:
        """Move a process that outlives the daemon (a conmon, the network process) out of the service's cgroup.

        It goes into a cgroup beside the containers. Otherwise systemd would log each such process whenever the daemon
        ends and starts, and `systemctl kill` would end them. If the kernel killed one for memory, systemd would call
        that a failure of the service.
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
                # Only a warning, because everything works all the same.
                log.warning("process %s stays in the daemon's cgroup: %s", pid, error)

    def remove(self, id: str) -> bool:  # noqa: A002
        """Remove a container's cgroups. Return False if a process is still in one. May be repeated."""
        left = [mount for mount in set(self._mounts.values()) if not _remove_tree(f"{mount}/{self.parent}/{id}")]
        return not left

    def remove_parent(self) -> bool:
        """Remove this daemon's part of the tree if no container is in it. Return whether it is gone."""
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
        """Return the ids of the containers that have a cgroup here."""
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
    """Return the pids in a file of the kernel, or none if it is gone."""
    try:
        with open(path) as file:
            return [int(line) for line in file.read().split()]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return []
        raise


def _tree(folder: str) -> list[str]:
    """Return a cgroup and all below it, parents first.

    There is no recursion, because containers can nest them deeply.
    """
    found = [folder] if os.path.isdir(folder) else []
    for at in found:  # `found` grows during the loop
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
