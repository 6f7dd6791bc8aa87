"""The mesh of a node, from what is wanted there and what other nodes have told."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface

import pytest

from shoal.errors import FailedPrecondition, InvalidArgument
from shoal.network.directory import Directory
from shoal.network.mesh import desired
from shoal.network.mesh.desired import desired_mesh
from shoal.network.mesh.state import Backend, Gateway, Here, Mesh, mac_of
from shoal.network.records import ENDPOINTS, PEERS, Changed, EndpointRecord, PeerRecord
from shoal.network.translation.places import place
from shoal.network.wanted import LINGER, Endpoint, Gossip, HostBridge, Overlay, Port, Sandbox, Service, Subnet, Wanted

HERE, THERE = "192.0.2.1", "192.0.2.2"
WEB = Port("tcp", 80, 8080)
INGRESS = Overlay("in", "ingress", (Subnet("10.0.0.0/24", "10.0.0.1", 4096),), "10.0.0.2/24", ingress=True)
BLUE = Overlay("blue", "blue", (Subnet("10.0.1.0/24", "10.0.1.1", 4097), Subnet("fd00::/64", "fd00::1", 4098)))
SERVICE = Service("s", "web", "10.0.0.4", ports=(WEB,))
BRIDGE = HostBridge("shoalt1", ("172.18.0.0/16",))


def task(
    number: int = 5, *, enabled: bool = True, service: Service | None = SERVICE, outside: str = "172.18.0.5"
) -> Sandbox:
    on = Endpoint(f"e{number}", "in", f"10.0.0.{number}/24", "02:42:0a:00:00:05", "", service, enabled=enabled)
    return Sandbox(f"{number}" * 64, f"web.{number}", "/n", (on,), outside=outside)


def wanted(*tasks: Sandbox, ingress: Overlay = INGRESS) -> Wanted:
    return Wanted(1, Gossip(HERE, HERE, HERE), (ingress, BLUE), tasks, BRIDGE)


class Told:
    """What other nodes have told."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.directory.set_overlays([INGRESS])

    def node(self, address: str, tunnel: str = THERE) -> "Told":
        record = PeerRecord(ip_interface(f"{address}/24"), mac_of(IPv4Address(address)), ip_address(tunnel))
        self.directory.apply([Changed(PEERS, "in", address, "other", None, record.encode())])
        return self

    def task(
        self, address: str, port: Port = WEB, *, disabled: bool = False, keeps: bool = True, tunnel: str = THERE
    ) -> "Told":
        self.node(address, tunnel)
        record = EndpointRecord("web.9", ip_address(address), "s", "web", ip_address("10.0.0.4"), (port,))
        record = replace(record, disabled=disabled, keeps_source=keeps)
        self.directory.apply([Changed(ENDPOINTS, "in", address, "other", None, record.encode())])
        return self


def made(state: Wanted, told: Told, nodes: tuple[str, ...] = ()) -> Mesh:
    mesh = desired_mesh(state, told.directory, tag="t1", nodes=[ip_address(one) for one in nodes], path_mtu=1500)
    assert mesh is not None
    return mesh


def test_a_task_here_and_one_elsewhere() -> None:
    assert made(wanted(task()), Told().node("10.0.0.3").task("10.0.0.9"), (HERE, "192.0.2.3")) == Mesh(
        tag="t1",
        vni=4096,
        vxlan_port=4789,
        local=IPv4Address(HERE),
        mtu=1450,
        own=ip_interface("10.0.0.2/24"),  # type: ignore[arg-type]
        bridge="shoalt1",
        own_subnets=frozenset({IPv4Network("172.18.0.0/16"), IPv4Network("10.0.1.0/24")}),
        published={
            ("tcp", 8080): frozenset({Backend(IPv4Address("172.18.0.5"), 80), Backend(IPv4Address("10.0.0.9"), 8080)})
        },
        here=frozenset({Here(IPv4Address("10.0.0.5"), "tcp", 8080, IPv4Address("172.18.0.5"), 80)}),
        gateways=frozenset({Gateway(IPv4Address("10.0.0.3"), "02:42:0a:00:00:03")}),
        nodes=frozenset({IPv4Address(THERE), IPv4Address("192.0.2.3")}),
        peers={
            IPv4Address("10.0.0.3"): ("02:42:0a:00:00:03", IPv4Address(THERE)),
            IPv4Address("10.0.0.9"): ("02:42:0a:00:00:09", IPv4Address(THERE)),
        },
        translation=place("t1", "mesh", IPv4Network("172.18.0.0/16")),
    )


def test_there_is_no_mesh_without_a_swarm_a_place_on_ingress_or_a_published_port() -> None:
    told = Told().node("10.0.0.3")
    for state in (
        wanted(),
        wanted(task(service=None)),
        replace(wanted(task()), gossip=None),
        replace(wanted(task()), bridge=None),
        wanted(task(), ingress=replace(INGRESS, node_address="")),
    ):
        assert desired_mesh(state, told.directory, tag="t1", nodes=(), path_mtu=0) is None


def test_one_on_its_way_out_gets_nothing_new_and_keeps_what_it_has() -> None:
    mesh = made(wanted(task(enabled=False)), Told().task("10.0.0.9", disabled=True))
    assert mesh.published == {("tcp", 8080): frozenset()}
    assert [one.address for one in mesh.here] == [IPv4Address("172.18.0.5")]
    assert IPv4Address("10.0.0.9") in mesh.peers


def test_where_nobody_else_is_there_one_that_has_just_been_told_to_go_counts_a_moment_longer() -> None:
    told = Told().task("10.0.0.9").task("10.0.0.9", disabled=True)
    left = Backend(IPv4Address("10.0.0.9"), 8080)
    assert made(wanted(), told).published == {("tcp", 8080): frozenset({left})}
    assert left not in made(wanted(task()), told).published["tcp", 8080]
    told.directory.expire(LINGER)
    assert made(wanted(), told).published == {("tcp", 8080): frozenset()}
    here = Told()
    for disabled in (False, True):  # this node's own word
        here.task("10.0.0.5", disabled=disabled, tunnel=HERE)
    gone = wanted(task(enabled=False))
    assert made(gone, here).published == {("tcp", 8080): frozenset({Backend(IPv4Address("172.18.0.5"), 80)})}


def test_who_does_not_say_that_clients_may_be_seen_sees_none() -> None:
    mesh = made(
        wanted(task(service=replace(SERVICE, keeps_source=False)), task(6, outside="172.18.0.6")),
        Told().task("10.0.0.9", keeps=False).task("10.0.0.8"),
    )
    assert mesh.without_source == {IPv4Address("172.18.0.5"), IPv4Address("10.0.0.9")}


def test_another_nodes_word_leads_to_no_task_here() -> None:
    """Nor does it where a process of this node that has ended had told it."""
    mesh = made(
        wanted(task()),
        Told().task("10.0.0.5", Port("tcp", 22, 2222)).task("10.0.0.7", Port("tcp", 22, 2222), tunnel=HERE),
    )
    assert mesh.published.keys() == {("tcp", 8080)}
    assert not mesh.peers


def test_addresses_outside_of_ingress_are_nobodys() -> None:
    told = Told().task("10.9.0.9", Port("tcp", 1, 1)).task("10.0.0.2", Port("tcp", 2, 2))
    assert made(wanted(task()), told).published.keys() == {("tcp", 8080)}


def test_a_service_whose_ports_change_has_both_for_a_while() -> None:
    mesh = made(wanted(task()), Told().task("10.0.0.9", Port("tcp", 80, 9090)))
    assert {port: len(places) for port, places in mesh.published.items()} == {("tcp", 8080): 1, ("tcp", 9090): 1}


def test_the_ports_by_which_nodes_speak_are_no_services() -> None:
    """Held by the mesh, VXLAN's would keep every overlay of the node from being made."""
    told = Told()
    for number, port in enumerate((("udp", 4789), ("tcp", 7946), ("udp", 7946), ("tcp", 2377), ("tcp", 4789)), 10):
        told.task(f"10.0.0.{number}", Port(port[0], 80, port[1]))  # type: ignore[arg-type]
    assert made(wanted(), told).published.keys() == {("tcp", 4789)}


def test_there_is_an_end_to_ports_and_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desired, "MOST_PORTS", 2)
    monkeypatch.setattr(desired, "MOST_GATEWAYS", 1)
    ports = tuple(Port("tcp", 80, number) for number in (1, 2, 3))
    mesh = made(wanted(task(service=replace(SERVICE, ports=ports))), Told().node("10.0.0.3").node("10.0.0.4"))
    assert (len(mesh.published), len(mesh.gateways)) == (2, 1)
    told = Told().task("10.0.0.9", Port("sctp", 1, 1)).task("10.0.0.8", Port("sctp", 1, 2))
    assert made(wanted(task()), told).published.keys() == {("tcp", 8080), ("sctp", 1)}


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (wanted(task(), ingress=replace(INGRESS, encrypted=True)), FailedPrecondition, "cannot encrypt"),
        (wanted(task(), ingress=replace(INGRESS, node_address="fd00::2/64")), InvalidArgument, "no IPv4 subnet"),
        (wanted(task(), ingress=replace(INGRESS, subnets=(Subnet("x", "", 1),))), InvalidArgument, "ingress"),
        (wanted(task(outside="")), InvalidArgument, "has no place on the bridge"),
        (replace(wanted(task()), bridge=HostBridge("b", ("x",))), InvalidArgument, "is none"),
    ],
)
def test_what_cannot_be_made_is_said(state: Wanted, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        desired_mesh(state, Told().directory, tag="t1", nodes=(), path_mtu=0)


def test_a_mac_that_two_nodes_claim_is_one_nodes() -> None:
    """In a map of rules it can be there only once: a forged record ended the mesh of all nodes."""
    told = Told().node("10.0.0.7").task("10.0.0.9").node("10.0.0.8")
    forged = PeerRecord(ip_interface("10.0.0.200/24"), mac_of(IPv4Address("10.0.0.7")), ip_address(THERE))
    told.directory.apply([Changed(PEERS, "in", "forged", "other", None, forged.encode())])
    mesh = made(wanted(task()), told)
    assert mesh.gateways == {
        Gateway(IPv4Address("10.0.0.7"), mac_of(IPv4Address("10.0.0.7"))),
        Gateway(IPv4Address("10.0.0.8"), mac_of(IPv4Address("10.0.0.8"))),
    }


def test_the_broadcast_of_ingress_is_nobodys() -> None:
    mesh = made(wanted(task()), Told().node("10.0.0.255").node("10.0.0.0").node("10.0.0.7"))
    assert set(mesh.peers) == {IPv4Address("10.0.0.7")}
