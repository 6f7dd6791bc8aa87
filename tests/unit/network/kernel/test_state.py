"""From what `shoald` and gossip say to how an overlay is to look."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Interface, ip_address, ip_interface, ip_network

import pytest

from shoal.errors import FailedPrecondition, InvalidArgument
from shoal.network.kernel.state import OverlayState, overlay_mtu, overlay_state
from shoal.network.records import PeerRecord
from shoal.network.wanted import Endpoint, Overlay, Subnet, Trouble

OVERLAY = Overlay("n1", "net", (Subnet("10.0.1.0/24", "10.0.1.1", 4097), Subnet("10.0.2.0/24", "10.0.2.1", 4098)))
HERE, THERE = ip_address("192.0.2.1"), ip_address("192.0.2.2")
END = Endpoint("a" * 64, "n1", "10.0.1.5/24", "02:42:0A:00:01:05", "eth0")


def made(
    overlay: Overlay = OVERLAY, endpoints: Iterable[Endpoint] = (END,), peers: Iterable[PeerRecord] = ()
) -> tuple[OverlayState, list[Trouble]]:
    return overlay_state(
        overlay, [("/ns", one) for one in endpoints], peers, local=HERE, vxlan_port=4789, path_mtu=1500
    )


def peer(address: str, last: int, tunnel: str = str(THERE)) -> PeerRecord:
    return PeerRecord(ip_interface(address), f"02:42:0a:00:00:{last:02x}", ip_address(tunnel))


def test_a_container_gets_its_own_subnet_and_ways_to_the_others() -> None:
    state, troubles = made(endpoints=[END, replace(END, id="b" * 64, address="10.0.2.6/32", gateway=True)])
    one, two = state.ports
    assert (one.name, one.vni, one.mac, str(one.address)) == ("ve" + "a" * 12, 4097, "02:42:0a:00:01:05", "10.0.1.5/24")
    assert one.routes == ((ip_network("10.0.2.0/24"), ip_address("10.0.1.1")),)
    assert (two.vni, str(two.address)) == (4098, "10.0.2.6/24")
    assert two.routes[-1] == (ip_network("0.0.0.0/0"), ip_address("10.0.2.1"))
    assert (state.mtu, troubles) == (1450, [])


DUAL = replace(OVERLAY, subnets=(Subnet("10.0.1.0/24", "10.0.1.1", 7), Subnet("fd00::/64", "fd00::1", 7)))


def test_a_container_with_an_address_of_each_family() -> None:
    there = PeerRecord(ip_interface("10.0.1.6/24"), "02:42:0a:00:01:06", THERE, IPv6Interface("fd00::6/64"))
    state, troubles = made(DUAL, [replace(END, address6="fd00::5/128", gateway=True)], [there])
    (port,) = state.ports
    assert list(map(str, port.addresses)) == ["10.0.1.5/24", "fd00::5/64"]
    assert port.routes == (
        (ip_network("0.0.0.0/0"), ip_address("10.0.1.1")),
        (ip_network("::/0"), ip_address("fd00::1")),
    )
    assert set(state.neighbours) == {(7, ip_address("10.0.1.6")), (7, ip_address("fd00::6"))}
    assert port.shape(1) != replace(port, second=None).shape(1)
    assert (state.mtu, troubles) == (1450, [])


@pytest.mark.parametrize("second", ["fd01::5/64", "10.0.1.7/24", "x"])
def test_a_second_address_that_cannot_be_is_told(second: str) -> None:
    state, troubles = made(DUAL, [replace(END, address6=second)])
    assert state.ports == ()
    assert len(troubles) == 1


def test_none_takes_a_second_address_that_is_here() -> None:
    thief = PeerRecord(ip_interface("10.0.1.6/24"), "02:42:0a:00:01:06", THERE, IPv6Interface("fd00::5/64"))
    state, _ = made(DUAL, [replace(END, address6="fd00::5/64")], [thief])
    assert set(state.neighbours) == {(7, ip_address("10.0.1.6"))}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"address": "10.0.9.5/24"}, "is in no subnet of the network"),
        ({"address": "none"}, "does not appear to be an IPv4 or IPv6 address|is not valid|does not appear"),
        ({"mac": "01:42:0a:00:01:05"}, "no MAC of one receiver"),
        ({"mac": "x"}, "no MAC of one receiver"),
        ({"interface": "eth0/../all"}, "no name of an interface"),
        ({"interface": "."}, "no name of an interface"),
        ({"id": "../a"}, "no id of an endpoint"),
    ],
)
def test_an_endpoint_that_cannot_be_is_told_and_the_others_are_made(changed: dict[str, str], words: str) -> None:
    bad = Endpoint(**{**{name: getattr(END, name) for name in Endpoint.__slots__}, "id": "c" * 64, **changed})
    state, troubles = made(endpoints=[bad, END])
    assert [port.endpoint for port in state.ports] == [END.id]
    (trouble,) = troubles
    assert (trouble.network, trouble.endpoint) == ("n1", bad.id)
    assert any(part in trouble.message for part in words.split("|"))


@pytest.mark.parametrize(
    "overlay",
    [
        replace(OVERLAY, id="../n"),
        replace(OVERLAY, subnets=()),
        replace(OVERLAY, subnets=(Subnet("10.0.1.1/24", "10.0.1.1", 5),)),
        replace(OVERLAY, subnets=(Subnet("10.0.1.0/24", "10.0.2.1", 5),)),
        replace(OVERLAY, subnets=(Subnet("10.0.1.0/24", "10.0.1.1", 1 << 24),)),
    ],
)
def test_a_network_that_cannot_be_is_refused(overlay: Overlay) -> None:
    with pytest.raises(InvalidArgument):
        made(overlay)


def test_an_encrypted_network_is_never_run_in_the_clear() -> None:
    with pytest.raises(FailedPrecondition, match="cannot encrypt: no ESP; it is not run in the clear"):
        overlay_state(
            replace(OVERLAY, encrypted=True),
            [],
            (),
            local=HERE,
            vxlan_port=4789,
            path_mtu=1500,
            cannot_encrypt="no ESP",
        )


def test_an_encrypted_network_has_dockers_mtu() -> None:
    state, _ = made(replace(OVERLAY, encrypted=True))
    assert (state.encrypted, state.mtu) == (True, 1424)
    assert overlay_mtu(1499, 0, HERE, encrypted=True) == 1420
    assert overlay_mtu(600, 0, HERE, encrypted=True) == 576


def test_others_are_told_to_the_kernel_once_and_the_later_record_holds() -> None:
    records = [peer("10.0.1.9/24", 1), peer("10.0.1.9/24", 2), peer("10.0.2.9/24", 3, "192.0.2.3")]
    state, _ = made(peers=records)
    assert state.neighbours == {
        (4097, ip_address("10.0.1.9")): "02:42:0a:00:00:02",
        (4098, ip_address("10.0.2.9")): "02:42:0a:00:00:03",
    }
    assert state.forwarding[4098, "02:42:0a:00:00:03"] == ip_address("192.0.2.3")


def test_no_record_takes_what_is_here() -> None:
    own = PeerRecord(ip_interface("10.0.1.7/24"), END.mac.lower(), THERE)
    records = [
        peer("10.0.1.5/24", 1),  # a container's address
        peer("10.0.1.1/24", 2),  # the gateway's
        own,  # a container's MAC
        peer("10.0.1.8/24", 3, str(HERE)),  # of this node itself
        peer("10.0.7.8/24", 4),  # of no subnet
        peer("10.0.1.8/24", 5, "2001:db8::1"),  # no way there
    ]
    state, _ = made(peers=records)
    assert (state.neighbours, state.forwarding) == ({}, {})


def test_one_vxlan_id_for_two_subnets_is_one_segment() -> None:
    both = replace(OVERLAY, subnets=(Subnet("10.0.1.0/24", "10.0.1.1", 7), Subnet("fd00::/64", "fd00::1", 7)))
    state, _ = made(both)
    (segment,) = state.segments
    assert (segment.bridge, segment.vxlan, len(segment.gateways)) == ("br7", "vx7", 2)


@pytest.mark.parametrize(
    ("option", "path", "local", "mtu"),
    [
        (0, 1500, "192.0.2.1", 1450),
        (0, 1280, "192.0.2.1", 1230),
        (0, 1500, "2001:db8::1", 1430),
        (9000, 1500, "192.0.2.1", 8950),
        (0, 0, "192.0.2.1", 1450),
        (0, 100, "192.0.2.1", 576),
    ],
)
def test_mtu_is_that_of_the_option_or_the_path_less_the_overhead(option: int, path: int, local: str, mtu: int) -> None:
    assert overlay_mtu(option, path, ip_address(local)) == mtu


def test_ipv6_inside_keeps_its_least_mtu() -> None:
    state, _ = made(replace(OVERLAY, subnets=(Subnet("fd00::/64", "fd00::1", 7),)), endpoints=[])
    assert overlay_mtu(0, 1280, HERE, state.segments) == 1280


def test_an_interface_is_told_from_one_to_be_made_anew() -> None:
    (port,) = made()[0].ports
    assert port.shape(1) != port.shape(2)
    other = replace(port, routes=())
    assert (port.shape(1), port.ways()) != (other.shape(1), other.ways())
    assert port.shape(1) == other.shape(1)
