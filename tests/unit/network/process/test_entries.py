"""What a node writes for its endpoints, and in which order."""

from ipaddress import ip_address

from shoal.network.process.entries import Entries, steps, wanted_entries
from shoal.network.records import ENDPOINTS, PEERS, EndpointRecord, PeerRecord
from shoal.network.wanted import Endpoint, Sandbox, Service, Wanted

HERE = ip_address("10.9.0.1")


def wanted(*, enabled: bool, service: bool = True) -> Wanted:
    told = Service("s", "web", "10.0.1.4", ("w",)) if service else None
    endpoint = Endpoint("e1", "blue", "10.0.1.5/24", "02:42:0a:00:01:05", "eth0", told, ("mine",), enabled)
    return Wanted(1, sandboxes=(Sandbox("c" * 64, "web.1.x", "/n", (endpoint,), hostname="host"),))


def record(entries: Entries) -> EndpointRecord:
    return EndpointRecord.decode(entries[ENDPOINTS, "blue", "e1"])


def test_an_interface_is_told_of_at_once_and_its_task_once_it_is_enabled() -> None:
    before = wanted_entries(wanted(enabled=False), HERE, (), {})
    assert list(before) == [(PEERS, "blue", "e1")]
    peer = PeerRecord.decode(before[PEERS, "blue", "e1"])
    assert (str(peer.address), peer.mac, peer.tunnel) == ("10.0.1.5/24", "02:42:0a:00:01:05", HERE)
    after = wanted_entries(wanted(enabled=True), HERE, (), before)
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
    enabled = wanted_entries(wanted(enabled=True), HERE, (), {})
    assert record(wanted_entries(wanted(enabled=False), HERE, (), enabled)).disabled


def test_a_container_without_a_service_has_its_own_names_alone() -> None:
    made = record(wanted_entries(wanted(enabled=True, service=False), HERE, (), {}))
    assert (made.service_id, made.vip, made.task_aliases) == ("", None, ("c" * 12, "host", "mine"))


def test_what_is_not_in_the_kernel_is_not_told_of() -> None:
    assert wanted_entries(wanted(enabled=True), HERE, {"e1"}, {}) == {}


def test_a_peer_comes_before_its_endpoint_and_goes_after_it() -> None:
    entries = wanted_entries(wanted(enabled=True), HERE, (), {})
    assert [key[0] for key, _ in steps({}, entries)] == [PEERS, ENDPOINTS]
    assert [(key[0], value) for key, value in steps(entries, {})] == [(ENDPOINTS, None), (PEERS, None)]
    disabled = wanted_entries(wanted(enabled=False), HERE, (), entries)
    assert [key[0] for key, _ in steps(entries, disabled)] == [ENDPOINTS]
    assert list(steps(entries, entries)) == []
