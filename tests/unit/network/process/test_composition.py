"""The parts of the network process, joined."""

from pathlib import Path

import pytest

from shoal.errors import NotFound
from shoal.network.process.composition import compose
from shoal.network.process.parts import Legacy
from shoal.network.wanted import Overlay, Wanted


async def test_a_network_is_known_once_it_is_wanted(tmp_path: Path) -> None:
    async with compose(tmp_path, "test", Legacy()) as parts:
        with pytest.raises(NotFound):
            await parts.show("n")
        troubles = await parts.apply(Wanted(1, overlays=(Overlay("n", "blue", ()),)))
        assert [trouble.message for trouble in troubles] == ["network blue has no subnet"]
        shown = await parts.show("n")
        assert len(shown["nodes"]) == 1  # this one
        assert shown["endpoints"] == shown["neighbours"] == {}
