"""The routing mesh of this node as the network process keeps it: said anew on each change, made, and looked at again.

In: what is wanted, and the directory. Out: `troubles`, what could not be done. A port that another program of this host
has is tried again until it is free.
"""

import logging
from collections.abc import Collection, Iterator
from typing import Protocol

from shoal.errors import FailedPrecondition, InvalidArgument, ShoalError
from shoal.network.directory import Directory
from shoal.network.mesh.desired import desired_mesh, ingress_of, ports_of_nodes
from shoal.network.mesh.rules import PublishedPort
from shoal.network.mesh.state import Mesh, Meshed
from shoal.network.records import Address
from shoal.network.wanted import Overlay, Trouble, Wanted

log = logging.getLogger(__name__)


class Kernel(Protocol):
    """process.kernel.Kernel, as far as it is used here."""

    tag: str

    async def mesh(self, mesh: Mesh) -> Meshed: ...
    async def no_mesh(self) -> None: ...


class Meshwork:
    """The mesh, and what stands in its way now."""

    def __init__(self, kernel: Kernel) -> None:
        self.troubles: tuple[Trouble, ...] = ()
        self._kernel = kernel
        self._mesh: Mesh | None = None
        self._made: Mesh | None = None  # as it is in the kernel, as far as is known
        self._gone = False  # it is known that the kernel has none
        self._taken: set[PublishedPort] = set()
        self._words = ""  # of the last failure
        self._refused = ""  # what the kernel did not take of other nodes' entries

    async def settle(self, wanted: Wanted, directory: Directory, *, nodes: Collection[Address], path_mtu: int) -> None:
        """Make it as these say."""
        words = ""
        try:
            self._mesh = desired_mesh(wanted, directory, tag=self._kernel.tag, nodes=nodes, path_mtu=path_mtu)
        except (InvalidArgument, FailedPrecondition) as error:
            self._mesh, words = None, str(error)
        if words or self._words or self._mesh != self._made or (self._mesh is None and not self._gone):
            await self._make(words)
        self._say(wanted)

    async def look_again(self, wanted: Wanted) -> None:
        """Mend what others changed, try again what failed, take ports that others have given back."""
        if self._mesh is not None or not self._gone:
            await self._make("")
            self._say(wanted)

    async def remove(self) -> None:
        """Take it away. OSError, ShoalError."""
        self._mesh = None
        await self._kernel.no_mesh()
        self._gone = True

    async def _make(self, words: str) -> None:
        taken, self._made, refused = self._taken, None, ""
        try:
            if self._mesh is not None:
                self._gone = False
                meshed = await self._kernel.mesh(self._mesh)
                taken, refused = set(meshed.taken), meshed.refused
                self._made = self._mesh
            else:
                taken = set()
                if not self._gone:
                    await self.remove()
        except (OSError, ShoalError) as error:
            words = str(error)
        if words and words != self._words:
            log.warning("routing mesh: %s", words)
        for protocol, port in sorted(taken - self._taken):
            log.warning("port %d/%s is in use on this node, and not published there", port, protocol)
        for protocol, port in sorted(self._taken - taken):
            log.info("port %d/%s is published on this node now", port, protocol)
        self._words, self._taken, self._refused = words, taken, refused

    def _say(self, wanted: Wanted) -> None:
        ingress, words = ingress_of(wanted), self._words
        network = ingress.id if ingress else ""
        self.troubles = (Trouble(network, "", f"routing mesh: {words}"),) if words else ()
        if self._refused:
            self.troubles += (Trouble(network, "", f"routing mesh: {self._refused}", bearable=True),)
        if ingress is not None:
            own = ports_of_nodes(wanted.gossip.vxlan_port) if wanted.gossip else frozenset()
            self.troubles += tuple(_said(wanted, ingress, self._taken | own))


def _said(wanted: Wanted, ingress: Overlay, taken: Collection[PublishedPort]) -> Iterator[Trouble]:
    """Yield the troubles of tasks with ports that this node cannot publish."""
    for sandbox in wanted.sandboxes:
        for endpoint in sandbox.endpoints:
            if endpoint.network == ingress.id and endpoint.service is not None:
                ports = [(one.protocol, one.published) for one in endpoint.service.ports]
                if lost := ", ".join(f"{port}/{protocol}" for protocol, port in ports if (protocol, port) in taken):
                    words = f"port {lost} is in use on this node, and not published there"
                    yield Trouble(ingress.id, endpoint.id, words, bearable=True)
