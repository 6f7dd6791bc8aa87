import stat
from pathlib import Path

import pytest

from shoal.api import v1 as api
from shoal.ca import node_files
from shoal.ca.csr import make_csr, new_key
from shoal.ca.keyfile import KeyFile, render_key_file
from shoal.ca.node_files import NodeFiles
from shoal.ca.root import create_root
from shoal.errors import DamagedState
from tests.unit.ca.swarms import CLUSTER_ID, NOW

ROOT = create_root(NOW)


def pair() -> tuple[bytes, KeyFile]:
    key = new_key()
    return ROOT.issue(make_csr(key), "node", api.WORKER, CLUSTER_ID, now=NOW), KeyFile(key, b"d" * 32)


@pytest.fixture
def files(tmp_path: Path) -> NodeFiles:
    return NodeFiles(tmp_path / "swarm" / "certificates")


@pytest.fixture
def whole(files: NodeFiles) -> NodeFiles:
    files.write_root(ROOT.certs_pem)
    files.write(*pair())
    return files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_where_nothing_is_there_is_no_node(files: NodeFiles) -> None:
    assert files.read() is None
    files.write_root(ROOT.certs_pem)
    assert files.read() is None


def test_the_files_are_found_as_written_and_closed_to_others(whole: NodeFiles) -> None:
    stored = whole.read()
    assert stored is not None
    assert stored.root_pem == ROOT.certs_pem
    assert sorted(path.name for path in whole.folder.iterdir()) == [
        "swarm-node.crt",
        "swarm-node.key",
        "swarm-root-ca.crt",
    ]
    assert (mode(whole.folder), mode(whole.key), mode(whole.certificate)) == (0o700, 0o600, 0o644)


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_renewal_that_stops_halfway_leaves_a_pair_that_fits(
    whole: NodeFiles, stop_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = whole.read()
    chain, key_file = pair()
    written: list[Path] = []

    def stop(path: Path, data: bytes, mode: int = 0o600) -> None:
        if len(written) == stop_after:
            raise OSError("power cut")
        path.write_bytes(data)
        written.append(path)

    monkeypatch.setattr(node_files, "write_atomic", stop)
    monkeypatch.setattr(NodeFiles, "_settle", lambda self: stop(self.certificate, b""))
    with pytest.raises(OSError, match="power cut"):
        whole.write(chain, key_file)
    monkeypatch.undo()
    assert len(written) == stop_after
    found = whole.read()
    assert found is not None
    assert old is not None
    assert found.chain_pem == (old.chain_pem if stop_after == 1 else chain)
    again = whole.read()
    assert again is not None
    assert again.chain_pem == found.chain_pem


def test_a_first_certificate_that_stops_before_its_name_is_found(files: NodeFiles) -> None:
    files.write_root(ROOT.certs_pem)
    chain, key_file = pair()
    files.pending_certificate.write_bytes(chain)
    assert files.read() is None
    files.key.write_bytes(render_key_file(key_file))
    stored = files.read()
    assert stored is not None
    assert stored.chain_pem == chain
    assert files.certificate.exists()


@pytest.mark.parametrize("name", ["root", "certificate", "key"])
@pytest.mark.parametrize("data", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\n", None])
def test_a_damaged_file_is_named_and_left_alone(whole: NodeFiles, name: str, data: bytes | None) -> None:
    path: Path = getattr(whole, name)
    before = {each: each.read_bytes() for each in whole.folder.iterdir() if each != path}
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    with pytest.raises(DamagedState) as caught:
        whole.read()
    assert caught.value.path == str(path)
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.exists() else None) == data
    assert {each: each.read_bytes() for each in before} == before


def test_a_certificate_of_another_key_is_named(whole: NodeFiles) -> None:
    whole.certificate.write_bytes(pair()[0])
    with pytest.raises(DamagedState, match="does not belong to the key"):
        whole.read()
