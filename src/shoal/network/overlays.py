"""This node's overlay networks, as shoald sees them: containers are put on them and taken off.

In: sandboxes, and what the swarm says of this node. Out: wanted states for the network process, and errors with its
words. All that is wanted is one value; what changed is sent, whole, once for all changes of one turn of the loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from shoal.errors import NotFound, ShoalError, Unavailable
from shoal.network import desired
from shoal.network.wanted import LINGER, Gossip, HostBridge, Overlay, Reached, Sandbox, Trouble, Wanted

log = logging.getLogger(__name__)

# The network process may be starting anew just now, and an endpoint takes milliseconds.
CONNECT_TIMEOUT = 30.0
# The swarm gives a node its address on a network with the first task that needs it there; Docker waits as long.
ADDRESS_TIMEOUT = 30.0
# Until the other nodes have confirmed what they were told. The network process gives them 2 s, as Docker always waits
# (moby daemon/cluster/executor/container/controller.go, defaultGossipConvergeDelay); more is for a process that hangs.
TOLD_TIMEOUT = 3.0
MOST_LINGER = 2.0  # all in all


class Process(Protocol):
    """What is used of the network process."""

    def next_revision(self) -> int:
        """Return the number of a wanted state that follows all others."""

    def expect_gossip(self, bind: str) -> None:
        """Have gossip's port open from now on, though nobody may read there yet."""

    def troubles(self) -> Sequence[Trouble]:
        """Return what is not as wanted now."""

    async def other_troubles(self, known: Sequence[Trouble]) -> Sequence[Trouble]:
        """Wait until others than these are not as wanted, and return them."""

    async def want(self, wanted: Wanted) -> None:
        """Have it made."""

    async def reached(self, revision: int) -> Reached:
        """Wait until a wanted state, or a later one, was made as far as it could be."""

    async def told(self, revision: int) -> Reached:
        """Wait until others know what was written for a wanted state, or a later one; it is bounded."""

    async def show(self, network: str) -> dict[str, Any]:
        """Return what this node knows of a network."""

    async def examine(self, network: str) -> dict[str, Any]:
        """Return what there is of a network on this node."""

    async def counts(self) -> dict[str, Any]:
        """Return what it has counted."""

    async def remove(self) -> None:
        """Have all taken away."""


class Overlays:
    """Who is on which overlay. `last` is what was wanted when shoald last ran on this boot of the host.

    `guard` is told the UDP port of VXLAN before anything is carried there, and keeps containers away from it.
    """

    def __init__(self, process: Process, last: Wanted | None, guard: Callable[[int], Awaitable[None]]) -> None:
        self._process = process
        self._guard = guard
        self._wanted = last or Wanted(0)
        self._bridge = self._wanted.bridge
        self._addresses = {overlay.id: overlay.node_address for overlay in self._wanted.overlays}
        self._given = asyncio.Event()  # set at the next word of the swarm; each has its own
        self._dirty = asyncio.Event()
        if last is not None:
            self._dirty.set()  # the process may have ended meanwhile, and is started again for it

    @property
    def wanted(self) -> Wanted:
        """All that is wanted now."""
        return self._wanted

    async def run(self) -> None:
        """Send what changed, until cancelled."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if self._wanted.gossip is not None:
                await self._guard(self._wanted.gossip.vxlan_port)
            await self._process.want(self._wanted)

    def set_bridge(self, bridge: HostBridge) -> None:
        """Tell of the host's own bridge. Nothing is wanted by that alone."""
        self._bridge = bridge
        if self._wanted.revision:
            self._change(self._wanted)

    def _change(self, wanted: Wanted) -> int:
        wanted = replace(wanted, revision=self._wanted.revision, bridge=self._bridge)
        if wanted in (self._wanted, Wanted(0, bridge=self._bridge)):  # as before, or still nothing at all
            return self._wanted.revision
        self._wanted = replace(wanted, revision=self._process.next_revision())
        self._dirty.set()
        return self._wanted.revision

    async def connect(self, sandbox: Sandbox, overlays: Iterable[Overlay]) -> None:
        """Put a container on its networks, once the swarm gave this node an address on each.

        ShoalError with the reason where that cannot be; it is on none then.
        """
        networks = list(overlays)
        await self._have_addresses([overlay.id for overlay in networks])
        own = [replace(overlay, node_address=self._addresses[overlay.id]) for overlay in networks]
        revision = self._change(desired.with_sandbox(self._wanted, sandbox, own))
        try:
            await self._made(revision, sandbox)
        except BaseException:
            self._change(desired.without_sandbox(self._wanted, sandbox.container))
            raise

    async def _have_addresses(self, networks: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(ADDRESS_TIMEOUT):
                while not all(self._addresses.get(network) for network in networks):
                    await self._given.wait()
        except TimeoutError as error:
            # Docker's words: moby daemon/cluster/executor/container/controller.go.
            raise ShoalError("node is missing network attachments, ip addresses may be exhausted") from error

    async def _made(self, revision: int, sandbox: Sandbox) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                reached = await self._process.reached(revision)
        except TimeoutError as error:
            raise Unavailable("the network process of this node does not answer") from error
        ours = {endpoint.id for endpoint in sandbox.endpoints}
        networks = {endpoint.network for endpoint in sandbox.endpoints}
        for trouble in reached.troubles:
            if trouble.bearable:
                continue
            if trouble.endpoint in ours or (not trouble.endpoint and trouble.network in {"", *networks}):
                raise ShoalError(trouble.message)

    async def enable(self, container: str) -> None:
        """Let names and balancers lead to a container; waits until those of all nodes on its networks do.

        As far as these confirm it within 2 s: the network process says which ones did not.
        """
        await self._tell(self._change(desired.with_enabled(self._wanted, container, enabled=True)))

    async def disable(self, container: str) -> None:
        """Let no name and no new connection lead to a container any more; waits until that is so on all nodes.

        It is bounded as `enable` is.
        """
        former, loop = self._wanted, asyncio.get_running_loop()
        revision = self._change(desired.with_enabled(self._wanted, container, enabled=False))
        is_new = self._wanted is not former
        began = loop.time()
        reached = await self._tell(revision)
        if is_new and reached is not None and reached.others:
            await asyncio.sleep(min(LINGER, max(0.0, began + MOST_LINGER - loop.time())))

    async def _tell(self, revision: int) -> Reached | None:
        """Wait until a wanted state was made, and others know of it; None: it cannot be said."""
        reached = await self._reach(revision)
        if reached is None:
            return None
        try:
            async with asyncio.timeout(TOLD_TIMEOUT):
                return await self._process.told(revision)
        except TimeoutError:
            log.warning("the network process of this node does not say whether the other nodes have heard it")
            return reached

    async def disconnect(self, container: str) -> None:
        """Take a container off all its networks; waits until it is. May be repeated."""
        await self._reach(self._change(desired.without_sandbox(self._wanted, container)))

    async def _reach(self, revision: int) -> Reached | None:
        if not revision:
            return None  # nothing was ever wanted
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await self._process.reached(revision)
        except TimeoutError:
            # It holds nobody up: the process makes it so as soon as it is there again.
            log.warning("the network process of this node does not answer")
            return None

    def keep_only(self, containers: Iterable[str]) -> None:
        """Sweep what is left of containers that are no more."""
        self._change(desired.with_only(self._wanted, containers))

    def set_gossip(self, gossip: Gossip | None) -> None:
        """Take over the swarm's keys and managers, and this node's addresses; None: it left the swarm.

        Others can call this node at once.
        """
        if gossip is not None:
            self._process.expect_gossip(gossip.bind)
        self._change(desired.with_gossip(self._wanted, gossip))

    def set_node_addresses(self, addresses: Mapping[str, str], ingress: Overlay | None) -> None:
        """Take over this node's own addresses by network id, and the ingress network."""
        self._addresses = dict(addresses)
        given, self._given = self._given, asyncio.Event()
        given.set()
        self._change(desired.with_node_addresses(self._wanted, addresses, ingress))

    def troubles(self) -> Sequence[Trouble]:
        """Return what is not as it should be now."""
        return self._process.troubles()

    async def other_troubles(self, known: Sequence[Trouble]) -> Sequence[Trouble]:
        """Wait until others than these are not as they should be, and return them."""
        return await self._process.other_troubles(known)

    def said_of(self, troubles: Iterable[Trouble]) -> dict[str, str]:
        """Return what these troubles say of containers that run all the same, by their ids."""
        said = {trouble.endpoint: trouble.message for trouble in troubles if trouble.bearable}
        return {
            sandbox.container: said[endpoint.id]
            for sandbox in self._wanted.sandboxes
            for endpoint in sandbox.endpoints
            if endpoint.id in said
        }

    async def show(self, network: str) -> dict[str, Any]:
        """Return what this node knows of a network. NotFound where it is not on it; Unavailable."""
        return await self._process.show(network)

    async def examine(self, network: str) -> dict[str, Any]:
        """Return what there is of a network on this node, layer by layer. NotFound, Unavailable."""
        return await self._process.examine(network)

    async def view(self, network: str) -> dict[str, Any]:
        """Return both, as the doctor compares them; where there is nothing, the reason instead."""
        try:
            return {"Told": await self.show(network), "Layers": await self.examine(network), "Reason": ""}
        except (NotFound, Unavailable) as error:
            return {"Told": None, "Layers": None, "Reason": str(error)}

    async def counts(self) -> dict[str, Any]:
        """Return what the network process has counted since its start. Unavailable."""
        return await self._process.counts()

    async def leave(self) -> None:
        """Take all away, once the swarm was left and no container is on a network any more. May be repeated."""
        if not self._wanted.revision:
            return  # there never was anything
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._process.remove()
        except TimeoutError:
            log.warning("the network process of this node does not answer: what it made may be left")
        self._wanted, self._addresses = Wanted(0), {}
        self._dirty.clear()
