"""How containers are connected, and to what: values without behaviour.

A container has one network namespace, its sandbox, and in it an endpoint for each network that it is on.
"""

from dataclasses import dataclass
from typing import Literal

from shoal.network.wanted import Overlay, Protocol, Service

# What a container may ask for.
Mode = Literal["bridge", "host", "none"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's place in one network. `host` and `none` give it no address."""

    network_name: str = ""
    network_id: str = ""
    endpoint_id: str = ""
    address: str = ""  # 172.18.0.2, without prefix
    prefix_length: int = 0
    gateway: str = ""
    mac: str = ""
    host_interface: str = ""
    address6: str = ""  # a second one, of IPv6, without prefix
    prefix_length6: int = 0
    driver: str = ""  # of a network of the swarm that each node makes by itself: bridge, macvlan

    @property
    def of_ipv6(self) -> tuple[str, int]:
        """Its address of IPv6 and the length of the prefix, whether beside one of IPv4 or alone."""
        return (self.address, self.prefix_length) if ":" in self.address else (self.address6, self.prefix_length6)

    @property
    def of_ipv4(self) -> tuple[str, int]:
        """Its address of IPv4 and the length of the prefix."""
        return ("", 0) if ":" in self.address else (self.address, self.prefix_length)


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of this host that leads to a container's. 0 as `published` asks for whichever is free."""

    protocol: Protocol
    target: int
    published: int = 0


@dataclass(frozen=True, slots=True)
class Attachment:
    """A place in an overlay that a container asks for. Its address is the swarm's to give."""

    overlay: Overlay
    address: str  # 10.0.1.5/24
    service: Service | None = None
    aliases: tuple[str, ...] = ()  # of this container alone
    address6: str = ""  # a second one, of IPv6: fd00::5/64


@dataclass(frozen=True, slots=True)
class LocalAttachment:
    """A place in a network of the swarm that each node makes by itself. The address is the node's to give."""

    network_id: str
    name: str
    driver: Literal["bridge", "macvlan"]
    configuration: str = ""  # the network of the node that says how it is there; none: `options` do
    internal: bool = False
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A container's connections. Without endpoints: it is not connected now."""

    netns: str = ""  # path of the pinned network namespace; empty on the host's network, which has none of its own
    endpoints: tuple[Endpoint, ...] = ()
    # Of one on overlays: its place on the host's own bridge, by which it reaches what is outside.
    way_out: Endpoint | None = None
    ports: tuple[HostPort, ...] = ()  # while it runs, each with the number that it has

    @property
    def first(self) -> Endpoint:
        """The endpoint that names the container; an empty one where it has none."""
        return self.endpoints[0] if self.endpoints else Endpoint()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that others reach it at."""
        return tuple(one for endpoint in self.endpoints for one in (endpoint.address, endpoint.address6) if one)

    @property
    def outer(self) -> Endpoint:
        """Its place on the host's own bridge; an empty one where it has none."""
        return next((one for one in (self.way_out, self.first) if one and one.host_interface), Endpoint())


@dataclass(frozen=True, slots=True)
class ConfiguredSubnet:
    """A subnet as somebody wrote it."""

    subnet: str
    gateway: str = ""
    ip_range: str = ""
    reserved: tuple[tuple[str, str], ...] = ()  # names and addresses


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a network is to be where a network of the swarm is made from it."""

    subnets: tuple[ConfiguredSubnet, ...] = ()
    options: tuple[tuple[str, str], ...] = ()  # of the driver
    labels: tuple[tuple[str, str], ...] = ()
    ipam_driver: str = "default"
    ipam_options: tuple[tuple[str, str], ...] = ()
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class LocalNetwork:
    """A network of this host alone: bridge, host, none."""

    id: str  # 64 hex digits
    name: str
    driver: str  # bridge, host, null
    created_at: float
    subnet: str = ""
    gateway: str = ""
    interface: str = ""
    configuration: Configuration | None = None  # of one that is nothing else
