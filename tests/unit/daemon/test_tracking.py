"""The look at the kernel's table of tracked connections."""

import asyncio
import logging
from pathlib import Path

import pytest

from shoal.daemon import tracking
from shoal.network.connections import Fullness, Table


def test_the_kernels_files_are_looked_at(tmp_path: Path) -> None:
    assert tracking.look(tmp_path, tmp_path / "none") is None
    (tmp_path / "nf_conntrack_count").write_text("7\n")
    (tmp_path / "nf_conntrack_max").write_text("10\n")
    assert tracking.look(tmp_path, tmp_path / "none") == Table(7, 10)
    (tmp_path / "stat").write_text("drop\n0000000a\n")
    assert tracking.look(tmp_path, tmp_path / "stat") == Table(7, 10, 10)


@pytest.mark.looptime
async def test_a_full_table_is_logged_once_and_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tables = [Table(1, 10), *[Table(10, 10)] * 50]
    monkeypatch.setattr(tracking, "look", lambda: tables.pop(0) if tables else Table(1, 10))
    fullness = Fullness()
    with caplog.at_level(logging.INFO):
        child = asyncio.ensure_future(tracking.watch(fullness))  # noqa: TID251 - to be cancelled
        await asyncio.sleep(1000)
        child.cancel()
    assert [(record.levelname, "sysctl -w" in record.message) for record in caplog.records] == [
        ("WARNING", True),
        ("INFO", False),
    ]
