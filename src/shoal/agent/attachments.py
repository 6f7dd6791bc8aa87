"""What the swarm says of this node's networks, as the host's network wants it. Pure.

In: a task, a node, a session's keys: another node's words, and so hostile. Out: attachments of a container, this node's
own addresses, how it takes part in gossip; InvalidArgument with the text that a task's status will carry. Source: moby
daemon/cluster/executor/container/container.go, SwarmKit manager/allocator; options as in gossip.md 4.1.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_interface, ip_network
from typing import Literal

from shoal.api import options
from shoal.api import v1 as api
from shoal.api.predefined import is_ingress, is_predefined
from shoal.errors import InvalidArgument, Unimplemented
from shoal.network.types import Attachment, LocalAttachment
from shoal.network.wanted import Gossip, Key, Overlay, Port, Protocol, Service, Subnet

VNI_OPTION = "com.docker.network.driver.overlay.vxlanid_list"
MTU_OPTION = "com.docker.network.driver.mtu"
ENCRYPTED_OPTION = "encrypted"
MAX_VNI = (1 << 24) - 1
MIN_MTU, MAX_MTU = 68, 65535
# A container could not have that many interfaces in an order that anybody knows, and each is work for the kernel.
MAX_ATTACHMENTS = 64

# Drivers of networks that each node makes by itself.
_OWN_DRIVERS: dict[str, Literal["bridge", "macvlan"]] = {"bridge": "bridge", "macvlan": "macvlan"}
_PROTOCOLS: dict[int, Protocol] = {
    api.PortConfig.TCP: "tcp",
    api.PortConfig.UDP: "udp",
    api.PortConfig.SCTP: "sctp",
}


def attachments(task: api.Task) -> tuple[Attachment, ...]:
    """Return the overlays that a task's container is on, ingress first where it is."""
    found = [each for each in task.networks if not is_predefined(each.network)]
    if len(found) > MAX_ATTACHMENTS:
        raise InvalidArgument(f"a task cannot be on {len(found)} networks, only on {MAX_ATTACHMENTS}")
    return tuple(_attachment(task, each) for each in found if _driver(each.network) not in _OWN_DRIVERS)


def own_networks(task: api.Task) -> tuple[LocalAttachment, ...]:
    """Return the networks of a task that its node makes by itself, each once."""
    found = [each.network for each in task.networks if not is_predefined(each.network)]
    return tuple({one.network_id: one for one in map(_own_network, found) if one is not None}.values())


def _own_network(network: api.Network) -> LocalAttachment | None:
    driver = _OWN_DRIVERS.get(_driver(network))
    if driver is None:
        return None
    spec = network.spec
    if not 12 <= len(network.id) <= 64 or not network.id.isascii() or not network.id.isalnum():
        raise InvalidArgument(f"network {spec.annotations.name} has an id that is none")
    return LocalAttachment(
        network_id=network.id,
        name=spec.annotations.name,
        driver=driver,
        configuration=spec.network,
        internal=spec.internal,
        options=tuple(sorted(spec.driver_config.options.items())),
    )


def _driver(network: api.Network) -> str:
    return network.driver_state.name or network.spec.driver_config.name or "overlay"


def _attachment(task: api.Task, given: api.NetworkAttachment) -> Attachment:
    network = overlay(given.network)
    if not given.addresses:
        raise InvalidArgument(f"the swarm gave no address on network {network.name}")
    address, second = _both(given.addresses, network.name)
    for each in (address, second):
        if each and not any(ip_interface(each).ip in ip_network(one.subnet) for one in network.subnets):
            raise InvalidArgument(f"the address {each} is in none of the subnets of network {network.name}")
    return Attachment(network, address, _service(task, given, network), address6=second)


def _service(task: api.Task, given: api.NetworkAttachment, network: Overlay) -> Service | None:
    if not task.service_id:
        return None  # a container of somebody's own, on an attachable network
    vips = [vip.addr for vip in task.endpoint.virtual_ips if vip.network_id == network.id and vip.addr]
    vip, second = _both(vips, network.name) if vips else ("", "")
    return Service(
        id=task.service_id,
        name=task.service_annotations.name,
        vip=str(ip_interface(vip).ip) if vip else "",
        vip6=str(ip_interface(second).ip) if second else "",
        aliases=tuple(given.aliases),
        ports=tuple(_ports(task.endpoint.ports)) if network.ingress else (),
        keeps_source=options.SERVICE.read(task.service_annotations.labels).ingress_source_ip,
    )


def _ports(given: Iterable[api.PortConfig]) -> Iterable[Port]:
    for port in given:
        if port.publish_mode != api.PortConfig.INGRESS:
            continue
        if port.protocol not in _PROTOCOLS or not 0 < port.target_port < 65536 or not 0 < port.published_port < 65536:
            raise InvalidArgument(f"port {port.target_port} cannot be published as {port.published_port}")
        yield Port(_PROTOCOLS[port.protocol], port.target_port, port.published_port, port.name)


def overlay(network: api.Network) -> Overlay:
    """Return a network of the swarm as this node takes part in it, without this node's address. InvalidArgument."""
    name = network.spec.annotations.name
    driver = _driver(network)
    if driver != "overlay":
        raise Unimplemented(f"network {name} has the driver {driver}, which this version of Shoal does not have")
    options = {**network.spec.driver_config.options, **network.driver_state.options}
    configs = network.ipam.configs
    vnis = [word.strip() for word in options.get(VNI_OPTION, "").split(",") if word.strip()]
    return Overlay(
        id=network.id,
        name=name,
        subnets=_subnets(configs, vnis, name),
        mtu=_mtu(options.get(MTU_OPTION, ""), name),
        internal=network.spec.internal,
        ingress=is_ingress(network),
        encrypted=ENCRYPTED_OPTION in options,
    )


def _subnets(configs: Sequence[api.IPAMConfig], vnis: Sequence[str], name: str) -> tuple[Subnet, ...]:
    """Return the subnets with their VXLAN ids: of those of IPv4 in their order, which those of IPv6 share."""
    four = [config for config in configs if ":" not in config.subnet]
    six = [config for config in configs if ":" in config.subnet]
    least = len(four or six)
    if not configs or not least <= len(vnis) <= len(configs):
        raise InvalidArgument(f"network {name} has {len(configs)} subnets and {len(vnis)} VXLAN ids")
    ids = [*vnis[: len(four)], *([vnis[0]] * len(six))] if four else vnis
    return tuple(_subnet(config, vni, name) for config, vni in zip([*four, *six], ids, strict=True))


def _subnet(config: api.IPAMConfig, vni: str, name: str) -> Subnet:
    if not vni.isdecimal() or len(vni) > 8 or not 0 < int(vni) <= MAX_VNI:
        raise InvalidArgument(f"network {name} has the VXLAN id {vni[:20]!r}, which is none")
    try:
        subnet = ip_network(config.subnet)
        # SwarmKit's allocator writes the gateway with or without its prefix length.
        gateway = ip_interface(config.gateway).ip
    except ValueError as error:
        raise InvalidArgument(f"network {name} has no such subnet: {error}") from error
    if gateway not in subnet:
        raise InvalidArgument(f"the gateway {gateway} of network {name} is not in its subnet {subnet}")
    return Subnet(str(subnet), str(gateway), int(vni))


def _mtu(option: str, name: str) -> int:
    if not option:
        return 0
    if not option.isdecimal() or len(option) > 5 or not MIN_MTU <= int(option) <= MAX_MTU:
        raise InvalidArgument(f"network {name} has the MTU {option[:20]!r}, which is none")
    return int(option)


def _interface(text: str, name: str) -> str:
    try:
        return str(ip_interface(text))
    except ValueError as error:
        raise InvalidArgument(f"the swarm gave an address on network {name} that is none: {error}") from error


def _both(given: Iterable[str], name: str) -> tuple[str, str]:
    """Return the address that counts, of IPv4 where there is one, and a second one of IPv6 beside it.

    Docker too takes one of each family, of several the last (`getEndpointConfig`); its gossip knows the first alone.
    """
    found = {ip_interface(text).version: text for text in (_interface(one, name) for one in given)}
    return (found[4], found.get(6, "")) if 4 in found else (found[6], "")


def node_addresses(node: api.Node) -> tuple[dict[str, str], Overlay | None]:
    """Return this node's own addresses by network id, and ingress where it has one. What cannot be read is left out:
    the task that needs it says so."""
    addresses: dict[str, str] = {}
    ingress = None
    given = list(node.attachments) or ([node.attachment] if node.HasField("attachment") else [])
    for each in given:
        try:
            network = overlay(each.network)
            if each.addresses:
                addresses[network.id] = _both(each.addresses, network.name)[0]
        except (InvalidArgument, Unimplemented):
            continue
        if network.ingress:
            ingress = network
    return addresses, ingress


def told_networks(node: api.Node | None, tasks: Iterable[api.Task]) -> list[api.Network]:
    """Return the networks that this node was told of, each once: with its own addresses, or with a task."""
    told = list(node.attachments) if node is not None else []
    told += [each for task in tasks for each in task.networks if not is_predefined(each.network)]
    return list({each.network.id: each.network for each in reversed(told)}.values())


def keys(given: Sequence[api.EncryptionKey]) -> tuple[Key, ...]:
    """Return the keys of a session, as the network process takes them."""
    return tuple(Key(each.subsystem, each.key.hex(), each.lamport_time) for each in given)


def gossip(
    given: Sequence[api.EncryptionKey],
    *,
    bind: str,
    advertise: str,
    data_path: str,
    vxlan_port: int,
    managers: Sequence[str],
) -> Gossip | None:
    """Return how this node takes part; None before there are keys. `managers` are addresses as HOST:PORT."""
    if not given:
        return None
    contacts = {address.rpartition(":")[0].strip("[]") for address in managers} - {advertise, ""}
    return Gossip(
        bind=bind,
        advertise=advertise,
        data_path=data_path or advertise,
        vxlan_port=vxlan_port or 4789,
        contacts=tuple(sorted(contacts)),
        keys=keys(given),
    )
