import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from shoal.api import v1 as api
from shoal.errors import Conflict, DamagedState, NoLeader, OutOfSequence, ShoalError, Unavailable
from shoal.paths import Paths
from shoal.store.changes import copy
from shoal.store.etcd_client import EtcdClient, NoSpace
from shoal.store.etcd_process import EtcdConfig, EtcdProcess
from shoal.store.journal import InDoubt
from shoal.store.memory import Transaction
from shoal.store.seal import Sealer
from shoal.store.store import Store
from tests.harness.hosts import patient
from tests.unit.store.conftest import QUICK
from tests.unit.store.faulty import FaultySocket
from tests.unit.store.objects import config, service, task

SEALER = Sealer({1: b"k" * 32}, 1)


def opened(etcd: EtcdProcess) -> AbstractAsyncContextManager[Store]:
    return Store.open(etcd.client, SEALER, trouble=lambda: etcd.trouble)


@pytest.fixture
async def store(etcd: EtcdProcess) -> AsyncIterator[Store]:
    async with opened(etcd) as store:
        yield store


def ids(store: Store) -> set[str]:
    return {obj.id for obj in store.view().services.all()} | {obj.id for obj in store.view().tasks.all()}


async def test_what_was_committed_is_there_after_opening_again(etcd: EtcdProcess) -> None:
    async with opened(etcd) as store:
        created = await store.update(lambda transaction: transaction.create(service("s", "web")))
        await store.update(lambda transaction: transaction.create(task("gone")))
        await store.update(lambda transaction: transaction.remove(api.Task, "gone"))
        assert store.view().services.get("s") is created
    async with opened(etcd) as store:
        again = store.view().services.get("s")
        assert again == created
        assert again is not created
        assert ids(store) == {"s"}
        assert [obj.id for obj in store.view().services.find("name", "web")] == ["s"]


async def test_the_version_is_the_revision_of_the_commit(store: Store) -> None:
    before = store.view().revision
    created = await store.update(lambda transaction: transaction.create(service("s", "web")))
    assert created.meta.version.index == store.view().revision == before + 1
    changed = copy(created)
    changed.pending_delete = True
    updated = await store.update(lambda transaction: transaction.update(changed))
    assert updated.meta.version.index == store.view().revision == before + 2
    assert created.meta.version.index == before + 1


async def test_callers_that_wait_share_a_transaction_and_one_that_raises_is_alone(store: Store) -> None:
    before = store.view().revision
    failed: list[BaseException] = []

    async def create(number: int) -> None:
        try:
            await store.update(lambda transaction: transaction.create(service(f"s{number}", f"n{number % 40}")))
        except Conflict as error:
            failed.append(error)

    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(create(number))
    assert store.view().revision == before + 1
    assert len(ids(store)) == 40
    assert len(failed) == 10


async def test_of_two_updates_to_one_version_one_holds_also_in_one_batch(store: Store) -> None:
    created = await store.update(lambda transaction: transaction.create(service("s", "web")))
    outcomes: list[str] = []

    async def change(label: str) -> None:
        changed = copy(created)
        changed.spec.annotations.labels["by"] = label
        try:
            await store.update(lambda transaction: transaction.update(changed))
            outcomes.append(label)
        except OutOfSequence:
            outcomes.append("refused")

    before = store.view().revision
    async with asyncio.TaskGroup() as group:
        group.create_task(change("one"))
        group.create_task(change("two"))
    assert store.view().revision == before + 1
    assert sorted(outcomes) == ["one", "refused"]
    current = store.view().services.get("s")
    assert current is not None
    assert current.spec.annotations.labels == {"by": "one"}


async def test_a_function_that_changes_nothing_costs_no_transaction(store: Store) -> None:
    before = store.view().revision
    assert await store.update(lambda transaction: len(transaction.tasks)) == 0
    assert store.view().revision == before


async def test_what_a_function_raises_comes_out_and_the_store_goes_on(store: Store) -> None:
    def broken(transaction: Transaction) -> None:
        transaction.create(service("s", "web"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.update(broken)
    with pytest.raises(ShoalError, match="raft: raft message is too large and can't be sent"):
        await store.update(lambda transaction: transaction.create(config("c", b"x" * 1_600_000)))
    await store.update(lambda transaction: transaction.create(service("s", "web")))
    assert ids(store) == {"s"}


async def test_watchers_are_told_after_the_commit_and_before_the_caller(store: Store) -> None:
    with store.watch(api.Service) as watch, store.watch() as everything:
        await store.update(lambda transaction: [transaction.create(service("s", "web")), transaction.create(task("t"))])
        (event,) = await watch.next()
        assert (event.action, event.obj, event.old) == ("create", store.view().services.get("s"), None)
        assert [event.obj.id for event in await everything.next()] == ["s", "t"]
        await store.update(lambda transaction: transaction.remove(api.Service, "s"))
        (event,) = await watch.next()
        assert (event.action, event.obj.id) == ("remove", "s")


async def test_a_cancelled_caller_that_still_waits_changes_nothing(store: Store) -> None:
    async with asyncio.TaskGroup() as group:
        first = group.create_task(store.update(lambda transaction: transaction.create(task("a"))))
        cancelled = group.create_task(store.update(lambda transaction: transaction.create(task("b"))))
        await asyncio.sleep(0)
        cancelled.cancel()
    assert first.done()
    await store.update(lambda transaction: transaction.create(task("c")))
    assert ids(store) == {"a", "c"}


async def test_many_objects_at_once_and_many_callers_are_cut_into_transactions(store: Store) -> None:
    await store.update(lambda transaction: [transaction.create(task(f"a{n}", "s", n)) for n in range(5000)])
    before = store.view().revision
    async with asyncio.TaskGroup() as group:
        for number in range(5000):
            change = partial(lambda n, transaction: transaction.create(task(f"b{n}", "t", n)), number)
            group.create_task(store.update(change))
    assert store.view().revision == before + 3
    assert len(store.view().tasks.find("service_id", "s")) == len(store.view().tasks.find("service_id", "t")) == 5000


async def test_a_wrong_key_names_what_does_not_open(etcd: EtcdProcess) -> None:
    async with opened(etcd) as store:
        await store.update(lambda transaction: transaction.create(service("s", "web")))
    with pytest.raises(DamagedState, match="etcd key objects/services/s is damaged"):
        async with Store.open(etcd.client, Sealer({1: b"x" * 32}, 1)):
            pass
    async with opened(etcd) as store:
        assert ids(store) == {"s"}


async def test_a_new_leader_deposes_the_old_store_which_follows_from_then_on(etcd: EtcdProcess) -> None:
    async with opened(etcd) as old:
        await old.update(lambda transaction: transaction.create(task("a")))
        async with opened(etcd) as new:
            with old.watch() as watch:
                with pytest.raises(NoLeader, match="node lost leader status"):
                    await old.update(lambda transaction: transaction.create(task("b")))
                async with asyncio.timeout(60):
                    await old.deposed.wait()
                assert not old.is_leader
                with pytest.raises(NoLeader, match="node lost leader status"):
                    await old.update(lambda transaction: transaction.create(task("c")))
                assert not new.deposed.is_set()
                await new.update(lambda transaction: transaction.create(task("d")))
                async with asyncio.timeout(60):
                    assert [event.obj.id for event in await watch.next()] == ["d"]
            assert ids(new) == ids(old) == {"a", "d"}


async def test_a_closed_store_refuses_and_an_error_in_its_body_comes_out_as_it_is(etcd: EtcdProcess) -> None:
    with pytest.raises(KeyError):
        async with opened(etcd) as store:
            raise KeyError
    with pytest.raises(Unavailable, match="the store is closed"):
        await store.update(lambda transaction: transaction.create(task("a")))


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_or_doubled_when_etcd_is_killed_again_and_again(etcd: EtcdProcess) -> None:
    """Eight clients write. Each creates objects with ids of its own, and each increments a counter that all share."""
    acknowledged: list[str] = []
    kills = 0
    writing = True

    def count(transaction: Transaction) -> None:
        counter = copy(transaction.services.get("counter") or service("counter"))
        counter.spec.annotations.labels["n"] = str(int(counter.spec.annotations.labels.get("n", "0")) + 1)
        transaction.update(counter)

    def create(transaction: Transaction, task_id: str) -> None:
        transaction.create(task(task_id))
        count(transaction)

    async def write(name: str, store: Store) -> None:
        number = 0
        while writing:
            task_id = f"{name}{number}"
            await store.update(partial(create, task_id=task_id))
            acknowledged.append(task_id)
            number += 1

    async with opened(etcd) as store:
        await store.update(lambda transaction: transaction.create(service("counter")))
        async with asyncio.TaskGroup() as group:
            for name in "abcdefgh":
                group.create_task(write(name, store))
            for _ in range(4):
                await wait_longer(acknowledged, by=200)
                assert etcd.pid is not None
                os.kill(etcd.pid, signal.SIGKILL)
                kills += 1
            await wait_longer(acknowledged, by=200)
            writing = False
        in_memory = ids(store)
    assert kills == 4
    assert len(acknowledged) == len(set(acknowledged)) >= 1000
    async with opened(etcd) as store:
        assert ids(store) == in_memory == {*acknowledged, "counter"}
        counter = store.view().services.get("counter")
        assert counter is not None
        assert counter.spec.annotations.labels["n"] == str(len(acknowledged))


async def wait_longer(grown: list[str], by: int) -> None:
    goal = len(grown) + by
    while len(grown) < goal:  # noqa: ASYNC110 - what a client sees
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(("fault", "happened"), [("lose_request", False), ("lose_answer", True)])
async def test_callers_are_refused_while_a_write_is_in_doubt(
    etcd: EtcdProcess, tmp_path: Path, fault: str, happened: bool
) -> None:
    client = EtcdClient(tmp_path / "faulty")
    async with (
        FaultySocket.on(tmp_path / "faulty", etcd.socket) as faulty,
        Store.open(client, SEALER, trouble=lambda: "etcd is away", patience=0.03) as store,
    ):
        faulty.refuse_after_loss = True
        setattr(faulty, fault, True)
        with store.watch() as watch:
            with pytest.raises(Unavailable, match="etcd is away"):
                await store.update(lambda transaction: transaction.create(task("a")))
            with pytest.raises(Unavailable, match="etcd is away"):
                await store.update(lambda transaction: transaction.create(task("b")))
            assert faulty.lost == 1
            assert ids(store) == set()
            faulty.refusing = faulty.refuse_after_loss = False
            await wait_accepted(store, task("c"))
            assert ids(store) == ({"a", "c"} if happened else {"c"})
            assert {event.obj.id for event in await watch.next()} == ids(store)
    client.close()


async def test_callers_hear_why_etcd_ended_once_that_is_known(etcd: EtcdProcess, tmp_path: Path) -> None:
    client = EtcdClient(tmp_path / "faulty")
    trouble: list[str] = []
    async with (
        FaultySocket.on(tmp_path / "faulty", etcd.socket) as faulty,
        Store.open(client, SEALER, trouble=lambda: trouble[-1] if trouble else None, patience=0.03) as store,
    ):
        faulty.refuse_after_loss = faulty.lose_request = True
        for known in ("etcd cannot be reached", "etcd's disk is full", "etcd is away"):
            with pytest.raises(Unavailable, match=known):
                await store.update(lambda transaction: transaction.create(task("a")))
            trouble.append("etcd's disk is full" if not trouble else "etcd is away")
        faulty.refusing = faulty.refuse_after_loss = False
        await wait_accepted(store, task("b"))
        assert ids(store) == {"b"}
    client.close()


async def wait_accepted(store: Store, obj: api.Task) -> None:
    async with asyncio.timeout(patient(30)):
        while True:
            try:
                await store.update(lambda transaction: transaction.create(obj))
                return
            except Unavailable:
                await asyncio.sleep(0.01)


SMALL = EtcdConfig(heartbeat_ms=10, election_ms=50, quota_bytes=4 * 1024 * 1024)


async def write_until_refused(store: Store, limit: int) -> int:
    """Write large objects until etcd accepts no more. Returns how many it accepted."""
    for number in range(limit):
        large = config(f"c{number}", os.urandom(500_000))
        try:
            await store.update(lambda transaction: transaction.create(large))  # noqa: B023 - it is awaited here
        except Unavailable:
            return number
    return limit


async def test_a_full_quota_says_so_and_leaves_what_there_is(paths: Paths) -> None:
    async with EtcdProcess(paths, SMALL) as etcd, opened(etcd) as store:
        held = await write_until_refused(store, 200)
        assert 0 < held < 200
        assert len(store.view().configs) == held
        large = config("another", os.urandom(500_000))
        with pytest.raises(NoSpace, match="etcd has no space left"):
            await store.update(lambda transaction: transaction.create(large))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that holds etcd's preallocated log, two pieces of 64 MB, and not much else."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def log_bytes(etcd: EtcdProcess) -> int:
    return sum(piece.stat().st_blocks * 512 for piece in etcd.data.glob("member/wal/*"))


async def wait_preallocated(etcd: EtcdProcess) -> None:
    """Wait until etcd holds the next piece of its log, which it makes in the background."""
    async with asyncio.timeout(patient(30)):
        while log_bytes(etcd) < 128_000_000:  # noqa: ASYNC110 - etcd tells nobody
            await asyncio.sleep(0.01)


async def write_until_no_space_is_said(store: Store, small: Iterator[str]) -> tuple[set[str], str]:
    """Write tasks until one is refused for want of space; those that were taken, and the one that was not."""
    taken = set()
    async with asyncio.timeout(patient(30)):
        for name in small:
            try:
                await store.update(lambda transaction: transaction.create(task(name)))  # noqa: B023 - it is awaited here
                taken.add(name)
            except InDoubt:
                pass  # it may be there in the end
            except Unavailable as error:
                if "no space left on device" in str(error):
                    return taken, name
            await asyncio.sleep(0.01)
    raise AssertionError("nothing is refused")


@pytest.mark.root
@pytest.mark.slow
async def test_a_disk_that_fills_up_says_so_and_everything_is_there_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    async with (
        EtcdProcess(Paths(small_disk, tmp_path / "exec"), QUICK) as etcd,
        Store.open(etcd.client, SEALER, trouble=lambda: etcd.trouble, patience=0.5) as store,
    ):
        await wait_preallocated(etcd)
        filler = small_disk / "filler"
        room = os.statvfs(small_disk)
        filler.write_bytes(b"x" * (room.f_bavail * room.f_frsize - 1_000_000))
        # etcd takes what fits into its log, which has its place on the disk already. Only when it brings its database
        # up to date, every 0.1 s or on a busy machine much later, does it find the disk full. What it took by then
        # needs room in the database afterwards: 20 MB here, of the 80 MB that the filler takes.
        held = await write_until_refused(store, 40)
        taken, refused = await write_until_no_space_is_said(store, (f"small{number}" for number in count()))
        filler.unlink()
        await wait_accepted(store, task("b"))
        assert store.view().tasks.get(refused) is None
        before = ids(store) | {obj.id for obj in store.view().configs.all()}
        assert before >= {"b", *taken, *(f"c{number}" for number in range(held))}
    async with EtcdProcess(Paths(small_disk, tmp_path / "exec"), QUICK) as etcd, opened(etcd) as store:
        assert ids(store) | {obj.id for obj in store.view().configs.all()} == before
