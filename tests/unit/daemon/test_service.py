"""What the daemon tells systemd, over a socket and a stream like systemd's."""

import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.daemon.service import JournalFormatter, Notifier, is_journal


@pytest.fixture
def manager() -> Iterator[tuple[str, socket.socket]]:
    """Yield the socket on which a service manager listens."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        listener.bind(f"{folder}/n")
        yield f"{folder}/n", listener


def test_manager_is_told_of_readiness_and_of_the_end(manager: tuple[str, socket.socket]) -> None:
    path, listener = manager
    notifier = Notifier({"NOTIFY_SOCKET": path})
    notifier.ready("serves on unix:///run/shoal/shoal.sock")
    assert listener.recv(4096) == b"READY=1\nSTATUS=serves on unix:///run/shoal/shoal.sock\n"
    notifier.stopping("containers go on")
    assert listener.recv(4096) == b"STOPPING=1\nSTATUS=containers go on\n"


def test_manager_in_the_abstract_namespace_is_told() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        listener.bind(f"\0shoal-test-{os.getpid()}")
        Notifier({"NOTIFY_SOCKET": f"@shoal-test-{os.getpid()}"}).ready("up")
        assert listener.recv(4096) == b"READY=1\nSTATUS=up\n"


def test_nobody_is_told_where_nobody_asked() -> None:
    Notifier({}).ready("up")


def test_programs_of_the_daemon_cannot_speak_for_it() -> None:
    environment = {"NOTIFY_SOCKET": "/run/systemd/notify", "PATH": "/bin"}
    Notifier(environment)
    assert environment == {"PATH": "/bin"}


def test_manager_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")}).ready("up")


def test_journal_is_known_by_its_stream() -> None:
    reading, writing = os.pipe()
    try:
        stream = os.fstat(writing)
        named = {"JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"}
        assert is_journal(writing, named)
        assert not is_journal(writing, {})
        assert not is_journal(writing, {"JOURNAL_STREAM": "8:x"})
        # A shell in the unit inherits the name, but its standard error goes elsewhere.
        with open(os.devnull, "w") as elsewhere:
            assert not is_journal(elsewhere.fileno(), named)
    finally:
        os.close(reading)
        os.close(writing)
    assert not is_journal(writing, named)


def test_lines_for_the_journal_have_a_level_and_no_time() -> None:
    def line(level: int, text: str) -> str:
        return JournalFormatter().format(logging.LogRecord("shoal.x", level, __file__, 1, text, (), None))

    assert line(logging.DEBUG, "a") == "<7>shoal.x: a"
    assert line(logging.INFO, "a") == "<6>shoal.x: a"
    assert line(logging.WARNING, "a\nb") == "<4>shoal.x: a\n<4>b"
    assert line(logging.ERROR, "a") == "<3>shoal.x: a"
