"""A container's log on disk: the file that conmon writes, and older parts that conmon has cut off. Blocking.

    output.log        conmon's file. At its size limit conmon replaces it by a new one, also while no daemon runs. The
                      old content would be lost if it had no other name
    output.log.head   that other name, a hard link. When it is another file than output.log, conmon has cut the log
    output.log.<n>    older parts; higher numbers are newer

So the size is bounded even while no daemon runs. Older output is only kept if the daemon notices the cut. If a
container fills more than one file before that, whole files in between are lost, but never the newest.

In: a path and limits. Out: the files in their order, their bytes one after the other.
"""

import contextlib
import os

from shoal.runtime.log_options import LogLimits

CHUNK = 256 << 10

# Attempts. A listing is repeated until it is the same twice, because files may be renamed meanwhile.
_LISTINGS = 20

Identity = tuple[int, int]


def prepare(path: str, limits: LogLimits) -> None:
    """Make the file, with its second name, before conmon opens it.

    A full file is replaced by a new one, because conmon counts the size from zero at each start.
    """
    if not limits.size_bytes:
        return
    _settle(path, limits.files)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if os.stat(path).st_size >= limits.size_bytes:
        temporary = f"{path}.tmp"
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        _link(path, limits.files)
        os.rename(temporary, path)
    settle(path, limits)


def settle(path: str, limits: LogLimits) -> None:
    """Keep the parts that conmon has cut off, up to the limit. May be repeated, also after a crash at any point."""
    if limits.size_bytes:
        _settle(path, limits.files)
        _link(path, limits.files)


def _link(path: str, files: int) -> None:
    if files > 1:
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            os.link(path, f"{path}.head")


def _settle(path: str, files: int) -> None:
    head, fresh = f"{path}.head", f"{path}.head.new"
    if files < 2:
        return
    while True:
        current, kept, begun = _identity(path), _identity(head), _identity(fresh)
        if begun is None:
            if current is None or kept is None or kept == current:
                return
            # The new file gets a second name before the old one is renamed, so that a cut now loses neither.
            os.link(path, fresh)
            continue
        if kept is not None and kept != begun:
            os.rename(head, f"{path}.{max(_numbers(path), default=0) + 1}")
        elif kept is not None:
            os.unlink(head)  # rename(2) does nothing if both names are the same file
        os.rename(fresh, head)
        for number in _numbers(path)[: -(files - 1)]:
            os.unlink(f"{path}.{number}")


def _identity(path: str) -> Identity | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _numbers(path: str) -> list[int]:
    folder, name = os.path.split(path)
    ends = [entry[len(name) + 1 :] for entry in os.listdir(folder) if entry.startswith(f"{name}.")]
    return sorted(int(end) for end in ends if end.isascii() and end.isdigit())


def listed(path: str) -> list[tuple[str, Identity]]:
    """Return the files of a log, oldest first, each once. None is missing, even if files are renamed meanwhile."""
    before: list[Identity] | None = None
    found: list[tuple[str, Identity]] = []
    for _ in range(_LISTINGS):
        try:
            found = _look(path)
        except FileNotFoundError:  # the container was removed
            return []
        now = [identity for _, identity in found]
        if now == before:
            break
        before = now
    return found


def _look(path: str) -> list[tuple[str, Identity]]:
    found: dict[Identity, str] = {}
    for name in (*(f"{path}.{number}" for number in _numbers(path)), f"{path}.head", f"{path}.head.new", path):
        identity = _identity(name)
        if identity is not None:
            found[identity] = name
    return [(name, identity) for identity, name in found.items()]


def _end(file: tuple[str, Identity]) -> tuple[Identity, int]:
    name, identity = file
    try:
        found = os.stat(name)
    except FileNotFoundError:  # it was cut just now, so all of it counts
        return identity, 1 << 62
    return identity, found.st_size if (found.st_dev, found.st_ino) == identity else 1 << 62


def tail_offset(fd: int, lines: int) -> tuple[int, int]:
    """Return the offset at which the last `lines` whole lines of a file begin, and how many of them the file has.

    The file is read backwards from its end.
    """
    position = os.fstat(fd).st_size
    if lines == 0:
        return position, 0
    buffer, found = b"", 0
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        buffer = os.pread(fd, size, position) + buffer
        end = len(buffer)  # just after the newline of the present record
        while (newline := buffer.rfind(b"\n", 0, end - 1)) >= 0:
            found += _ends_line(buffer[newline + 1 : end])
            if found > lines:
                return position + end, lines
            end = newline + 1
        buffer = buffer[:end]  # the beginning of this record may be in the block before
    found += _ends_line(buffer)
    return (len(buffer), lines) if found > lines else (0, found)


def _ends_line(record: bytes) -> bool:
    return record.split(b" ", 3)[2:3] == [b"F"]


class Reader:
    """Reads a log from a line to its end and, while it grows, further, across all cuts.

    Without `follow` it stops where the log ended at `begin`; otherwise a container that never stops writing would keep
    the reader for ever.
    """

    def __init__(self, path: str, *, follow: bool) -> None:
        self._path = path
        self._follow = follow
        self._last: tuple[Identity, int] | None = None  # the file with the end, and the size at which it ends
        self._fd = -1
        self._offset = 0
        self._final = False

    def begin(self, tail: int | None) -> bool:
        """Go to the first line, or to the last `tail` lines. Return False if there is no log."""
        for _ in range(_LISTINGS):
            files = listed(self._path)
            if not files:
                return False
            at = 0 if tail is None else len(files) - 1
            wanted = tail or 0
            self._last = None if self._follow else _end(files[-1])
            while self._open(*files[at]):
                if tail is None:
                    return True
                self._offset, found = tail_offset(self._fd, wanted)
                wanted -= found
                if not wanted or not at:
                    return True
                at -= 1
        return False

    def read(self) -> bytes | None:
        """Return the next bytes: none at the present end of the log, None where another file begins."""
        while True:
            size = CHUNK if self._last is None or self._last[0] != self._own() else self._last[1] - self._offset
            chunk = os.pread(self._fd, max(0, min(CHUNK, size)), self._offset)
            if chunk:
                self._offset += len(chunk)
                return chunk
            if size <= 0:
                return b""
            if self._final:
                return None if self._next() else b""
            if os.fstat(self._fd).st_size < self._offset:  # somebody emptied it
                self._offset = 0
                return None
            if _identity(self._path) in (None, self._own()):
                return b""
            # conmon closed this file before it made the next one. One more read gets its last bytes.
            self._final = True

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _own(self) -> Identity:
        found = os.fstat(self._fd)
        return found.st_dev, found.st_ino

    def _next(self) -> bool:
        own = self._own()
        for _ in range(_LISTINGS):
            files = listed(self._path)
            after = [identity for _, identity in files]
            if self._last is not None and self._last[0] not in after:
                return False  # so much was written meanwhile that the rest is gone
            # A file that is no longer listed was the oldest, so the oldest remaining file is the next one.
            at = after.index(own) + 1 if own in after else 0
            if at >= len(files):
                return False
            if self._open(*files[at]):
                return True
        return False

    def _open(self, name: str, identity: Identity) -> bool:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != identity:
            os.close(fd)
            return False
        self.close()
        self._fd, self._offset, self._final = fd, 0, False
        return True
