import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from shoal.api.gen import etcd_pb2 as pb
from shoal.store import leadership
from shoal.store.etcd_process import EtcdProcess
from shoal.store.leadership import Leadership, LeaderWatch
from shoal.store.members import move_lead
from tests.unit.store.relay import managers

A, B = "a" * 25, "b" * 25


async def test_a_single_manager_leads_and_does_not_while_its_etcd_is_away(etcd: EtcdProcess) -> None:
    watch = LeaderWatch(etcd)
    assert watch.state == Leadership()
    async with asyncio.TaskGroup() as group:
        child = group.create_task(watch.run())
        async with asyncio.timeout(60):
            first = await watch.wait(leads=True)
            assert first.leader == first.member != 0
            assert first.term > 0
            assert etcd.pid is not None
            os.kill(etcd.pid, signal.SIGKILL)
            away = await watch.next(first)
            assert not away.leads
            assert away.leader == 0
            again = await watch.wait(leads=True)
            assert again.member == first.member
            assert again.term > first.term
        child.cancel()


async def test_an_etcd_that_does_not_answer_does_not_lead(etcd: EtcdProcess) -> None:
    watch = LeaderWatch(etcd)
    async with asyncio.TaskGroup() as group:
        child = group.create_task(watch.run())
        assert etcd.pid is not None
        try:
            async with asyncio.timeout(60):
                await watch.wait(leads=True)
                os.kill(etcd.pid, signal.SIGSTOP)
                await watch.wait(leads=False)
                os.kill(etcd.pid, signal.SIGCONT)
                await watch.wait(leads=True)
        finally:
            os.kill(etcd.pid, signal.SIGCONT)
        child.cancel()


class CountedEtcd:
    """An etcd that leads, writes nothing about it into its log, and counts questions."""

    def __init__(self) -> None:
        self.raft_news = asyncio.Event()
        self.client = self
        self.asked = 0
        self.term = 1

    async def status(self) -> pb.StatusResponse:
        self.asked += 1
        return pb.StatusResponse(header=pb.ResponseHeader(member_id=1), leader=1, raftTerm=self.term)


class LateEtcd(CountedEtcd):
    """One that takes 0.8 s for each answer."""

    async def status(self) -> pb.StatusResponse:
        await asyncio.sleep(0.8)
        return await super().status()

    def close(self) -> None:
        pass


@pytest.mark.looptime
@pytest.mark.parametrize("is_slow", [False, True])
async def test_where_etcds_are_patient_one_that_answers_late_still_leads(is_slow: bool) -> None:
    watch = LeaderWatch(LateEtcd(), is_slow=lambda: is_slow)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        child = group.create_task(watch.run())
        await asyncio.sleep(5)
        assert watch.state.leads == is_slow
        child.cancel()


@pytest.mark.looptime
async def test_a_manager_that_is_alone_asks_seldom_until_it_is_alone_no_more() -> None:
    etcd = CountedEtcd()
    others: list[str] = []
    watch = LeaderWatch(etcd, alone=lambda: not others)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        child = group.create_task(watch.run())
        await asyncio.sleep(35)
        assert etcd.asked == 4
        others.append(B)
        watch.look()
        await asyncio.sleep(9.5)
        assert etcd.asked == 4 + 10
        child.cancel()


class BehindABusyLoop(CountedEtcd):
    """An etcd that answers in time, and whose answer is read by a loop that was away for longer than it may be silent.

    Between the loop's return and the end of the call are some turns, as there are with a socket.
    """

    async def status(self) -> pb.StatusResponse:
        if self.asked:
            time.sleep(2 * leadership._WAIT * leadership._WAITS)  # noqa: ASYNC251 - a busy loop
            for _ in range(4):
                await asyncio.sleep(0)
        return await super().status()


async def test_a_loop_that_was_away_is_no_silence_of_etcds() -> None:
    etcd = BehindABusyLoop()
    watch = LeaderWatch(etcd)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        child = group.create_task(watch.run())
        async with asyncio.timeout(60):
            state = await watch.wait(leads=True)
            told = group.create_task(watch.next(state))
            for asked in (2, 3, 4):
                watch.look()
                while etcd.asked < asked:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0)
                await asyncio.sleep(0.01)
                assert not told.done(), told.result()
        told.cancel()
        child.cancel()


@pytest.mark.slow
async def test_a_lead_that_moves_is_heard_of_at_once_on_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "_AT_REST", 3600.0)  # without a log line, it would not ask again
    async with managers(tmp_path, A, B) as cluster, asyncio.TaskGroup() as group:
        watches = {node_id: LeaderWatch(etcd) for node_id, etcd in cluster.etcds.items()}
        children = [group.create_task(watch.run()) for watch in watches.values()]
        old = await cluster.leader()
        (new,) = {A, B} - {old}
        async with asyncio.timeout(60):
            await watches[old].wait(leads=True)
            await watches[new].next(Leadership())
        assert await move_lead(cluster.etcds[old].client)
        async with asyncio.timeout(60):
            await watches[new].wait(leads=True)
            lost = await watches[old].wait(leads=False)
        async with asyncio.timeout(60):
            while watches[new].state.term < lost.term:  # etcd may tell who leads a moment before it tells the term
                watches[new].look()
                await asyncio.sleep(0.01)
            assert watches[new].state.leads
        for child in children:
            child.cancel()


@pytest.mark.looptime
async def test_a_lead_that_was_won_again_between_two_questions_was_lost() -> None:
    etcd = CountedEtcd()
    watch = LeaderWatch(etcd)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(watch.run())
        since = await watch.wait(leads=True)
        assert since.term == 1
        lost = group.create_task(watch.wait_lost(2))  # its last answer is a term late
        await asyncio.sleep(10)
        assert not lost.done()
        etcd.term = 2
        await asyncio.sleep(10)
        assert not lost.done()
        etcd.term = 4
        async with asyncio.timeout(2):
            await lost
        assert watch.state.leads
        asking.cancel()
