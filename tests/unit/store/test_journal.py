from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import DamagedState, InvariantBroken
from shoal.store.etcd_client import EtcdClient
from shoal.store.etcd_process import EtcdProcess
from shoal.store.follower import pages
from shoal.store.journal import COMMIT, Deposed, InDoubt, Journal
from shoal.store.seal import Sealer
from tests.unit.store.faulty import FaultySocket

SEALER = Sealer({1: b"k" * 32}, 1)
KEY = b"objects/tasks/a"


@pytest.fixture
async def faulty(etcd: EtcdProcess, tmp_path: Path) -> AsyncIterator[FaultySocket]:
    async with FaultySocket.on(tmp_path / "faulty", etcd.socket) as socket:
        yield socket


@pytest.fixture
def client(faulty: FaultySocket, tmp_path: Path) -> Iterator[EtcdClient]:
    client = EtcdClient(tmp_path / "faulty")
    yield client
    client.close()


def journal_on(client: EtcdClient, patience: float = 5.0) -> Journal:
    return Journal(client, SEALER, lambda: None, patience)


async def loaded(etcd: EtcdProcess) -> dict[bytes, tuple[bytes, int]]:
    """What a new leader reads, with the revisions."""
    await journal_on(etcd.client).lead()
    async with aclosing(pages(etcd.client)) as found:
        return {kv.key: (SEALER.open(kv.key, kv.value), kv.mod_revision) async for _, kvs in found for kv in kvs}


async def writes(etcd: EtcdProcess, key: bytes) -> int:
    """Return how often a key was written since it exists."""
    kvs = (await etcd.client.range(pb.RangeRequest(key=key))).kvs
    return kvs[0].version if kvs else 0


async def test_what_was_written_is_read_by_the_next_leader_under_its_revision(etcd: EtcdProcess) -> None:
    journal = journal_on(etcd.client)
    await journal.lead()
    first = journal.revision
    assert await journal.commit({KEY: b"one", b"objects/tasks/b": b"two"}) == first + 1
    assert await journal.commit({KEY: b"three", b"objects/tasks/c": b"four"}) == first + 2
    assert await journal.commit({b"objects/tasks/b": None}) == first + 3
    assert journal.revision == first + 3
    assert await loaded(etcd) == {KEY: (b"three", first + 2), b"objects/tasks/c": (b"four", first + 2)}


async def test_loading_turns_pages(etcd: EtcdProcess) -> None:
    journal = journal_on(etcd.client)
    await journal.lead()
    ops = {b"objects/tasks/%d" % number: b"%d" % number for number in range(2500)}
    await journal.commit(ops)
    assert {key: value for key, (value, _) in (await loaded(etcd)).items()} == ops


async def test_values_are_not_readable_in_etcd_and_not_movable(etcd: EtcdProcess) -> None:
    journal = journal_on(etcd.client)
    await journal.lead()
    await journal.commit({KEY: b"password"})
    stored = (await etcd.client.range(pb.RangeRequest(key=KEY))).kvs[0].value
    assert b"password" not in stored
    moved = pb.RequestOp(request_put=pb.PutRequest(key=b"objects/tasks/b", value=stored))
    await etcd.client.txn(pb.TxnRequest(success=[moved]))
    with pytest.raises(DamagedState, match="etcd key objects/tasks/b is damaged"):
        await loaded(etcd)


@pytest.mark.parametrize("fault", ["lose_request", "lose_answer"])
async def test_a_write_whose_connection_broke_happens_once(
    etcd: EtcdProcess, client: EtcdClient, faulty: FaultySocket, fault: str
) -> None:
    journal = journal_on(client)
    await journal.lead()
    first = journal.revision
    setattr(faulty, fault, True)
    assert await journal.commit({KEY: b"one"}) == first + 1
    assert faulty.lost == 1
    assert await writes(etcd, KEY) == 1
    assert await journal.commit({KEY: b"two"}) == first + 2
    assert await loaded(etcd) == {KEY: (b"two", first + 2)}


@pytest.mark.parametrize(("fault", "happened"), [("lose_request", False), ("lose_answer", True)])
async def test_a_write_in_doubt_is_settled_before_the_next(
    etcd: EtcdProcess, client: EtcdClient, faulty: FaultySocket, fault: str, happened: bool
) -> None:
    journal = journal_on(client, patience=0.03)
    await journal.lead()
    first = journal.revision
    setattr(faulty, fault, True)
    faulty.refuse_after_loss = True
    with pytest.raises(InDoubt):
        await journal.commit({KEY: b"one"})
    assert faulty.lost == 1
    faulty.refusing = faulty.refuse_after_loss = False
    assert await journal.settle() == (first + 1 if happened else None)
    assert await writes(etcd, KEY) == (1 if happened else 0)
    assert await journal.commit({KEY: b"two"}) == journal.revision
    assert (await loaded(etcd))[KEY] == (b"two", journal.revision)
    with pytest.raises(InvariantBroken):
        await journal.settle()


async def test_settling_survives_faults_of_its_own(etcd: EtcdProcess, client: EtcdClient, faulty: FaultySocket) -> None:
    journal = journal_on(client, patience=0.03)
    await journal.lead()
    faulty.lose_request = faulty.refuse_after_loss = True
    with pytest.raises(InDoubt):
        await journal.commit({KEY: b"one"})
    faulty.refusing = faulty.refuse_after_loss = False
    faulty.lose_answer = True  # the fence is written, but nobody gets the answer
    assert await journal.settle() is None
    assert faulty.lost == 2
    assert await writes(etcd, COMMIT) == 1
    await journal.commit({KEY: b"two"})


async def test_a_new_leader_deposes_the_old_one(etcd: EtcdProcess) -> None:
    old, new = journal_on(etcd.client), journal_on(etcd.client)
    await old.lead()
    await old.commit({KEY: b"one"})
    await new.lead()
    with pytest.raises(Deposed, match="node lost leader status"):
        await old.commit({KEY: b"two"})
    await new.commit({b"objects/tasks/b": b"three"})
    with pytest.raises(Deposed):
        await old.commit({KEY: b"two"})
    assert {key: value for key, (value, _) in (await loaded(etcd)).items()} == {
        KEY: b"one",
        b"objects/tasks/b": b"three",
    }


async def test_a_manager_that_slept_through_an_election_takes_nothing_from_who_won_it(etcd: EtcdProcess) -> None:
    slept, won = journal_on(etcd.client), journal_on(etcd.client)
    await won.lead(7)
    with pytest.raises(Deposed):
        await slept.lead(6)
    await won.commit({KEY: b"one"})
    await slept.lead(8)
    with pytest.raises(Deposed):
        await won.commit({KEY: b"two"})


@pytest.mark.parametrize("fault", ["lose_request", "lose_answer"])
async def test_the_lead_is_taken_over_a_connection_that_breaks(
    etcd: EtcdProcess, client: EtcdClient, faulty: FaultySocket, fault: str
) -> None:
    journal = journal_on(client)
    setattr(faulty, fault, True)
    await journal.lead(3)
    assert faulty.lost == 1
    assert await journal.commit({KEY: b"one"}) == journal.revision


async def test_a_write_that_happened_is_acknowledged_by_a_leader_deposed_since(
    etcd: EtcdProcess, client: EtcdClient, faulty: FaultySocket
) -> None:
    old = journal_on(client, patience=0.03)
    await old.lead()
    faulty.lose_answer = faulty.refuse_after_loss = True
    with pytest.raises(InDoubt):
        await old.commit({KEY: b"one"})
    await journal_on(etcd.client).lead()
    faulty.refusing = False
    assert await old.settle() == old.revision
    with pytest.raises(Deposed):
        await old.commit({KEY: b"two"})
