"""What this node knows of a network, as JSON for `shoald` to show: its nodes, its containers by their endpoints. Pure.

In: what the shared tables say. Out: values alone; the words that Docker's clients expect are the API's.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from shoal.network.directory import Directory
from shoal.network.records import EndpointRecord, PeerRecord


def shown(network: str, nodes: Iterable[tuple[str, str]], directory: Directory) -> dict[str, Any]:
    """Return all that is known. `nodes` are those on the network, by their names in gossip, with their addresses."""
    places = directory.peers(network)
    return {
        "nodes": [{"name": name, "address": address} for name, address in nodes],
        "endpoints": {
            key: _endpoint(record, places.get(key)) for key, record in sorted(directory.endpoints(network).items())
        },
        "neighbours": {
            str(address): {"mac": peer.mac, "node": str(peer.tunnel)}
            for address, peer in directory.neighbours(network).items()
        },
    }


def _endpoint(record: EndpointRecord, place: PeerRecord | None) -> Mapping[str, Any]:
    return {
        "name": record.name,
        "address": str(record.address),
        "address6": str(record.address6 or ""),
        "service": record.service_name,
        "service_id": record.service_id,
        "vip": str(record.vip or ""),
        "vip6": str(record.vip6 or ""),
        "ports": [[port.protocol, port.target, port.published] for port in record.ports],
        "disabled": record.disabled,
        "node": str(place.tunnel) if place else "",  # the node's address for VXLAN
    }
