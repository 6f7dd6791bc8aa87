"""What Docker shows of an overlay that a node takes part in, beside what the swarm says of it: peers and services.

In: what the network process shows of it. Out: JSON. Source of the shapes and words: moby libnetwork/agent.go, Services,
and daemon/network.go, buildNetworkResource.
"""

from collections.abc import Mapping
from typing import Any

Shown = dict[str, Any]

_NO_VIP = "<nil>"  # what Go prints for no address


def peers(found: Mapping[str, Any]) -> list[Shown]:
    """Return the nodes on a network: their names are those in gossip, new at each start."""
    return [{"Name": node["name"], "IP": node["address"]} for node in found["nodes"]]


def services(found: Mapping[str, Any]) -> Shown:
    """Return the services of a network with their tasks, by name; containers of no service are below an empty one."""
    services: Shown = {}
    for endpoint_id, endpoint in found["endpoints"].items():
        service = services.setdefault(
            endpoint["service"],
            {
                "VIP": endpoint["vip"] or _NO_VIP,
                "Ports": [f"Target: {target}, Publish: {published}" for _, target, published in endpoint["ports"]],
                "LocalLBIndex": 0,  # a mark of Docker's own rules
                "Tasks": [],
            },
        )
        service["Tasks"].append(
            {
                "Name": endpoint["name"],
                "EndpointID": endpoint_id,
                "EndpointIP": endpoint["address"],
                "Info": {"Host IP": endpoint["node"]} if endpoint["node"] else None,
            }
        )
    return services
