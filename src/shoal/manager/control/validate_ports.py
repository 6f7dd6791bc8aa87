"""Which published ports a service may have beside the other services.

In: a spec and a view of the store. Out: nothing, or an error. Several services may ask for the same port in host mode;
the scheduler decides where their tasks go. Source: SwarmKit manager/controlapi/service.go (`checkPortConflicts`).
"""

from collections.abc import Iterable

from shoal.api import v1 as api
from shoal.api.predefined import is_ingress, is_predefined, needs_ingress
from shoal.errors import FailedPrecondition, InvalidArgument
from shoal.store.memory import View

HOST = "host"

_Port = tuple[int, int]  # protocol, published


def check_ports(view: View, spec: api.ServiceSpec, service_id: str = "") -> None:
    """Raise InvalidArgument for the first port that another service has."""
    ingress = set(_published(spec.endpoint.ports, api.PortConfig.INGRESS))
    host = set(_published(spec.endpoint.ports, api.PortConfig.HOST))
    if not ingress and not host:
        return
    for service in view.services.all():
        if service.id == service_id:
            continue
        # Ports that were given for a port 0 are only in the endpoint.
        for ports in (service.spec.endpoint.ports, service.endpoint.ports):
            for protocol, number in _published(ports, api.PortConfig.HOST):
                if (protocol, number) in ingress:
                    raise _in_use(number, service, "a host-published port")
            for protocol, number in _published(ports, api.PortConfig.INGRESS):
                if (protocol, number) in ingress or (protocol, number) in host:
                    raise _in_use(number, service, "an ingress port")


def check_mesh(view: View, spec: api.ServiceSpec) -> None:
    """Raise FailedPrecondition if a service needs ingress and there is none."""
    if needs_ingress(spec) and not any(is_ingress(network) for network in view.networks.all()):
        raise FailedPrecondition("service needs ingress network, but no ingress network is present")


def check_host_network(spec: api.ServiceSpec, networks: Iterable[api.Network | None]) -> None:
    """Raise InvalidArgument if a service on the hosts' own network publishes ports.

    Docker accepts such a service, and then every node rejects its tasks with an error about disconnecting
    (moby/moby#34215).
    """
    on_host = any(
        network is not None and is_predefined(network) and network.spec.annotations.name == HOST for network in networks
    )
    if on_host and spec.endpoint.ports:
        raise InvalidArgument(
            "EndpointSpec: ports cannot be published for a service on the network host, "
            "whose tasks listen on their node's own addresses"
        )


def _published(ports: Iterable[api.PortConfig], mode: api.PortConfig.PublishMode) -> list[_Port]:
    return [(port.protocol, port.published_port) for port in ports if port.published_port and port.publish_mode == mode]


def _in_use(number: int, service: api.Service, how: str) -> InvalidArgument:
    name = service.spec.annotations.name
    return InvalidArgument(f"port '{number}' is already in use by service '{name}' ({service.id}) as {how}")
