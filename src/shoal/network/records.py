"""The two tables that nodes share by gossip, and what the values in them say.

Pure. A value comes from a peer and is hostile: what cannot be read is InvalidArgument, and is then an entry without
meaning. Source: libnetwork's agent.proto, overlay.proto and agent.go, as in gossip.md section 3.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal

from google.protobuf.message import DecodeError

from shoal.api.gen import networkdb_pb2 as pb
from shoal.errors import InvalidArgument
from shoal.network.wanted import Port, Protocol

ENDPOINTS = "endpoint_table"
PEERS = "overlay_peer_table"

# A service has at most so many names and ports in one record; more is a forgery, and each would cost a rule or a name.
_MOST = 1024
_NAME = 512  # characters
_NO_VIP = "<nil>"  # what Go prints for no address
_NO_MAC = "00:00:00:00:00:00"
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PROTOCOLS: dict[int, Protocol] = {
    pb.PortConfig.TCP: "tcp",
    pb.PortConfig.UDP: "udp",
    pb.PortConfig.SCTP: "sctp",
}

_LAST_WITH_ENDS = 30  # prefix length: in a /31 both addresses are machines' (RFC 3021)

Address = IPv4Address | IPv6Address
# An entry ends because its owner says so, because its owner is heard no more (and may return), or because another node
# has come up at its owner's address: most likely the same one, started again, which will soon say the same.
End = Literal["deleted", "silent", "replaced"]


@dataclass(frozen=True, slots=True)
class Changed:
    """An entry of a table of a network that this node is on has another value now. None: no entry.

    `former` is what was last told of this key, whole: whoever keeps something by an entry takes all of `former` away
    and then adds `value`. `owner` is the gossip name of the node that wrote it. Own entries are told too.
    """

    table: str
    network: str
    key: str
    owner: str
    former: bytes | None
    value: bytes | None
    end: End = "deleted"  # why there is no value


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """A task, or another container, and the names that lead to it."""

    name: str
    address: Address
    service_id: str = ""
    service_name: str = ""
    vip: Address | None = None
    ports: tuple[Port, ...] = ()
    aliases: tuple[str, ...] = ()  # of the service on this network
    task_aliases: tuple[str, ...] = ()  # of the container alone
    disabled: bool = False
    keeps_source: bool = False  # on ingress: what comes for it may have its client's own address
    # A Docker Engine has neither, and skips them in ours.
    address6: IPv6Address | None = None
    vip6: IPv6Address | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Both addresses, or the one."""
        return (self.address, self.address6) if self.address6 else (self.address,)

    @staticmethod
    def decode(value: bytes) -> "EndpointRecord":
        """Read a value of `endpoint_table`. InvalidArgument."""
        record = pb.EndpointRecord()
        _parse(record, value)
        if not record.name or len(record.name) > _NAME:
            raise InvalidArgument("an endpoint record has no name, or a longer one than names are")
        if max(len(record.ingress_ports), len(record.aliases), len(record.task_aliases)) > _MOST:
            raise InvalidArgument("an endpoint record has more names or ports than services have")
        vip = record.virtual_ip
        return EndpointRecord(
            name=record.name,
            address=_address(record.endpoint_ip),
            service_id=record.service_id,
            service_name=record.service_name if len(record.service_name) <= _NAME else "",
            vip=None if vip in ("", _NO_VIP) else _address(vip),
            ports=tuple(_port(port) for port in record.ingress_ports),
            aliases=_names(record.aliases),
            task_aliases=_names(record.task_aliases),
            disabled=record.service_disabled,
            keeps_source=record.shoal_keeps_source,
            address6=_second(record.endpoint_ip6),
            vip6=_second(record.virtual_ip6),
        )

    def encode(self) -> bytes:
        """Return it as Docker Engine writes it."""
        return pb.EndpointRecord(
            name=self.name,
            service_name=self.service_name,
            service_id=self.service_id,
            virtual_ip=str(self.vip) if self.vip else _NO_VIP,
            endpoint_ip=str(self.address),
            ingress_ports=[
                pb.PortConfig(
                    name=port.name,
                    protocol=port.protocol.upper(),
                    target_port=port.target,
                    published_port=port.published,
                )
                for port in self.ports
            ],
            aliases=self.aliases,
            task_aliases=self.task_aliases,
            service_disabled=self.disabled,
            shoal_keeps_source=self.keeps_source,
            endpoint_ip6=str(self.address6 or ""),
            virtual_ip6=str(self.vip6 or ""),
        ).SerializeToString()


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """Where an address of an overlay is: its MAC, and the node behind which it lies."""

    address: IPv4Interface | IPv6Interface
    mac: str
    tunnel: Address
    address6: IPv6Interface | None = None  # a second one; a Docker Engine skips it

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Both addresses, or the one, without prefix lengths."""
        return (self.address.ip, self.address6.ip) if self.address6 else (self.address.ip,)

    @staticmethod
    def decode(value: bytes) -> "PeerRecord":
        """Read a value of `overlay_peer_table`. InvalidArgument."""
        record = pb.PeerRecord()
        _parse(record, value)
        address = _interface(record.endpoint_ip)
        second = _interface(record.endpoint_ip6) if record.endpoint_ip6 else None
        if isinstance(second, IPv4Interface):
            raise InvalidArgument(f"a record has a second address that is not of IPv6: {second}")
        # A MAC of many receivers would spread what is for one. The kernel takes none of zeros.
        mac = record.endpoint_mac
        if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or mac == _NO_MAC:
            raise InvalidArgument("a peer record has no MAC of one receiver")
        tunnel = _address(record.tunnel_endpoint_ip)
        if isinstance(tunnel, IPv6Address) and tunnel.is_link_local:
            raise InvalidArgument(f"a peer record has a node's address that leads nowhere from another: {tunnel}")
        return PeerRecord(address, mac, tunnel, second)

    def encode(self) -> bytes:
        """Return it as Docker Engine writes it."""
        return pb.PeerRecord(
            endpoint_ip=str(self.address),
            endpoint_mac=self.mac,
            tunnel_endpoint_ip=str(self.tunnel),
            endpoint_ip6=str(self.address6 or ""),
        ).SerializeToString()


def of_one(address: Address, subnet: IPv4Network | IPv6Network) -> bool:
    """Return whether one machine can have an address in a subnet: IPv4's first names the subnet, its last means all."""
    if address not in subnet:
        return False
    ends = (subnet.network_address, subnet.broadcast_address)
    return address.version == 6 or subnet.prefixlen > _LAST_WITH_ENDS or address not in ends


def _parse(record: pb.EndpointRecord | pb.PeerRecord, value: bytes) -> None:
    try:
        record.ParseFromString(value)
    except DecodeError as error:
        raise InvalidArgument("a record is no protobuf message") from error


def _address(text: str) -> Address:
    """Return the address of one machine: one of many, of none or of the asker itself is refused.

    As is one by which IPv4 has no machines (0.0.0.0/8; 240.0.0.0/4, with the broadcast), or IPv4's in IPv6's clothes.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise InvalidArgument(f"a record has no address: {error}") from error
    if isinstance(address, IPv4Address):
        nobodys = address.packed[0] == 0 or address.packed[0] >= 240
    else:
        nobodys = address.ipv4_mapped is not None or "%" in text
    if nobodys or address.is_multicast or address.is_unspecified or address.is_loopback:
        raise InvalidArgument(f"a record has an address that no machine can have: {text}")
    return address


def _interface(text: str) -> IPv4Interface | IPv6Interface:
    """Return such an address with its prefix length."""
    _address(text.partition("/")[0])
    try:
        return ipaddress.ip_interface(text)
    except ValueError as error:
        raise InvalidArgument(f"a record has no address: {error}") from error


def _second(text: str) -> IPv6Address | None:
    address = _address(text) if text else None
    if isinstance(address, IPv4Address):
        raise InvalidArgument(f"a record has a second address that is not of IPv6: {text}")
    return address


def _port(port: pb.PortConfig) -> Port:
    protocol = _PROTOCOLS.get(port.protocol)
    if protocol is None or not 0 < port.target_port < 65536 or not 0 < port.published_port < 65536:
        raise InvalidArgument("an endpoint record has a port that cannot be")
    return Port(protocol, port.target_port, port.published_port, port.name)


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if 0 < len(name) <= _NAME)
