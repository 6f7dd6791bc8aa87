import asyncio

import pytest

from shoal.errors import ShoalError
from shoal.manager.logs.pipe import Pipe


async def test_items_come_in_order_and_the_end_after_them() -> None:
    pipe: Pipe[int] = Pipe(10)
    for number in range(3):
        assert await pipe.put(number)
    pipe.end()
    pipe.end(ShoalError("too late"))
    assert [await pipe.get() for _ in range(5)] == [0, 1, 2, None, None]
    assert not await pipe.put(4)


async def test_an_error_comes_after_the_items() -> None:
    pipe: Pipe[int] = Pipe(10)
    await pipe.put(1)
    pipe.end(ShoalError("gone"))
    assert await pipe.get() == 1
    with pytest.raises(ShoalError, match="gone"):
        await pipe.get()


async def test_writers_wait_for_room_and_none_is_lost() -> None:
    pipe: Pipe[int] = Pipe(100)
    order: list[str] = []

    async def write(number: int) -> None:
        assert await pipe.put(number, 60)
        order.append(f"wrote {number}")

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(write(number))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["wrote 0", "wrote 1"]  # the second one goes over the limit, the third waits
        assert not pipe.put_nowait(9)
        assert sorted([await pipe.get() or 0 for _ in range(4)]) == [0, 1, 2, 3]


async def test_writers_go_on_when_the_reader_is_gone() -> None:
    pipe: Pipe[int] = Pipe(1)
    assert await pipe.put(1)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(pipe.put(2))
        await asyncio.sleep(0)
        pipe.abandon()
    assert not waiting.result()
    assert not pipe.put_nowait(3)


async def test_a_cancelled_read_loses_nothing() -> None:
    pipe: Pipe[int] = Pipe(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await pipe.get()
    await pipe.put(1)
    assert await pipe.get() == 1
