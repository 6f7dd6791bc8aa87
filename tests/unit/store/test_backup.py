import asyncio
import errno
import io
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shoal.api import v1 as api
from shoal.errors import FailedPrecondition, OutOfSequence
from shoal.paths import Paths
from shoal.store import backup
from shoal.store.backup_file import OBJECT, About, DamagedBackup, Encoder, Record
from shoal.store.changes import copy
from shoal.store.etcd_process import EtcdConfig, EtcdProcess
from shoal.store.memory import Transaction
from shoal.store.seal import Sealer
from shoal.store.store import Store
from tests.unit.store.objects import config, service, task

SEALER = Sealer({1: b"k" * 32}, 1)
NODE = "n" * 25
ABOUT = About(0, 0.0, cluster_id="c", node_id=NODE, hostname="host", made_by="0.1.0", is_locked=True)


@pytest.fixture
async def store(etcd: EtcdProcess) -> AsyncIterator[Store]:
    async with Store.open(etcd.client, SEALER) as store:
        yield store


async def fill(store: Store) -> api.Service:
    await store.update(lambda tx: [tx.create(task(f"t{n}", "s", n)) for n in range(2300)])
    await store.update(lambda tx: tx.create(config("c", b"x" * 1_000_000)))
    return await store.update(lambda tx: tx.create(service("s", "web")))


async def test_a_swarm_comes_back_from_its_backup_with_versions_that_nobody_had(
    etcd: EtcdProcess, store: Store, tmp_path: Path
) -> None:
    before = await fill(store)
    file = io.BytesIO()
    made = await backup.save(etcd.client, file, files={"swarm/key": b"secret"}, about=ABOUT)
    await store.update(lambda tx: tx.create(task("later")))
    found = await backup.read(file)
    assert found.summary == made
    assert made.objects == {"configs": 1, "services": 1, "tasks": 2300}
    assert made.size_bytes == len(file.getvalue())
    assert made.about == replace(ABOUT, version=before.meta.version.index, taken_at=made.about.taken_at)
    assert found.files == {"swarm/key": b"secret"}

    paths = Paths(tmp_path / "new" / "data", tmp_path / "new" / "exec")
    await backup.restore(found, paths, NODE)
    assert not list(paths.data_root.glob("restoring"))
    async with (
        EtcdProcess(paths, EtcdConfig.member(NODE, exists=True)) as restored,
        Store.open(restored.client, SEALER) as again,
    ):
        assert {obj.id for obj in again.view().tasks.all()} == {f"t{n}" for n in range(2300)}
        kept = again.view().services.get("s")
        assert kept is not None
        assert kept.meta.version.index > made.about.version + 1_000_000
        changed = copy(kept)
        changed.meta.CopyFrom(before.meta)
        with pytest.raises(OutOfSequence):
            await again.update(lambda tx: tx.update(changed))
        changed.meta.CopyFrom(kept.meta)
        newer = await again.update(lambda tx: tx.update(changed))
        assert newer.meta.version.index > kept.meta.version.index
        # A backup of a restored swarm goes on from there.
        second = await backup.save(restored.client, io.BytesIO(), files={}, about=ABOUT)
        assert second.about.version == newer.meta.version.index


async def test_a_backup_is_of_one_moment(etcd: EtcdProcess, store: Store, tmp_path: Path) -> None:
    """Every transaction makes one task and removes another, so at any moment there are 2,300 tasks."""
    await fill(store)
    saved = asyncio.Event()

    def one_more(number: int, tx: Transaction) -> None:
        tx.create(task(f"u{number}", "s"))
        tx.remove(api.Task, f"t{number}")

    async def change() -> None:
        number = 0
        while not saved.is_set():
            await store.update(partial(one_more, number))
            number += 1
        assert number

    async with asyncio.TaskGroup() as group:
        group.create_task(change())
        summary = await backup.save(etcd.client, io.BytesIO(), files={}, about=ABOUT)
        saved.set()
    assert summary.objects["tasks"] == 2300


async def test_what_etcd_forgets_meanwhile_is_read_again(etcd: EtcdProcess, store: Store) -> None:
    await fill(store)
    times = 0

    class Forgetful(io.BytesIO):
        """A client whose etcd, after the first pages, has forgotten the revision that is being read."""

        def write(self, data: Any) -> int:
            nonlocal times
            times += 1
            if times == 3:
                loop.call_soon_threadsafe(forget.set)
                forgotten.wait(60)
            return super().write(data)

    async def compact() -> None:
        await forget.wait()
        newer = await store.update(lambda tx: tx.create(task("later")))
        await etcd.client.compact(newer.meta.version.index, physical=True)
        forgotten.set()

    loop, forget, forgotten = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    file = Forgetful()
    async with asyncio.TaskGroup() as group:
        group.create_task(compact())
        made = await backup.save(etcd.client, file, files={}, about=ABOUT)
    assert made.objects["tasks"] == 2301
    assert (await backup.read(file)).summary == made


async def test_a_swarm_that_is_there_is_not_written_over(etcd: EtcdProcess, store: Store, paths: Paths) -> None:
    file = io.BytesIO()
    await backup.save(etcd.client, file, files={}, about=ABOUT)
    with pytest.raises(FailedPrecondition, match="holds the state of a swarm already"):
        await backup.restore(await backup.read(file), paths, NODE)


async def test_a_restore_that_is_broken_off_leaves_nothing(etcd: EtcdProcess, store: Store, tmp_path: Path) -> None:
    await fill(store)
    file = io.BytesIO()
    await backup.save(etcd.client, file, files={}, about=ABOUT)
    found = await backup.read(file)
    whole = file.getvalue()

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 100_000:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    paths = Paths(tmp_path / "new" / "data", tmp_path / "new" / "exec")
    with pytest.raises(OSError, match="Input/output"):
        await backup.restore(replace(found, file=Failing(whole)), paths, NODE)
    assert [path.name for path in paths.data_root.iterdir()] == []
    assert [path.name for path in paths.exec_root.iterdir()] == []


@pytest.mark.parametrize(
    "name", [b"epoch", b"objects/", b"objects/tasks/", b"objects/such/x", b"objects/tasks/a/b", b"\xff"]
)
async def test_nothing_but_objects_comes_from_a_file(tmp_path: Path, name: bytes) -> None:
    encoder = Encoder()
    data = encoder.begin() + encoder.records([Record(OBJECT, name, b"1")]) + encoder.end(ABOUT)[0]
    with pytest.raises(DamagedBackup, match="something that no swarm has"):
        await backup.read(io.BytesIO(data))
