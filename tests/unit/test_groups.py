"""Groups of children behave as Python's own should."""

import asyncio

import pytest

import shoal.groups  # noqa: F401 - what mends them


async def _fail() -> None:
    await asyncio.sleep(0)
    raise OSError


async def test_a_child_that_fails_while_its_group_waits_leaves_the_owner_as_it_was() -> None:
    owner = asyncio.current_task()
    assert owner is not None
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(_fail())
    assert owner.cancelling() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()


async def test_the_other_children_end_with_the_one_that_fails() -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def own() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(_fail())

    with pytest.raises(ExceptionGroup):
        await own()
    assert ended.is_set()


async def test_an_owner_that_is_cancelled_stays_so_though_a_child_fails_of_it() -> None:
    begun = asyncio.Event()

    async def fail_at_the_end() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError from None

    seen: list[int] = []

    async def own() -> None:
        owner = asyncio.current_task()
        assert owner is not None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail_at_the_end())
        except* OSError:
            seen.append(owner.cancelling())
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(owner.cancelling())

    async with asyncio.timeout(60), asyncio.TaskGroup() as outer:
        child = outer.create_task(own())
        await begun.wait()
        child.cancel()
    assert child.cancelled()
    assert seen == [1, 1]


async def test_a_timeout_that_ends_a_group_whose_child_fails_of_it_cancels_nothing_later() -> None:
    async def fail_at_the_end() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError from None

    owner = asyncio.current_task()
    assert owner is not None
    with pytest.raises(ExceptionGroup):
        async with asyncio.timeout(0.01), asyncio.TaskGroup() as group:
            group.create_task(fail_at_the_end())
    await asyncio.sleep(0.01)
    assert owner.cancelling() == 0
