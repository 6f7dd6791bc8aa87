import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.cli import json_client
from shoal.cli.errors import CommandError
from shoal.cli.hosts import TLSFiles, find
from shoal.cli.json_client import JsonClient
from tests.unit.cli.daemons import answering, daemon
from tests.unit.cli.tasks import manager

HEAD = b"HTTP/1.1 200 OK\r\nServer: Shoal/1\r\n\r\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="shoal-cli-"))
    yield path
    shutil.rmtree(path)


def client(url: str) -> JsonClient:
    return JsonClient(find(url, TLSFiles(), {}))


def test_objects_are_listed_by_docker_s_filters(folder: Path) -> None:
    with daemon(folder, manager()) as url:
        assert {each["ID"] for each in client(url).many("/tasks")} == {"t1", "t2", "t3"}
        assert [each["ID"] for each in client(url).many("/tasks", {"id": ["t2"]})] == ["t2"]
        with pytest.raises(CommandError, match=r"^invalid filter 'x'$"):
            client(url).many("/tasks", {"x": ["y"]})


@pytest.mark.parametrize("body", [b"{}", b"[1]", b"oops", b"", b"[" * 100_000])
def test_another_answer_than_a_list_of_objects_is_told_in_one_line(folder: Path, body: bytes) -> None:
    with answering(folder, HEAD + body) as url, pytest.raises(CommandError, match="something else than was asked"):
        client(url).many("/tasks")


def test_another_answer_than_an_object_is_told_in_one_line(folder: Path) -> None:
    with answering(folder, HEAD + b"[]") as url, pytest.raises(CommandError, match="something else than was asked"):
        client(url).send("/x", {}, iter([b""]), 0)


def test_an_answer_that_is_cut_short_is_told_in_one_line(folder: Path) -> None:
    with (
        answering(folder, b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n[]") as url,
        pytest.raises(CommandError, match="ended early"),
    ):
        client(url).many("/tasks")


def test_an_answer_that_is_too_long_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_client, "LONGEST_ANSWER_BYTES", 10)
    with answering(folder, HEAD + b" " * 9 + b"[]") as url, pytest.raises(CommandError, match="too long: filter it"):
        client(url).many("/tasks")
    with answering(folder, HEAD + b" " * 8 + b"[]") as url:
        assert client(url).many("/tasks") == []
