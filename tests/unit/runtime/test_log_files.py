"""A log that is cut: what is kept, and in which order it is read, whatever happens between two steps."""

import os
import random
from pathlib import Path

import pytest

from shoal.runtime import log_files
from shoal.runtime.log_files import Reader, listed, prepare, settle, tail_offset
from shoal.runtime.log_options import LogLimits
from tests.unit.runtime.test_logs import assemble, record

LIMITS = LogLimits(1000, 3)


class Conmon:
    """Writes and cuts like conmon: closes the file, makes `.tmp`, renames it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self._inode = path.stat().st_ino

    def write(self, lines: int = 1) -> None:
        assert self.path.stat().st_ino == self._inode
        for _ in range(lines):
            self.number += 1
            with self.path.open("a") as file:
                file.write(record(self.number, f"line {self.number}"))

    def cut(self) -> None:
        temporary = Path(f"{self.path}.tmp")
        temporary.write_bytes(b"")
        os.rename(temporary, self.path)
        self._inode = self.path.stat().st_ino


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "output.log"
    prepare(str(made), LIMITS)
    return made


def numbers(data: bytes) -> list[int]:
    return [int(line.data.split()[1]) for line in assemble(data.decode().splitlines(keepends=True))]


def rest(reader: Reader) -> list[int]:
    found = b""
    while (chunk := reader.read()) != b"":
        found += chunk or b""
    return numbers(found)


def read(path: Path, tail: int | None = None) -> list[int]:
    reader = Reader(str(path), follow=False)
    assert reader.begin(tail)
    found = rest(reader)
    reader.close()
    return found


def test_as_many_files_are_kept_as_are_wanted(path: Path) -> None:
    conmon = Conmon(path)
    for _ in range(6):
        conmon.write(10)
        conmon.cut()
        settle(str(path), LIMITS)
    conmon.write(5)
    assert read(path) == list(range(41, 66))
    assert sorted(os.listdir(path.parent)) == ["output.log", "output.log.5", "output.log.6", "output.log.head"]


@pytest.mark.parametrize("tail", [0, 1, 5, 6, 15, 25, 1000])
def test_a_tail_goes_back_over_cuts(path: Path, tail: int) -> None:
    conmon = Conmon(path)
    for _ in range(3):
        conmon.write(10)
        conmon.cut()
        settle(str(path), LIMITS)
    conmon.write(5)
    assert read(path, tail) == list(range(1, 36))[10:][max(0, 25 - tail) :]


def test_one_cut_while_nobody_looks_loses_nothing_and_more_lose_what_is_in_between(path: Path) -> None:
    conmon = Conmon(path)
    conmon.write(3)
    conmon.cut()
    conmon.write(3)
    assert read(path) == [1, 2, 3, 4, 5, 6]  # before anybody has named the cut file
    conmon.cut()
    conmon.write(3)
    assert read(path) == [1, 2, 3, 7, 8, 9]
    settle(str(path), LIMITS)
    assert read(path) == [1, 2, 3, 7, 8, 9]


def test_with_one_file_only_the_newest_is_kept(tmp_path: Path) -> None:
    path, limits = tmp_path / "output.log", LogLimits(1000, 1)
    prepare(str(path), limits)
    conmon = Conmon(path)
    conmon.write(3)
    reader = Reader(str(path), follow=True)
    assert reader.begin(None)
    assert rest(reader) == [1, 2, 3]
    conmon.write()
    conmon.cut()
    conmon.write()
    settle(str(path), limits)
    assert rest(reader) == [4, 5]
    reader.close()
    assert os.listdir(tmp_path) == ["output.log"]


def test_a_log_without_limit_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "output.log"
    prepare(str(path), LogLimits())
    settle(str(path), LogLimits())
    assert os.listdir(tmp_path) == []
    assert not Reader(str(path), follow=True).begin(None)
    assert listed(str(tmp_path / "none/output.log")) == []


def test_a_restart_cuts_a_file_that_is_full(path: Path) -> None:
    conmon = Conmon(path)
    conmon.write(30)
    prepare(str(path), LIMITS)
    assert path.stat().st_size == 0
    again = Conmon(path)
    again.number = 30
    again.write(2)
    prepare(str(path), LIMITS)
    assert read(path) == list(range(1, 33))


@pytest.mark.parametrize("step", range(2, 12))  # before the first nothing has been done
def test_a_daemon_that_ends_between_two_steps_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    conmon = Conmon(path)
    for _ in range(2):
        conmon.write(10)
        conmon.cut()
        settle(str(path), LIMITS)
    conmon.write(10)
    conmon.cut()
    conmon.write(1)
    left = [step]

    def counted(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object) -> None:
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
            real(*args)

        monkeypatch.setattr(os, name, call)

    for name in ("link", "rename", "unlink"):
        counted(name)
    try:
        settle(str(path), LIMITS)
    except KeyboardInterrupt:
        assert read(path)[-21:] == list(range(11, 32))
    monkeypatch.undo()
    conmon.cut()  # while no daemon runs
    conmon.write(1)
    assert read(path)[-22:] == list(range(11, 33))
    settle(str(path), LIMITS)
    assert read(path)[-12:] == list(range(21, 33))
    assert len(listed(str(path))) == LIMITS.files


def test_followers_hear_every_line_once_as_long_as_they_keep_up(path: Path) -> None:
    rng = random.Random(6)
    conmon = Conmon(path)
    heard: list[int] = []
    reader = Reader(str(path), follow=True)
    assert reader.begin(None)
    for _ in range(2000):
        match rng.randrange(4):
            case 0:
                conmon.write(rng.randrange(1, 4))
            case 1:
                conmon.cut()
                if rng.random() < 0.5:
                    heard += rest(reader)
                settle(str(path), LIMITS)
            case 2:
                heard += rest(reader)
            case _:
                settle(str(path), LIMITS)
        if rng.random() < 0.7:
            heard += rest(reader)
    heard += rest(reader)
    reader.close()
    assert heard == sorted(set(heard))
    missed = conmon.number - len(heard)
    assert missed < conmon.number // 10  # three cuts in a row that nobody noticed in between
    assert heard[-1] == conmon.number


def test_a_file_that_somebody_empties_is_read_anew(path: Path) -> None:
    conmon = Conmon(path)
    conmon.write(3)
    reader = Reader(str(path), follow=True)
    assert reader.begin(None)
    assert rest(reader) == [1, 2, 3]
    os.truncate(path, 0)
    conmon.write(1)
    assert rest(reader) == [4]
    reader.close()


@pytest.mark.parametrize("chunk", [7, 64, 4096])
@pytest.mark.parametrize("lines", [0, 1, 2, 3, 50])
def test_the_tail_is_found_from_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, lines: int
) -> None:
    monkeypatch.setattr(log_files, "CHUNK", chunk)
    text = record(1, "a") + record(2, "b1", tag="P") + record(3, "b2") + record(4, "") + record(5, "d")
    whole = ["a\n", "b1b2\n", "\n", "d\n"]
    path = tmp_path / "log"
    path.write_text(text)
    with path.open("rb") as file:
        offset, found = tail_offset(file.fileno(), lines)
    assert found == min(lines, len(whole))
    shown = [line.data.decode() for line in assemble(text[offset:].splitlines())]
    assert shown == whole[len(whole) - min(lines, len(whole)) :]


def test_who_does_not_follow_reads_what_is_there_at_first(path: Path) -> None:
    conmon = Conmon(path)
    conmon.write(3)
    conmon.cut()
    settle(str(path), LIMITS)
    conmon.write(3)
    readers = [Reader(str(path), follow=False) for _ in range(3)]
    assert all(reader.begin(None) for reader in readers)
    conmon.write(1)
    assert rest(readers[0]) == [1, 2, 3, 4, 5, 6]
    conmon.cut()
    settle(str(path), LIMITS)
    conmon.write(1)
    assert rest(readers[1]) == [1, 2, 3, 4, 5, 6]
    for _ in range(5):
        conmon.cut()
        settle(str(path), LIMITS)
        conmon.write(1)
    assert rest(readers[2]) == [1, 2, 3]  # the file that it had open; the rest is gone
    for reader in readers:
        reader.close()
