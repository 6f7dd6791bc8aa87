"""What a program leaves to its successor."""

import os
from pathlib import Path

from shoal.network.process.inheritance import bequest, inherited
from shoal.network.process.parts import Legacy


def test_a_successor_reads_what_was_left(tmp_path: Path) -> None:
    kept = os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC)
    number = bequest({"gossip": [1, 2]}, {"folder": kept})
    assert os.get_inheritable(kept)
    assert inherited(number) == Legacy({"gossip": [1, 2]}, {"folder": kept})
    os.close(kept)
