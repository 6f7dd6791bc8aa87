import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.cli import client
from shoal.cli.errors import CommandError
from shoal.cli.hosts import TLSFiles, find
from tests.unit.cli.daemons import answering


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="shoal-cli-"))
    yield path
    shutil.rmtree(path)


def ask(url: str) -> None:
    target = find(url, TLSFiles(), {})
    with client.call(target, "GET", "/x") as answer:
        for _ in client.pieces(answer, target):
            pass


def test_a_daemon_that_is_not_there_is_told_in_one_line(folder: Path) -> None:
    with pytest.raises(CommandError, match=r"no daemon answers at unix:///.*: does shoald run there"):
        ask(f"unix://{folder}/none")
    with pytest.raises(CommandError, match="failed: AF_UNIX path too long"):
        ask(f"unix://{folder}/{'x' * 200}")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 404 Not Found\r\nServer: Docker/28\r\nContent-Length: 2\r\n\r\n{}", "is not shoald: name shoald's"),
        (b"HTTP/1.1 404 Not Found\r\nServer: Shoal/1\r\n\r\n" + b'{"message": "page not found"}', "^page not found$"),
        (b"HTTP/1.1 500 No\r\nServer: Shoal/1\r\n\r\noops", r"refuses without saying why \(HTTP 500\)"),
        (b"", "ended early|failed"),
        (b"SSH-2.0\r\n", "ended early"),
    ],
)
def test_an_answer_that_is_of_no_use_is_told_in_one_line(folder: Path, answer: bytes, text: str) -> None:
    with answering(folder, answer) as url, pytest.raises(CommandError, match=text):
        ask(url)
