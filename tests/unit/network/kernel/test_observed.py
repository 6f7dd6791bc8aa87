"""From the kernel's lists to what there is of an overlay."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from shoal.network.kernel.observed import CONDEMNED, alias, observe
from shoal.network.neighbours import Forwarding, Neighbour
from shoal.network.rtnetlink import Link

MAC, NODE, ADDRESS = "02:42:0a:00:01:05", ip_address("192.0.2.2"), ip_address("10.0.1.5")
BRIDGE = Link(2, "br4097", True, 0, mtu=1450, kind="bridge")
VXLAN = Link(3, "vx4097", True, 2, alias("t1", "192.0.2.1:4789"), 1450, "vxlan")
PORT = Link(4, "veaaaaaaaaaaaa", True, 2, alias("t1", "shape ways"), 1450, "veth")
LOOPBACK = Link(1, "lo", True, 0)


def test_what_was_made_to_its_end_is_seen_with_its_marks() -> None:
    seen = observe("t1", [LOOPBACK, VXLAN, BRIDGE, PORT], [Neighbour(3, ADDRESS, MAC)], [])
    assert seen.namespace
    assert seen.segments == {4097: ("192.0.2.1:4789", 1450)}
    assert seen.ports == {PORT.name: ("shape", "ways", 1450)}
    assert seen.neighbours == {(4097, ADDRESS): MAC}


@pytest.mark.parametrize(
    "vxlan",
    [
        replace(VXLAN, up=False),
        replace(VXLAN, master=0),
        replace(VXLAN, alias=""),
        replace(VXLAN, alias=alias("t2", "192.0.2.1:4789")),
        replace(VXLAN, group=CONDEMNED),
        None,
    ],
)
def test_a_segment_half_made_has_no_mark(vxlan: Link | None) -> None:
    seen = observe("t1", [BRIDGE, *([vxlan] if vxlan else [])], [], [])
    assert seen.segments[4097][0] == ""


def test_a_device_without_its_bridge_has_no_mark() -> None:
    assert observe("t1", [VXLAN], [], []).segments == {4097: ("", 0)}
    assert observe("t1", [VXLAN, replace(BRIDGE, mtu=1500)], [], []).segments == {4097: ("192.0.2.1:4789", 0)}


@pytest.mark.parametrize(
    "port", [replace(PORT, up=False), replace(PORT, master=9), replace(PORT, alias=""), replace(PORT, group=CONDEMNED)]
)
def test_an_interface_half_made_has_no_mark(port: Link) -> None:
    assert observe("t1", [BRIDGE, port], [], []).ports == {PORT.name: ("", "", 1450)}


def test_links_of_others_are_not_seen() -> None:
    others = [replace(PORT, name="ve-mine"), replace(VXLAN, name="vxlan0"), replace(BRIDGE, name="br0")]
    assert observe("t1", others, [Neighbour(3, ADDRESS, MAC)], []) == observe("t1", [], [], [])


def test_an_entry_that_one_of_the_two_tables_lacks_is_no_entry() -> None:
    other = "02:42:0a:00:01:06"
    both = [Forwarding(3, MAC, NODE), Forwarding(3, MAC, None)]
    links = [BRIDGE, VXLAN]
    assert observe("t1", links, [], both).forwarding == {(4097, MAC): NODE}
    halves = [Forwarding(3, MAC, NODE), Forwarding(3, other, None), Forwarding(9, MAC, None)]
    assert observe("t1", links, [], halves).forwarding == {(4097, MAC): None, (4097, other): None}
