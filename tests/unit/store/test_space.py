import asyncio
import os

import pytest

from shoal.api import v1 as api
from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import Unavailable
from shoal.paths import Paths
from shoal.store import space
from shoal.store.changes import copy
from shoal.store.etcd_client import NoSpace, Refused
from shoal.store.etcd_process import EtcdConfig, EtcdProcess
from shoal.store.memory import Transaction
from shoal.store.seal import Sealer
from shoal.store.space import (
    COMPACT_AFTER_BYTES,
    ENTRY_BYTES,
    KEPT_ENTRIES,
    LOG_BYTES,
    PADS_A_WRITE,
    SPARE_ENTRIES,
    Space,
    Turnover,
)
from shoal.store.store import Store
from tests.unit.store.objects import config

SMALL = EtcdConfig(heartbeat_ms=10, election_ms=50, quota_bytes=8 * 1024 * 1024)


def overwrite(transaction: Transaction) -> None:
    changed = copy(transaction.configs.get("c") or config("c"))
    changed.spec.data = os.urandom(1_000_000)
    transaction.update(changed)


@pytest.mark.slow
async def test_history_does_not_fill_the_quota(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    async with EtcdProcess(paths, SMALL) as etcd, Store.open(etcd.client, Sealer({1: b"k" * 32}, 1)) as store:
        await store.update(lambda transaction: transaction.create(config("c")))
        # etcd learns its size when it writes its database, once a second: on a fast disk that is after many writes.
        async with asyncio.timeout(60):
            while "giving up its history" not in caplog.text:
                await store.update(overwrite)
        assert (await etcd.client.alarm(pb.AlarmRequest())).alarms == []


async def test_history_is_dropped_after_much_was_written(etcd: EtcdProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "COMPACT_AFTER_BYTES", 1000)
    keeper = Space(etcd.client)
    put = pb.RequestOp(request_put=pb.PutRequest(key=b"a", value=b"b"))
    revisions = [(await etcd.client.txn(pb.TxnRequest(success=[put]))).header.revision for _ in range(3)]
    await keeper.wrote(space.COMPACT_AFTER_BYTES - 1, revisions[1])
    await etcd.client.range(pb.RangeRequest(key=b"a", revision=revisions[0]))
    await keeper.wrote(1, revisions[1])
    with pytest.raises(Refused, match="has been compacted"):
        await etcd.client.range(pb.RangeRequest(key=b"a", revision=revisions[0]))
    await keeper.wrote(space.COMPACT_AFTER_BYTES, revisions[1])  # compacted there already: the write holds all the same


def test_small_writes_owe_nothing_and_large_ones_what_keeps_the_log_small() -> None:
    turnover = Turnover()
    assert sum(turnover.wrote(ENTRY_BYTES // 4) for _ in range(5000)) == 0
    entries: list[int] = []
    for _ in range(2000):
        entries.append(1 << 20)
        for _ in range(turnover.wrote(1 << 20)):
            entries.append(0)
            turnover.wrote(0)
        assert sum(entries[-KEPT_ENTRIES:]) <= LOG_BYTES + (SPARE_ENTRIES + 1) * ENTRY_BYTES + (1 << 20)


def test_what_is_owed_is_not_forgotten_and_not_without_end() -> None:
    turnover = Turnover()
    for _ in range(10):
        turnover.wrote(1 << 40)
    paid = 0
    while turnover.wrote(0):
        paid += 1
        assert turnover.wrote(0) <= PADS_A_WRITE
    assert KEPT_ENTRIES // 2 - 2 <= paid <= KEPT_ENTRIES


async def test_large_writes_are_followed_by_small_ones_that_change_nothing(etcd: EtcdProcess) -> None:
    keeper = Space(etcd.client)
    before = await etcd.client.status()
    for _ in range(30):
        await keeper.wrote(ENTRY_BYTES * 50, 1)
    after = await etcd.client.status()
    padded = after.raftIndex - before.raftIndex
    assert 30 * 50 - SPARE_ENTRIES - 60 <= padded <= 30 * 50 - SPARE_ENTRIES + 60
    assert after.header.revision == before.header.revision


async def test_a_log_that_cannot_be_turned_over_loses_no_write() -> None:
    keeper = Space(AwayClient())  # type: ignore[arg-type]
    await keeper.wrote(COMPACT_AFTER_BYTES - 1, 1)


class AwayClient:
    """A client whose etcd has gone after a write."""

    async def alarm(self, request: pb.AlarmRequest) -> pb.AlarmResponse:
        raise Unavailable("etcd cannot be reached")


async def test_what_is_full_still_lets_objects_be_removed(paths: Paths) -> None:
    async with EtcdProcess(paths, SMALL) as etcd, Store.open(etcd.client, Sealer({1: b"k" * 32}, 1)) as store:
        held = 0
        for number in range(20):
            large = config(f"c{number}", os.urandom(1_000_000))
            try:
                await store.update(lambda transaction: transaction.create(large))  # noqa: B023 - it is awaited here
            except NoSpace:
                break
            held += 1
            # etcd learns how large its database is when it flushes it.
            await etcd.client.defragment()
        assert 0 < held < 20
        assert len(store.view().configs) == held
        await store.update(lambda transaction: transaction.remove(api.Config, "c0"))
        await store.update(lambda transaction: transaction.create(config("c0", os.urandom(900_000))))
        assert len(store.view().configs) == held
