"""Every network that a container of this host can be on: the host's own bridge, overlays, node-local networks.

A container on networks of the swarm has an interface for each overlay, in its order, and one for each network that the
node makes by itself. The last one is on the bridge. It is the way out, and is left out where there is another one, or
where all of the container's networks are internal. Names and other containers lead to it by the networks of the swarm
alone. It has no interface on ingress: there the node has an address for it, and what comes for it by a published port
comes over the bridge.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_interface
from itertools import count
from pathlib import Path
from typing import Protocol

from shoal.network import wanted
from shoal.network.addresses import mac_address
from shoal.network.host_ports.held import Held
from shoal.network.types import Attachment, Endpoint, HostPort, LocalAttachment, Mode, Sandbox

PREDEFINED = frozenset({"bridge", "host", "none"})


class Bridge(Protocol):
    """network.bridge.BridgeNetwork, as far as it is used here."""

    def sandboxes(self) -> dict[str, Sandbox]: ...
    async def connect(self, container_id: str, mode: Mode, interface: str = "eth0") -> Sandbox: ...
    async def publish(self, container_id: str, name: str, ports: Sequence[HostPort]) -> Held: ...
    async def disconnect(self, container_id: str) -> None: ...
    async def adopt(self, sandboxes: dict[str, Sandbox]) -> None: ...


class Overlays(Protocol):
    """network.overlays.Overlays, as far as it is used here."""

    async def connect(self, sandbox: wanted.Sandbox, overlays: Iterable[wanted.Overlay]) -> None: ...
    async def disconnect(self, container: str) -> None: ...
    async def enable(self, container: str) -> None: ...
    async def disable(self, container: str) -> None: ...
    def keep_only(self, containers: Iterable[str]) -> None: ...


class LocalNetworks(Protocol):
    """network.local.networks.LocalNetworks, as far as it is used here."""

    async def connect(
        self, container: str, netns: Path, asked: LocalAttachment, interface: str, *, default: bool = True
    ) -> Endpoint: ...
    async def disconnect(self, container: str) -> None: ...
    async def adopt(self, sandboxes: Mapping[str, Sandbox]) -> None: ...


class HostNetwork:
    """Connects containers."""

    def __init__(self, bridge: Bridge, overlays: Overlays, own: LocalNetworks) -> None:
        """`own`: the networks of the swarm that this node makes by itself."""
        self._bridge = bridge
        self._overlays = overlays
        self._own = own

    async def connect(
        self,
        container_id: str,
        mode: Mode,
        attachments: Sequence[Attachment] = (),
        *,
        name: str = "",
        hostname: str = "",
        servers: Sequence[str] = (),
        ndots_set: bool = False,
        own: Sequence[LocalAttachment] = (),
        published: bool = False,
    ) -> Sandbox:
        """Give a container its networks; ShoalError with the reason where it cannot have them: it is on none then.

        `mode` counts where it has none of the swarm's. `hostname` is one that somebody chose: it leads to the container
        as its name does. `servers` are asked for names that no network knows; none: the host's. `ndots_set`: its
        resolv.conf has `ndots` of somebody's choice. `own`: the networks that this node makes by itself. `published`:
        ports of this host are to lead to it.
        """
        if not attachments and not own:
            return await self._bridge.connect(container_id, mode)
        # A network that the node makes by itself is a way out, as Docker's bridges are; but what comes by a published
        # port comes over the bridge, and its answers must go back there.
        outer = [one for one in own if not one.internal]
        by_own = bool(outer) and not published and not any(attachment.overlay.ingress for attachment in attachments)
        goes_out = not by_own and (bool(outer) or not all(attachment.overlay.internal for attachment in attachments))
        interfaces = _interfaces(attachments)
        inside = len(set(interfaces) - {""})
        base = await self._bridge.connect(
            container_id, "bridge" if goes_out else "none", interface=f"eth{inside + len(own)}"
        )
        endpoints = tuple(_endpoint(attachment) for attachment in attachments)
        sandbox = wanted.Sandbox(
            container=container_id,
            name=name,
            netns=base.netns,
            endpoints=tuple(
                _wanted(attachment, endpoint, interface)
                for attachment, endpoint, interface in zip(attachments, endpoints, interfaces, strict=True)
            ),
            servers=tuple(servers),
            hostname=hostname,
            outside=base.first.address,
            ndots_set=ndots_set,
        )
        try:
            local = [
                await self._own.connect(
                    container_id, Path(base.netns), one, f"eth{inside + at}", default=by_own and one is outer[0]
                )
                for at, one in enumerate(own)
            ]
            if attachments:
                await self._overlays.connect(sandbox, [attachment.overlay for attachment in attachments])
        except BaseException:
            await self._bridge.disconnect(container_id)
            await self._own.disconnect(container_id)
            raise
        return Sandbox(base.netns, (*endpoints, *local), base.first if goes_out else None)

    async def publish(self, container_id: str, name: str, ports: Sequence[HostPort]) -> Held:
        """Let ports of this host lead to a container, by its place on the bridge; the caller closes what holds them.

        ShoalError with the reason where they cannot: none of them does then.
        """
        return await self._bridge.publish(container_id, name, ports)

    async def disconnect(self, container_id: str) -> None:
        """Take a container's networks away. May be repeated, and for one that never was connected."""
        await self._overlays.disconnect(container_id)
        await self._bridge.disconnect(container_id)
        await self._own.disconnect(container_id)

    async def enable(self, container_id: str) -> None:
        """Let names and balancers lead to a container. Nothing happens to one that is on no overlay."""
        await self._overlays.enable(container_id)

    async def disable(self, container_id: str) -> None:
        """Let no name and no new connection lead to a container any more."""
        await self._overlays.disable(container_id)

    async def adopt(self, sandboxes: dict[str, Sandbox]) -> None:
        """Take over what the last run connected, and remove whatever else is left of it. Before the first `connect`."""
        await self._bridge.adopt({container: _on_bridge(sandbox) for container, sandbox in sandboxes.items()})
        kept = self._bridge.sandboxes()
        self._overlays.keep_only(kept)
        await self._own.adopt({container: sandbox for container, sandbox in sandboxes.items() if container in kept})


def _on_bridge(sandbox: Sandbox) -> Sandbox:
    """Return the part of a sandbox that is the bridge's."""
    if all(endpoint.network_name in PREDEFINED for endpoint in sandbox.endpoints):
        return sandbox
    return Sandbox(sandbox.netns, (sandbox.way_out,) if sandbox.way_out else (), ports=sandbox.ports)


def _interfaces(attachments: Sequence[Attachment]) -> list[str]:
    numbers = count()
    return ["" if attachment.overlay.ingress else f"eth{next(numbers)}" for attachment in attachments]


def _endpoint(attachment: Attachment) -> Endpoint:
    address = ip_interface(attachment.address)
    second = ip_interface(attachment.address6) if attachment.address6 else None
    return Endpoint(
        network_name=attachment.overlay.name,
        network_id=attachment.overlay.id,
        endpoint_id=secrets.token_hex(32),
        address=str(address.ip),
        prefix_length=address.network.prefixlen,
        mac=mac_address(address.ip),
        address6=str(second.ip) if second else "",
        prefix_length6=second.network.prefixlen if second else 0,
    )


def _wanted(attachment: Attachment, endpoint: Endpoint, interface: str) -> wanted.Endpoint:
    return wanted.Endpoint(
        id=endpoint.endpoint_id,
        network=attachment.overlay.id,
        address=attachment.address,
        address6=attachment.address6,
        mac=endpoint.mac,
        interface=interface,
        service=attachment.service,
        aliases=attachment.aliases,
    )
