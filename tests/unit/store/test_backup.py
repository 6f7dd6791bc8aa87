import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal.api import v1 as api
from shoal.errors import DamagedState, FailedPrecondition, OutOfSequence
from shoal.paths import Paths
from shoal.store import backup
from shoal.store.changes import copy
from shoal.store.etcd_process import EtcdConfig, EtcdProcess
from shoal.store.seal import Sealer
from shoal.store.store import Store
from tests.unit.store.objects import config, service, task

SEALER = Sealer({1: b"k" * 32}, 1)
NODE = "n" * 25


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
    path = tmp_path / "file"
    made = await backup.save(etcd.client, path, files={"swarm/key": b"secret"})
    await store.update(lambda tx: tx.create(task("later")))
    assert path.stat().st_mode & 0o777 == 0o600
    found = backup.read(path)
    assert found.summary == made
    assert (made.objects, made.version) == (2302, before.meta.version.index)
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
        assert kept.meta.version.index > made.version + 1_000_000
        changed = copy(kept)
        changed.meta.CopyFrom(before.meta)
        with pytest.raises(OutOfSequence):
            await again.update(lambda tx: tx.update(changed))
        changed.meta.CopyFrom(kept.meta)
        newer = await again.update(lambda tx: tx.update(changed))
        assert newer.meta.version.index > kept.meta.version.index
        # A backup of what came from a backup goes on from there.
        second = await backup.save(restored.client, tmp_path / "second", files={})
        assert second.version == newer.meta.version.index


async def test_a_backup_is_of_one_moment(etcd: EtcdProcess, store: Store, tmp_path: Path) -> None:
    """Every transaction makes one task and removes another: any moment has 2,300 of them."""
    await fill(store)
    saved = asyncio.Event()

    async def change() -> None:
        number = 0
        while not saved.is_set():
            await store.update(lambda tx: (tx.create(task(f"u{number}", "s")), tx.remove(api.Task, f"t{number}")))  # noqa: B023
            number += 1
        assert number

    async with asyncio.TaskGroup() as group:
        group.create_task(change())
        await backup.save(etcd.client, tmp_path / "file", files={})
        saved.set()
    keys = [key for key, _ in backup.read(tmp_path / "file").objects if key.startswith(b"objects/tasks/")]
    assert len(keys) == 2300


async def test_a_file_that_is_not_whole_is_refused(etcd: EtcdProcess, store: Store, tmp_path: Path) -> None:
    await store.update(lambda tx: tx.create(task("a")))
    path = tmp_path / "file"
    await backup.save(etcd.client, path, files={"f": b"x" * 1000})
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:500], whole[:600] + b"y" + whole[601:], whole + b"z", whole[:16]):
        path.write_bytes(damaged)
        with pytest.raises(DamagedState, match="its checksum is wrong"):
            backup.read(path)
    path.write_bytes(b"something else")
    with pytest.raises(DamagedState, match="no backup of a swarm"):
        backup.read(path)


async def test_a_failed_save_leaves_the_old_file(etcd: EtcdProcess, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        await backup.save(etcd.client, path, files={"f": None})  # type: ignore[dict-item]
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.glob(".file*")] == []


async def test_a_swarm_that_is_there_is_not_written_over(etcd: EtcdProcess, store: Store, paths: Paths) -> None:
    await backup.save(etcd.client, paths.data_root / "file", files={})
    with pytest.raises(FailedPrecondition, match="holds the state of a swarm already"):
        await backup.restore(backup.read(paths.data_root / "file"), paths, NODE)
