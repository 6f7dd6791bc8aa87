import asyncio

import pytest
from grpclib.exceptions import StreamTerminatedError
from grpclib.utils import Wrapper

import shoal.api  # noqa: F401 - applies it


async def wait_inside(wrapper: Wrapper) -> None:
    with wrapper:
        await asyncio.Event().wait()


async def test_broken_connection_leaves_no_cancellation_behind() -> None:
    wrapper = Wrapper()
    asyncio.get_running_loop().call_soon(wrapper.cancel, StreamTerminatedError("Connection lost"))
    asyncio.get_running_loop().call_soon(wrapper.cancel, StreamTerminatedError("Connection lost"))
    with pytest.raises(StreamTerminatedError):
        await wait_inside(wrapper)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()


async def test_task_that_is_cancelled_meanwhile_still_counts_as_such() -> None:
    wrapper = Wrapper()
    seen: list[int] = []

    async def work() -> None:
        try:
            await wait_inside(wrapper)
        except StreamTerminatedError:
            task = asyncio.current_task()
            assert task is not None
            seen.append(task.cancelling())

    async with asyncio.TaskGroup() as group:
        child = group.create_task(work())
        await asyncio.sleep(0)
        wrapper.cancel(StreamTerminatedError("Connection lost"))
        child.cancel()
    assert seen == [1]


async def test_ordinary_cancellation_passes() -> None:
    async with asyncio.TaskGroup() as group:
        child = group.create_task(wait_inside(Wrapper()))
        await asyncio.sleep(0)
        child.cancel()
    assert child.cancelled()
