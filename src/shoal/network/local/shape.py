"""What a node-local network is on this host, from the swarm's word and the host's configuration of it. Pure.

An option that nothing here follows is refused by name, never dropped. Source: libnetwork's network.go
(`applyConfigurationTo`), drivers/bridge and drivers/macvlan.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from shoal.errors import InvalidArgument, NotFound, Unimplemented
from shoal.network.types import ConfiguredSubnet, LocalAttachment, LocalNetwork

MTU_OPTION = "com.docker.network.driver.mtu"
_OPTIONS = {"bridge": {MTU_OPTION}, "macvlan": {"parent", "macvlan_mode", MTU_OPTION}}
MODES = ("bridge", "private", "vepa", "passthru")
_LEAST_MTU, _MOST_MTU = 68, 65535
# An interface's name (IFNAMSIZ), and the folder that no name is.
_NAME_BYTES = 15


@dataclass(frozen=True, slots=True)
class Shape:
    """A node-local network on this host. Without a subnet it gets one that is free."""

    driver: str
    internal: bool = False
    subnet: IPv4Network | None = None
    gateway: IPv4Address | None = None  # None: the first address
    given: IPv4Network | None = None  # only addresses of this part are given out
    kept: frozenset[IPv4Address] = frozenset()
    mtu: int = 0  # 0: the parent's, or the kernel's
    parent: str = ""
    mode: str = "bridge"


def shape(asked: LocalAttachment, configuration: LocalNetwork | None) -> Shape:
    """Return how a network is to be. NotFound, InvalidArgument or Unimplemented with the text of the task's status."""
    found = configuration.configuration if configuration is not None else None
    if asked.configuration and found is None:
        raise NotFound(f'configuration network "{asked.configuration}" does not exist')
    options = dict(found.options if found is not None else asked.options)
    subnets = found.subnets if found is not None else ()
    if found is not None and (found.ipv6 or any(":" in one.subnet for one in subnets)):
        raise Unimplemented(f"network {asked.name}: only overlays have IPv6 in this version of Shoal")
    unknown = sorted(options.keys() - _OPTIONS[asked.driver])
    if unknown:
        raise Unimplemented(f"network {asked.name}: the option {unknown[0]} is not supported by this version of Shoal")
    if len(subnets) > 1:
        raise Unimplemented(f"network {asked.name}: more than one subnet is for overlays in this version of Shoal")
    made = Shape(asked.driver, asked.internal)
    if subnets:
        made = _with_addresses(made, subnets[0], asked.name)
    return _with_options(made, options, asked.name)


def _with_options(made: Shape, options: Mapping[str, str], name: str) -> Shape:
    mtu = options.get(MTU_OPTION, "")
    if mtu and not (mtu.isdecimal() and len(mtu) <= 5 and _LEAST_MTU <= int(mtu) <= _MOST_MTU):
        raise InvalidArgument(f"network {name} has the MTU {mtu[:20]!r}, which is none")
    parent, mode = options.get("parent", ""), options.get("macvlan_mode", "bridge")
    if made.driver == "macvlan":
        if not 0 < len(parent.encode()) <= _NAME_BYTES:
            raise InvalidArgument(f"network {name} needs the option parent, the name of an interface of its node")
        if mode not in MODES:
            raise InvalidArgument(f"network {name}: the macvlan mode {mode[:20]!r} is none of {', '.join(MODES)}")
    return replace(made, mtu=int(mtu or 0), parent=parent, mode=mode)


def _with_addresses(made: Shape, config: ConfiguredSubnet, name: str) -> Shape:
    try:
        subnet = ipaddress.IPv4Interface(config.subnet).network
        given = ipaddress.IPv4Interface(config.ip_range).network if config.ip_range else None
        gateway = IPv4Address(config.gateway.partition("/")[0]) if config.gateway else None
        kept = frozenset(IPv4Address(address) for _, address in config.reserved)
    except ValueError as error:
        raise InvalidArgument(f"network {name}: {error}") from error
    inside = [*kept, *([gateway] if gateway else []), *([given[0]] if given else [])]
    if subnet.prefixlen > 30 or any(address not in subnet for address in inside):
        raise InvalidArgument(f"network {name}: the subnet {subnet} is too small, or lacks what is to be in it")
    return replace(made, subnet=subnet, gateway=gateway, given=given, kept=kept)
