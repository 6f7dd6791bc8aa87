"""The networks that every node has without anybody creating them.

They are objects in the store only so that a service can name them; addresses are each node's own affair.
Source: SwarmKit manager/allocator/networkallocator, manager/manager.go (`newPredefinedNetwork`).
"""

from shoal.api import v1 as api

LABEL = "com.docker.swarm.predefined"

# Name to driver. Docker has `bridge` and `host` here; `none` is ours, since a service may ask for no network at all.
NETWORKS = {"bridge": "bridge", "host": "host", "none": "null"}


def is_predefined(network: api.Network) -> bool:
    """Return whether a network object stands for one that every node has."""
    return network.spec.annotations.labels.get(LABEL) == "true"


def is_ingress(network: api.Network) -> bool:
    """Return whether a network is the routing mesh."""
    return network.spec.ingress


def needs_ingress(spec: api.ServiceSpec) -> bool:
    """Return whether a service publishes a port through the routing mesh."""
    return any(port.publish_mode == api.PortConfig.INGRESS for port in spec.endpoint.ports)
