import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from shoal.api import v1 as api
from shoal.errors import Unavailable
from shoal.manager.deciding import loop
from shoal.manager.deciding.plan import NOTHING, Decider, Plan
from shoal.store.changes import Create, copy
from shoal.store.memory import View
from tests.unit.manager.deciders import Recorder, chain, move, service
from tests.unit.manager.stores import MemoryStore

pytestmark = pytest.mark.looptime

EPOCH = 1_700_000_000.0


def clock() -> float:
    return EPOCH + asyncio.get_running_loop().time()


@asynccontextmanager
async def running(store: MemoryStore, deciders: Sequence[Decider]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        child = group.create_task(loop.run(deciders, store, clock=clock))  # type: ignore[arg-type]
        yield
        child.cancel()


def states(view: View) -> list[int]:
    return [task.status.state for task in view.tasks.all()]


async def test_new_service_takes_one_commit_to_be_assigned() -> None:
    store = MemoryStore(latency=0.005)
    async with running(store, chain()):
        await asyncio.sleep(1)
        await store.update(lambda transaction: transaction.create(service("web", 100)))
        started = clock()
        with store.watch(api.Task) as watch:
            await watch.next()
        assert clock() - started < 0.006  # one commit of 5 ms, and no delay before it
        await asyncio.sleep(10)
    assert states(store.view()) == [api.ASSIGNED] * 100
    assert store.commits == [1, 100]


async def test_loop_at_rest_does_not_call_its_deciders() -> None:
    store = MemoryStore([service("web", 1)])
    deciders = chain()
    async with running(store, deciders):
        await asyncio.sleep(1)
        before = [len(decider.heard) for decider in deciders]
        await asyncio.sleep(3600)
        assert [len(decider.heard) for decider in deciders] == before


async def test_what_was_there_before_the_loop_is_read() -> None:
    store = MemoryStore([service("web", 3)])
    async with running(store, chain()):
        await asyncio.sleep(1)
    assert states(store.view()) == [api.ASSIGNED] * 3


async def test_change_during_a_commit_is_not_lost() -> None:
    store = MemoryStore([service("web", 1)], latency=1.0)
    async with running(store, chain()):
        await asyncio.sleep(0.5)
        await store.update(lambda transaction: transaction.create(service("db", 1)))
        await asyncio.sleep(10)
    assert states(store.view()) == [api.ASSIGNED] * 2


async def test_decider_is_called_when_its_time_comes() -> None:
    store = MemoryStore()
    every_hour = Recorder("hourly", answer=lambda view, now: Plan(look_again_at=now + 3600))
    async with running(store, [every_hour]):
        await asyncio.sleep(2.5 * 3600)
    assert [round(at - every_hour.at[0]) for at in every_hour.at] == [0, 3600, 7200]


async def test_decider_that_always_wants_to_be_called_does_not_burn_the_core() -> None:
    eager = Recorder("eager", answer=lambda view, now: Plan(look_again_at=now))
    async with running(MemoryStore(), [eager]):
        await asyncio.sleep(1)
    assert len(eager.at) < 200


async def test_without_quorum_everything_is_read_again_when_it_is_back() -> None:
    store = MemoryStore([service("web", 2)])
    store.quorum = False
    deciders = chain()
    async with running(store, deciders):
        await asyncio.sleep(60)
        assert 10 < store.refused < 100
        assert states(store.view()) == []
        store.quorum = True
        await asyncio.sleep(3)
    assert states(store.view()) == [api.ASSIGNED] * 2
    assert deciders[0].heard.count(None) == store.refused + 1


async def test_failed_decider_is_logged_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    broken = Recorder("broken", answer=lambda view, now: Plan((Create(api.Node()), Create(api.Node()))))
    store = MemoryStore([service("web", 1)])
    async with running(store, [broken, *chain()]):
        await asyncio.sleep(10)
        assert 5 < len(broken.at) < 15
    assert states(store.view()) == [api.ASSIGNED]
    assert len(store.view().nodes) == 0
    (first,) = caplog.records  # the next one would be the tenth in a row
    message = "broken failed (1 in a row); it is tried again in 0.1 s"
    assert (first.levelno, first.getMessage()) == (logging.ERROR, message)
    assert first.exc_info


async def test_notes_are_logged_once_their_changes_hold(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def once(view: View, now: float) -> Plan:
        return NOTHING if len(view.tasks) else Plan((Create(api.Task(id="t")),), ("made a task",))

    store = MemoryStore(latency=5)
    async with running(store, [Recorder("once", answer=once)]):
        await asyncio.sleep(1)
        assert "made a task" not in caplog.messages
        await asyncio.sleep(10)
    assert caplog.messages.count("made a task") == 1


async def test_lagged_watch_means_reading_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "watch", lambda self, *kinds: self._watches.add(frozenset(kinds), max_events=2))
    store = MemoryStore()
    slow = Recorder("slow")
    async with running(store, [slow]):
        await asyncio.sleep(1)
        await store.update(lambda transaction: transaction.apply(Create(api.Task(id=str(n))) for n in range(5)))
        await asyncio.sleep(1)
    assert slow.heard == [None, None]


async def test_lost_lead_ends_the_loop() -> None:
    store = MemoryStore()

    async def lose() -> None:
        await asyncio.sleep(5)
        store.close()

    async def lead() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(lose())
            await loop.run(chain(), store, clock=clock)  # type: ignore[arg-type]

    with pytest.raises(ExceptionGroup) as raised:
        await lead()
    assert raised.group_contains(Unavailable, match="another manager leads")


async def test_pass_decides_on_what_others_committed_while_it_waited() -> None:
    store = MemoryStore([api.Task(id="t")], latency=1.0)
    mover = Recorder("scheduler", answer=move(api.PENDING, api.ASSIGNED))

    def pend(transaction: View) -> None:
        task = copy(transaction.tasks.get("t"))  # type: ignore[type-var]
        task.status.state = api.PENDING  # type: ignore[union-attr]
        transaction.update(task)  # type: ignore[attr-defined]

    async with running(store, [mover]):
        await asyncio.sleep(5)
        await store.update(pend)
        await asyncio.sleep(5)
    assert states(store.view()) == [api.ASSIGNED]
