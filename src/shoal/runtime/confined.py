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

# Bytes of /etc/passwd or /etc/group that are read: enough for thousands of users.
TEXT_LIMIT = 1 << 20

# Names of a folder that are kept at a time while it is emptied, because a container may have made millions.
_NAMES_AT_ONCE = 10_000

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EAGAIN, errno.EXDEV, errno.ENAMETOOLONG, errno.EACCES)


@contextmanager
def opened(root: Path | str, path: str) -> Iterator[int | None]:
    """Yield an O_PATH descriptor of a path inside a root, or None if there is nothing.

    Links are followed as a process in that root would follow them. The file itself is not opened, because opening a
    device may start a watchdog or wind a tape, and opening a fifo would block.
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
    """Return the beginning of a text file inside a root. Links cannot lead out of the root. Empty if there is none."""
    with opened(root, path) as fd:
        if fd is None or not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        with open(f"/proc/self/fd/{fd}", "rb") as file:  # the same file, even if the path leads elsewhere by now
            return file.read(TEXT_LIMIT).decode(errors="replace")


def folder_mode(root: Path | str, path: str) -> int | None:
    """Return the permissions of a folder inside a root, or None if there is no folder."""
    with opened(root, path) as fd:
        if fd is None:
            return None
        mode = os.fstat(fd).st_mode
        return stat.S_IMODE(mode) if stat.S_ISDIR(mode) else None


def read_link(root: Path | str, path: str) -> str | None:
    """Return the target of a symbolic link inside a root, or None if there is none. No other link is followed."""
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
    """Return the size of all files below a folder. A file with several names counts once.

    Files that vanish meanwhile do not count, nor files nested deeper than a path may be long (4096 characters).
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
    """Yield name and stat of each entry of a folder below `top`, following no links. None if it cannot be opened."""
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
    """Remove a folder and all in it. May be repeated after an error. Raises FileNotFoundError if it does not exist.

    shutil.rmtree recurses and holds a descriptor for each level. So it could not remove a thousand nested folders, and
    such leftovers of a container would end the daemon at its next start. Nothing is removed through a mount point:
    that raises OSError (EXDEV).
    """
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(path, dir_fd=dir_fd)


def remove_remains(path: Path) -> None:
    """Remove the folder of unfinished work, if it exists. If it cannot be removed, that is logged."""
    try:
        remove_tree(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("%s is of no use and cannot be removed: %s", path, error.strerror or error)


def _empty(top: int) -> None:
    """Remove the content of a folder. Each folder below that is not empty is first moved up into the top folder."""
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
    """Return some names in a folder, each with whether it is a folder, without the folders that were moved up."""
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
