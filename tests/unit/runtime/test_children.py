"""Tasks that run beside their callers have an owner."""

import asyncio

import pytest

from shoal.errors import NotFound
from shoal.runtime.children import Children


async def test_a_failed_child_takes_no_other_along(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()

    async def fails() -> None:
        raise NotFound("gone")

    async def works() -> None:
        done.set()

    async with Children() as children:
        children.start(fails(), "the one")
        await asyncio.sleep(0)
        children.start(works(), "the other")
        await done.wait()
    assert "the one failed" in caplog.text


async def test_work_is_finished_also_when_its_caller_is_gone() -> None:
    steps: list[str] = []
    go = asyncio.Event()

    async def work() -> str:
        steps.append("begun")
        await go.wait()
        steps.append("ended")
        return "result"

    async with Children() as children:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await children.finish(work(), "work")
        assert steps == ["begun"]
        go.set()
    assert steps == ["begun", "ended"]


async def test_an_error_is_its_callers() -> None:
    async def fails() -> None:
        raise NotFound("gone")

    async with Children() as children:
        with pytest.raises(NotFound, match="gone"):
            await children.finish(fails(), "work")


async def test_loops_end_with_their_owner() -> None:
    ended = asyncio.Event()

    async def loop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def body() -> None:
        async with Children() as children:
            children.start(loop(), "loop")
            await asyncio.sleep(0)
            raise NotFound("of the body")

    with pytest.raises(NotFound, match="of the body"):
        await body()
    assert ended.is_set()
