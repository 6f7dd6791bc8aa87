"""What was last wanted, on disk."""

from pathlib import Path

import pytest

from shoal.network.process import state
from shoal.network.wanted import Overlay, Wanted, to_json


def test_it_is_read_as_it_was_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    assert state.last_wanted(tmp_path) is None
    wanted = Wanted(3, overlays=(Overlay("n", "blue", ()),))
    state.keep(tmp_path, to_json(wanted))
    assert state.last_wanted(tmp_path) == wanted
    assert ((tmp_path / state.WANTED_FILE).stat().st_mode & 0o777) == 0o600
    state.forget(tmp_path)
    state.forget(tmp_path)
    assert state.last_wanted(tmp_path) is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"revision": "x"}'])
def test_one_that_cannot_be_read_is_as_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / state.WANTED_FILE).write_bytes(text)
    assert state.last_wanted(tmp_path) is None
