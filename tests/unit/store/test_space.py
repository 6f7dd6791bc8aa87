import os

import pytest

from shoal.api import v1 as api
from shoal.api.gen import etcd_pb2 as pb
from shoal.paths import Paths
from shoal.store import space
from shoal.store.changes import copy
from shoal.store.etcd_client import NoSpace, Refused
from shoal.store.etcd_process import EtcdConfig, EtcdProcess
from shoal.store.memory import Transaction
from shoal.store.seal import Sealer
from shoal.store.space import Space
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
        for _ in range(40):
            await store.update(overwrite)
        assert "giving up its history" in caplog.text
        assert (await etcd.client.alarm(pb.AlarmRequest())).alarms == []


async def test_history_is_dropped_after_much_was_written(etcd: EtcdProcess) -> None:
    keeper = Space(etcd.client)
    put = pb.RequestOp(request_put=pb.PutRequest(key=b"a", value=b"b"))
    revisions = [(await etcd.client.txn(pb.TxnRequest(success=[put]))).header.revision for _ in range(3)]
    await keeper.wrote(space.COMPACT_AFTER_BYTES - 1, revisions[1])
    await etcd.client.range(pb.RangeRequest(key=b"a", revision=revisions[0]))
    await keeper.wrote(1, revisions[1])
    with pytest.raises(Refused, match="has been compacted"):
        await etcd.client.range(pb.RangeRequest(key=b"a", revision=revisions[0]))
    await keeper.wrote(space.COMPACT_AFTER_BYTES, revisions[1])  # compacted there already: the write holds all the same


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
