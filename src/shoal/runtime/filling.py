"""Fills an empty volume with the image's files at the place where the volume will be mounted, as Docker does.

Another container may have the volume already and change it at the same time. So nothing is done by a path: each folder
is opened below the volume without following links, each file must be new (O_EXCL), and nothing that exists is changed.
At worst, the image's files are missing whose names that container has taken.
Blocking; for worker threads. In: a root that no process uses yet, a path in it, the volume's folder.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shoal.errors import ShoalError
from shoal.host import linux
from shoal.runtime import confined

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT_ATTRIBUTES = ("user.", "security.capability", "system.posix_acl_")

# A file with several names is linked in the volume as well. That needs an open descriptor for each such file, and the
# daemon has only so many. Beyond this number each name becomes a file of its own.
_LINKED_FILES_MOST = 256

# Bytes per call of sendfile, so that no call takes minutes.
_COPY_AT_ONCE = 64 << 20


def fill(root: Path, target: str, volume: str) -> None:
    """Fill an empty volume with the image's files at a path. A volume that is not empty is left as it is.

    Raises ShoalError, for example if the disk is full; then the volume is empty again.
    """
    with _opened(os.open(volume, _FOLDER)) as there:
        if not _is_empty(there):
            return
        root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            source = linux.open_in_root(root_fd, target, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return
            raise
        finally:
            os.close(root_fd)
        with _opened(source):
            copy = _Copy(source, there)
            try:
                copy.run()
            except OSError as error:
                copy.undo()
                raise ShoalError(f"failed to copy {target} into the volume: {error.strerror or error}") from error
            finally:
                copy.close()


def _is_empty(folder: int) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None


@contextmanager
def _opened(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


class _Copy:
    """One copy of a folder to another."""

    def __init__(self, source: int, there: int) -> None:
        self._source = source
        self._there = there
        self._made: list[str] = []  # names in the volume's own folder
        self._linked: dict[tuple[int, int], int] = {}

    def run(self) -> None:
        todo = ["."]
        while todo:
            path = todo.pop()
            resolve = linux.RESOLVE_NO_SYMLINKS | linux.RESOLVE_NO_XDEV
            with _opened(linux.open_in_root(self._source, path, _FOLDER, resolve=resolve)) as source:
                try:
                    there = linux.open_in_root(self._there, path, _FOLDER, resolve=resolve)
                except OSError as error:
                    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EAGAIN):
                        continue  # a container has put something else in its place
                    raise
                with _opened(there):
                    todo += [f"{path}/{name}" for name in self._folder(source, there, top=path == ".")]

    def _folder(self, source: int, there: int, *, top: bool) -> list[str]:
        """Copy the entries of a folder. Return the names of the folders in it, whose content is not copied yet."""
        below = []
        for name in os.listdir(source):
            found = os.stat(name, dir_fd=source, follow_symlinks=False)
            try:
                self._entry(source, there, name, found)
            except FileExistsError:
                continue  # a container has put something there, which stays
            if top:
                self._made.append(name)
            if stat.S_ISDIR(found.st_mode):
                below.append(name)
        _give(there, source, os.stat(source))
        return below

    def _entry(self, source: int, there: int, name: str, found: os.stat_result) -> None:
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(name, 0o700, dir_fd=there)
        elif stat.S_ISREG(found.st_mode):
            self._file(source, there, name, found)
        elif stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=there)
            with suppress(FileNotFoundError):  # a container has removed it
                os.chown(name, found.st_uid, found.st_gid, dir_fd=there, follow_symlinks=False)
                times = (found.st_atime_ns, found.st_mtime_ns)
                os.utime(name, ns=times, dir_fd=there, follow_symlinks=False)
        elif stat.S_ISFIFO(found.st_mode):
            os.mkfifo(name, 0o600, dir_fd=there)
            _give_fifo(there, name, found)
        # Devices are left out, because they would be the host's. Layers have none either.

    def _file(self, source: int, there: int, name: str, found: os.stat_result) -> None:
        key = (found.st_dev, found.st_ino)
        if found.st_nlink > 1 and key in self._linked:
            with suppress(FileNotFoundError):  # a container has removed the first name, so the file is copied again
                os.link(f"/proc/self/fd/{self._linked[key]}", name, dst_dir_fd=there, follow_symlinks=True)
                return
        flags = os.O_CLOEXEC | os.O_NOFOLLOW
        with _opened(os.open(name, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=source)) as reading:
            writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=there)
            try:
                _copy_data(reading, writing, found.st_size)
                _give(writing, reading, found)
                if found.st_nlink > 1 and key not in self._linked and len(self._linked) < _LINKED_FILES_MOST:
                    self._linked[key] = os.dup(writing)
            finally:
                os.close(writing)

    def undo(self) -> None:
        """Remove what was made."""
        for name in self._made:
            with suppress(FileNotFoundError):
                try:
                    os.unlink(name, dir_fd=self._there)
                except IsADirectoryError:
                    confined.remove_tree(name, dir_fd=self._there)

    def close(self) -> None:
        for fd in self._linked.values():
            os.close(fd)


def _copy_data(reading: int, writing: int, size: int) -> None:
    """Copy a file's content; holes stay holes."""
    at = 0
    while at < size:
        try:
            at = os.lseek(reading, at, os.SEEK_DATA)
            end = os.lseek(reading, at, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                break
            raise
        os.lseek(writing, at, os.SEEK_SET)
        while at < end:
            done = os.sendfile(writing, reading, at, min(end - at, _COPY_AT_ONCE))
            if not done:
                raise OSError(errno.EIO, "a file of the image ends before its size")
            at += done
    os.ftruncate(writing, size)


def _give(target: int, source: int, found: os.stat_result) -> None:
    """Give a new file or folder the image's owner, mode, attributes and times. Setting the owner clears the others."""
    os.chown(target, found.st_uid, found.st_gid)
    os.chmod(target, stat.S_IMODE(found.st_mode))
    for name in os.listxattr(source):
        if name.startswith(_KEPT_ATTRIBUTES):
            try:
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError as error:
                if name == "security.capability" or error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise  # without its capabilities a program fails; other attributes are optional
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def _give_fifo(there: int, name: str, found: os.stat_result) -> None:
    """Give a new fifo the image's owner and mode. It must not be opened, because that waits for its other end."""
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=there)
    except FileNotFoundError:
        return
    with _opened(fd):
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.chown(f"/proc/self/fd/{fd}", found.st_uid, found.st_gid)
            os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(found.st_mode))
