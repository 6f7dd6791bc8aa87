"""Which steps lead from one state to the other, from each half-done one too."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from shoal.network.kernel import plan as p
from shoal.network.kernel.plan import after, plan
from shoal.network.kernel.state import OverlayState, Port, Seen, Segment

HERE = ip_address("192.0.2.1")
NODES = [ip_address(f"192.0.2.{number}") for number in range(2, 5)]
SEGMENTS = tuple(Segment(4097 + n, (ip_interface(f"10.0.{n}.1/24"),)) for n in range(2))
PORTS = tuple(
    Port(f"{n:012x}", f"/ns{n}", "eth0", ip_interface(f"10.0.0.{5 + n}/24"), f"02:42:0a:00:00:{n:02x}", 4097)
    for n in range(3)
)
INODES = {f"/ns{n}": 100 + n for n in range(3)}
WANTED = OverlayState(
    "net",
    1450,
    HERE,
    4789,
    SEGMENTS,
    PORTS,
    {(4097, ip_address("10.0.0.9")): "02:42:0a:00:00:09", (4098, ip_address("10.0.1.9")): "02:42:0a:00:01:09"},
    {(4097, "02:42:0a:00:00:09"): NODES[0], (4098, "02:42:0a:00:01:09"): NODES[1]},
)


def reached(wanted: OverlayState | None, seen: Seen | None = None) -> Seen:
    seen = seen if seen is not None else Seen()
    for step in plan(wanted, seen, INODES):
        after(seen, step)
    return seen


def kinds(steps: list[p.Step]) -> list[str]:
    return [type(step).__name__ for step in steps]


def test_from_nothing_all_is_made_in_order() -> None:
    steps = plan(WANTED, Seen(), INODES)
    assert kinds(steps) == ["MakeNamespace", *["MakeSegment"] * 2, "SetPeers", *["MakePort"] * 3]
    assert steps[0] == p.MakeNamespace(routed=True)


def test_what_is_as_wanted_costs_nothing() -> None:
    assert plan(WANTED, reached(WANTED), INODES) == []
    assert plan(None, Seen(), {}) == []


OTHERS = {
    "a container more": replace(WANTED, ports=PORTS[:2]),
    "a container's other address": replace(WANTED, ports=(replace(PORTS[0], address=ip_interface("10.0.0.77/24")),)),
    "a peer moved": replace(WANTED, forwarding={**WANTED.forwarding, (4097, "02:42:0a:00:00:09"): NODES[2]}),
    "no peers": replace(WANTED, neighbours={}, forwarding={}),
    "another MTU": replace(WANTED, mtu=1230),
    "another node's address": replace(WANTED, local=NODES[2]),
    "one segment": replace(WANTED, segments=SEGMENTS[:1], neighbours={}, forwarding={}),
    "other routes": replace(
        WANTED, ports=tuple(replace(x, routes=((ip_network("0.0.0.0/0"), ip_address("10.0.0.1")),)) for x in PORTS)
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_from_each_half_done_state_the_end_is_the_same(name: str) -> None:
    """Whichever steps of a plan were done, and whichever failed."""
    for start, end in ((OTHERS[name], WANTED), (WANTED, OTHERS[name])):
        steps = plan(end, reached(start), INODES)
        for chosen in range(1 << min(len(steps), 7)):
            seen = reached(start)
            for at, step in enumerate(steps):
                if chosen >> at & 1:
                    after(seen, step)
            assert reached(end, seen) == reached(end), f"of {kinds(steps)} were done {chosen:b}"


def test_one_change_costs_what_changed() -> None:
    moved = OTHERS["a peer moved"]
    assert plan(moved, reached(WANTED), INODES) == [p.SetPeers((), ((4097, "02:42:0a:00:00:09", NODES[2]),))]
    assert plan(OTHERS["a container more"], reached(WANTED), INODES) == [p.DropPorts((PORTS[2].name,))]
    assert kinds(plan(OTHERS["another MTU"], reached(WANTED), INODES)) == [*["ResizeSegment"] * 2, *["ChangePort"] * 3]


def test_additions_come_before_removals() -> None:
    fewer = replace(WANTED, segments=SEGMENTS[:1], ports=PORTS[1:], neighbours={}, forwarding={})
    now = replace(fewer, ports=PORTS[:1], neighbours={(4097, ip_address("10.0.0.8")): "02:42:0a:00:00:08"})
    steps = kinds(plan(now, reached(replace(WANTED, ports=PORTS[1:])), INODES))
    assert steps == ["SetPeers", "MakePort", "DropPorts", "DropPeers", "DropSegment"]


def test_a_device_made_anew_is_told_all_again() -> None:
    seen = reached(WANTED)
    seen.segments[4097] = ("", 1450)
    segment, peers = plan(WANTED, seen, INODES)
    assert isinstance(segment, p.MakeSegment)
    assert peers == p.SetPeers(
        ((4097, ip_address("10.0.0.9"), "02:42:0a:00:00:09"),), ((4097, "02:42:0a:00:00:09", NODES[0]),)
    )


def test_an_interface_half_made_or_of_another_namespace_is_made_anew() -> None:
    for inodes, marks in ((INODES, ("", "", 0)), ({**INODES, "/ns0": 999}, None)):
        seen = reached(WANTED)
        if marks:
            seen.ports[PORTS[0].name] = marks
        assert plan(WANTED, seen, inodes) == [p.MakePort(PORTS[0], inodes["/ns0"], 1450, anew=True)]


def test_a_container_without_its_namespace_gets_nothing() -> None:
    assert kinds(plan(WANTED, reached(replace(WANTED, ports=())), {"/ns1": 101})) == ["MakePort"]


def test_a_network_that_is_not_wanted_goes_whole() -> None:
    seen = reached(WANTED)
    assert plan(None, seen, {}) == [p.DropNamespace()]
    assert reached(None, seen) == Seen()
