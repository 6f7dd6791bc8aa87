"""What containers said, as conmon wrote it: lines of `<time> <stream> <F|P> <text>` (P: goes on in the next line).

In: a file's path and LogOptions. Out: LogLines, parts put together. Followers share one inotify instance; none has a
thread. Reading blocks for a page cache's time and goes through threads of asyncio's own, a chunk at a time.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import Literal, cast

from shoal.runtime import linux
from shoal.runtime.types import LogLine, LogOptions

_CHUNK = 256 << 10

# A line longer than this is handed out in parts, without a newline.
_LINE_LIMIT = 1 << 20

_seconds: dict[bytes, int] = {}


def parse_time(text: bytes) -> int:
    """Nanoseconds since 1970 of `2023-11-23T07:14:46.865323123+00:00`. ValueError for anything else."""
    at, dot, rest = text.partition(b".")
    if not dot or len(rest) < 10:
        raise ValueError(f"not a time: {text!r}")
    key = at + rest[9:]
    seconds = _seconds.get(key)
    if seconds is None:
        if len(_seconds) > 4096:
            _seconds.clear()
        seconds = _seconds[key] = int(datetime.fromisoformat((at + rest[9:]).decode()).timestamp())
    return seconds * 10**9 + int(rest[:9])


class Assembler:
    """Puts records together to lines."""

    def __init__(self) -> None:
        self._parts: dict[bytes, list[bytes]] = {b"stdout": [], b"stderr": []}
        self._began: dict[bytes, int] = {}

    def feed(self, record: bytes) -> LogLine | None:
        """The line that a record (without its newline) ends. A record that is none of conmon's is left out."""
        fields = record.split(b" ", 3)
        if len(fields) < 4 or fields[1] not in self._parts:
            return None
        try:
            at = parse_time(fields[0])
        except ValueError:
            return None
        stream, parts = fields[1], self._parts[fields[1]]
        began = self._began.setdefault(stream, at)
        parts.append(fields[3])
        if fields[2] == b"P" and sum(map(len, parts)) < _LINE_LIMIT:
            return None
        data = b"".join(parts) + (b"\n" if fields[2] == b"F" else b"")
        parts.clear()
        del self._began[stream]
        return LogLine(began, _stream(stream), data)

    def rest(self) -> Iterator[LogLine]:
        """What was said last, without an end of line."""
        for stream, parts in self._parts.items():
            if parts:
                yield LogLine(self._began.pop(stream), _stream(stream), b"".join(parts))
                parts.clear()


def _stream(name: bytes) -> Literal["stdout", "stderr"]:
    return cast(Literal["stdout", "stderr"], name.decode())


def tail_offset(fd: int, lines: int) -> int:
    """Where the last `lines` whole lines begin, read from the end of the file backwards. Blocks."""
    position = os.fstat(fd).st_size
    if lines == 0:
        return position
    buffer, found = b"", 0
    while position > 0:
        size = min(_CHUNK, position)
        position -= size
        buffer = os.pread(fd, size, position) + buffer
        end = len(buffer)  # just after the newline of the record that is looked at
        while (newline := buffer.rfind(b"\n", 0, end - 1)) >= 0:
            found += _ends_line(buffer[newline + 1 : end])
            if found > lines:
                return position + end
            end = newline + 1
        buffer = buffer[:end]  # its first part may be in the block before
    return len(buffer) if found + _ends_line(buffer) > lines else 0


def _ends_line(record: bytes) -> bool:
    return record.split(b" ", 3)[2:3] == [b"F"]


class LogFiles:
    """Readers of logs. `poke` after a container has ended, so that its followers end."""

    def __init__(self) -> None:
        self._inotify: int | None = None
        self._watches: dict[int, str] = {}
        self._followers: dict[str, set[asyncio.Event]] = {}

    async def read(self, path: str, options: LogOptions, ended: Callable[[], bool]) -> AsyncIterator[LogLine]:
        """The lines asked for, in the order they were written."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it was never started
            return
        changed = asyncio.Event()
        if options.follow:
            self._follow(path, changed)
        try:
            async for line in self._lines(fd, options, changed, ended):
                yield line
        finally:
            if options.follow:
                self._unfollow(path, changed)
            os.close(fd)

    async def _lines(
        self, fd: int, options: LogOptions, changed: asyncio.Event, ended: Callable[[], bool]
    ) -> AsyncIterator[LogLine]:
        offset = 0
        if options.tail is not None and options.tail >= 0:
            offset = await asyncio.to_thread(tail_offset, fd, options.tail)
        assembler, carry = Assembler(), b""
        while True:
            over = ended()
            changed.clear()
            chunk = await asyncio.to_thread(os.pread, fd, _CHUNK, offset)
            offset += len(chunk)
            *records, carry = (carry + chunk).split(b"\n")
            for record in records:
                line = assembler.feed(record)
                if line is None:
                    continue
                if options.until_nanos and line.at_nanos > options.until_nanos:
                    return
                if _wanted(line, options):
                    yield line
            if chunk:
                continue
            if not options.follow or over:
                break
            if os.fstat(fd).st_size < offset:  # cut by conmon at its size limit
                offset, carry = 0, b""
                continue
            await changed.wait()
        for line in assembler.rest():
            if _wanted(line, options):
                yield line

    def poke(self, path: str) -> None:
        """Make followers of a file look again."""
        for event in self._followers.get(path, ()):
            event.set()

    def close(self) -> None:
        """Wake every follower and let go of inotify."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify)
            os.close(self._inotify)
            self._inotify = None
        self._watches.clear()

    def _follow(self, path: str, changed: asyncio.Event) -> None:
        if self._inotify is None:
            self._inotify = linux.inotify_init()
            asyncio.get_running_loop().add_reader(self._inotify, self._on_event)
        first = path not in self._followers
        self._followers.setdefault(path, set()).add(changed)
        if first:
            self._watches[linux.inotify_add(self._inotify, path, linux.IN_MODIFY)] = path

    def _unfollow(self, path: str, changed: asyncio.Event) -> None:
        followers = self._followers.get(path, set())
        followers.discard(changed)
        if followers:
            return
        self._followers.pop(path, None)
        for watch in [number for number, watched in self._watches.items() if watched == path]:
            del self._watches[watch]
            if self._inotify is not None:
                linux.inotify_remove(self._inotify, watch)

    def _on_event(self) -> None:
        if self._inotify is None:
            return
        for watch, mask in linux.inotify_read(self._inotify):
            path = self._watches.get(watch)
            if path is not None:
                self.poke(path)
            if mask & linux.IN_IGNORED:
                self._watches.pop(watch, None)


def _wanted(line: LogLine, options: LogOptions) -> bool:
    if line.at_nanos < options.since_nanos:
        return False
    return options.stdout if line.stream == "stdout" else options.stderr
