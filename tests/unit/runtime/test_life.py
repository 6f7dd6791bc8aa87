"""All followers of a container get its values."""

import asyncio

from shoal.runtime.life import Life
from shoal.runtime.types import Container, ContainerConfig, Phase

MADE = Container("a", ContainerConfig("a", "a"), "i", Phase.CREATED, 0.0)


async def test_every_change_is_seen_until_removal() -> None:
    life, seen = Life(MADE), list[tuple[Phase, int]]()

    async def follow() -> None:
        seen.extend([(value.phase, value.exit_code) async for value in life.changes()])

    async with asyncio.TaskGroup() as group:
        group.create_task(follow())
        await asyncio.sleep(0)
        life.change(phase=Phase.RUNNING)
        life.change(phase=Phase.EXITED, exit_code=3)
        await asyncio.sleep(0)
        life.change(phase=Phase.REMOVING)
        life.end()
    assert seen == [(Phase.CREATED, 0), (Phase.RUNNING, 0), (Phase.EXITED, 3), (Phase.REMOVING, 3)]


async def test_waiting_ends_with_the_container() -> None:
    life = Life(MADE)
    asyncio.get_running_loop().call_soon(lambda: life.change(phase=Phase.EXITED, exit_code=9))
    async with asyncio.timeout(60):
        assert (await life.wait_ended()).exit_code == 9
        assert (await life.wait_ended()).exit_code == 9
