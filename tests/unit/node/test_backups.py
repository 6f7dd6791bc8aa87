import io
import time
from pathlib import Path

import pytest

from shoal.api import v1 as api
from shoal.ca.csr import make_csr, new_key
from shoal.ca.root import create_root
from shoal.ca.security import SecurityConfig
from shoal.node import backups
from shoal.node.state import NodeState
from shoal.paths import Paths
from shoal.store import backup
from shoal.store.backup_file import FILE, About, DamagedBackup, Encoder, Record

STATE = NodeState("0.0.0.0:2377", "10.0.0.1:2377", "10.0.0.1")


def identity(folder: Path, role: int, kek: bytes | None = None, node_id: str = "n" * 25) -> SecurityConfig:
    now = time.time()
    root, key = create_root(now), new_key()
    chain = root.issue(make_csr(key), node_id, role, "c" * 25, now=now)
    return SecurityConfig.create(folder, root_pem=root.certs_pem, chain_pem=chain, key=key, now=now, kek=kek)


async def found(files: dict[str, bytes]) -> backup.Backup:
    encoder = Encoder()
    records = [Record(FILE, name.encode(), content) for name, content in files.items()]
    return await backup.read(io.BytesIO(encoder.begin() + encoder.records(records) + encoder.end(About(1, 0.0))[0]))


@pytest.mark.parametrize("kek", [None, b"k" * 32])
def test_the_files_of_an_identity_are_those_on_disk(tmp_path: Path, kek: bytes | None) -> None:
    files = identity(tmp_path / "one", api.MANAGER, kek).files()
    assert sorted(files) == ["swarm-node.crt", "swarm-node.key", "swarm-root-ca.crt"]
    assert (b"ENCRYPTED" in files["swarm-node.key"]) is (kek is not None)
    (tmp_path / "two").mkdir()
    for name, content in files.items():
        (tmp_path / "two" / name).write_bytes(content)
        if name != "swarm-node.key" or kek is None:  # each time sealed with another salt
            assert (tmp_path / "one" / name).read_bytes() == content
    again = SecurityConfig.load(tmp_path / "two", time.time(), kek)
    assert again is not None
    assert again.node_id == "n" * 25


@pytest.mark.parametrize("missing", ["swarm-node.crt", "swarm-node.key", "swarm-root-ca.crt"])
async def test_a_backup_without_an_identity_makes_no_manager(tmp_path: Path, missing: str) -> None:
    files = identity(tmp_path / "one", api.MANAGER).files()
    del files[missing]
    paths = Paths(tmp_path / "data", tmp_path / "exec")
    with pytest.raises(DamagedBackup, match="does not say which manager made it"):
        await backups.place(paths, await found(files), STATE)
    assert not paths.data_root.exists()


async def test_a_backup_with_the_identity_of_a_worker_makes_no_manager(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data", tmp_path / "exec")
    files = identity(tmp_path / "one", api.WORKER).files()
    with pytest.raises(DamagedBackup, match="was not made by a manager"):
        await backups.place(paths, await found(files), STATE)
    assert not paths.data_root.exists()


@pytest.mark.parametrize("node_id", ["--name", "a\nb", "a\0b", "a/b"])
async def test_a_name_that_no_node_has_makes_no_manager(tmp_path: Path, node_id: str) -> None:
    paths = Paths(tmp_path / "data", tmp_path / "exec")
    files = identity(tmp_path / "one", api.MANAGER, node_id=node_id).files()
    with pytest.raises(DamagedBackup, match="a name that no node has"):
        await backups.place(paths, await found(files), STATE)
    assert not paths.data_root.exists()


async def test_what_makes_a_host_a_node_is_written_last(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data", tmp_path / "exec")
    whose = await backups.place(paths, await found(identity(tmp_path / "one", api.MANAGER).files()), STATE)
    assert (whose.node_id, whose.organization) == ("n" * 25, "c" * 25)
    times = {
        path.name: path.stat().st_mtime_ns
        for path in (*paths.swarm.glob("certificates/*"), *paths.swarm.glob("etcd"), *paths.swarm.glob("docker-*"))
    }
    assert len(times) == 5
    assert times["docker-state.json"] == max(times.values())  # a file system's clock may stand still for a moment
