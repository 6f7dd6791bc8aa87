"""Who is on other nodes: told change by change it is what it is when told at once, and the kernel is brought to it."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st

from shoal.network.kernel import plan
from shoal.network.kernel.others import Others
from shoal.network.kernel.state import Made, OverlayState, Seen
from shoal.network.records import PeerRecord
from shoal.network.rtnetlink import Address
from shoal.network.wanted import Endpoint, Overlay, Subnet

HERE = ip_address("192.0.2.1")
SUBNETS = [(ip_network("10.0.1.0/24"), 1), (ip_network("10.0.2.0/24"), 2), (ip_network("fd00::/64"), 1)]
OVERLAY = Overlay(
    "n",
    "net",
    (Subnet("10.0.1.0/24", "10.0.1.1", 1), Subnet("10.0.2.0/24", "10.0.2.1", 2), Subnet("fd00::/64", "fd00::1", 1)),
)
ADDRESSES = [ip_address(text) for text in ("10.0.1.5", "10.0.1.6", "10.0.2.5", "10.0.9.5", "fd00::5")]
MACS = ["02:42:0a:00:01:05", "02:42:0a:00:01:06"]

tunnels = st.sampled_from([ip_address(text) for text in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1")])
records = st.dictionaries(st.sampled_from(ADDRESSES), st.tuples(st.sampled_from(MACS), tunnels))
here = st.tuples(st.frozensets(st.sampled_from(ADDRESSES)), st.frozensets(st.sampled_from(MACS), max_size=1))
Records = dict[Address, tuple[str, Address]]
Here = tuple[frozenset[Address], frozenset[str]]


def read(said: Records) -> dict[Address, PeerRecord]:
    return {address: PeerRecord(ip_interface(f"{address}/24"), mac, tunnel) for address, (mac, tunnel) in said.items()}


def defined(said: Mapping[Address, PeerRecord], here: Here) -> tuple[dict[object, object], dict[object, object]]:
    """Return both tables, from all records at once."""
    neighbours: dict[object, object] = {}
    forwarding: dict[object, object] = {}
    for address in sorted(said, key=lambda one: (one.version, one.packed)):
        record = said[address]
        if address in here[0] or record.mac in here[1] or record.tunnel == HERE or record.tunnel.version == 6:
            continue
        for subnet, vni in SUBNETS:
            if address.version == subnet.version and address in subnet:
                neighbours[vni, address] = record.mac
                forwarding[vni, record.mac] = record.tunnel
    return neighbours, forwarding


@given(st.lists(st.tuples(records, here), max_size=8))
def test_any_changes_end_in_what_is_so_by_definition(steps: list[tuple[Records, Here]]) -> None:
    others, former = Others(SUBNETS, HERE), dict[Address, PeerRecord]()
    before = defined({}, (frozenset(), frozenset()))
    for said, now_here in steps:
        now = read(said)
        others.touched = set()
        others.here(*now_here)
        others.change([one for one in ADDRESSES if former.get(one) != now.get(one)], now)
        former, wanted = now, defined(now, now_here)
        assert (others.neighbours, others.forwarding) == wanted
        different = {key for key in {**before[0], **wanted[0]} if before[0].get(key) != wanted[0].get(key)}
        different |= {key for key in {**before[1], **wanted[1]} if before[1].get(key) != wanted[1].get(key)}
        assert different <= others.touched
        before = wanted


@given(st.lists(st.tuples(records, st.sets(st.integers(0, 1))), max_size=8))
def test_a_plan_of_what_was_touched_leads_to_the_whole_state(steps: list[tuple[Records, set[int]]]) -> None:
    made, seen, former, mark = Made(), Seen(), dict[Address, PeerRecord](), object()
    for said, containers in steps:
        now = read(said)
        changed = [one for one in ADDRESSES if former.get(one) != now.get(one)]
        second = "fd00::5/64" if 0 in containers else ""
        endpoints = [
            (
                f"/n{one}",
                Endpoint(f"{one}".ljust(64, "0"), "n", f"10.0.1.{5 + one}/24", MACS[one], "eth0", address6=second),
            )
            for one in containers
        ]
        state, _ = made.state(OVERLAY, endpoints, now, changed, local=HERE, vxlan_port=4789, path_mtu=1500)
        whole, _ = Made().state(OVERLAY, endpoints, now, local=HERE, vxlan_port=4789, path_mtu=1500)
        assert state == whole
        inodes = {"/n0": 1, "/n1": 2}
        for step in plan.plan(state, seen, inodes, state.touched if state.after is mark else None):
            plan.after(seen, step)
        assert plan.plan(state, seen, inodes) == []
        assert (seen.neighbours, seen.forwarding) == (state.neighbours, state.forwarding)
        former, mark = now, state.mine


def test_what_did_not_change_is_the_same_object_and_a_change_names_what_it_touched() -> None:
    made, said = Made(), read({ADDRESSES[0]: (MACS[0], ip_address("192.0.2.2"))})

    def look(*changed: Address) -> OverlayState:
        return made.state(OVERLAY, (), said, changed, local=HERE, vxlan_port=4789, path_mtu=1500)[0]

    first = look()
    assert first.touched is None
    assert look() is first
    assert look(ADDRESSES[0]) is first
    said |= read({ADDRESSES[1]: (MACS[1], ip_address("192.0.2.2"))})
    second = look(ADDRESSES[1])
    assert second.after is first.mine
    assert set(second.touched or ()) == set[object]({(1, ADDRESSES[1]), (1, MACS[1])})
    assert len(first.neighbours) == 1
