import pytest

from shoal.api import v1 as api
from shoal.api.predefined import LABEL
from shoal.errors import FailedPrecondition, InvalidArgument
from shoal.manager.control.validate_ports import check_host_network, check_mesh, check_ports
from shoal.store.memory import Memory
from tests.unit.manager.allocator.objects import network, service


def clash(has: api.Service, wants: str) -> str:
    try:
        check_ports(Memory.of([has]), service("api", ports=wants).spec)
    except InvalidArgument as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("has", "wants", "how"),
    [
        ("80:80", "80:81", "an ingress port"),
        ("80:80", "host:80:81", "an ingress port"),
        ("host:80:80", "80:81", "a host-published port"),
        # known fault 35: the scheduler decides where these two go.
        ("host:80:80", "host:80:81", ""),
        ("80:80", "80:80/udp", ""),
        ("80:80", "0:80", ""),
    ],
)
def test_a_port_is_one_services_but_for_those_of_hosts(has: str, wants: str, how: str) -> None:
    expected = f"port '80' is already in use by service 'web' (web) as {how}" if how else ""
    assert clash(service("web", ports=has), wants) == expected


def test_a_port_that_was_given_counts_too() -> None:
    web = service("web", ports="0:80")
    web.endpoint.ports.add(published_port=30000, target_port=80)
    assert clash(web, "30000:80") == "port '30000' is already in use by service 'web' (web) as an ingress port"
    check_ports(Memory.of([web]), web.spec, "web")
    check_ports(Memory.of([web]), service("web", ports="30000:80").spec, "web")


def test_the_mesh_needs_ingress() -> None:
    for view in (Memory.of([]), Memory.of([network("blue")])):
        with pytest.raises(
            FailedPrecondition, match=r"^service needs ingress network, but no ingress network is present$"
        ):
            check_mesh(view, service("web", ports="80:80").spec)
        check_mesh(view, service("web", ports="host:80:80").spec)
    check_mesh(Memory.of([network("ingress", ingress=True)]), service("web", ports="80:80").spec)


@pytest.mark.parametrize("ports", ["80:80", "host:80:80"])
def test_ports_on_the_hosts_network_are_refused_by_name(ports: str) -> None:
    """Known fault 37."""
    host = network("host")
    host.spec.annotations.labels[LABEL] = "true"
    with pytest.raises(InvalidArgument, match="the network host"):
        check_host_network(service("web", ports=ports).spec, [host])
    check_host_network(service("web").spec, [host])
    check_host_network(service("web", ports=ports).spec, [network("host"), None])
