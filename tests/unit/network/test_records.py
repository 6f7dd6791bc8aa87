"""Values of the two tables: bytes that Docker Engine wrote, and bytes that nobody honest writes."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Interface, ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.api.gen import networkdb_pb2 as pb
from shoal.errors import InvalidArgument
from shoal.network.records import EndpointRecord, PeerRecord, of_one
from shoal.network.wanted import Port

# Written by Docker Engine 20.10 (gossip.md section 6).
PEER = "0a0b31302e302e312e332f3234121130323a34323a30613a30303a30313a30331a0c3139322e3136382e312e3130"
ENDPOINT = "0a077765622e312e7812037765621a0373696422053c6e696c3e2a0831302e302e312e3332071001185020903f3a01614201624801"


def test_dockers_peer_record() -> None:
    record = PeerRecord(ip_interface("10.0.1.3/24"), "02:42:0a:00:01:03", ip_address("192.168.1.10"))
    assert PeerRecord.decode(bytes.fromhex(PEER)) == record
    assert record.encode().hex() == PEER


def test_dockers_endpoint_record() -> None:
    record = EndpointRecord(
        name="web.1.x",
        address=ip_address("10.0.1.3"),
        service_id="sid",
        service_name="web",
        ports=(Port("udp", 80, 8080),),
        aliases=("a",),
        task_aliases=("b",),
        disabled=True,
    )
    assert EndpointRecord.decode(bytes.fromhex(ENDPOINT)) == record
    assert record.encode().hex() == ENDPOINT


def test_second_addresses_are_fields_that_docker_skips() -> None:
    peer = PeerRecord(
        ip_interface("10.0.1.3/24"), "02:42:0a:00:01:03", ip_address("192.168.1.10"), IPv6Interface("fd00::3/64")
    )
    assert PeerRecord.decode(peer.encode()) == peer
    assert peer.encode().hex().startswith(PEER)
    assert peer.addresses == (ip_address("10.0.1.3"), ip_address("fd00::3"))
    record = EndpointRecord("web.1.x", ip_address("10.0.1.3"), address6=IPv6Address("fd00::3"))
    record = replace(record, service_id="s", vip=ip_address("10.0.1.9"), vip6=IPv6Address("fd00::9"))
    assert EndpointRecord.decode(record.encode()) == record
    dockers = replace(record, address6=None, vip6=None)
    assert record.encode().startswith(dockers.encode())


def endpoint(**fields: object) -> bytes:
    return pb.EndpointRecord(**{"name": "x", "endpoint_ip": "10.0.1.3", **fields}).SerializeToString()  # type: ignore[arg-type]


def test_a_virtual_ip_is_read() -> None:
    assert EndpointRecord.decode(endpoint(virtual_ip="10.0.1.9")).vip == ip_address("10.0.1.9")
    assert EndpointRecord.decode(endpoint(virtual_ip="")).vip is None


@pytest.mark.parametrize(
    "value",
    [
        b"\xff",
        b"",
        endpoint(name=""),
        endpoint(name="x" * 513),
        endpoint(endpoint_ip="10.0.1"),
        endpoint(endpoint_ip="127.0.0.1"),
        endpoint(endpoint_ip="224.0.0.1"),
        endpoint(endpoint_ip="fe80::1%eth0"),
        endpoint(endpoint_ip="255.255.255.255"),
        endpoint(endpoint_ip="0.1.2.3"),
        endpoint(endpoint_ip="240.0.0.1"),
        endpoint(endpoint_ip="::ffff:10.0.1.3"),
        endpoint(virtual_ip="255.255.255.255"),
        endpoint(virtual_ip="0.0.0.0"),
        endpoint(endpoint_ip6="10.0.1.3"),
        endpoint(virtual_ip6="::1"),
        endpoint(virtual_ip="nobody"),
        endpoint(aliases=["a"] * 1025),
        endpoint(ingress_ports=[pb.PortConfig(target_port=70000, published_port=1)]),
        endpoint(ingress_ports=[pb.PortConfig(target_port=1, published_port=0)]),
        endpoint(ingress_ports=[pb.PortConfig(target_port=1, published_port=1, protocol=7)]),  # type: ignore[arg-type]
    ],
)
def test_an_endpoint_record_that_cannot_be_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidArgument):
        EndpointRecord.decode(value)


@pytest.mark.parametrize(
    ("address", "mac", "tunnel"),
    [
        ("10.0.1.3/33", "02:42:0a:00:01:03", "192.168.1.10"),
        ("", "02:42:0a:00:01:03", "192.168.1.10"),
        ("0.0.0.0/24", "02:42:0a:00:01:03", "192.168.1.10"),
        ("224.0.0.1/24", "02:42:0a:00:01:03", "192.168.1.10"),
        ("fd00::3%eth0/64", "02:42:0a:00:01:03", "192.168.1.10"),
        ("10.0.1.3/24", "03:42:0a:00:01:03", "192.168.1.10"),
        ("10.0.1.3/24", "ff:ff:ff:ff:ff:ff", "192.168.1.10"),
        ("10.0.1.3/24", "00:00:00:00:00:00", "192.168.1.10"),
        ("255.255.255.255/24", "02:42:0a:00:01:03", "192.168.1.10"),
        ("10.0.1.3/24", "02:42:0a:00:01:03", "255.255.255.255"),
        ("10.0.1.3/24", "02:42:0a:00:01:03", "0.1.2.3"),
        ("10.0.1.3/24", "02:42:0a:00:01:03", "224.0.0.1"),
        ("10.0.1.3/24", "02:42:0a:00:01:03", "fe80::1"),
        ("10.0.1.3/24", "02:42:0a:00:01:03", "::ffff:192.168.1.10"),
        ("10.0.1.3/24", "02:42:0a:00:01", "192.168.1.10"),
        ("10.0.1.3/24", "02:42:0a:00:01:03", ""),
        ("10.0.1.3/24", "02:42:0a:00:01:03", "127.0.0.1"),
    ],
)
def test_a_peer_record_that_cannot_be_is_refused(address: str, mac: str, tunnel: str) -> None:
    value = pb.PeerRecord(endpoint_ip=address, endpoint_mac=mac, tunnel_endpoint_ip=tunnel).SerializeToString()
    with pytest.raises(InvalidArgument):
        PeerRecord.decode(value)


@pytest.mark.parametrize(
    "second", ["10.0.1.3/24", "ff02::1/64", "::1/128", "fd00::3%; flush ruleset/64", "fd00::3/129"]
)
def test_a_peer_record_whose_second_address_cannot_be_is_refused(second: str) -> None:
    record = pb.PeerRecord(
        endpoint_ip="10.0.1.3/24",
        endpoint_ip6=second,
        endpoint_mac="02:42:0a:00:01:03",
        tunnel_endpoint_ip="192.168.1.10",
    )
    with pytest.raises(InvalidArgument):
        PeerRecord.decode(record.SerializeToString())


@pytest.mark.parametrize(
    ("address", "subnet", "can"),
    [
        ("10.0.1.3", "10.0.1.0/24", True),
        ("10.0.1.0", "10.0.1.0/24", False),
        ("10.0.1.255", "10.0.1.0/24", False),
        ("10.0.2.3", "10.0.1.0/24", False),
        ("10.0.1.1", "10.0.1.0/31", True),
        ("fd00::", "fd00::/64", True),
        ("fd00::1", "10.0.1.0/24", False),
    ],
)
def test_one_machine_has_no_address_of_all(address: str, subnet: str, can: bool) -> None:
    assert of_one(ip_address(address), ip_network(subnet)) is can


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(value: bytes) -> None:
    for kind in (EndpointRecord, PeerRecord):
        try:
            record = kind.decode(value)
        except InvalidArgument:
            continue
        assert kind.decode(record.encode()) == record
