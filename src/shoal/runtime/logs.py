"""Reads containers' output from conmon's logs: lines of `<time> <stream> <F|P> <text>` (P: the next line continues it).

In: a file's path and LogOptions. Out: LogLines, assembled from their parts, across the cuts of a log with a limit.
Followers share one inotify instance and have no threads of their own. Chunks are read in asyncio's worker threads.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import Literal, cast

from shoal.host import linux
from shoal.runtime.log_files import Reader
from shoal.runtime.types import LogLine, LogOptions

# A longer line is returned in parts without newlines.
_LINE_LIMIT = 1 << 20

_seconds: dict[bytes, int] = {}


def parse_time(text: bytes) -> int:
    """Return a time like `2023-11-23T07:14:46.865323123+00:00` in nanoseconds since 1970. Raises ValueError."""
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
    """Assembles lines from conmon's records."""

    def __init__(self) -> None:
        # A container can write a line of a million parts of one byte, so the cost of a part must not grow with their
        # number.
        self._parts: dict[bytes, bytearray] = {b"stdout": bytearray(), b"stderr": bytearray()}
        self._began: dict[bytes, int] = {}

    def feed(self, record: bytes) -> LogLine | None:
        """Return the line that a record (without its newline) completes, or None. Malformed records are ignored."""
        fields = record.split(b" ", 3)
        if len(fields) < 4 or fields[1] not in self._parts:
            return None
        try:
            at = parse_time(fields[0])
        except ValueError:
            return None
        stream, parts = fields[1], self._parts[fields[1]]
        began = self._began.setdefault(stream, at)
        parts += fields[3]
        if fields[2] == b"P" and len(parts) < _LINE_LIMIT:
            return None
        data = bytes(parts) + (b"\n" if fields[2] == b"F" else b"")
        parts.clear()
        del self._began[stream]
        return LogLine(began, _stream(stream), data)

    def rest(self) -> Iterator[LogLine]:
        """Yield the last lines, which have no newline."""
        for stream, parts in self._parts.items():
            if parts:
                yield LogLine(self._began.pop(stream), _stream(stream), bytes(parts))
                parts.clear()


def _stream(name: bytes) -> Literal["stdout", "stderr"]:
    return cast(Literal["stdout", "stderr"], name.decode())


class LogFiles:
    """Reads logs. Call `poke` after a container has ended, so that its followers end."""

    def __init__(self) -> None:
        self._inotify: int | None = None
        self._watches: dict[int, str] = {}
        self._followers: dict[str, set[asyncio.Event]] = {}  # by folder, because the file is replaced when it is cut

    async def read(self, path: str, options: LogOptions, ended: Callable[[], bool]) -> AsyncIterator[LogLine]:
        """Yield the requested lines in the order in which they were written."""
        reader, changed = Reader(path, follow=options.follow), asyncio.Event()
        if options.follow and os.path.isdir(os.path.dirname(path)):  # noqa: ASYNC240 - a stat
            self._follow(path, changed)
        try:
            async for line in self._lines(reader, options, changed, ended):
                yield line
        finally:
            if options.follow:
                self._unfollow(path, changed)
            reader.close()

    async def _lines(
        self, reader: Reader, options: LogOptions, changed: asyncio.Event, ended: Callable[[], bool]
    ) -> AsyncIterator[LogLine]:
        tail = options.tail if options.tail is not None and options.tail >= 0 else None
        if not await asyncio.to_thread(reader.begin, tail):  # it was never started
            return
        assembler, carry = Assembler(), b""
        while True:
            over = ended()
            changed.clear()
            chunk = await asyncio.to_thread(reader.read)
            if chunk is None:  # a new file; no record continues in the next file
                carry = b""
                continue
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
            await changed.wait()
        for line in assembler.rest():
            if _wanted(line, options):
                yield line

    def poke(self, path: str) -> None:
        """Make the followers of a file read again."""
        self._poke(os.path.dirname(path))

    def _poke(self, folder: str) -> None:
        for event in self._followers.get(folder, ()):
            event.set()

    def close(self) -> None:
        """Close the inotify instance."""
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify)
            os.close(self._inotify)
            self._inotify = None
        self._watches.clear()

    def _follow(self, path: str, changed: asyncio.Event) -> None:
        if self._inotify is None:
            self._inotify = linux.inotify_init()
            asyncio.get_running_loop().add_reader(self._inotify, self._on_event)
        folder = os.path.dirname(path)
        first = folder not in self._followers
        self._followers.setdefault(folder, set()).add(changed)
        if first:
            self._watches[linux.inotify_add(self._inotify, folder, linux.IN_MODIFY | linux.IN_MOVED_TO)] = folder

    def _unfollow(self, path: str, changed: asyncio.Event) -> None:
        folder = os.path.dirname(path)
        followers = self._followers.get(folder, set())
        followers.discard(changed)
        if followers:
            return
        self._followers.pop(folder, None)
        for watch in [number for number, watched in self._watches.items() if watched == folder]:
            del self._watches[watch]
            if self._inotify is not None:
                linux.inotify_remove(self._inotify, watch)

    def _on_event(self) -> None:
        if self._inotify is None:
            return
        for watch, mask in linux.inotify_read(self._inotify):
            for folder in [self._watches[watch]] if watch in self._watches else list(self._followers):
                self._poke(folder)  # all folders if the kernel lost events
            if mask & linux.IN_IGNORED:
                self._watches.pop(watch, None)


def _wanted(line: LogLine, options: LogOptions) -> bool:
    if line.at_nanos < options.since_nanos:
        return False
    return options.stdout if line.stream == "stdout" else options.stderr
