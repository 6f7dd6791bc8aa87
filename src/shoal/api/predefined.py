"""The networks that every node has, without anybody creating them.

They are objects in the store only so that a service can name them. Each node chooses its own addresses in them.
Source: SwarmKit manager/allocator/networkallocator, manager/manager.go (`newPredefinedNetwork`).
"""

from shoal.api import v1 as api

LABEL = "com.docker.swarm.predefined"

# Name to driver. Docker has `bridge` and `host` here. Shoal adds `none`, for a service that wants no network at all.
NETWORKS = {"bridge": "bridge", "host": "host", "none": "null"}


def is_predefined(network: api.Network) -> bool:
    """Return whether a network object stands for a predefined network."""
    return network.spec.annotations.labels.get(LABEL) == "true"


def is_ingress(network: api.Network) -> bool:
    """Return whether a network is the routing mesh."""
    return network.spec.ingress


def needs_ingress(spec: api.ServiceSpec) -> bool:
    """Return whether a service publishes a port through the routing mesh."""
    return any(port.publish_mode == api.PortConfig.INGRESS for port in spec.endpoint.ports)
