"""What there is of a network on this node, layer by layer, as JSON for `shoal network doctor` to compare. Pure.

In: what is wanted, what the tables say, what the kernel has. Out: values; what differs is the doctor's to say.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from shoal.network.balancing.rules import Found, Virtual
from shoal.network.directory import Directory
from shoal.network.kernel.state import OverlayState, Seen
from shoal.network.records import Address
from shoal.network.wanted import Overlay, Sandbox, Trouble

# Containers in whose namespaces is looked: each costs a listing and as many dumps as it has virtual IPs.
MOST_CONTAINERS = 64
MOST_NAMES = 10_000


@dataclass(slots=True)
class Looked:
    """What the kernel has, or why that cannot be read."""

    overlay: Seen | None
    trouble: str = ""
    virtuals: dict[Path, dict[Address, Found]] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)


def containers_on(network: str, sandboxes: Iterable[Sandbox]) -> list[Sandbox]:
    """Return the containers of this node on a network."""
    return [one for one in sandboxes if any(endpoint.network == network for endpoint in one.endpoints)]


def examined(
    overlay: Overlay,
    sandboxes: Collection[Sandbox],
    *,
    directory: Directory,
    state: OverlayState | None,
    virtuals: Mapping[Path, Collection[Virtual]],
    looked: Looked,
    served: Collection[str],
    troubles: Iterable[Trouble],
) -> dict[str, Any]:
    """Return what there is. `virtuals` are those wanted in containers' namespaces, `served` who is answered names.

    A container's namespace has the virtual IPs of all its networks. Those of others are left out.
    """
    network, subnets = overlay.id, _subnets(overlay)
    return {
        "names": names(network, directory),
        "endpoints": [
            {
                "container": sandbox.container,
                "id": endpoint.id,
                "name": sandbox.name,
                "address": endpoint.address,
                "address6": endpoint.address6,
                "mac": endpoint.mac,
                "enabled": endpoint.enabled,
                "named": sandbox.container in served,
            }
            for sandbox in sandboxes
            for endpoint in sandbox.endpoints
            if endpoint.network == network
        ],
        "wanted": _state(state) if state is not None else None,
        "kernel": _seen(looked.overlay) if looked.overlay is not None else None,
        "containers": [_container(one, subnets, virtuals, looked) for one in sandboxes if Path(one.netns) in virtuals],
        "troubles": [
            *(trouble.message for trouble in troubles if trouble.network in ("", network)),
            *([f"the kernel cannot be asked: {looked.trouble}"] if looked.trouble else []),
        ],
    }


def names(network: str, directory: Directory) -> dict[str, list[str]]:
    """Return what names of a network are answered with, in one order."""
    found = {}
    for name in sorted(directory.names(network))[:MOST_NAMES]:
        if named := directory.named(network, name):
            found[name] = [str(ip_address(one)) for one in (*named.v4, *named.v6)]
    return found


def _state(state: OverlayState) -> dict[str, Any]:
    return {
        "vnis": sorted(segment.vni for segment in state.segments),
        "ports": sorted(port.name for port in state.ports),
        "neighbours": _neighbours(state.neighbours),
        "forwarding": _forwarding(state.forwarding),
        "mtu": state.mtu,
    }


def _seen(seen: Seen) -> dict[str, Any]:
    return {
        "vnis": sorted(vni for vni, (mark, _) in seen.segments.items() if mark),
        "ports": sorted(name for name, (shape, _, _) in seen.ports.items() if shape),
        "neighbours": _neighbours(seen.neighbours),
        "forwarding": _forwarding(seen.forwarding),
        "mtu": min((mtu for _, mtu in seen.segments.values()), default=0),
    }


def _neighbours(table: Mapping[tuple[int, Address], str]) -> dict[str, str]:
    return {str(address): mac for (_, address), mac in table.items()}


def _forwarding(table: Mapping[tuple[int, str], Address | None]) -> dict[str, str]:
    """Return the node behind each MAC; empty where one of the kernel's two tables alone has it."""
    return {mac: str(node) if node is not None else "" for (_, mac), node in table.items()}


def _subnets(overlay: Overlay) -> list[IPv4Network | IPv6Network]:
    """Return the subnets of an overlay but for those that are none, which a trouble names."""
    found = []
    for one in overlay.subnets:
        with suppress(ValueError):
            found.append(ip_network(one.subnet))
    return found


def _container(
    sandbox: Sandbox,
    subnets: Collection[IPv4Network | IPv6Network],
    virtuals: Mapping[Path, Collection[Virtual]],
    looked: Looked,
) -> dict[str, Any]:
    def is_here(address: Address) -> bool:
        return any(address in subnet for subnet in subnets)

    netns = Path(sandbox.netns)
    there = looked.virtuals.get(netns, {})
    return {
        "container": sandbox.container,
        "name": sandbox.name,
        "trouble": looked.failed.get(netns, ""),
        "wanted": {
            str(one.address): {"backends": _texts(one.backends), "leaving": _texts(one.leaving)}
            for one in virtuals[netns]
            if is_here(one.address)
        },
        "kernel": {str(address): _found(one) for address, one in there.items() if is_here(address)},
    }


def _found(found: Found) -> dict[str, Any]:
    return {
        "backends": _texts(found.backends),
        "flows": {str(address): count for address, count in found.flows.items()},
    }


def _texts(addresses: Iterable[Address]) -> list[str]:
    return [str(one) for one in sorted(addresses, key=lambda one: (one.version, one.packed))]
