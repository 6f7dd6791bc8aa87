"""What the network process is made of, as its server sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shoal.network.wanted import Trouble, Wanted


@dataclass(frozen=True, slots=True)
class Legacy:
    """What a process leaves to the program that takes its place: JSON values, and descriptors by name.

    Each descriptor stays open over exec; who takes it over closes it.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    descriptors: Mapping[str, int] = field(default_factory=dict)


class Parts(Protocol):
    """All that makes this node's networks: gossip, names, kernel."""

    async def apply(self, wanted: Wanted) -> Sequence[Trouble]:
        """Make it so; return what is not. May be repeated; never raises for what one network or endpoint lacks."""

    async def told(self, after: int) -> int:
        """Wait until others know what was written for a wanted state later than `after`; return the revision."""

    def others(self) -> int:
        """Return how many other nodes gossip."""

    async def verify(self) -> Sequence[Trouble] | None:
        """Look whether the kernel is still as it was made, and mend it. None: nothing was mended."""

    async def show(self, network: str) -> Mapping[str, Any]:
        """Return what this node knows of a network: peers, services, tasks. NotFound."""

    async def examine(self, network: str) -> Mapping[str, Any]:
        """Return what there is of a network on this node, layer by layer. NotFound."""

    def counts(self) -> Mapping[str, Any]:
        """Return what has been counted since the start, and how much there is."""

    def bequeath(self) -> Legacy:
        """Stop listening to the outside, and return what a successor goes on with. Nothing in the kernel changes."""

    async def remove(self) -> None:
        """Leave the gossip and take all away that was made in the kernel."""
