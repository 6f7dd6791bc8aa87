"""What a node writes for its endpoints, and in which order."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

from shoal.network.process.entries import Entries, Key, Written, node_entries, sandbox_entries, steps
from shoal.network.records import ENDPOINTS, PEERS, Address, EndpointRecord, PeerRecord
from shoal.network.wanted import Endpoint, Overlay, Port, Sandbox, Service

HERE = ip_address("10.9.0.1")


def wanted(*, enabled: bool, service: bool = True) -> Sandbox:
    told = Service("s", "web", "10.0.1.4", ("w",)) if service else None
    endpoint = Endpoint("e1", "blue", "10.0.1.5/24", "02:42:0a:00:01:05", "eth0", told, ("mine",), enabled)
    return Sandbox("c" * 64, "web.1.x", "/n", (endpoint,), hostname="host")


def entries_of(sandbox: Sandbox, tunnel: Address, without: set[str], written: Entries) -> dict[Key, bytes]:
    return sandbox_entries(sandbox, tunnel, {"blue"}, without, written)


def record(entries: Entries) -> EndpointRecord:
    return EndpointRecord.decode(entries[ENDPOINTS, "blue", "e1"])


def test_an_interface_is_told_of_at_once_and_its_task_once_it_is_enabled() -> None:
    before = entries_of(wanted(enabled=False), HERE, set(), {})
    assert list(before) == [(PEERS, "blue", "e1")]
    peer = PeerRecord.decode(before[PEERS, "blue", "e1"])
    assert (str(peer.address), peer.mac, peer.tunnel) == ("10.0.1.5/24", "02:42:0a:00:01:05", HERE)
    after = entries_of(wanted(enabled=True), HERE, set(), before)
    assert record(after) == EndpointRecord(
        name="web.1.x",
        address=ip_address("10.0.1.5"),
        service_id="s",
        service_name="web",
        vip=ip_address("10.0.1.4"),
        aliases=("w",),
        task_aliases=("c" * 12, "host", "mine"),
    )


def test_one_that_is_enabled_no_more_is_told_of_as_disabled() -> None:
    enabled = entries_of(wanted(enabled=True), HERE, set(), {})
    assert record(entries_of(wanted(enabled=False), HERE, set(), enabled)).disabled


def test_a_container_without_a_service_has_its_own_names_alone() -> None:
    made = record(entries_of(wanted(enabled=True, service=False), HERE, set(), {}))
    assert (made.service_id, made.vip, made.task_aliases) == ("", None, ("c" * 12, "host", "mine"))


def test_both_addresses_are_told_in_one_entry() -> None:
    sandbox = wanted(enabled=True)
    (endpoint,) = sandbox.endpoints
    service = Service("s", "web", "10.0.1.4", vip6="fd00::4")
    two = replace(endpoint, address6="fd00::5/64", service=service)
    made = entries_of(replace(sandbox, endpoints=(two,)), HERE, set(), {})
    assert PeerRecord.decode(made[PEERS, "blue", "e1"]).addresses == (ip_address("10.0.1.5"), ip_address("fd00::5"))
    assert record(made).addresses == (ip_address("10.0.1.5"), ip_address("fd00::5"))
    assert (record(made).vip, record(made).vip6) == (ip_address("10.0.1.4"), ip_address("fd00::4"))


def test_what_is_not_in_the_kernel_is_not_told_of() -> None:
    assert entries_of(wanted(enabled=True), HERE, {"e1"}, {}) == {}


def test_a_peer_comes_before_its_endpoint_and_goes_after_it() -> None:
    entries = entries_of(wanted(enabled=True), HERE, set(), {})
    assert [key[0] for key, _ in steps({}, entries)] == [PEERS, ENDPOINTS]
    assert [(key[0], value) for key, value in steps(entries, {})] == [(ENDPOINTS, None), (PEERS, None)]
    disabled = entries_of(wanted(enabled=False), HERE, set(), entries)
    assert [key[0] for key, _ in steps(entries, disabled)] == [ENDPOINTS]
    assert list(steps(entries, entries)) == []


def test_what_was_written_is_known_by_container() -> None:
    written = Written()
    (peer,) = written.change({}, [wanted(enabled=False)], (), HERE, {"blue"}, set())
    assert peer[0] == (PEERS, "blue", "e1")
    (endpoint,) = written.change({}, [wanted(enabled=True)], (), HERE, {"blue"}, set())
    assert endpoint[0] == (ENDPOINTS, "blue", "e1")
    assert written.networks() == {"blue"}
    assert written.change({}, [wanted(enabled=True)], (), HERE, {"blue"}, set()) == []
    gone = [((ENDPOINTS, "blue", "e1"), None), ((PEERS, "blue", "e1"), None)]
    assert written.change({}, [], ["c" * 64], HERE, {"blue"}, set()) == gone
    assert written.change({}, [], ["c" * 64], HERE, {"blue"}, set()) == []


def test_what_was_written_on_a_network_that_was_left_went_with_it() -> None:
    written = Written()
    written.change({}, [wanted(enabled=True)], (), HERE, {"blue"}, set())
    assert written.change({}, [wanted(enabled=True)], (), HERE, {"red"}, set()) == []
    assert len(written.change({}, [wanted(enabled=True)], (), HERE, {"blue"}, set())) == 2


def test_an_endpoint_that_is_another_containers_now_is_not_taken_away() -> None:
    written = Written()
    written.change({}, [wanted(enabled=True)], (), HERE, {"blue"}, set())
    other = replace(wanted(enabled=True), container="d" * 64)
    ((key, value),) = written.change({}, [other], ["c" * 64], HERE, {"blue"}, set())
    assert (key, value is None) == ((ENDPOINTS, "blue", "e1"), False)


def test_on_ingress_a_node_tells_of_its_own_address_by_a_key_that_is_nobody_elses() -> None:
    overlays = (Overlay("in", "ingress", (), "10.0.0.2/24", ingress=True), Overlay("blue", "blue", (), "10.0.1.2/24"))
    (entry,) = node_entries(overlays, HERE, "node").items()
    (table, network, key), value = entry
    assert (table, network, len(key)) == (PEERS, "in", 64)
    assert PeerRecord.decode(value) == PeerRecord(ip_interface("10.0.0.2/24"), "02:42:0a:00:00:02", HERE)
    assert list(node_entries(overlays, HERE, "node")) == [(table, network, key)]
    assert list(node_entries(overlays, HERE, "other")) != [(table, network, key)]
    written = Written()
    assert written.change(dict([entry]), (), (), HERE, {"in"}, set()) == [entry]
    assert written.change(dict([entry]), (), (), HERE, {"in"}, set()) == []
    assert written.change({}, (), (), HERE, {"in"}, set()) == [((table, network, key), None)]
    assert written.change(dict([entry]), (), (), HERE, {"in"}, set()) == [entry]
    assert written.change(dict([entry]), (), (), HERE, {"blue"}, set()) == []


def test_only_where_ports_are_published_a_task_says_that_clients_may_be_seen() -> None:
    for ports, keeps, said in (
        ((), True, False),
        ((Port("tcp", 80, 8080),), True, True),
        ((Port("tcp", 80, 8080),), False, False),
    ):
        service = Service("s", "web", "10.0.0.4", ports=ports, keeps_source=keeps)
        endpoint = Endpoint("e1", "blue", "10.0.0.5/24", "02:42:0a:00:00:05", "", service, enabled=True)
        made = sandbox_entries(Sandbox("c" * 64, "x", "/n", (endpoint,)), HERE, {"blue"}, set(), {})
        assert record(made).keeps_source == said
        assert EndpointRecord.decode(record(made).encode()) == record(made)
