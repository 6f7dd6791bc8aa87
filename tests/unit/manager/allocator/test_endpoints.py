from shoal.api import v1 as api
from shoal.manager.allocator.endpoints import Endpoints, networks_of
from shoal.manager.allocator.networks import Networks
from shoal.manager.allocator.waiting import NEVER, Lacking, address, port
from tests.unit.manager.allocator.objects import network, service


def bench(*names: str) -> tuple[Networks, Endpoints]:
    networks = Networks()
    for name in names:
        networks.allocate(network(name, "10.1.0.0/29" if name == "tiny" else ""))
    return networks, Endpoints(networks)


def given(endpoints: Endpoints, asked: api.Service, *vips: str) -> api.Service:
    made = endpoints.allocate(asked, vips)
    assert isinstance(made, api.Service), made
    return made


def published(made: api.Service) -> list[int]:
    return [each.published_port for each in made.endpoint.ports]


def vips(made: api.Service) -> dict[str, str]:
    return {vip.network_id: vip.addr for vip in made.endpoint.virtual_ips}


def test_a_service_gets_a_virtual_ip_a_network() -> None:
    _, endpoints = bench("red", "blue")
    made = given(endpoints, service("web", "red", "blue"), "red", "blue")
    assert vips(made) == {"red": "10.0.0.2/24", "blue": "10.0.1.2/24"}


def test_a_network_of_both_families_gives_a_virtual_ip_of_each_and_takes_both_back() -> None:
    networks = Networks()
    networks.allocate(network("both", "10.1.0.0/24", "fd00::/64"))
    endpoints = Endpoints(networks)
    made = given(endpoints, service("web", "both"), "both")
    # Of IPv4 first: a Docker Engine takes the first one.
    assert [vip.addr for vip in made.endpoint.virtual_ips] == ["10.1.0.2/24", "fd00::3/64"]
    assert given(endpoints, made, "both").endpoint == made.endpoint
    again = Endpoints(networks)
    again.restore(made)
    assert [vip.addr for vip in given(again, made, "both").endpoint.virtual_ips] == ["10.1.0.2/24", "fd00::3/64"]
    given(endpoints, service("web", "both", mode="DNSRR"))
    again.drop("web")
    assert networks.take_fixed("both", ["10.1.0.2", "fd00::3"]) == ["10.1.0.2/24", "fd00::3/64"]


def test_networks_that_stay_keep_their_virtual_ip() -> None:
    networks, endpoints = bench("red", "blue")
    given(endpoints, service("web", "red"), "red")
    assert vips(given(endpoints, service("web", "red", "blue"), "red", "blue"))["red"] == "10.0.0.2/24"
    assert vips(given(endpoints, service("web", "blue"), "blue")) == {"blue": "10.0.1.2/24"}
    assert address("red", 32) in networks.freed
    assert vips(given(endpoints, service("web", "blue", mode="DNSRR"))) == {}
    overlay = networks.get("blue")
    assert overlay is not None
    assert overlay.free(32) == 253


def test_ports_are_given_kept_and_taken_back() -> None:
    networks, endpoints = bench()
    made = given(endpoints, service("web", ports="0:80 0:80/udp 8080:81 host:0:82"))
    assert published(made) == [30000, 30000, 8080, 0]
    assert published(given(endpoints, service("web", ports="0:80 0:90"))) == [30000, 30001]
    assert port(api.PortConfig.TCP, 8080) in networks.freed
    assert published(given(endpoints, service("web", ports="30000:90 0:80"))) == [30000, 30002]
    endpoints.drop("web")
    assert endpoints.ports == 0
    assert len(endpoints) == 0


def test_a_port_that_another_has_is_named_and_nothing_is_kept() -> None:
    _, endpoints = bench()
    given(endpoints, service("web", ports="80:80"))
    assert endpoints.allocate(service("api", ports="81:80 80:80"), ()) == Lacking(
        "port 80/tcp is in use by service web", port(api.PortConfig.TCP, 80)
    )
    assert endpoints.ports == 1
    assert published(given(endpoints, service("api", ports="80:80/udp"))) == [80]


def test_what_is_no_port_is_said() -> None:
    _, endpoints = bench()
    assert endpoints.allocate(service("web", ports="80:80 70000:80"), ()) == Lacking(
        "70000 is no port: the last one is 65535", NEVER
    )
    assert endpoints.ports == 0


def test_a_service_that_lacks_something_keeps_what_it_has() -> None:
    networks, endpoints = bench("tiny")
    given(endpoints, service("web", ports="80:80"))
    while not isinstance(networks.take("tiny"), Lacking):
        pass
    lacking = endpoints.allocate(service("web", "tiny", ports="81:80"), ["tiny"])
    assert lacking == Lacking("network tiny has no free address", address("tiny", 32))
    assert endpoints.ports == 1
    assert isinstance(endpoints.allocate(service("api", ports="80:80"), ()), Lacking)


def test_all_ports_can_be_given() -> None:
    _, endpoints = bench()
    for number in range(2768):
        given(endpoints, service(f"s{number}", ports="0:80"))
    assert endpoints.allocate(service("web", ports="0:80"), ()) == Lacking(
        "no published port from 30000 to 32767 is free", port(api.PortConfig.TCP, 0)
    )


def test_a_restored_service_keeps_what_it_has() -> None:
    networks, endpoints = bench("red")
    made = given(endpoints, service("web", "red", ports="0:80"), "red")
    again = Endpoints(networks)
    assert again.restore(made) == ["service web: another has its address 10.0.0.2/24"]  # the first `endpoints` holds it
    again.go_on()
    assert published(given(again, service("api", ports="0:80"))) == [30001]
    assert given(again, made, "red").endpoint == made.endpoint


def test_networks_beside_the_task_count_for_old_clients() -> None:
    old = service("web")
    old.spec.networks.add(target="red")
    assert [each.target for each in networks_of(old.spec)] == ["red"]
    old.spec.task.networks.add(target="blue")
    assert [each.target for each in networks_of(old.spec)] == ["blue"]
