"""Makes the parts of the network process and joins them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from shoal.errors import NotFound
from shoal.network.process.parts import Legacy, Parts
from shoal.network.wanted import Trouble, Wanted


class NodeNetwork:
    """All of this node's networks."""

    def __init__(self, tag: str, legacy: Legacy) -> None:
        self._tag = tag
        self._legacy = legacy
        self._wanted = Wanted(0)

    async def apply(self, wanted: Wanted) -> Sequence[Trouble]:
        """Make it so."""
        self._wanted = wanted
        return ()

    async def verify(self) -> Sequence[Trouble] | None:
        """Mend what others changed."""
        return None

    async def show(self, network: str) -> Mapping[str, Any]:
        """Return what is known of a network."""
        if not any(overlay.id == network for overlay in self._wanted.overlays):
            raise NotFound(f"network {network} is not on this node")
        return {}

    def bequeath(self) -> Legacy:
        """Leave all to a successor."""
        return Legacy()

    async def remove(self) -> None:
        """Take all away."""


@asynccontextmanager
async def compose(tag: str, legacy: Legacy) -> AsyncIterator[Parts]:
    """Make the parts, going on with what a former program left; end them."""
    yield NodeNetwork(tag, legacy)
