"""Chooses the addresses that a node listens on and advertises, from the host's interfaces. Pure.

Source of rules and texts: moby daemon/cluster/listen_addr.go, listen_addr_linux.go. All errors are InvalidArgument
(HTTP 400), except those of pools and ports, which Docker answers with 500.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shoal.errors import InvalidArgument, ShoalError

DEFAULT_PORT = 2377
DEFAULT_DATA_PATH_PORT = 4789
DEFAULT_SUBNET_SIZE = 24
# Eight addresses, the smallest overlay subnet with room for the addresses of load balancers.
MAX_SUBNET_SIZE = 29

# Also matches bridges of other Shoal daemons, whose subnets this one does not know (`network/bridge.py`).
_BRIDGE_OF_A_DAEMON = re.compile(r"shoal[0-9a-f]{8}")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of this host. `physical`: it is no bridge, veth or other virtual link."""

    name: str
    up: bool
    loopback: bool
    physical: bool
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class NodeAddresses:
    """The addresses that a node listens on and advertises. They include ports: `10.0.0.1:2377`."""

    listen: str
    advertise: str
    data_path: str
    local: str  # an address of this host, for what must be bound to one


def split_host_port(address: str, default_port: int) -> tuple[str, int]:
    """Return host and port of `host`, `host:port`, `[v6]:port` or `:port`."""
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]") or (":" in host and not host.startswith("[")):
        return address.strip("[]"), default_port
    if not port.isdigit() or int(port) > 65535:
        raise InvalidArgument(f"could not parse listen address {address}")
    return host.strip("[]"), int(port)


def join_host_port(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolve(
    listen: str,
    advertise: str,
    data_path: str,
    interfaces: Sequence[Interface],
    *,
    own_subnets: Sequence[ipaddress.IPv4Network] = (),
    default_advertise: str = "",
) -> NodeAddresses:
    """Return a node's addresses from the user's settings; empty ones are chosen from the interfaces.

    No address in `own_subnets`, the subnets of this host's container networks, is chosen.
    """
    listen_ip, port = _listen(listen, interfaces)
    advertise_ip, advertise_port = _advertise(advertise or default_advertise, port, interfaces, own_subnets)
    return NodeAddresses(
        listen=join_host_port(str(listen_ip), port),
        advertise=join_host_port(str(advertise_ip), advertise_port),
        data_path=_data_path(data_path, interfaces),
        local=str(_local(listen_ip, advertise_ip, interfaces, own_subnets)),
    )


def resolve_joining(
    listen: str, advertise: str, data_path: str, interfaces: Sequence[Interface], *, towards_manager: str
) -> NodeAddresses:
    """Return the addresses of a node that joins a swarm. `towards_manager` is the address it uses to reach the manager.

    The advertised address may be wrong or missing, because the manager sees where the node calls from.
    """
    listen_ip, port = _listen(listen, interfaces)
    local = towards_manager if listen_ip.is_unspecified else str(listen_ip)
    try:
        advertise_ip, advertise_port = _advertise(advertise or local, port, interfaces, ())
    except InvalidArgument:
        advertise_ip, advertise_port = ipaddress.ip_address(local), port
    return NodeAddresses(
        listen=join_host_port(str(listen_ip), port),
        advertise=join_host_port(str(advertise_ip), advertise_port),
        data_path=_data_path(data_path, interfaces),
        local=local,
    )


def relocate(
    saved: NodeAddresses,
    interfaces: Sequence[Interface],
    *,
    own_subnets: Sequence[ipaddress.IPv4Network] = (),
    default_advertise: str = "",
) -> NodeAddresses | None:
    """Return new addresses for a node whose host has other ones than before; None if the old ones are still valid.

    An advertised address that the host never had itself (behind NAT) stays. Raises InvalidArgument if no address of
    the host is the only choice.
    """
    own = {str(address) for interface in interfaces for address in interface.addresses}
    if saved.local in own:
        return None
    listen_host, port = split_host_port(saved.listen, DEFAULT_PORT)
    advertise_host, advertise_port = split_host_port(saved.advertise, DEFAULT_PORT)
    local = str(_advertise(default_advertise, port, interfaces, own_subnets)[0])
    return NodeAddresses(
        listen=join_host_port(local, port) if listen_host == saved.local else saved.listen,
        advertise=join_host_port(local, advertise_port) if advertise_host == saved.local else saved.advertise,
        data_path=local if saved.data_path == saved.local else saved.data_path,
        local=local,
    )


def remote_address(address: str) -> str:
    """Return the address of a manager with its port. Raises InvalidArgument."""
    address = address.removeprefix("tcp://")
    if not address:
        raise InvalidArgument('invalid remoteAddr "": invalid empty address')
    return join_host_port(*split_host_port(address, DEFAULT_PORT))


def _listen(listen: str, interfaces: Sequence[Interface]) -> tuple[IPAddress, int]:
    if not listen:
        raise InvalidArgument('invalid ListenAddr "": invalid empty address')
    host, port = split_host_port(listen, DEFAULT_PORT)
    text = "listen address must be an IP address or network interface (with optional port number)"
    return _named(host or "0.0.0.0", interfaces, text, unspecified=True), port


def _data_path(data_path: str, interfaces: Sequence[Interface]) -> str:
    if not data_path:
        return ""
    text = "data path address must be a non-zero IP address or network interface (without a port number)"
    return str(_named(data_path, interfaces, text))


def _local(
    listen_ip: IPAddress,
    advertise_ip: IPAddress,
    interfaces: Sequence[Interface],
    own_subnets: Sequence[ipaddress.IPv4Network],
) -> IPAddress:
    """Return an address of this host: the one it listens on, else the one it advertises, else its only one."""
    if not listen_ip.is_unspecified:
        return listen_ip
    if any(advertise_ip in interface.addresses for interface in interfaces):
        return advertise_ip
    try:
        return system_address(interfaces, own_subnets)
    except InvalidArgument as error:
        raise InvalidArgument(
            "must specify a listening address because the address to advertise is not recognized as a system address, "
            "and a system's IP address to use could not be uniquely identified"
        ) from error


def _advertise(
    wanted: str,
    listen_port: int,
    interfaces: Sequence[Interface],
    own_subnets: Sequence[ipaddress.IPv4Network],
) -> tuple[IPAddress, int]:
    if wanted:
        host, port = split_host_port(wanted, listen_port)
        text = "advertise address must be a non-zero IP address or network interface (with optional port number)"
        return _named(host, interfaces, text), port
    return system_address(interfaces, own_subnets), listen_port


def _named(host: str, interfaces: Sequence[Interface], otherwise: str, *, unspecified: bool = False) -> IPAddress:
    """Return the address that `host` names: an IP address, or the single address of an interface."""
    for interface in interfaces:
        if interface.name == host:
            return _single_address(interface)
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise InvalidArgument(otherwise) from error
    if address.is_unspecified and not unspecified:
        raise InvalidArgument(otherwise)
    return address


def _single_address(interface: Interface) -> IPAddress:
    for version in (4, 6):
        found = [address for address in interface.addresses if address.version == version]
        if len(found) > 1:
            raise InvalidArgument(
                f"interface {interface.name} has more than one IPv{version} address ({found[0]} and {found[1]})"
            )
    by_version = sorted(interface.addresses, key=lambda address: address.version)
    if not by_version:
        raise InvalidArgument(f"interface {interface.name} has no usable IPv4 or IPv6 address")
    return by_version[0]


def system_address(interfaces: Sequence[Interface], own_subnets: Sequence[ipaddress.IPv4Network] = ()) -> IPAddress:
    """Return the only address of this host, IPv4 before IPv6. If there are several, the error names two of them.

    Physical interfaces come first. In a container, where all interfaces are virtual, any that is up counts.
    """
    up = [interface for interface in interfaces if interface.up]
    physical = [interface for interface in up if interface.physical and any(map(_is_global, interface.addresses))]
    candidates = physical or [each for each in up if not each.loopback and not _BRIDGE_OF_A_DAEMON.fullmatch(each.name)]
    chosen: tuple[Interface, IPAddress] | None = None
    for interface in candidates:
        address = _address_of(interface, own_subnets)
        if address is None:
            continue
        if chosen is not None:
            raise _multiple(chosen[0].name, interface.name, chosen[1], address)
        chosen = (interface, address)
    if chosen is None:
        raise InvalidArgument("could not find the system's IP address")
    return chosen[1]


def _address_of(interface: Interface, own_subnets: Sequence[ipaddress.IPv4Network]) -> IPAddress | None:
    usable = [address for address in interface.addresses if _is_global(address)]
    if any(address in subnet for address in usable for subnet in own_subnets if address.version == 4):
        return None
    for version in (4, 6):
        found = [address for address in usable if address.version == version]
        if len(found) > 1:
            raise _multiple(interface.name, interface.name, found[0], found[1])
    return min(usable, key=lambda address: address.version, default=None)


def _is_global(address: IPAddress) -> bool:
    return not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast)


def _multiple(first: str, second: str, one: IPAddress, other: IPAddress) -> InvalidArgument:
    head = "could not choose an IP address to advertise since this system has multiple addresses on "
    if first == second:
        where = f"interface {first} ({one} and {other})"
    else:
        where = f"different interfaces ({one} on {first} and {other} on {second})"
    return InvalidArgument(f"{head}{where}")


def check_pools(pools: Sequence[str], subnet_size: int) -> None:
    """Refuse address pools that cannot be divided into subnets of `subnet_size`. As in Docker, the error is a 500."""
    size = subnet_size or DEFAULT_SUBNET_SIZE
    if size > MAX_SUBNET_SIZE:
        raise ShoalError(f"subnet size is out of range: {size}")
    for pool in pools:
        try:
            network = ipaddress.ip_network(pool)
        except ValueError as error:
            raise InvalidArgument(f"invalid CIDR address: {pool}") from error
        if size < network.prefixlen:
            raise ShoalError(f'invalid CIDR: "{pool}". Subnet size is too small for pool: {size}')


def check_data_path_port(port: int) -> int:
    """Return the VXLAN port to use, 4789 for 0."""
    if port == 0:
        return DEFAULT_DATA_PATH_PORT
    if not 1024 <= port <= 49151:
        raise ShoalError(f"Datapath port number is not in valid range (1024-49151) : {port}")
    return port
