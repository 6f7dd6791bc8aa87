import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import Unavailable
from shoal.store.etcd_process import EtcdConfig, EtcdProcess, LostData, RemovedMember
from shoal.store.members import admit, expel, listed, move_lead, settle_learners
from tests.unit.store.relay import managers

A, B, C = "a" * 25, "b" * 25, "c" * 25


async def value_at(etcd: EtcdProcess, key: bytes) -> bytes | None:
    kvs = (await etcd.client.range(pb.RangeRequest(key=key))).kvs
    return kvs[0].value if kvs else None


async def put(etcd: EtcdProcess, key: bytes, value: bytes) -> None:
    await etcd.client.txn(pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))]))


@pytest.mark.slow
async def test_managers_join_as_learners_and_become_voters_and_leave(tmp_path: Path) -> None:
    async with managers(tmp_path, A) as cluster:
        await put(cluster.etcds[A], b"x", b"1")
        for node_id in (B, C):
            await cluster.join(node_id, by=A)
            assert await value_at(cluster.etcds[node_id], b"x") == b"1"
        members = await listed(cluster.etcds[B].client)
        assert set(members) == {A, B, C}
        assert not any(member.is_learner for member in members.values())
        removed = cluster.etcds.pop(C)
        await expel(cluster.etcds[A].client, C)
        await expel(cluster.etcds[A].client, C)
        async with asyncio.timeout(60):
            await removed.wait_removed()
        with pytest.raises(RemovedMember):
            await removed.wait_serving()
        assert set(await listed(cluster.etcds[B].client)) == {A, B}


@pytest.mark.slow
async def test_one_learner_at_a_time_and_one_that_never_comes_makes_room(tmp_path: Path) -> None:
    async with managers(tmp_path, A) as cluster:
        client = cluster.etcds[A].client
        await admit(client, B)
        with pytest.raises(Unavailable, match="another manager is joining"):
            await admit(client, C, patience=0.05)
        assert set(await admit(client, B)) == {A, B}
        await settle_learners(client, patience=0.05)
        assert set(await listed(client)) == {A}
        assert set(await admit(client, C, patience=0.05)) == {A, C}


@pytest.mark.slow
async def test_the_lead_moves_to_another_voter(tmp_path: Path) -> None:
    async with managers(tmp_path, A, B) as cluster:
        old = await cluster.leader()
        assert await move_lead(cluster.etcds[old].client)
        assert await cluster.leader() != old


async def test_a_single_manager_has_nobody_to_give_the_lead_to(etcd: EtcdProcess) -> None:
    assert not await move_lead(etcd.client)


@pytest.mark.slow
async def test_a_manager_that_was_removed_while_it_was_down_learns_of_it(tmp_path: Path) -> None:
    async with managers(tmp_path, A, B) as cluster:
        await cluster.join(C, by=A)
    async with managers(tmp_path) as cluster:
        await cluster.start_all(A, B)
        await expel(cluster.etcds[A].client, C)
        late = await cluster.start(C, EtcdConfig.member(C, [A, B], exists=True), wait=False)
        with pytest.raises(RemovedMember):
            async with asyncio.timeout(60):
                await late.wait_serving()


@pytest.mark.slow
async def test_a_member_without_its_data_is_named_and_joins_anew(tmp_path: Path) -> None:
    async with managers(tmp_path, A, B) as cluster:
        await cluster.join(C, by=A)
        await put(cluster.etcds[A], b"x", b"1")
    async with managers(tmp_path) as cluster:
        await cluster.start_all(A, B)
        shutil.rmtree(cluster.paths(C).swarm / "etcd")
        with pytest.raises(LostData, match=r"swarm/etcd is gone.*let it join again"):
            await cluster.start(C, EtcdConfig.member(C, [A, B], exists=True))
        back = await cluster.join(C, by=await cluster.leader())
        assert await value_at(back, b"x") == b"1"
        assert {member.is_learner for member in (await listed(back.client)).values()} == {False}


@pytest.mark.slow
async def test_one_survivor_goes_on_alone_and_others_join_it(tmp_path: Path) -> None:
    async with managers(tmp_path, A, B) as cluster:
        await cluster.join(C, by=A)
        await put(cluster.etcds[A], b"x", b"1")
    async with managers(tmp_path) as cluster:
        survivor = await cluster.start(A, EtcdConfig.member(A, exists=True, force_new_cluster=True))
        assert set(await listed(survivor.client)) == {A}
        assert await value_at(survivor, b"x") == b"1"
        shutil.rmtree(cluster.paths(B).swarm / "etcd")
        await cluster.join(B, by=A)
        # When it is started again, it does not remove the others once more.
        assert survivor.pid is not None
        pid = survivor.pid
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while survivor.pid in (None, pid) or not survivor.serving:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await value_at(survivor, b"x") == b"1"
        assert set(await listed(survivor.client)) == {A, B}


@pytest.mark.slow
async def test_managers_that_start_one_after_the_other_serve_once_they_are_most(tmp_path: Path) -> None:
    async with managers(tmp_path, A, B) as cluster:
        await cluster.join(C, by=A)
        await put(cluster.etcds[A], b"x", b"1")
    async with managers(tmp_path) as cluster:
        first = await cluster.start(A, EtcdConfig.member(A, [B, C], exists=True), wait=False)
        await asyncio.sleep(0.5)
        assert not first.serving
        await cluster.start(B, EtcdConfig.member(B, [A, C], exists=True), wait=False)
        async with asyncio.timeout(60):
            await first.wait_serving()
        assert await value_at(first, b"x") == b"1"


@pytest.mark.slow
async def test_a_member_that_was_cut_off_deposes_nobody_when_it_is_back(tmp_path: Path) -> None:
    async with managers(tmp_path, A, B, C) as cluster:
        leader = await cluster.leader()
        term = (await cluster.etcds[leader].client.status()).raftTerm
        follower = next(node_id for node_id in cluster.etcds if node_id != leader)
        cluster.relay.cut(follower)
        cut_off = cluster.etcds.pop(follower)
        await put(cluster.etcds[leader], b"x", b"1")
        async with asyncio.timeout(60):
            while (await cut_off.client.status()).leader:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert cluster.relay.refused
        cluster.relay.heal()
        cluster.etcds[follower] = cut_off
        assert await cluster.leader() == leader
        assert (await cluster.etcds[leader].client.status()).raftTerm == term
        assert await value_at(cut_off, b"x") == b"1"


@pytest.mark.slow
async def test_managers_far_apart_keep_their_leader_and_write(tmp_path: Path) -> None:
    """Sixty milliseconds each way, as between two continents."""
    async with managers(tmp_path, A, B, C) as cluster:
        cluster.relay.delay = 0.06
        leader = await cluster.leader()
        term = (await cluster.etcds[leader].client.status()).raftTerm
        for number in range(5):
            await put(cluster.etcds[leader], b"x", b"%d" % number)
        follower = next(node_id for node_id in cluster.etcds if node_id != leader)
        assert await value_at(cluster.etcds[follower], b"x") == b"4"
        assert (await cluster.etcds[leader].client.status()).raftTerm == term
