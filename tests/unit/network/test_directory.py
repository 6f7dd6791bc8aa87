"""The directory: a function of the present entries, whatever came before them."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Interface, ip_address, ip_interface
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shoal.network.claims import Named, ServiceKey
from shoal.network.directory import Changes, Directory
from shoal.network.records import ENDPOINTS, PEERS, Address, Changed, EndpointRecord, PeerRecord
from shoal.network.wanted import LINGER, Overlay, Port

A, B, C, VIP, VIP2 = (ip_address(f"10.0.1.{last}") for last in (3, 4, 5, 100, 101))
HTTP = Port("tcp", 80, 8080)
DNS = Port("udp", 53, 8080)


class Table:
    """What NetworkDB holds, telling each change as it would."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.entries: dict[tuple[str, str, str], bytes] = {}

    def put(self, table: str, key: str, value: bytes | None, network: str = "n") -> Changes:
        former = self.entries.pop((table, network, key), None)
        if value is not None:
            self.entries[table, network, key] = value
        self.directory.apply([Changed(table, network, key, "node", former, value)])
        return self.directory.take_changes()

    def endpoint(self, key: str, record: EndpointRecord | None, network: str = "n") -> Changes:
        return self.put(ENDPOINTS, key, record.encode() if record else None, network)

    def peer(self, key: str, record: PeerRecord | None, network: str = "n") -> Changes:
        return self.put(PEERS, key, record.encode() if record else None, network)

    def named(self, name: str, network: str = "n") -> set[str] | None:
        found = self.directory.named(network, name)
        return None if found is None else {str(ip_address(one)) for one in (*found.v4, *found.v6)}


def task(number: int, address: Address, vip: Address | None = VIP, **fields: Any) -> EndpointRecord:
    return EndpointRecord(
        f"web.{number}.x", address, **{"service_id": "s", "service_name": "web", "vip": vip, **fields}
    )


def peer(address: Address, node: int, last: int = 3) -> PeerRecord:
    return PeerRecord(ip_interface(f"{address}/24"), f"02:42:0a:00:01:{last:02x}", ip_address(f"192.168.0.{node}"))


def test_a_task_with_two_addresses_is_found_by_each() -> None:
    table = Table()
    six, vip6 = IPv6Address("fd00::3"), IPv6Address("fd00::9")
    table.endpoint("e1", task(1, A, address6=six, vip6=vip6))
    table.peer("e1", replace(peer(A, 1), address6=IPv6Interface("fd00::3/64")))
    table.endpoint("e2", task(2, B))  # a Docker Engine's: it tells of one address
    assert table.named("web") == {str(VIP), str(vip6)}
    assert table.named("tasks.web") == {str(A), str(B), str(six)}
    assert table.directory.pointer("n", six) == "web.1.x"
    assert table.directory.backends(ServiceKey("n", "s", (), VIP)) == {A: True, B: True}
    assert table.directory.backends(ServiceKey("n", "s", (), vip6)) == {six: True}
    assert set(table.directory.neighbours("n")) == {A, six}
    table.endpoint("e1", None)
    changes = table.peer("e1", None)
    assert changes.neighbours == {("n", A), ("n", six)}
    assert table.named("web") == {str(VIP)}
    assert table.directory.neighbours("n") == {}


def test_a_task_with_two_addresses_and_no_virtual_ip() -> None:
    table = Table()
    table.endpoint("e1", task(1, A, None, address6=IPv6Address("fd00::3")))
    assert table.named("web") == {str(A), "fd00::3"}


def test_a_service_is_found_by_its_name_its_tasks_and_each_container() -> None:
    table = Table()
    table.endpoint("e1", task(1, A, aliases=("Shop",)))
    table.endpoint("e2", task(2, B))
    assert table.named("web") == table.named("shop") == {str(VIP)}
    assert table.named("tasks.web") == {str(A), str(B)}
    assert table.named("tasks.shop") == table.named("web.1.x") == {str(A)}
    assert table.named("nobody") is None
    assert table.named("web", "other") is None
    assert table.directory.pointer("n", B) == "web.2.x"
    assert table.directory.pointer("n", VIP) is None


def test_tasks_of_a_service_are_listed_once_each_though_two_share_an_address() -> None:
    """Known fault 17; and a duplicate stays until the last that claims it is gone."""
    table = Table()
    table.endpoint("old", task(1, A))
    table.endpoint("new", task(1, A))
    assert table.directory.named("n", "tasks.web") == Named((A.packed,))
    key = ServiceKey("n", "s", (), VIP)
    assert table.directory.backends(key) == {A: True}
    table.endpoint("old", None)
    assert table.named("tasks.web") == {str(A)}
    assert table.directory.pointer("n", A) == "web.1.x"
    table.endpoint("new", None)
    assert table.named("tasks.web") is None
    assert table.directory.backends(key) == {}


def test_an_update_takes_away_all_that_the_former_value_put_there() -> None:
    """Known fault 5: a new value may have nothing of the old one."""
    table = Table()
    table.endpoint("e", EndpointRecord("old", A, "s1", "one", VIP, aliases=("a",), task_aliases=("t",)))
    changed = table.endpoint("e", EndpointRecord("new", B, "s2", "two", VIP2))
    for name in ("old", "one", "a", "t", "tasks.one", "tasks.a"):
        assert table.named(name) is None
        assert ("n", name) in changed.names
    assert table.directory.pointer("n", A) is None
    assert changed.services == {ServiceKey("n", "s1", (), VIP), ServiceKey("n", "s2", (), VIP2)}
    assert table.directory.services("n") == (ServiceKey("n", "s2", (), VIP2),)


def test_a_disabled_task_keeps_the_virtual_ip_and_is_a_backend_without_new_connections() -> None:
    table = Table()
    key = ServiceKey("n", "s", (HTTP,), VIP)
    table.endpoint("e1", task(1, A, ports=(HTTP,)))
    table.endpoint("e2", task(2, B, ports=(HTTP,)))
    table.endpoint("e1", task(1, A, ports=(HTTP,), disabled=True))
    assert table.named("web") == {str(VIP)}
    assert table.named("tasks.web") == {str(B)}
    assert table.named("web.1.x") is None
    assert table.directory.pointer("n", A) is None
    assert table.directory.backends(key) == {A: False, B: True}
    table.endpoint("e2", task(2, B, ports=(HTTP,), disabled=True))
    assert table.named("web") == {str(VIP)}  # while any backend remains
    table.endpoint("e1", None)
    table.endpoint("e2", None)
    assert table.named("web") is None
    assert table.directory.services("n") == ()


def test_the_last_one_on_its_way_out_counts_a_moment_longer() -> None:
    """Start-first with one replica: the word of the new task may come after that of the end of the old one."""
    table, key = Table(), ServiceKey("n", "s", (), VIP)
    table.endpoint("e1", task(1, A))
    table.endpoint("e1", task(1, A, disabled=True))
    assert table.directory.backends(key) == {A: True}
    assert table.directory.late("n") == {A}
    assert table.named("tasks.web") is None
    table.endpoint("e2", task(1, B))
    assert table.directory.backends(key) == {A: False, B: True}
    table.endpoint("e2", None)
    assert table.directory.next_expiry() == LINGER
    assert table.directory.expire(LINGER / 2) == set()
    assert table.directory.expire(LINGER) == {"n"}
    assert table.directory.take_changes().services == {key}
    assert (table.directory.backends(key), table.directory.late("n")) == ({A: False}, set())
    assert table.directory.next_expiry() is None
    table.endpoint("e1", task(1, A))
    table.endpoint("e1", task(1, A, disabled=True))
    table.endpoint("e1", None)
    assert table.directory.next_expiry() is None


def test_a_task_that_is_disabled_from_the_first_is_so() -> None:
    """Old engines took a CREATE with service_disabled for an active backend."""
    table = Table()
    table.endpoint("e1", task(1, A, disabled=True))
    assert table.named("tasks.web") is None
    assert table.directory.backends(ServiceKey("n", "s", (), VIP)) == {A: False}


def test_a_change_of_endpoint_mode_leaves_no_address_of_the_former_kind() -> None:
    """Known fault 14, both ways, by a rolling update."""
    table = Table()
    table.endpoint("o1", task(1, A))
    table.endpoint("o2", task(2, B))
    table.endpoint("n1", task(1, C, None))
    assert table.named("web") == {str(A), str(B), str(C)}  # the virtual IP is already someone else's
    table.endpoint("o1", task(1, A, disabled=True))
    table.endpoint("o2", None)
    assert table.named("web") == {str(C)}
    table.endpoint("o1", None)
    table.endpoint("n1", task(1, C, None, disabled=True))
    table.endpoint("v1", task(1, A, VIP2))
    assert table.named("web") == {str(VIP2)}
    table.endpoint("n1", None)
    assert table.named("web") == {str(VIP2)}


def test_an_alias_moves_from_one_service_to_another() -> None:
    """Known fault 15: it lives as long as a task claims it, and not as long as the service does."""
    table = Table()
    for number, address in ((1, A), (2, B)):
        table.endpoint(f"o{number}", task(number, address, aliases=("front",)))
    other = EndpointRecord("new.1.x", C, "t", "new", VIP2, aliases=("front",))
    table.endpoint("n1", other)
    assert table.named("front") == {str(VIP), str(VIP2)}
    table.endpoint("o1", task(1, A))
    assert table.named("front") == {str(VIP), str(VIP2)}
    table.endpoint("o2", task(2, B))
    assert table.named("front") == {str(VIP2)}
    assert table.named("web") == {str(VIP)}


def test_ports_in_another_order_are_another_service() -> None:
    table = Table()
    table.endpoint("e1", task(1, A, ports=(HTTP, DNS)))
    table.endpoint("e2", task(2, B, ports=(DNS, HTTP)))
    assert set(table.directory.services("n")) == {
        ServiceKey("n", "s", (HTTP, DNS), VIP),
        ServiceKey("n", "s", (DNS, HTTP), VIP),
    }


def test_ingress_has_backends_and_no_names() -> None:
    """Known fault 16."""
    table = Table()
    table.directory.set_overlays([Overlay("n", "ingress", (), ingress=True)])
    changed = table.endpoint("e1", task(1, A, ports=(HTTP,)))
    assert changed.names == frozenset()
    assert table.named("web") is None
    assert table.directory.names("n") == ()
    assert table.directory.pointer("n", A) is None
    assert table.directory.backends(ServiceKey("n", "s", (HTTP,), VIP)) == {A: True}


def test_a_neighbour_is_there_while_any_entry_of_its_address_is() -> None:
    table = Table()
    table.peer("b", peer(A, 2))
    assert table.peer("a", peer(A, 1)).neighbours == frozenset()  # b counts still
    assert table.directory.neighbour("n", A) == peer(A, 2)
    table.peer("b", None)
    assert table.directory.neighbours("n") == {A: peer(A, 1)}
    assert table.peer("a", None).neighbours == {("n", A)}
    assert table.directory.neighbours("n") == {}


def test_of_several_neighbours_with_one_address_the_one_with_a_running_task_counts() -> None:
    table = Table()
    table.peer("z", peer(A, 1))
    table.peer("m", peer(A, 2))
    table.peer("a", peer(A, 3))
    assert table.endpoint("m", task(1, A, disabled=True)).neighbours == {("n", A)}
    assert table.directory.neighbour("n", A) == peer(A, 2)
    table.endpoint("a", task(2, A))
    assert table.directory.neighbour("n", A) == peer(A, 3)
    table.endpoint("a", task(2, B))  # it has another address now
    assert table.directory.neighbour("n", A) == peer(A, 2)


def test_of_several_neighbours_with_one_second_address_too() -> None:
    table, six = Table(), IPv6Address("fd00::3")
    old, new = (replace(peer(one, node), address6=IPv6Interface("fd00::3/64")) for one, node in ((A, 1), (B, 2)))
    table.peer("z", old)
    table.peer("a", new)
    assert table.directory.neighbours("n")[six] == old
    assert table.endpoint("a", task(2, B, address6=six)).neighbours == {("n", six)}
    assert table.directory.neighbours("n") == {A: old, B: new, six: new}
    table.endpoint("a", task(2, B))
    assert table.directory.neighbours("n")[six] == old
    table.directory.apply([Changed(PEERS, "n", "z", "node", old.encode(), None, "silent")])
    assert table.directory.take_changes().neighbours == {("n", six)}
    table.peer("z", old)
    assert table.directory.take_changes().neighbours == frozenset()
    assert table.directory.neighbours("n") == {A: old, B: new, six: old}


def test_the_last_one_on_its_way_out_counts_a_moment_longer_by_both_addresses() -> None:
    table, six, vip6 = Table(), IPv6Address("fd00::3"), IPv6Address("fd00::9")
    keys = [ServiceKey("n", "s", (), VIP), ServiceKey("n", "s", (), vip6)]
    table.endpoint("e1", task(1, A, address6=six, vip6=vip6))
    table.endpoint("e1", task(1, A, address6=six, vip6=vip6, disabled=True))
    assert [table.directory.backends(key) for key in keys] == [{A: True}, {six: True}]
    assert table.directory.late("n") == {A, six}
    assert table.directory.expire(LINGER) == {"n"}
    assert table.directory.take_changes().services == set(keys)
    assert [table.directory.backends(key) for key in keys] == [{A: False}, {six: False}]


def test_what_cannot_be_read_is_no_entry() -> None:
    table = Table()
    table.endpoint("e1", task(1, A))
    table.put(ENDPOINTS, "e1", b"\xff")
    assert table.named("web") is None
    table.put(PEERS, "e1", b"")
    table.put("another_table", "e1", b"x")
    table.put(ENDPOINTS, "e1", None)
    assert table.directory.services("n") == ()


def test_a_network_that_was_left_has_nothing() -> None:
    table = Table()
    table.endpoint("e1", task(1, A))
    table.peer("e1", peer(A, 1))
    table.directory.forget("n")
    changed = table.directory.take_changes()
    assert changed.neighbours == {("n", A)}
    assert changed.services == {ServiceKey("n", "s", (), VIP)}
    assert ("n", "web") in changed.names
    assert table.directory.take_changes() == Changes()
    assert table.named("web") is None
    table.directory.forget("n")
    assert table.directory.endpoints("n") == {}


def test_telling_the_same_again_changes_nothing() -> None:
    table = Table()
    table.endpoint("e1", task(1, A))
    table.peer("e1", peer(A, 1))
    assert table.endpoint("e1", task(1, A)) == Changes()
    assert table.peer("e1", peer(A, 1)) == Changes()


names = st.sampled_from(["web", "Web", "api", "tasks.web", "x.1", "büro"])
SIX, SIX2, SIX_VIP = (IPv6Address(f"fd00::{last}") for last in (1, 2, 9))
addresses = st.sampled_from([A, B, C, SIX])
records = st.builds(
    EndpointRecord,
    name=names,
    address=addresses,
    service_id=st.sampled_from(["", "s", "t"]),
    service_name=st.sampled_from(["", "web", "api"]),
    vip=st.sampled_from([None, None, VIP, VIP2]),
    ports=st.sampled_from([(), (HTTP,), (HTTP, DNS)]),
    aliases=st.lists(names, max_size=2).map(tuple),
    task_aliases=st.lists(names, max_size=2).map(tuple),
    disabled=st.booleans(),
    address6=st.sampled_from([None, SIX, SIX2]),
    vip6=st.sampled_from([None, SIX_VIP]),
)
values = st.one_of(st.none(), records.map(EndpointRecord.encode), st.binary(max_size=4))
peer_records = st.builds(
    lambda one, second: replace(one, address6=second and IPv6Interface(f"{second}/64")),
    st.builds(peer, st.sampled_from([A, B, C, SIX]), st.integers(1, 3)),
    st.sampled_from([None, SIX, SIX2]),
)
peers = st.one_of(st.none(), peer_records.map(PeerRecord.encode))
events = st.one_of(
    st.tuples(st.just(ENDPOINTS), st.sampled_from("abc"), values, st.sampled_from(["n", "m", "i"])),
    st.tuples(st.just(PEERS), st.sampled_from("abc"), peers, st.sampled_from(["n", "m"])),
)
INGRESS = [Overlay("i", "ingress", (), ingress=True)]


def seen(directory: Directory) -> dict[object, object]:
    """Return all that can be looked up."""
    found: dict[object, object] = {}
    for network in ("n", "m", "i"):
        for name in directory.names(network):
            found[network, name] = directory.named(network, name)
        for key in directory.services(network):
            found[key] = directory.backends(key)
        for address, neighbour in directory.neighbours(network).items():
            found[network, address] = neighbour
        found[network] = dict(directory.endpoints(network))
        found[network, "pointers"] = {one: directory.pointer(network, one) for one in (A, B, C, VIP, SIX, SIX2)}
        found[network, "late"] = directory.late(network)
    return found


def test_the_place_of_a_silent_nodes_container_stays_until_its_end_is_told_or_another_has_it() -> None:
    table = Table()
    table.peer("old", peer(A, 1))
    silent = Changed(PEERS, "n", "old", "node", peer(A, 1).encode(), None, "silent")
    table.directory.apply([silent, Changed(PEERS, "n", "unknown", "node", None, None, "silent")])
    assert table.directory.take_changes().neighbours == frozenset()
    assert table.directory.neighbours("n") == {A: peer(A, 1)}
    for key in ("a", "z"):  # neither has a task, as a node's own address
        table.peer(key, peer(A, 2))
        assert table.directory.neighbour("n", A) == peer(A, 2)
        table.peer(key, None)
    assert table.directory.neighbour("n", A) == peer(A, 1)
    table.peer("a", peer(A, 2))
    assert table.peer("old", peer(A, 1)).neighbours == {("n", A)}  # it has returned
    assert table.directory.neighbour("n", A) == peer(A, 1)
    table.directory.apply([silent])
    table.peer("a", None)
    table.peer("old", None)
    assert table.directory.neighbours("n") == {}


def built(entries: Iterable[tuple[tuple[str, str, str], bytes]]) -> Directory:
    directory = Directory()
    directory.set_overlays(INGRESS)
    directory.apply(Changed(table, network, key, "node", None, value) for (table, network, key), value in entries)
    return directory


@given(st.lists(events, max_size=25), st.randoms(use_true_random=False), st.booleans())
def test_any_order_of_events_ends_in_what_the_last_entries_say(events: list[Any], rng: Any, ask: bool) -> None:
    table = Table()
    table.directory.set_overlays(INGRESS)
    for kind, key, value, network in events:
        before = seen(table.directory) if ask else {}  # looking must not change what is found later
        changed = table.put(kind, key, value, network)
        if ask:
            after = seen(table.directory)
            different = {one for one in before.keys() | after.keys() if before.get(one) != after.get(one)}
            told = changed.names | changed.services | changed.neighbours
            assert {one for one in different if isinstance(one, ServiceKey | tuple)} <= told | {
                (one, what) for one in ("n", "m", "i") for what in ("pointers", "late")
            }
    entries = list(table.entries.items())
    rng.shuffle(entries)
    table.directory.expire(LINGER)
    assert seen(table.directory) == seen(built(entries))


@given(st.lists(events, max_size=25))
def test_nothing_is_left_when_all_entries_are_gone(events: list[Any]) -> None:
    table = Table()
    for kind, key, value, network in events:
        table.put(kind, key, value, network)
    for kind, network, key in list(table.entries):
        table.put(kind, key, None, network)
    assert not table.directory._networks
