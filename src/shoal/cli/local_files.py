"""Reads the files that compose files name, from this host. Only ordinary files: a pipe or a device may never end."""

import errno
import os
import stat


class LocalFiles:
    """The files of this host, for the loader of compose files."""

    def read(self, path: str, longest_bytes: int) -> bytes:
        """Return a file's content, one byte more than `longest_bytes` if it has more. Raises OSError."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "is no regular file", path)
            return file.read(longest_bytes + 1)
