"""What the network process is told: how this node's networks are to look, whole.

Values without behaviour, and their JSON. `shoald` sends a `Wanted`, and then what changed in it
(`process/changes.py`); the network process answers with a `Reached` of the same revision. Both sides may be of
different versions: unknown fields are ignored, missing ones have their default.
"""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from shoal.errors import InvalidArgument
from shoal.json_text import read_json

Protocol = Literal["tcp", "udp", "sctp"]

# Where nobody else is behind a virtual IP or a published port, one on its way out counts for so long still: the word of
# the task in whose favour it goes may be late, if it runs on a Docker Engine, which does not wait until all have heard
# it, or on a node that could not. It is stopped no sooner.
LINGER = 0.4  # seconds


@dataclass(frozen=True, slots=True)
class Key:
    """A key that managers handed out. `lamport_time` names it (gossip.md 2.10)."""

    subsystem: str  # networking:gossip or networking:ipsec
    key: str  # 32 hex digits
    lamport_time: int


@dataclass(frozen=True, slots=True)
class Gossip:
    """How this node takes part in gossip and in VXLAN. Addresses are IPv4 or IPv6 texts without a port."""

    bind: str  # listens there, port 7946
    advertise: str  # others reach it there
    data_path: str  # VXLAN's outer address
    vxlan_port: int = 4789
    contacts: tuple[str, ...] = ()  # the managers, without this node
    keys: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet of an overlay, with the VXLAN id that carries it."""

    subnet: str  # 10.0.1.0/24
    gateway: str  # 10.0.1.1
    vni: int


@dataclass(frozen=True, slots=True)
class Overlay:
    """An overlay network as this node takes part in it."""

    id: str
    name: str
    subnets: tuple[Subnet, ...]
    node_address: str = ""  # this node's own address on it, 10.0.1.2/24: Docker's load balancer endpoint
    mtu: int = 0  # the driver's option; 0: of the path to the others
    internal: bool = False
    ingress: bool = False
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Port:
    """A published port."""

    protocol: Protocol
    target: int
    published: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """What a task's endpoint tells about its service. `vip` is empty with DNS round robin."""

    id: str
    name: str
    vip: str = ""  # without prefix length
    aliases: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()  # on ingress alone, in the service's order
    keeps_source: bool = True  # by a published port, tasks see the client's own address
    vip6: str = ""  # a second one, of IPv6, beside one of IPv4


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A container's place in one overlay."""

    id: str  # 64 hex digits, random an attachment
    network: str  # an Overlay's id
    address: str  # 10.0.1.5/24
    mac: str
    interface: str  # its name in the container: eth0. Empty on ingress: there the node has the address
    service: Service | None = None
    aliases: tuple[str, ...] = ()  # names of this container alone
    # False before the task runs (and is healthy) and once it is to stop: no name leads to it, no new connection comes.
    enabled: bool = False
    gateway: bool = False  # the container's default route goes through this network
    address6: str = ""  # a second one, of IPv6, beside one of IPv4: fd00::5/64


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A container's network namespace, and how names are answered in it."""

    container: str  # its id
    name: str  # web.1.<task id>
    netns: str  # path
    endpoints: tuple[Endpoint, ...] = ()
    servers: tuple[str, ...] = ()  # asked for what no network knows; none: the host's
    hostname: str = ""
    outside: str = ""  # its address on the host's own bridge, without prefix length; empty where it is not on it
    ndots_set: bool = False  # its resolv.conf has `ndots` of somebody's choice: unknown names of one label stay inside


@dataclass(frozen=True, slots=True)
class HostBridge:
    """The host's own bridge, by which containers reach what is outside, and published ports lead to them."""

    name: str
    subnets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that this node's networks are to be. `revision` rises with each."""

    revision: int
    gossip: Gossip | None = None  # None: in no swarm
    overlays: tuple[Overlay, ...] = ()
    sandboxes: tuple[Sandbox, ...] = ()
    bridge: HostBridge | None = None  # None: it is not there yet


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is not as wanted: of an endpoint, or of a whole network, and why."""

    network: str
    endpoint: str  # empty: the network's
    message: str
    bearable: bool = False  # a container can be there all the same


@dataclass(frozen=True, slots=True)
class Reached:
    """The kernel looks like the `Wanted` of this revision, but for the troubles."""

    revision: int
    troubles: tuple[Trouble, ...] = ()
    others: int = 0  # nodes that gossip beside this one
    # Up to this revision the nodes of each network have confirmed what was told to them, or had their time to do so.
    told: int = 0


T = TypeVar("T")


def to_json(value: Wanted | Reached) -> bytes:
    """Return a value as JSON, its fields under their names."""
    return text_of(value).encode()


def text_of(value: Any) -> str:
    """Return a value, or a part of one, as JSON."""
    return json.dumps(plain(value), separators=(",", ":"))


def plain(value: Any) -> Any:
    """Return a value, or a part of one, as JSON has it."""
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def from_json(kind: type[T], text: bytes) -> T:
    """Read a value; InvalidArgument for whatever is no such value."""
    try:
        value = read_json(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"not JSON: {error}") from error
    return typing.cast("T", read(kind, value, kind.__name__))


@cache
def hints(kind: type) -> dict[str, Any]:
    """Return the types of a value's fields."""
    return get_type_hints(kind)


def read(kind: Any, value: Any, where: str) -> Any:
    """Read a value, or a part of one, from what JSON has; `where` names it in errors. InvalidArgument."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise InvalidArgument(f"{where}: an object was expected")
        given = {
            name: read(hint, value[name], f"{where}.{name}") for name, hint in hints(kind).items() if name in value
        }
        try:
            return kind(**given)
        except TypeError as error:
            raise InvalidArgument(f"{where}: {error}") from error
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise InvalidArgument(f"{where}: a list was expected")
        return tuple(read(get_args(kind)[0], item, f"{where}[{at}]") for at, item in enumerate(value))
    if get_origin(kind) is types.UnionType:  # Service | None
        return None if value is None else read(get_args(kind)[0], value, where)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise InvalidArgument(f"{where}: one of {', '.join(get_args(kind))} was expected")
        return value
    if type(value) is not kind:
        raise InvalidArgument(f"{where}: {kind.__name__} was expected")
    return value
