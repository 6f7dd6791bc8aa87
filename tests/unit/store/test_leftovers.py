from pathlib import Path

import pytest

from shoal.errors import Unavailable
from shoal.store.leftovers import Lock, end_leftovers


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    one, two = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    one.take()
    with pytest.raises(Unavailable, match="two cannot share a data root"):
        two.take()
    one.release()
    one.release()
    two.take()
    two.release()


def test_without_leftovers_nothing_is_ended(tmp_path: Path) -> None:
    end_leftovers(tmp_path)
