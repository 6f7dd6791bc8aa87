"""Which states of overlays are wanted, and when they are others than before."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

from shoal.network.directory import Directory
from shoal.network.process.differences import Attached
from shoal.network.process.layout import Layout, Underlay
from shoal.network.records import PEERS, Changed, PeerRecord
from shoal.network.wanted import Overlay, Subnet

HERE, THERE = ip_address("192.168.0.1"), ip_address("192.168.0.2")
UNDERLAY = Underlay("me", HERE, 4789, 1500, "")
BLUE = Overlay("b", "blue", (Subnet("10.0.1.0/24", "10.0.1.1", 4097),))
RED = Overlay("r", "red", ())  # of which nothing can be made
INGRESS = Overlay("i", "ingress", (Subnet("10.0.0.0/24", "10.0.0.1", 4096),), ingress=True)
MAC = "02:42:0a:00:01:05"
PEER = PeerRecord(ip_interface("10.0.1.5/24"), MAC, THERE)


def test_overlays_are_made_anew_only_where_something_is_another() -> None:
    directory = Directory()
    layout = Layout(directory, Attached())
    wanted = [BLUE, RED, INGRESS]
    assert layout.update(wanted, UNDERLAY, ["b", "r", "i", "none"])
    assert layout.states.keys() == {"b"}
    assert [trouble.message for trouble in layout.troubles()] == ["network red has no subnet"]
    assert layout.troubles("b") == []
    assert layout.troubles("r") == layout.troubles()
    assert not layout.update(wanted, UNDERLAY, ["b", "r"])

    directory.apply([Changed(PEERS, "b", "e", "other", None, PEER.encode())], 0.0)
    before = layout.states["b"]
    assert layout.update(wanted, UNDERLAY, ["b"], [("b", PEER.address.ip), ("r", PEER.address.ip)])
    assert layout.states["b"] != before
    assert layout.states["b"].neighbours == {(4097, PEER.address.ip): MAC}

    assert layout.update(wanted, replace(UNDERLAY, path_mtu=9000), ["b"])
    assert layout.states["b"].mtu == 9000 - 50


def test_what_cannot_be_made_any_more_is_no_state_until_it_can_and_then_is_whole() -> None:
    directory = Directory()
    directory.apply([Changed(PEERS, "b", "e", "other", None, PEER.encode())], 0.0)
    layout = Layout(directory, Attached())
    secret = replace(BLUE, encrypted=True)
    assert layout.update([secret], UNDERLAY, ["b"])
    assert layout.update([secret], replace(UNDERLAY, cannot_encrypt="no ESP"), ["b"])
    assert layout.states == {}
    assert "no ESP" in layout.troubles("b")[0].message
    assert layout.update([secret], UNDERLAY, ["b"])
    assert layout.states["b"].neighbours == {(4097, PEER.address.ip): MAC}
    assert layout.troubles() == []


def test_nothing_is_left_of_one_that_is_gone() -> None:
    layout = Layout(Directory(), Attached())
    layout.update([BLUE, RED], UNDERLAY, ["b", "r"])
    layout.update([], UNDERLAY, ["b", "r"])
    assert (layout.states, layout.troubles()) == ({}, [])
