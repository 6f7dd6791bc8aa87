"""The layers of a network on a node, from what the parts know."""

from ipaddress import ip_address, ip_interface
from pathlib import Path

from shoal.network.balancing.rules import Found, Virtual
from shoal.network.directory import Directory
from shoal.network.kernel.state import OverlayState, Seen, Segment
from shoal.network.process.examined import Looked, containers_on, examined, names
from shoal.network.records import ENDPOINTS, Changed, EndpointRecord
from shoal.network.wanted import Endpoint, Overlay, Sandbox, Subnet, Trouble

A, B, NODE, VIP = (ip_address(one) for one in ("10.0.1.3", "10.0.1.4", "192.168.0.2", "10.0.1.2"))
MAC = "02:42:0a:00:01:04"
OVERLAY = Overlay("n", "blue", (Subnet("none", "", 8), Subnet("10.0.1.0/24", "10.0.1.1", 7)))
OTHER = ip_address("10.0.2.2")  # of another network of the same container
OWN = Endpoint("e" * 64, "n", "10.0.1.3/24", "02:42", "eth0", enabled=True, address6="fd00::3/64")
HERE = Sandbox("c", "web.1", "/here", (OWN,))
ELSEWHERE = Sandbox("d", "web.2", "/elsewhere", (Endpoint("f" * 64, "m", "10.0.2.3/24", "02:43", "eth0"),))


def directory() -> Directory:
    made = Directory()
    for at, address in enumerate((A, B)):
        record = EndpointRecord(f"web.{at}", address, "s", "Web", VIP)
        made.apply([Changed(ENDPOINTS, "n", str(at), "x", None, record.encode())])
    return made


def test_only_containers_of_the_network_are_looked_into() -> None:
    assert containers_on("n", [HERE, ELSEWHERE]) == [HERE]


def test_names_are_listed_with_what_is_answered() -> None:
    assert names("n", directory()) == {
        "tasks.web": ["10.0.1.3", "10.0.1.4"],
        "web": ["10.0.1.2"],
        "web.0": ["10.0.1.3"],
        "web.1": ["10.0.1.4"],
    }


def test_layers_stand_side_by_side() -> None:
    state = OverlayState(
        "n", 1450, NODE, 4789, (Segment(7, (ip_interface("10.0.1.1/24"),)),),
        neighbours={(7, B): MAC}, forwarding={(7, MAC): NODE},
    )  # fmt: skip
    seen = Seen(True, {7: ("mark", 1450), 8: ("", 0)}, {"veee": ("", "", 1450)}, {(7, A): MAC}, {(7, MAC): None})
    looked = Looked(
        seen, virtuals={Path("/here"): {VIP: Found(frozenset({B, A}), {A: 2}), OTHER: Found(frozenset(), {})}}
    )
    found = examined(
        OVERLAY,
        [HERE],
        directory=directory(),
        state=state,
        virtuals={Path("/here"): [Virtual(VIP, frozenset({A}), frozenset({B})), Virtual(OTHER)]},
        looked=looked,
        served={"c"},
        troubles=[Trouble("n", "", "something"), Trouble("m", "", "of another network")],
    )
    assert found["endpoints"] == [
        {
            "container": "c",
            "id": "e" * 64,
            "name": "web.1",
            "address": "10.0.1.3/24",
            "address6": "fd00::3/64",
            "mac": "02:42",
            "enabled": True,
            "named": True,
        }
    ]
    assert found["wanted"] == {
        "vnis": [7], "ports": [], "neighbours": {"10.0.1.4": MAC}, "forwarding": {MAC: "192.168.0.2"}, "mtu": 1450,
    }  # fmt: skip
    # What was not made to its end is not there; a MAC that one table alone has leads nowhere.
    assert found["kernel"] == {
        "vnis": [7], "ports": [], "neighbours": {"10.0.1.3": MAC}, "forwarding": {MAC: ""}, "mtu": 0,
    }  # fmt: skip
    assert found["containers"] == [
        {
            "container": "c",
            "name": "web.1",
            "trouble": "",
            "wanted": {"10.0.1.2": {"backends": ["10.0.1.3"], "leaving": ["10.0.1.4"]}},
            "kernel": {"10.0.1.2": {"backends": ["10.0.1.3", "10.0.1.4"], "flows": {"10.0.1.3": 2}}},
        }
    ]
    assert found["troubles"] == ["something"]


def test_what_cannot_be_read_is_said() -> None:
    looked = Looked(None, "no such file", failed={Path("/here"): "gone"})
    found = examined(
        OVERLAY, [HERE], directory=Directory(), state=None, virtuals={Path("/here"): []}, looked=looked, served=(),
        troubles=(),
    )  # fmt: skip
    assert (found["wanted"], found["kernel"]) == (None, None)
    assert found["troubles"] == ["the kernel cannot be asked: no such file"]
    assert (found["containers"][0]["trouble"], found["containers"][0]["kernel"]) == ("gone", {})
    assert not found["endpoints"][0]["named"]
