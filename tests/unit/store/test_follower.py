"""Stores that follow, over one etcd and over several."""

import asyncio
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from shoal.api import v1 as api
from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import Conflict, DamagedState, NoLeader, Unavailable
from shoal.store.changes import Create, Event, Remove, copy
from shoal.store.etcd_process import EtcdProcess
from shoal.store.follower import BASE
from shoal.store.leadership import LeaderWatch
from shoal.store.memory import Transaction
from shoal.store.seal import Sealer
from shoal.store.store import Store
from tests.unit.store.objects import service, task
from tests.unit.store.relay import Managers, managers

SEALER = Sealer({1: b"k" * 32}, 1)
A, B, C = "a" * 25, "b" * 25, "c" * 25


def told(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.action, event.obj.id) for event in events]


def ids(store: Store) -> set[str]:
    return {obj.id for obj in store.view().tasks.all()} | {obj.id for obj in store.view().services.all()}


async def wait_until(condition: Callable[[], object], timeout: float = 10) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - what any reader could see
            await asyncio.sleep(0.005)


async def wait_leads(store: Store, timeout: float = 10) -> None:
    """Lead as soon as Raft lets it, as a manager does."""
    async with asyncio.timeout(timeout):
        while True:
            try:
                return await store.lead()
            except Unavailable:
                await asyncio.sleep(0.01)


async def test_a_follower_hears_of_a_commit_as_one_with_the_versions_it_got(etcd: EtcdProcess) -> None:
    async with Store.open(etcd.client, SEALER) as leader, Store.follow(etcd.client, SEALER) as follower:
        with follower.watch() as watch:
            made = await leader.update(lambda tx: [tx.create(service("s", "web")), tx.create(task("t", "s"))])
            assert told(await watch.next()) == [("create", "s"), ("create", "t")]
            assert [follower.view().services.get("s"), follower.view().tasks.get("t")] == made
            assert follower.view().revision == leader.view().revision

            def delete(tx: Transaction) -> None:
                changed = copy(tx.services.get("s") or service("s"))
                changed.pending_delete = True
                tx.update(changed)
                tx.remove(api.Task, "t")

            await leader.update(delete)
            updated, removed = await watch.next()
            assert (updated.action, updated.old, updated.obj) == ("update", made[0], leader.view().services.get("s"))
            assert (removed.action, removed.obj) == ("remove", made[1])
            assert follower.view().tasks.find("service_id", "s") == []


async def test_a_follower_does_not_write_and_one_that_leads_is_told_nothing_twice(etcd: EtcdProcess) -> None:
    async with Store.follow(etcd.client, SEALER) as store:
        assert not store.is_leader
        with pytest.raises(NoLeader, match="does not lead"):
            await store.update(lambda tx: tx.create(task("a")))
        with store.watch() as watch:
            await store.lead()
            assert store.is_leader
            await store.update(lambda tx: tx.create(task("a")))
            await store.step_down()
            assert not store.is_leader
            assert store.deposed.is_set()
            with pytest.raises(NoLeader, match="node lost leader status"):
                await store.update(lambda tx: tx.create(task("b")))
            await store.lead()
            assert not store.deposed.is_set()
            await store.update(lambda tx: tx.create(task("c")))
            assert told(await watch.next()) == [("create", "a"), ("create", "c")]


async def test_leading_and_stepping_down_again_and_again_loses_nothing(etcd: EtcdProcess) -> None:
    written: list[str] = []
    heard: list[tuple[str, str]] = []

    terms = 0

    async def write(store: Store) -> None:
        while len(written) < 150 or terms < 5:  # a fast disk takes 150 writes in a single term
            name = f"t{len(written)}"
            try:
                await store.update(lambda tx: tx.create(task(name)))  # noqa: B023
                written.append(name)
            except NoLeader:
                if store.view().tasks.get(name) is not None:
                    written.append(name)
                await asyncio.sleep(0.001)
            except Conflict:  # it took effect
                written.append(name)

    async with Store.follow(etcd.client, SEALER) as store, Store.follow(etcd.client, SEALER) as other:
        with store.watch() as watch:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(write(store))
                while not writer.done():
                    before = len(written)
                    await store.lead()
                    terms += 1
                    await asyncio.sleep(0.02)
                    while len(written) == before and not writer.done():  # noqa: ASYNC110 - a slow one needs longer
                        await asyncio.sleep(0.001)
                    await store.step_down()
            await store.catch_up()
            heard.extend(told(watch.pending()))
            await other.catch_up()
            assert heard == [("create", name) for name in written]
            assert ids(store) == ids(other) == set(written)


async def test_a_follower_that_missed_forgotten_history_is_told_the_difference(etcd: EtcdProcess) -> None:
    async with Store.open(etcd.client, SEALER) as leader:
        for name in ("gone", "same", "changed"):
            await leader.update(lambda tx: tx.create(task(name)))  # noqa: B023
        async with Store.follow(etcd.client, SEALER) as follower:
            following = follower._following
            assert following is not None
            following.cancel()
            await asyncio.wait([following])
            changed = copy(leader.view().tasks.get("changed") or api.Task())
            changed.slot = 9
            await leader.update(lambda tx: tx.update(changed))
            await leader.update(lambda tx: tx.apply([Remove(api.Task, "gone"), Create(task("new"))]))
            await etcd.client.compact(leader.view().revision, physical=True)
            with follower.watch() as watch:
                follower._follow()
                async with asyncio.timeout(60):
                    found = await watch.next()
            assert sorted(told(found)) == [("create", "new"), ("remove", "gone"), ("update", "changed")]
            assert follower.view().revision == leader.view().revision
            await leader.update(lambda tx: tx.remove(api.Task, "new"))
            await follower.catch_up()
            assert ids(follower) == {"same", "changed"}


async def test_versions_go_on_from_the_base_that_a_restored_swarm_has(etcd: EtcdProcess) -> None:
    base = pb.RequestOp(request_put=pb.PutRequest(key=BASE, value=(1000).to_bytes(8, "big")))
    await etcd.client.txn(pb.TxnRequest(success=[base]))
    async with Store.open(etcd.client, SEALER) as leader, Store.follow(etcd.client, SEALER) as follower:
        made = await leader.update(lambda tx: tx.create(task("a")))
        assert made.meta.version.index == leader.view().revision > 1000
        await follower.catch_up()
        assert follower.view().tasks.get("a") == made
        changed = copy(made)
        changed.slot = 3
        again = await leader.update(lambda tx: tx.update(changed))
        assert again.meta.version.index == made.meta.version.index + 1
    async with Store.open(etcd.client, SEALER) as store:
        assert store.view().tasks.get("a") == again


async def test_a_value_that_does_not_open_ends_a_follower_by_its_name(etcd: EtcdProcess) -> None:
    async def follow() -> None:
        async with Store.follow(etcd.client, SEALER):
            put = pb.RequestOp(request_put=pb.PutRequest(key=b"objects/tasks/a", value=b"x" * 99))
            await etcd.client.txn(pb.TxnRequest(success=[put]))
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as ended:
        await follow()
    (error,) = ended.value.exceptions
    assert isinstance(error, DamagedState)
    assert "objects/tasks/a" in str(error)


async def lead_first(cluster: Managers, stores: dict[str, Store], timeout: float = 20) -> str:
    """Let the store lead whose etcd leads. On a busy machine that may be another one a moment later."""
    async with asyncio.timeout(timeout):
        while True:
            leader = await cluster.leader()
            try:
                await stores[leader].lead()
            except Unavailable:
                await asyncio.sleep(0.01)
            else:
                return leader


async def write(cluster: Managers, stores: dict[str, Store], name: str) -> str:
    """Write by the store that leads, and return its name."""
    while True:
        leader = await lead_first(cluster, stores)
        try:
            await stores[leader].update(lambda tx: tx.create(task(name)))
        except Conflict:  # an attempt that failed took effect after all
            return leader
        except Unavailable:
            continue
        return leader


@pytest.mark.slow
async def test_three_managers_hold_what_was_acknowledged_when_leaders_die(tmp_path: Path) -> None:
    written: list[str] = []
    async with (
        managers(tmp_path, A, B, C) as cluster,
        Store.follow(cluster.etcds[A].client, SEALER) as a,
        Store.follow(cluster.etcds[B].client, SEALER) as b,
        Store.follow(cluster.etcds[C].client, SEALER) as c,
    ):
        stores = {A: a, B: b, C: c}
        for round_ in range(3):
            leader = await lead_first(cluster, stores)
            for number in range(20):
                name = f"{round_}-{number}"
                leader = await write(cluster, stores, name)
                written.append(name)
            pid = cluster.etcds[leader].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await wait_until(partial(lambda pid, leader: cluster.etcds[leader].pid not in (None, pid), pid, leader))
        await lead_first(cluster, stores)
        for store in stores.values():
            await store.catch_up()
            assert ids(store) == set(written)


@pytest.mark.slow
async def test_without_quorum_writes_end_and_reads_go_on(tmp_path: Path) -> None:
    async with managers(tmp_path, A, B, C) as cluster:
        leader = await cluster.leader()
        etcd = cluster.etcds[leader]
        watch = LeaderWatch(etcd)
        async with asyncio.TaskGroup() as group, Store.follow(etcd.client, SEALER) as store:
            polling = group.create_task(watch.run())
            await wait_leads(store)
            await store.update(lambda tx: tx.create(task("before")))
            assert (await watch.wait(leads=True)).leader == watch.state.member
            cluster.relay.cut(leader)
            async with asyncio.timeout(60):
                await watch.wait(leads=False)
            await store.step_down()
            with pytest.raises(NoLeader):
                await store.update(lambda tx: tx.create(task("late")))
            assert ids(store) == {"before"}
            cluster.relay.heal()
            await store.catch_up()
            polling.cancel()
