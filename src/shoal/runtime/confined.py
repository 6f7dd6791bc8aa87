"""Reads, measures and removes files below a folder that a container or an image may have filled with anything.

Everything is done by descriptors below that folder, so a link in it, also a new one, cannot lead out of it. Blocking;
for worker threads. In: a folder of ours, untrusted paths below it. `filling.py` writes there.
"""

import errno
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from shoal.host import linux

log = logging.getLogger(__name__)

# The largest /etc/passwd or /etc/group that is read: thousands of users.
TEXT_LIMIT = 1 << 20

# How many names of a folder are held at a time while it is emptied: a container may have made millions.
_NAMES_AT_ONCE = 10_000

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EAGAIN, errno.EXDEV, errno.ENAMETOOLONG, errno.EACCES)


@contextmanager
def opened(root: Path | str, path: str) -> Iterator[int | None]:
    """What is at a path inside a root, by a descriptor that neither reads nor writes; None when nothing is.

    Links are followed as a process in that root would follow them. Looking is all that is done: opening a device to
    read it may start a watchdog or wind a tape, and a fifo would make us wait.
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = linux.open_in_root(root_fd, path, os.O_PATH)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        fd = None
    finally:
        os.close(root_fd)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def read_text(root: Path | str, path: str) -> str:
    """A small text file inside a root, whatever links the image set up; empty when there is none."""
    with opened(root, path) as fd:
        if fd is None or not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        with open(f"/proc/self/fd/{fd}", "rb") as file:  # this very file, whatever the path leads to by now
            return file.read(TEXT_LIMIT).decode(errors="replace")


def folder_mode(root: Path | str, path: str) -> int | None:
    """The permissions of a folder inside a root; None when no folder is there."""
    with opened(root, path) as fd:
        if fd is None:
            return None
        mode = os.fstat(fd).st_mode
        return stat.S_IMODE(mode) if stat.S_ISDIR(mode) else None


def read_link(root: Path | str, path: str) -> str | None:
    """Where a symbolic link inside a root leads; None when none is there. No other link is followed on the way."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = linux.open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW, resolve=linux.RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        return None
    finally:
        os.close(root_fd)
    try:
        return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)


def tree_size_bytes(path: Path | str) -> int:
    """What the files below a folder hold, each once; what vanishes meanwhile counts for nothing.

    Nor does what is nested deeper than a path may be long (4096 characters).
    """
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    total, linked, todo = 0, set(), ["."]
    try:
        while todo:
            folder = todo.pop()
            for name, found in _stats(top, folder):
                if stat.S_ISDIR(found.st_mode):
                    todo.append(f"{folder}/{name}")
                    continue
                key = (found.st_dev, found.st_ino)
                if found.st_nlink == 1 or key not in linked:
                    total += found.st_size
                if found.st_nlink > 1:
                    linked.add(key)
    finally:
        os.close(top)
    return total


def _stats(top: int, folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """What is in a folder below another, reached by no link; nothing where it cannot be opened any more."""
    try:
        fd = linux.open_in_root(top, folder, os.O_RDONLY | os.O_DIRECTORY, resolve=linux.RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        return
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                try:
                    yield entry.name, entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
    finally:
        os.close(fd)


def remove_tree(path: Path | str, *, dir_fd: int | None = None) -> None:
    """Remove a folder and all in it. May be repeated after an error; FileNotFoundError when it is not there.

    shutil.rmtree calls itself for each level and holds a descriptor of each: a container that nests a thousand folders
    could not be removed, and its remains would end the daemon at its next start. Nothing is removed through a mount
    point: OSError (EXDEV).
    """
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(path, dir_fd=dir_fd)


def remove_remains(path: Path) -> None:
    """Remove a folder that broken-off work left, if it is there. What cannot be removed is named in the log."""
    try:
        remove_tree(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("%s is of no use and cannot be removed: %s", path, error.strerror or error)


def _empty(top: int) -> None:
    """Remove all that is in a folder: each folder in it that is not empty is first moved up into it."""
    prefix, count = f".removing-{secrets.token_hex(8)}-", 0
    todo = ["."]
    while todo:
        folder = todo.pop()
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        fd = linux.open_in_root(top, folder, flags, resolve=linux.RESOLVE_NO_SYMLINKS | linux.RESOLVE_NO_XDEV)
        try:
            while entries := _some_entries(fd, prefix if folder == "." else ""):
                for name, is_folder in entries:
                    if not is_folder:
                        os.unlink(name, dir_fd=fd)
                    elif not _removed(name, fd):
                        count += 1
                        todo.append(f"{prefix}{count}")
                        os.rename(name, todo[-1], src_dir_fd=fd, dst_dir_fd=top)
        finally:
            os.close(fd)
        if folder != ".":
            os.rmdir(folder, dir_fd=top)


def _some_entries(fd: int, moved: str) -> list[tuple[str, bool]]:
    """Names, and whether each is a folder's; without those of the folders that were moved up."""
    with os.scandir(fd) as entries:
        rest = (entry for entry in entries if not moved or not entry.name.startswith(moved))
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(rest, _NAMES_AT_ONCE)]


def _removed(name: str, fd: int) -> bool:
    try:
        os.rmdir(name, dir_fd=fd)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True
