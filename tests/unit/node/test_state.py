import json
from dataclasses import replace
from pathlib import Path

import pytest

from shoal.errors import DamagedState
from shoal.node import state

MADE = state.NodeState("0.0.0.0:2377", "10.0.0.1:2377", "10.0.0.1", default_addr_pool=("10.20.0.0/16",))


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    joined = replace(MADE, remote_addr="10.0.0.9:2377", join_in_progress=True)
    for one in (MADE, joined):
        state.save(tmp_path, one)
        assert state.load(tmp_path) == one
    assert json.loads((tmp_path / state.FILE).read_text())["JoinInProgress"] is True


def test_file_of_before_joining_was_possible_is_read(tmp_path: Path) -> None:
    state.save(tmp_path, MADE)
    content = json.loads((tmp_path / state.FILE).read_text())
    del content["RemoteAddr"], content["JoinInProgress"]
    (tmp_path / state.FILE).write_text(json.dumps(content))
    assert state.load(tmp_path) == MADE


def test_no_file_is_no_swarm(tmp_path: Path) -> None:
    assert state.load(tmp_path) is None


@pytest.mark.parametrize("change", [{"ListenAddr": 3}, {"RemoteAddr": 3}, {"DefaultAddressPool": 3}])
def test_damaged_file_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    state.save(tmp_path, MADE)
    content = json.loads((tmp_path / state.FILE).read_text()) | change
    (tmp_path / state.FILE).write_text(json.dumps(content))
    with pytest.raises(DamagedState):
        state.load(tmp_path)
