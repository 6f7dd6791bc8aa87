"""Logs as conmon writes them are read whole, from the end, and while they grow."""

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from shoal.runtime import log_files
from shoal.runtime.log_options import LogLimits
from shoal.runtime.logs import Assembler, LogFiles, parse_time
from shoal.runtime.types import LogLine, LogOptions

AT = "2023-11-23T07:14:46.{:09d}+00:00"
EPOCH = 1700723686


def record(number: int, text: str, stream: str = "stdout", tag: str = "F") -> str:
    return f"{AT.format(number)} {stream} {tag} {text}\n"


def assemble(lines: Iterable[str]) -> list[LogLine]:
    assembler = Assembler()
    found = [line for one in lines if (line := assembler.feed(one.rstrip("\n").encode())) is not None]
    return found + list(assembler.rest())


def test_times_have_nanoseconds_and_zones() -> None:
    assert parse_time(b"2023-11-23T07:14:46.000000005+00:00") == EPOCH * 10**9 + 5
    assert parse_time(b"2023-11-23T08:14:46.000000005+01:00") == EPOCH * 10**9 + 5
    with pytest.raises(ValueError, match="not a time"):
        parse_time(b"yesterday")


def test_parts_are_put_together_by_stream() -> None:
    lines = [
        record(1, "one", tag="P"),
        record(2, "err", "stderr"),
        record(3, " two", tag="P"),
        record(4, " three"),
        "rubbish\n",
        record(5, "open", tag="P"),
    ]
    assert assemble(lines) == [
        LogLine(EPOCH * 10**9 + 2, "stderr", b"err\n"),
        LogLine(EPOCH * 10**9 + 1, "stdout", b"one two three\n"),
        LogLine(EPOCH * 10**9 + 5, "stdout", b"open"),
    ]


def test_a_part_costs_the_same_however_many_there_are_before_it() -> None:
    part = record(1, ".", tag="P").rstrip("\n").encode()

    def seconds(assembler: Assembler, count: int) -> float:
        began = time.thread_time()
        for _ in range(count):
            assembler.feed(part)
        return time.thread_time() - began

    ratios = []
    for _ in range(3):  # the best of three, because other work slows single measurements
        assembler = Assembler()
        first = seconds(assembler, 500)
        seconds(assembler, 8000)
        ratios.append(seconds(assembler, 500) / first)
    assert min(ratios) < 5


async def read(path: Path, **options: object) -> list[bytes]:
    files = LogFiles()
    wanted = LogOptions(**options)  # type: ignore[arg-type]
    found = [line.data async for line in files.read(str(path), wanted, lambda: True)]
    files.close()
    return found


async def test_options_choose_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(record(1, "a") + record(2, "b", "stderr") + record(3, "c"))
    assert await read(path) == [b"a\n", b"b\n", b"c\n"]
    assert await read(path, stderr=False) == [b"a\n", b"c\n"]
    assert await read(path, since_nanos=EPOCH * 10**9 + 2) == [b"b\n", b"c\n"]
    assert await read(path, until_nanos=EPOCH * 10**9 + 2) == [b"a\n", b"b\n"]
    assert await read(path, tail=1) == [b"c\n"]
    assert await read(tmp_path / "none") == []


async def test_a_follower_sees_what_is_added_and_ends_when_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(record(1, "a"))
    files, ended, seen = LogFiles(), asyncio.Event(), []
    async for line in files.read(str(path), LogOptions(follow=True), ended.is_set):
        seen.append(line.data)
        if line.data == b"a\n":
            with path.open("a") as file:
                file.write(record(2, "half")[:20])
                file.flush()
                file.write(record(2, "half")[20:])
        elif line.data == b"half\n":
            ended.set()
            files.poke(str(path))
    assert seen == [b"a\n", b"half\n"]
    files.close()
    assert not [name for name in os.listdir("/proc/self/fd") if _is_inotify(name)]


def _is_inotify(name: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{name}") == "anon_inode:inotify"
    except FileNotFoundError:
        return False


async def test_a_follower_goes_on_across_cuts(tmp_path: Path) -> None:
    path, limits = tmp_path / "output.log", LogLimits(1000, 2)
    log_files.prepare(str(path), limits)
    files, ended, seen = LogFiles(), asyncio.Event(), []
    with path.open("a") as file:
        file.write(record(1, "0"))
    async for line in files.read(str(path), LogOptions(follow=True), ended.is_set):
        seen.append(line.data)
        number = len(seen)
        if number == 50:
            ended.set()
            files.poke(str(path))
            continue
        if number % 2:  # a line that begins in one file ends in the next
            with path.open("a") as file:
                file.write(record(2, f"{number}, ", tag="P"))
            fresh = tmp_path / "output.log.tmp"
            fresh.write_text("")
            fresh.rename(path)
            log_files.settle(str(path), limits)
        with path.open("a") as file:
            file.write(record(3, str(number)))
    assert seen == [f"{number}, {number}\n".encode() if number % 2 else f"{number}\n".encode() for number in range(50)]
    files.close()
