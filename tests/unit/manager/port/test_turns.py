import asyncio
from itertools import pairwise

from shoal.manager.port.turns import OneByOne, Turns


class Crowd:
    """Many waiting tasks, and which of them went on in which turn."""

    def __init__(self, turns: Turns, size: int, group: asyncio.TaskGroup) -> None:
        self.turns = turns
        self.went: list[int] = []
        self.children = [group.create_task(self._go(number)) for number in range(size)]

    async def _go(self, number: int) -> None:
        await self.turns.wait_turn()
        self.went.append(number)


async def test_a_crowd_passes_a_few_at_a_time_and_in_order() -> None:
    async with asyncio.TaskGroup() as group:
        crowd = Crowd(Turns(limit=10), 35, group)
        steps = [0]
        while len(crowd.went) < 35:
            await asyncio.sleep(0)
            steps.append(len(crowd.went))
        assert max(later - earlier for earlier, later in pairwise(steps)) == 10
    assert crowd.went == list(range(35))


async def test_who_comes_alone_does_not_wait() -> None:
    turns = Turns(limit=1)
    for _ in range(3):
        child = turns.wait_turn()
        try:
            child.send(None)
        except StopIteration:
            pass
        else:
            raise AssertionError("it waited")
        for _ in range(3):
            await asyncio.sleep(0)


async def test_who_is_cancelled_takes_nobody_s_place() -> None:
    async with asyncio.TaskGroup() as group:
        crowd = Crowd(Turns(limit=1), 4, group)
        await asyncio.sleep(0)
        crowd.children[1].cancel()
        crowd.children[2].cancel()
    assert crowd.went == [0, 3]


async def test_somebody_who_comes_later_does_not_overtake() -> None:
    async with asyncio.TaskGroup() as group:
        turns = Turns(limit=2)
        crowd = Crowd(turns, 6, group)
        for _ in range(2):
            await asyncio.sleep(0)
        await turns.wait_turn()
        assert crowd.went == list(range(6))


async def test_one_passes_at_a_time_and_the_hosts_by_turns() -> None:
    gate, inside, went = OneByOne(), 0, list[str]()

    async def go(host: str, number: int) -> None:
        nonlocal inside
        async with gate.turn(host):
            inside += 1
            await asyncio.sleep(0)
            assert inside == 1
            inside -= 1
            went.append(f"{host}{number}")

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(go("flood", number))
        group.create_task(go("quiet", 0))
    assert went == ["flood0", "flood1", "quiet0", "flood2", "flood3"]


async def test_who_goes_away_while_waiting_holds_up_nobody() -> None:
    gate, went = OneByOne(), list[int]()

    async def go(number: int) -> None:
        async with gate.turn("host"):
            await asyncio.sleep(0)
            went.append(number)

    async with asyncio.TaskGroup() as group:
        children = [group.create_task(go(number)) for number in range(4)]
        await asyncio.sleep(0)
        children[1].cancel()
        while not went:  # noqa: ASYNC110 - turns of the loop are what is counted
            await asyncio.sleep(0)
        children[2].cancel()  # it has just been let in
    assert went == [0, 3]
    assert not gate._busy
