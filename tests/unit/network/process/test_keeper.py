"""A memory that is written to its file whenever there is something new."""

import asyncio
from pathlib import Path

import pytest

from shoal.network.process import keeper, memory
from shoal.network.process.keeper import Keeper
from shoal.network.process.memory import Memory
from shoal.network.records import ENDPOINTS, Changed


async def kept(folder: Path, what: Memory) -> None:
    async with asyncio.timeout(20):
        while not folder.exists() or memory.load(folder) != what.text():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_is_new_is_kept_also_where_it_cannot_be_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "RETRY", 0.01)
    folder, what = tmp_path / "later", Memory()
    under_test = Keeper(folder, what)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(under_test.run())
        for number in (1, 2):
            what.hear([Changed(ENDPOINTS, "n", f"e{number}", "other", None, b"value")], "me", 0.0)
            under_test.note()
            if number == 1:
                async with asyncio.timeout(20):
                    while "not kept" not in caplog.text:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                folder.mkdir()
            await kept(folder, what)
        task.cancel()
