"""A container's log on disk: the file that conmon writes, and older ones that it has cut off. Blocking.

    output.log        conmon's. At its size limit conmon puts a new one in its place, at once and by itself, also while
                      no daemon runs: what was in it is gone, unless it has another name
    output.log.head   that other name: a hard link. Once it is not the same file any more, conmon has cut
    output.log.<n>    older ones, the higher the newer

So the size is bounded whether or not the daemon runs. How much older output is kept depends on the daemon. A container
that fills more than one file before we have seen the first cut loses whole files in between, never the newest.

In: a path and limits. Out: the files in their order, their bytes one after the other.
"""

import contextlib
import os

from shoal.runtime.log_options import LogLimits

CHUNK = 256 << 10

# A listing is taken again until it is twice the same; each time one of a thousand renames came between.
_LISTINGS = 20

Identity = tuple[int, int]


def prepare(path: str, limits: LogLimits) -> None:
    """Make the file before conmon opens it, with its second name; conmon counts its size from zero each time."""
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
    """Keep what conmon has cut off, and as much of it as is wanted. May be repeated, and cut short anywhere."""
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
            # Named before the other moves: from here on a cut loses neither.
            os.link(path, fresh)
            continue
        if kept is not None and kept != begun:
            os.rename(head, f"{path}.{max(_numbers(path), default=0) + 1}")
        elif kept is not None:
            os.unlink(head)  # rename(2) leaves two names of one file as they are
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
    """The files of a log, the oldest first, each once. None is missing, though they are renamed meanwhile."""
    before: list[Identity] | None = None
    found: list[tuple[str, Identity]] = []
    for _ in range(_LISTINGS):
        try:
            found = _look(path)
        except FileNotFoundError:  # the folder: its container was removed
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
    except FileNotFoundError:  # cut just now: all of it
        return identity, 1 << 62
    return identity, found.st_size if (found.st_dev, found.st_ino) == identity else 1 << 62


def tail_offset(fd: int, lines: int) -> tuple[int, int]:
    """Where the last `lines` whole lines of a file begin, and how many of them it has. Read from its end backwards."""
    position = os.fstat(fd).st_size
    if lines == 0:
        return position, 0
    buffer, found = b"", 0
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        buffer = os.pread(fd, size, position) + buffer
        end = len(buffer)  # just after the newline of the record that is looked at
        while (newline := buffer.rfind(b"\n", 0, end - 1)) >= 0:
            found += _ends_line(buffer[newline + 1 : end])
            if found > lines:
                return position + end, lines
            end = newline + 1
        buffer = buffer[:end]  # its first part may be in the block before
    found += _ends_line(buffer)
    return (len(buffer), lines) if found > lines else (0, found)


def _ends_line(record: bytes) -> bool:
    return record.split(b" ", 3)[2:3] == [b"F"]


class Reader:
    """Reads a log from some line on to its end, and further as it grows, across every cut.

    Without `follow` its end is where it was at `begin`: who writes without end would keep a reader for ever.
    """

    def __init__(self, path: str, *, follow: bool) -> None:
        self._path = path
        self._follow = follow
        self._last: tuple[Identity, int] | None = None  # the file, and its size, that the end is in
        self._fd = -1
        self._offset = 0
        self._final = False

    def begin(self, tail: int | None) -> bool:
        """Go to the first line, or to the last `tail` ones. False when there is no log."""
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
        """Return the next bytes; none where the log ends now; None where another file begins."""
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
            # conmon closed it before it made the next: what it wrote last is read once more, then it is done.
            self._final = True

    def close(self) -> None:
        """Let go of the file."""
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
                return False  # so much was written meanwhile that what was asked for is gone
            # One that is not listed any more was the oldest: it goes on with the oldest that is left.
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
