"""Of a process that may be hostile only the terminal is opened."""

import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shoal.host import linux
from shoal.runtime.exec import terminal_of

IN_OPEN = 0x20


@contextmanager
def process(stdin: int) -> Iterator[int]:
    """Yield a process with this as its stdin."""
    child = subprocess.Popen(["sleep", "100"], stdin=stdin)
    try:
        yield child.pid
    finally:
        child.kill()
        child.wait()


def test_the_terminal_of_a_process_is_opened() -> None:
    ours, theirs = pty.openpty()
    with process(theirs) as pid:
        found = terminal_of(pid)
        assert found is not None
        assert os.ttyname(found) == os.ttyname(theirs)
        os.close(found)
    assert terminal_of(pid) is None
    for fd in (ours, theirs):
        os.close(fd)


@pytest.mark.parametrize("kind", ["file", "fifo", "folder", pytest.param("device", marks=pytest.mark.root)])
def test_what_is_no_terminal_is_not_opened(tmp_path: Path, kind: str) -> None:
    """A container can refer to a device without opening it (O_PATH), and give it to a process as its stdin."""
    place = tmp_path / "stdin"
    match kind:
        case "file":
            place.touch()
        case "fifo":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
        case "device":
            os.mknod(place, 0o20666, os.makedev(1, 3))
    named = os.open(place, os.O_PATH)
    watch = linux.inotify_init()
    try:
        with process(named) as pid:
            linux.inotify_add(watch, str(place), IN_OPEN)
            assert terminal_of(pid) is None
            assert linux.inotify_read(watch) == []
            os.close(os.open(place, os.O_RDONLY | os.O_NONBLOCK))
            assert linux.inotify_read(watch) != [], "an opening is seen"
    finally:
        os.close(watch)
        os.close(named)
