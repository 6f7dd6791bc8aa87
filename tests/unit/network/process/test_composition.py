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
        assert await parts.apply(Wanted(1, overlays=(Overlay("n", "blue", ()),))) == ()
        assert await parts.show("n") == {}
