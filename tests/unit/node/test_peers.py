from pathlib import Path

import pytest

from shoal.api import v1 as api
from shoal.errors import DamagedState
from shoal.node import peers


def test_managers_are_kept_as_swarmkit_keeps_them(tmp_path: Path) -> None:
    known = (("a", "10.0.0.1:2377"), ("b", "[fd00::2]:2377"))
    peers.save(tmp_path, known)
    assert (tmp_path / "state.json").read_text() == (
        '[{"node_id": "a", "addr": "10.0.0.1:2377"}, {"node_id": "b", "addr": "[fd00::2]:2377"}]\n'
    )
    assert peers.load(tmp_path) == known


def test_nothing_saved_is_nobody(tmp_path: Path) -> None:
    assert peers.load(tmp_path) == ()


@pytest.mark.parametrize("text", ["{", "3", '["x"]', '[{"node_id": "a"}]', '[{"addr": "10.0.0.1"}]'])
def test_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(DamagedState, match=r"state\.json is damaged"):
        peers.load(tmp_path)


def test_session_names_each_manager_once() -> None:
    managers = [api.WeightedPeer(peer=api.Peer(node_id=node_id, addr=addr)) for node_id, addr in ("b2", "a1", "b2")]
    assert peers.named(managers) == (("a", "1"), ("b", "2"))
