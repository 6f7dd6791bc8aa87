import asyncio
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.cli.main import run
from shoal.node.types import RestoreRequest
from shoal.store.backup_file import Decoder
from tests.unit.cli.daemons import answering, daemon
from tests.unit.engine.fakes import FakeNode, manager_node

Captured = pytest.CaptureFixture[str]
HEAD = b"HTTP/1.1 200 OK\r\nServer: Shoal/1\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder with a short name, because sockets are made in it."""
    path = Path(tempfile.mkdtemp(prefix="shoal-cli-"))
    yield path
    shutil.rmtree(path)


def shoal(url: str, *arguments: str) -> int:
    """Run the command in this process. Returns its exit code."""
    with pytest.raises(SystemExit) as end:
        run(["-H", url, *arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def manager(size_bytes: int = 1000) -> FakeNode:
    node, _ = manager_node()
    node.saved = b"x" * size_bytes
    return node


def made(size_bytes: int = 1000) -> bytes:
    file = io.BytesIO()
    asyncio.run(manager(size_bytes).backup(file))
    return file.getvalue()


def test_a_backup_is_saved_and_said_to_be_a_secret(folder: Path, capsys: Captured) -> None:
    path = folder / "my backup"
    with daemon(folder, manager()) as url:
        assert shoal(url, "swarm", "backup", str(path)) == 0
    decoder = Decoder()
    decoder.feed(path.read_bytes())
    summary = decoder.end()
    assert path.stat().st_mode & 0o777 == 0o600
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"Swarm c1 is saved in {path}",
        "  taken     2023-11-14 22:13:20 UTC by manager host-1 (m1)",
        "  objects   1: 1 service",
        "  version   7",
        "  autolock  off",
        f"  size      {summary.size_bytes / 1000:.4g} kB, sha256 {summary.digest}",
        "This file is a secret: with it anybody becomes the swarm's manager. Keep it as you keep a root password.",
        f"To make the swarm again, on a host that is in none: shoal swarm restore '{path}'",
    ]


def test_json_and_nothing(folder: Path, capsys: Captured) -> None:
    path = folder / "file"
    with daemon(folder, manager()) as url:
        assert shoal(url, "swarm", "backup", str(path), "--format", "json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["File"], told["Objects"], told["Locked"]) == (str(path), {"services": 1}, False)
        assert shoal(url, "swarm", "backup", "-q", str(path)) == 0
        assert capsys.readouterr().out == ""


def test_standard_output_is_the_backup_alone(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with daemon(folder, manager()) as url:
        assert shoal(url, "swarm", "backup", "-") == 0
    told = capfdbinary.readouterr()
    decoder = Decoder()
    decoder.feed(told.out)
    assert decoder.end().about.node_id == "m1"
    assert b"is saved to standard output" in told.err


def test_a_host_that_is_no_manager_writes_nothing(folder: Path, capsys: Captured) -> None:
    path = folder / "file"
    with daemon(folder, FakeNode()) as url:
        assert shoal(url, "swarm", "backup", str(path)) == 1
    assert capsys.readouterr().err.startswith("shoal: This node is not a swarm manager. Use ")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("missing", [1, 32, 500])
def test_a_transfer_that_ends_early_is_an_error_and_no_short_file(folder: Path, missing: int, capsys: Captured) -> None:
    data, path = made(), folder / "file"
    path.write_bytes(b"old")
    for answer in (
        HEAD % len(data) + data[:-missing],  # the connection is lost
        HEAD % (len(data) - missing) + data[:-missing],  # something in between cut it short
        HEAD % len(data) + data[: -missing - 1] + bytes([data[-missing - 1] ^ 1]) + data[len(data) - missing :],
    ):
        with answering(folder, answer) as url:
            assert shoal(url, "swarm", "backup", str(path)) == 1
        assert "did not send all of the backup: nothing was saved, try again" in capsys.readouterr().err
        assert path.read_bytes() == b"old"
        assert [entry.name for entry in folder.iterdir()] == ["file"]


def test_a_swarm_is_restored(folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "file"
    path.write_bytes(made(2_000_000))
    node = FakeNode()
    with daemon(folder, node) as url:
        monkeypatch.setenv("DOCKER_HOST", url)
        with pytest.raises(SystemExit):
            run(["swarm", "restore", "--advertise-addr", "eth0", str(path)])
    assert node.asked == [RestoreRequest("0.0.0.0:2377", "eth0", "")]
    assert capsys.readouterr().out.splitlines() == [
        "Swarm c1 is restored; this host is its only manager",
        "  this node  m1",
        "  taken      2023-11-14 22:13:20 UTC by manager host-1 (m1)",
        "  objects    1: 1 service",
        "  version    7",
        "  autolock   off",
        "Others join with the tokens of before (docker swarm join-token worker). "
        "To forget those that are gone for good: docker node rm NODE",
    ]


def test_a_swarm_is_restored_from_standard_input(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(made(2_000_000))))
    node = FakeNode()
    with daemon(folder, node) as url:
        assert shoal(url, "swarm", "restore", "-", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["NodeID"] == "m1"
    assert len(node.asked) == 1


def test_a_refusal_is_heard_though_it_comes_before_all_was_sent(folder: Path, capsys: Captured) -> None:
    path = folder / "file"
    path.write_bytes(made(20_000_000))
    node = manager()
    with daemon(folder, node) as url:
        assert shoal(url, "swarm", "restore", str(path)) == 1
    assert capsys.readouterr().err.startswith("shoal: This node is already part of a swarm.")
    assert node.asked == []


def test_a_damaged_file_is_refused_in_one_line(folder: Path, capsys: Captured) -> None:
    path = folder / "file"
    path.write_bytes(made()[:-1])
    with daemon(folder, FakeNode()) as url:
        assert shoal(url, "swarm", "restore", str(path)) == 1
    assert capsys.readouterr().err == ("shoal: this backup is damaged: it was cut short or changed since it was made\n")
