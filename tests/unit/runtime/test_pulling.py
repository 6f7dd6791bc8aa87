"""Work for which several callers ask at the same time."""

import asyncio

import pytest

from shoal.errors import NotFound
from shoal.runtime.image_types import Progress, ProgressCallback
from shoal.runtime.pulling import Shared


class Work:
    def __init__(self) -> None:
        self.begun = 0
        self.gate = asyncio.Event()
        self.error: NotFound | None = None

    async def __call__(self, tell: ProgressCallback) -> str:
        self.begun += 1
        await self.gate.wait()
        tell(Progress("done"))
        if self.error:
            raise self.error
        return "image"


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_two_who_ask_at_once_share_the_work_and_the_progress() -> None:
    shared, work = Shared[str](), Work()
    first: list[Progress] = []
    second: list[Progress] = []
    async with asyncio.TaskGroup() as group:
        a = group.create_task(shared.run("k", first.append, work))
        b = group.create_task(shared.run("k", second.append, work))
        await turns()
        work.gate.set()
    assert (a.result(), b.result(), work.begun) == ("image", "image", 1)
    assert first == second == [Progress("done")]


async def test_other_keys_are_other_work() -> None:
    shared, work = Shared[str](), Work()
    work.gate.set()
    await shared.run("a", None, work)
    await shared.run("b", None, work)
    assert work.begun == 2


async def test_a_failure_is_everyones_and_the_next_begins_anew() -> None:
    shared, work = Shared[str](), Work()
    work.error = NotFound("no")
    results: list[str] = []

    async def ask() -> None:
        try:
            await shared.run("k", None, work)
        except NotFound as error:
            results.append(str(error))

    async with asyncio.TaskGroup() as group:
        group.create_task(ask())
        group.create_task(ask())
        await turns()
        work.gate.set()
    assert (results, work.begun) == (["no", "no"], 1)
    with pytest.raises(NotFound):
        await shared.run("k", None, work)
    assert work.begun == 2


async def test_when_the_first_is_cancelled_the_second_does_the_work() -> None:
    shared, work = Shared[str](), Work()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(shared.run("k", None, work))
        second = group.create_task(shared.run("k", None, work))
        await turns()
        first.cancel()
        await turns()
        work.gate.set()
    assert first.cancelled()
    assert (second.result(), work.begun) == ("image", 2)
