import asyncio
import logging
from collections.abc import Callable
from typing import cast

import pytest

from shoal.errors import DamagedState, Unavailable
from shoal.node.membership import Membership, NodeRemoved
from shoal.node.stay import Stay


class Ends:
    """A membership whose first runs end as a test sets, one after the other, and whose last run stays."""

    def __init__(self, *how: Exception) -> None:
        self.how = list(how)

    async def run(self, started: Callable[[], None]) -> None:
        if self.how:
            raise ExceptionGroup("unhandled errors in a TaskGroup", [self.how.pop(0)])
        started()
        await asyncio.get_running_loop().create_future()


class BreaksAtTheEnd(Ends):
    async def run(self, started: Callable[[], None]) -> None:
        started()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise Unavailable("it broke while it was being ended")


def staying(ends: Ends) -> Stay:
    async def enter() -> Membership:
        return cast(Membership, ends)

    return Stay(enter)


@pytest.mark.parametrize("why", [Unavailable("no quorum"), OSError("no disk"), AttributeError("a defect")])
async def test_a_stay_that_fails_begins_anew_whatever_it_was(why: Exception, caplog: pytest.LogCaptureFixture) -> None:
    stay = staying(Ends(why))
    async with asyncio.TaskGroup() as group:
        async with asyncio.timeout(60):
            await stay.begin(group)
        assert stay.error == ""
        await stay.end()
    with_traceback = [record for record in caplog.records if record.levelno == logging.ERROR and record.exc_info]
    assert bool(with_traceback) == isinstance(why, AttributeError)


async def test_a_stay_is_settled_once_it_is_up_or_has_failed() -> None:
    for ends in (Ends(), Ends(Unavailable("no quorum")), Ends(DamagedState("/a/file", "it is rubbish"))):
        stay, failed = staying(ends), bool(ends.how)
        async with asyncio.TaskGroup() as group:
            up = stay.begin(group)
            assert not stay.settled.is_set()
            async with asyncio.timeout(60):
                await stay.settled.wait()
            assert up.done() is not failed
            assert bool(stay.error) is failed
            await stay.end()
    assert Stay.failed("locked").settled.is_set()


async def test_damaged_files_wait_for_a_person() -> None:
    ends = Ends(DamagedState("/a/file", "it is rubbish"), Unavailable("never"))
    stay = staying(ends)
    async with asyncio.TaskGroup() as group:
        stay.begin(group)
    assert "/a/file is damaged" in stay.error
    assert len(ends.how) == 1


async def test_a_node_that_was_removed_does_not_try_again(caplog: pytest.LogCaptureFixture) -> None:
    ends = Ends(NodeRemoved("n1"), Unavailable("never"))
    stay = staying(ends)
    async with asyncio.TaskGroup() as group:
        stay.begin(group)
    assert stay.error.startswith("node n1 was removed from swarm")
    assert len(ends.how) == 1
    assert "Traceback" not in caplog.text


async def test_a_stay_that_breaks_while_it_is_ended_has_ended() -> None:
    stay = staying(BreaksAtTheEnd())
    async with asyncio.TaskGroup() as group:
        await stay.begin(group)
        async with asyncio.timeout(60):
            await stay.end()
