"""The node-local networks of one host, and who is on them.

A network is there while a container is on it: made with the first, removed with the last. In: container ids with their
namespaces, and what the swarm says of a network; out: endpoints. What a run left is known by the containers' records.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from shoal.errors import ShoalError
from shoal.network.addresses import choose_subnet, mac_address
from shoal.network.guard import Guard
from shoal.network.local.plumbing import LocalPlumbing, Place, bridge_name
from shoal.network.local.pool import Pool
from shoal.network.local.shape import Shape, shape
from shoal.network.rules import VXLAN_PORT
from shoal.network.types import Endpoint, LocalAttachment, LocalNetwork, Sandbox

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(slots=True)
class _Known:
    """A network that is there."""

    shape: Shape
    pool: Pool


class LocalNetworks:
    """To be entered before use. `configuration` finds a configuration of this host by its name."""

    def __init__(self, tag: str, alias: str, configuration: Callable[[str], LocalNetwork | None]) -> None:
        self._tag = tag
        self._alias = alias
        self._configuration = configuration
        self._known: dict[str, _Known] = {}
        self._changing = asyncio.Lock()
        self._vxlan_port = VXLAN_PORT
        self._tables: set[str] = set()  # of packet rules, that are to be there

    async def __aenter__(self) -> Self:
        # A thread of its own: it switches namespaces.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="local-netns")
        try:
            self._plumbing = await self._run(lambda: LocalPlumbing(self._tag, self._alias))
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            await self._run(self._plumbing.close)
        finally:
            self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close_vxlan(self, port: int) -> None:
        """Let no container speak VXLAN to a host by this port either."""
        async with self._changing:
            if port != self._vxlan_port:
                self._vxlan_port = port
                for network_id, known in self._known.items():
                    await self._make(network_id, known)

    async def keep_rules(self) -> None:
        """Mend the packet rules whenever somebody else has changed them, until cancelled."""
        await Guard(self._tables, self._mend).run()

    async def _mend(self) -> None:
        async with self._changing:
            for network_id, known in self._known.items():
                if known.shape.driver == "bridge":
                    name, subnet = bridge_name(network_id), known.pool.subnet
                    await self._run(partial(self._plumbing.mend, name, subnet, known.shape, self._vxlan_port))

    async def connect(
        self, container: str, netns: Path, asked: LocalAttachment, interface: str, *, default: bool = True
    ) -> Endpoint:
        """Give a container an interface in a network, in its namespace. ShoalError with the reason.

        `default`: its default route goes there, where the network has a way out.
        """
        async with self._changing:
            known = self._known.get(asked.network_id)
            try:
                if known is None:
                    known = self._known[asked.network_id] = await self._begin(asked)
                return await self._join(container, netns, asked, interface, known, default=default)
            except BaseException as error:
                if known is not None:
                    known.pool.free(container)
                    await self._end_unused()
                if isinstance(error, OSError):
                    raise ShoalError(f"cannot connect to network {asked.name}: {error.strerror}") from error
                raise

    async def _begin(self, asked: LocalAttachment) -> _Known:
        wanted = shape(asked, self._configuration(asked.configuration) if asked.configuration else None)
        subnet = wanted.subnet
        if subnet is None:
            subnet = choose_subnet(asked.network_id, await self._run(self._plumbing.used_networks))
        elif wanted.driver == "bridge":
            used = await self._run(self._plumbing.used_networks)
            if any(other.prefixlen and other.overlaps(subnet) for other in used):
                # Docker's words: libnetwork/ipams/defaultipam.
                raise ShoalError("Pool overlaps with other one on this address space")
        return _Known(wanted, Pool(subnet, wanted.gateway or subnet[1], wanted.given, wanted.kept))

    async def _make(self, network_id: str, known: _Known) -> None:
        if known.shape.driver == "bridge":
            name, pool, port = bridge_name(network_id), known.pool, self._vxlan_port
            await self._run(lambda: self._plumbing.make_bridge(name, pool.subnet, pool.gateway, known.shape, port))
            self._tables.add(self._plumbing.table(name))

    async def _join(
        self, container: str, netns: Path, asked: LocalAttachment, interface: str, known: _Known, *, default: bool
    ) -> Endpoint:
        if not len(known.pool):
            await self._make(asked.network_id, known)
        address = IPv4Interface((known.pool.take(container, asked.name), known.pool.subnet.prefixlen))
        gateway = None if known.shape.internal else known.pool.gateway
        if known.shape.driver == "bridge":
            place = Place(netns, interface, address, gateway if default else None, _veth(container, asked.network_id))
            name = bridge_name(asked.network_id)
            await self._run(lambda: self._plumbing.join_bridge(name, place, known.shape.mtu))
        else:
            place = Place(netns, interface, address, gateway if default else None)
            await self._run(lambda: self._plumbing.join_macvlan(place, known.shape))
        return Endpoint(
            network_name=asked.name,
            network_id=asked.network_id,
            endpoint_id=secrets.token_hex(32),
            address=str(address.ip),
            prefix_length=address.network.prefixlen,
            gateway=str(gateway or ""),
            mac=mac_address(address.ip),
            host_interface=place.veth,
            driver=asked.driver,
        )

    async def disconnect(self, container: str) -> None:
        """Take a container off all its networks, whose namespace is gone or about to be. May be repeated."""
        async with self._changing:
            for known in self._known.values():
                known.pool.free(container)
            await self._end_unused()

    async def _end_unused(self) -> None:
        for network_id in [network_id for network_id, known in self._known.items() if not len(known.pool)]:
            known = self._known.pop(network_id)
            if known.shape.driver == "bridge":
                name = bridge_name(network_id)
                self._tables.discard(self._plumbing.table(name))
                try:
                    await self._run(lambda name=name: self._plumbing.remove_bridge(name))  # type: ignore[misc]
                except (OSError, ShoalError) as error:
                    # It holds up no end of a container; `adopt` of the next run sweeps it.
                    log.error("the bridge %s is left: %s", name, error)

    async def adopt(self, sandboxes: Mapping[str, Sandbox]) -> None:
        """Take over what the last run connected, and remove whatever else is left of it. Before the first `connect`."""
        async with self._changing:
            for container, sandbox in sandboxes.items():
                for endpoint in sandbox.endpoints:
                    if endpoint.driver:
                        self._take_over(container, endpoint)
            for network_id, known in self._known.items():
                await self._make(network_id, known)
            kept = {bridge_name(network_id) for network_id in self._known}
            for name in await self._run(self._plumbing.bridges):
                if name not in kept:
                    await self._run(lambda name=name: self._plumbing.remove_bridge(name))  # type: ignore[misc]

    def _take_over(self, container: str, endpoint: Endpoint) -> None:
        address = IPv4Interface(f"{endpoint.address}/{endpoint.prefix_length}")
        known = self._known.get(endpoint.network_id)
        if known is None:
            # Its range, and what was kept out of it, were the configuration's, which may be another by now.
            gateway = IPv4Address(endpoint.gateway) if endpoint.gateway else address.network[1]
            made = Shape(endpoint.driver, internal=not endpoint.gateway, subnet=address.network, gateway=gateway)
            known = self._known[endpoint.network_id] = _Known(made, Pool(address.network, gateway))
        known.pool.claim(address.ip, container)


def of_local(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Return the endpoints in node-local networks."""
    return tuple(endpoint for endpoint in endpoints if endpoint.driver)


def _veth(container: str, network_id: str) -> str:
    return "vl" + hashlib.sha256(f"{container}{network_id}".encode()).hexdigest()[:12]
