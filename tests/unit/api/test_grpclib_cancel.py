import asyncio
from collections.abc import Callable

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


@pytest.mark.parametrize("first", ["connection", "somebody"])
async def test_task_that_is_cancelled_meanwhile_ends(first: str) -> None:
    wrapper = Wrapper()
    seen: list[BaseException] = []

    async def work() -> None:
        try:
            await wait_inside(wrapper)
        except BaseException as error:
            seen.append(error)
            raise

    async with asyncio.TaskGroup() as group:
        child = group.create_task(work())
        await asyncio.sleep(0)
        steps: list[Callable[[], object]] = [
            lambda: wrapper.cancel(StreamTerminatedError("Connection lost")),
            child.cancel,
        ]
        for step in steps if first == "connection" else reversed(steps):
            step()
    assert child.cancelled()
    assert [type(error) for error in seen] == [asyncio.CancelledError]


async def test_broken_connection_is_told_while_a_cancelled_task_cleans_up() -> None:
    wrapper = Wrapper()
    seen: list[Exception] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            asyncio.get_running_loop().call_soon(wrapper.cancel, StreamTerminatedError("Connection lost"))
            try:
                await wait_inside(wrapper)
            except StreamTerminatedError as error:
                seen.append(error)

    async with asyncio.TaskGroup() as group:
        child = group.create_task(work())
        await asyncio.sleep(0)
        child.cancel()
    assert len(seen) == 1


async def test_ordinary_cancellation_passes() -> None:
    async with asyncio.TaskGroup() as group:
        child = group.create_task(wait_inside(Wrapper()))
        await asyncio.sleep(0)
        child.cancel()
    assert child.cancelled()
