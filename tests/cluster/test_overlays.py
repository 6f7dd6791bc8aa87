"""Overlays in the kernel: containers on several hosts reach each other, and nothing is left of what is gone."""

import dataclasses
import errno
import hashlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv6Interface, ip_interface
from pathlib import Path

import pytest

from shoal.network.kernel.state import OverlayState, overlay_state
from shoal.network.kernel.workplace import Workplace
from shoal.network.netlink import NetlinkSocket
from shoal.network.records import PeerRecord
from shoal.network.rtnetlink import Reply, Request
from shoal.network.wanted import Endpoint, Overlay, Subnet, Trouble
from tests.harness.hosts import eventually
from tests.harness.overlay_hosts import OverlayHost, Servers, ask, ask_udp, open_tcp, overlay_hosts

pytestmark = pytest.mark.root

NET = Overlay("net1" + "0" * 21, "one", (Subnet("10.0.1.0/24", "10.0.1.1", 4097),))
TWO_SUBNETS = Overlay(
    "net2" + "0" * 21, "two", (Subnet("10.0.2.0/24", "10.0.2.1", 4098), Subnet("10.0.3.0/24", "10.0.3.1", 4099))
)
SIX = Overlay("net6" + "0" * 21, "six", (Subnet("fd00:6::/64", "fd00:6::1", 4100),))


BOTH = Overlay(
    "net8" + "0" * 21, "both", (Subnet("10.0.8.0/24", "10.0.8.1", 4101), Subnet("fd00:8::/64", "fd00:8::1", 4101))
)
KEPT = ("10.0.1.5/24", "10.0.1.6/24")  # their endpoints are the same all the time


def mac(address: str) -> str:
    packed = ip_interface(address).ip.packed[-4:]
    return "02:42:" + packed.hex(":")


def endpoint(address: str, network: Overlay = NET, interface: str = "eth0", salt: str = "") -> Endpoint:
    name = hashlib.sha256(f"{address}{network.id}{salt}".encode()).hexdigest()
    return Endpoint(name, network.id, address, mac(address), interface)


def state(
    host: OverlayHost,
    here: dict[str, Path],
    there: dict[str, OverlayHost] | None = None,
    network: Overlay = NET,
    *,
    interface: str = "eth0",
    mtu: int = 1500,
    gateway: bool = False,
    salt: str = "",
) -> OverlayState:
    """Return a host's part: containers of its own by their addresses, those of others by their hosts."""
    peers = [PeerRecord(ip_interface(at), mac(at), other.address) for at, other in (there or {}).items()]
    endpoints = []
    for address, path in here.items():
        one = endpoint(address, network, interface, "" if address in KEPT else salt)
        endpoints.append((str(path), dataclasses.replace(one, gateway=gateway)))
    made, troubles = overlay_state(network, endpoints, peers, local=host.address, vxlan_port=4789, path_mtu=mtu)
    assert troubles == []
    return made


def apply(host: OverlayHost, *states: OverlayState) -> list[Trouble]:
    return host.do(lambda: host.overlays.apply(states))


def tables(host: OverlayHost, network: Overlay = NET) -> tuple[str, str]:
    """Return the neighbours and the forwarding entries that were said for good."""
    place = host.place(network.id)
    lines = host.ip(place, "bridge", "fdb").splitlines()
    static = sorted(line for line in lines if "dev vx" in line and ("dst" in line or "static" in line))
    return host.ip(place, "ip", "neighbour", "show", "nud", "permanent"), "\n".join(static)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OverlayHost]]:
    with overlay_hosts(2, tmp_path_factory.mktemp("o")) as made:
        yield made


@pytest.fixture
def pair(hosts: list[OverlayHost]) -> Iterator[tuple[OverlayHost, OverlayHost]]:
    one, two = hosts
    yield one, two
    for host in hosts:
        assert apply(host) == []
        for path in (host.folder / "sandboxes").iterdir():
            host.end(path)
        assert list((host.folder / "overlays").iterdir()) == []


def test_a_forged_record_keeps_no_container_from_its_network(pair: tuple[OverlayHost, OverlayHost]) -> None:
    """The kernel refuses its MAC: every start on that network failed, on all nodes."""
    one, two = pair
    a, b = one.sandbox("a"), two.sandbox("b")
    peers = [
        PeerRecord(ip_interface("10.0.1.6/24"), mac("10.0.1.6/24"), two.address),
        PeerRecord(ip_interface("10.0.1.9/24"), "00:00:00:00:00:00", two.address),
    ]
    made, _ = overlay_state(
        NET, [(str(a), endpoint("10.0.1.5/24"))], peers, local=one.address, vxlan_port=4789, path_mtu=1500
    )
    (said,) = apply(one, made)
    assert said == Trouble(
        NET.id, "", "1 entries of other nodes are refused: 00:00:00:00:00:00: Operation not supported", bearable=True
    )
    assert apply(one, made) == [said]
    assert apply(two, state(two, {"10.0.1.6/24": b}, {"10.0.1.5/24": one})) == []
    with Servers() as servers:
        servers.add(two, b, "b")
        assert ask(one, a, "10.0.1.6") == "b"
    assert apply(one, state(one, {"10.0.1.5/24": a}, {"10.0.1.6/24": two})) == []


def test_containers_of_two_hosts_reach_each_other(pair: tuple[OverlayHost, OverlayHost]) -> None:
    one, two = pair
    a, b, c = one.sandbox("a"), two.sandbox("b"), two.sandbox("c")
    assert apply(one, state(one, {"10.0.1.5/24": a}, {"10.0.1.6/24": two, "10.0.1.7/24": two})) == []
    assert apply(two, state(two, {"10.0.1.6/24": b, "10.0.1.7/24": c}, {"10.0.1.5/24": one})) == []
    with Servers() as servers:
        for host, path, name in ((one, a, "a"), (two, b, "b"), (two, c, "c")):
            servers.add(host, path, name)
        assert ask(one, a, "10.0.1.6") == "b"
        assert ask_udp(one, a, "10.0.1.7") == "c"
        assert ask(two, b, "10.0.1.5") == "a"
        assert ask(two, b, "10.0.1.7") == "c"
        assert servers.asked == [("b", "10.0.1.5"), ("c", "10.0.1.5"), ("a", "10.0.1.6"), ("c", "10.0.1.6")]
        with pytest.raises(OSError, match=r"No route to host|timed out"):
            ask(one, a, "10.0.1.9")
    shown = one.ip(a, "ip", "address", "show", "eth0")
    assert "mtu 1450" in shown
    assert "inet 10.0.1.5/24" in shown
    assert f"link/ether {mac('10.0.1.5/24')}" in shown
    assert "inet6" not in shown
    assert "fe80" not in one.ip(one.place(NET.id), "ip", "address")
    assert one.do(lambda: one.overlays.path_mtu(one.address)) == 1500


def test_subnets_of_a_network_reach_each_other_by_their_gateways(pair: tuple[OverlayHost, OverlayHost]) -> None:
    one, two = pair
    a, b, c = one.sandbox("a"), two.sandbox("b"), one.sandbox("c")
    net = TWO_SUBNETS
    assert apply(one, state(one, {"10.0.2.5/24": a, "10.0.3.7/24": c}, {"10.0.3.6/24": two}, net)) == []
    assert apply(two, state(two, {"10.0.3.6/24": b}, {"10.0.2.5/24": one, "10.0.3.7/24": one}, net)) == []
    with Servers() as servers:
        servers.add(one, a, "a")
        servers.add(two, b, "b")
        servers.add(one, c, "c")
        assert ask(one, a, "10.0.3.6") == "b"
        assert ask(two, b, "10.0.2.5") == "a"
        assert ask(one, a, "10.0.3.7") == "c"
    assert "default" not in one.ip(a, "ip", "route")
    assert apply(one, state(one, {"10.0.2.5/24": a, "10.0.3.7/24": c}, {"10.0.3.6/24": two}, net, gateway=True)) == []
    assert "default via 10.0.2.1" in one.ip(a, "ip", "route")
    assert apply(one, state(one, {"10.0.2.5/24": a, "10.0.3.7/24": c}, {"10.0.3.6/24": two}, net)) == []
    assert "default" not in one.ip(a, "ip", "route")
    assert "10.0.3.0/24 via 10.0.2.1" in one.ip(a, "ip", "route")


def test_an_overlay_of_ipv6(pair: tuple[OverlayHost, OverlayHost]) -> None:
    one, two = pair
    a, b = one.sandbox("a"), two.sandbox("b")
    assert apply(one, state(one, {"fd00:6::5/64": a}, {"fd00:6::6/64": two}, SIX)) == []
    assert apply(two, state(two, {"fd00:6::6/64": b}, {"fd00:6::5/64": one}, SIX)) == []
    with Servers() as servers:
        servers.add(two, b, "b", family=socket.AF_INET6)
        assert ask(one, a, "fd00:6::6") == "b"
        assert ask_udp(one, a, "fd00:6::6") == "b"


def test_an_overlay_of_both_families(pair: tuple[OverlayHost, OverlayHost]) -> None:
    one, two = pair
    a, b, c = one.sandbox("a"), two.sandbox("b"), two.sandbox("c")
    second = {"10.0.8.5/24": "fd00:8::5/64", "10.0.8.6/24": "fd00:8::6/64"}  # the third is a Docker Engine's
    assert apply(one, with_second(second, state(one, {"10.0.8.5/24": a}, {}, BOTH), {"10.0.8.6/24": two})) == []
    here = {"10.0.8.6/24": b, "10.0.8.7/24": c}
    assert apply(two, with_second(second, state(two, here, {}, BOTH), {"10.0.8.5/24": one})) == []
    with Servers() as servers:
        servers.add(two, b, "b")
        servers.add(two, b, "b6", family=socket.AF_INET6)
        assert (ask(one, a, "10.0.8.6"), ask(one, a, "fd00:8::6")) == ("b", "b6")
        assert (ask(two, c, "10.0.8.6"), ask_udp(one, a, "fd00:8::6")) == ("b", "b6")
    assert "default" not in one.ip(a, "ip", "-6", "route")


def with_second(second: dict[str, str], made: OverlayState, there: dict[str, OverlayHost]) -> OverlayState:
    """Return a host's part with second addresses, of its own containers and of those of others."""
    peers = [
        PeerRecord(ip_interface(at), mac(at), other.address, IPv6Interface(second[at])) for at, other in there.items()
    ]
    endpoints = [
        (port.netns, dataclasses.replace(endpoint(str(port.address), BOTH), address6=second.get(str(port.address), "")))
        for port in made.ports
    ]
    whole, troubles = overlay_state(BOTH, endpoints, peers, local=made.local, vxlan_port=4789, path_mtu=1500)
    assert troubles == []
    return whole


def test_a_megabyte_passes_where_the_wire_is_narrow(tmp_path: Path, hosts: list[OverlayHost]) -> None:
    """Known fault 38. The path's MTU is changed while the containers run, and a connection stays."""
    one, two = hosts
    a, b = one.sandbox("m"), two.sandbox("m")
    assert apply(one, state(one, {"10.0.1.5/24": a}, {"10.0.1.6/24": two})) == []
    assert apply(two, state(two, {"10.0.1.6/24": b}, {"10.0.1.5/24": one})) == []
    switch = f"shoal-sw-{os.getpid()}"
    with Servers() as servers:
        servers.add(two, b, "b")
        with open_tcp(one, a) as kept:
            kept.connect(("10.0.1.6", 80))
            assert kept.recv(1) == b"b"
            _set_mtu(hosts, switch, 1280)
            try:
                assert [host.do(lambda host=host: host.overlays.path_mtu(host.address)) for host in hosts] == [1280] * 2  # type: ignore[misc]
                assert apply(one, state(one, {"10.0.1.5/24": a}, {"10.0.1.6/24": two}, mtu=1280)) == []
                assert apply(two, state(two, {"10.0.1.6/24": b}, {"10.0.1.5/24": one}, mtu=1280)) == []
                assert "mtu 1230" in one.ip(a, "ip", "link", "show", "eth0")
                sent, heard = os.urandom(1 << 20), bytearray()
                with open_tcp(one, a) as fresh:
                    fresh.connect(("10.0.1.6", 80))
                    assert fresh.recv(1) == b"b"
                    for at in range(0, len(sent), 1 << 16):
                        fresh.sendall(sent[at : at + (1 << 16)])
                        while len(heard) < at + (1 << 16):
                            heard += fresh.recv(1 << 16)
                assert bytes(heard) == sent
                kept.sendall(b"x" * 1400)
                assert kept.recv(1)
            finally:
                _set_mtu(hosts, switch, 1500)
    for host, path in ((one, a), (two, b)):
        assert apply(host) == []
        host.end(path)


def _set_mtu(hosts: list[OverlayHost], switch: str, mtu: int) -> None:
    for host in hosts:
        host.ip(Path(f"/run/netns/{host.name}"), "ip", "link", "set", "eth0", "mtu", str(mtu))
        host.ip(Path(f"/run/netns/{switch}"), "ip", "link", "set", f"p{host.number}", "mtu", str(mtu))


def test_two_hundred_starts_and_stops_with_reused_addresses(pair: tuple[OverlayHost, OverlayHost]) -> None:
    """Known fault 12: the tables are as long as before, and each address leads to where it is now."""
    one, two = pair
    a, b = one.sandbox("a"), two.sandbox("b")
    base = {"10.0.1.5/24": a}, {"10.0.1.6/24": two}
    assert apply(one, state(one, *base)) == []
    assert apply(two, state(two, {"10.0.1.6/24": b}, {"10.0.1.5/24": one})) == []
    before = tables(one)
    boxes = {host: [host.sandbox(f"t{number}") for number in range(5)] for host in (one, two)}
    with Servers() as servers:
        for turn in range(40):
            # Five at once, at addresses that others had before on the other host.
            started = {f"10.0.1.{20 + number}/24": (one, two)[(turn + number) % 2] for number in range(5)}
            paths = {address: boxes[host][number] for number, (address, host) in enumerate(started.items())}
            parts = []
            for host, other, own, its in (
                (one, two, "10.0.1.5/24", "10.0.1.6/24"),
                (two, one, "10.0.1.6/24", "10.0.1.5/24"),
            ):
                here = {own: a if host is one else b, **{at: paths[at] for at in paths if started[at] is host}}
                there = {its: other, **{at: other for at in paths if started[at] is other}}
                parts.append((host, state(host, here, there, salt=f"{turn}")))
            for host, wanted in parts:
                assert apply(host, wanted) == []
            if turn % 10 < 2:
                for address, host in started.items():
                    servers.add(host, paths[address], f"{turn}-{address}")
                    for asker, path in ((one, a), (two, b)):
                        assert ask(asker, path, address.partition("/")[0]) == f"{turn}-{address}"
                    servers.drop(f"{turn}-{address}")
    assert apply(one, state(one, *base)) == []
    assert apply(two, state(two, {"10.0.1.6/24": b}, {"10.0.1.5/24": one})) == []
    assert tables(one) == before
    assert one.ip(one.place(NET.id), "ip", "-o", "link").count(": ve") == 1


class Killed(BaseException):
    """What ends a process between any two calls of the kernel."""


def _counting(monkeypatch: pytest.MonkeyPatch, at: int, error: Callable[[], BaseException]) -> list[int]:
    """Let the call of that number fail, and return where they are counted."""
    calls = [0]
    real_run, real_all, real_make = NetlinkSocket.run, NetlinkSocket.try_all, Workplace._make_namespace

    def counted() -> None:
        calls[0] += 1
        if calls[0] == at:
            raise error()

    def run(self: NetlinkSocket, *requests: Request) -> list[Reply]:
        counted()
        return real_run(self, *requests)

    def try_all(self: NetlinkSocket, requests: Sequence[Request]) -> list[int]:
        counted()
        return real_all(self, requests)

    def make_namespace(self: Workplace, *, routed: bool) -> None:
        counted()
        real_make(self, routed=routed)

    monkeypatch.setattr(NetlinkSocket, "run", run)
    monkeypatch.setattr(NetlinkSocket, "try_all", try_all)
    monkeypatch.setattr(Workplace, "_make_namespace", make_namespace)
    return calls


@pytest.mark.parametrize("kind", ["killed", "failed"])
def test_broken_off_anywhere_the_next_call_ends_it(
    pair: tuple[OverlayHost, OverlayHost], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known faults 11 and 13: at each call of the kernel in turn, while making, changing and removing."""
    one, two = pair
    a, b, c = one.sandbox("a"), two.sandbox("b"), one.sandbox("c")
    assert apply(two, state(two, {"10.0.1.6/24": b}, {"10.0.1.5/24": one, "10.0.1.7/24": one})) == []
    first = state(one, {"10.0.1.5/24": a}, {"10.0.1.6/24": two})
    second = state(one, {"10.0.1.7/24": c}, {"10.0.1.6/24": two}, mtu=1400)
    with Servers() as servers:
        servers.add(two, b, "b")
        broken = 0
        for wanted, path in ((first, a), (second, c), (None, None)):
            at = 0
            while True:
                at += 1
                before = () if wanted is first else (first if wanted is second else second,)
                assert apply(one, *before) == []
                error = (lambda: Killed()) if kind == "killed" else (lambda: OSError(errno.EIO, "told to fail"))
                with monkeypatch.context() as patched:
                    calls = _counting(patched, at, error)
                    try:
                        apply(one, *((wanted,) if wanted else ()))
                    except Killed:
                        pass
                    if calls[0] < at:
                        break  # it needs fewer calls than that
                    broken += 1
                if kind == "killed":
                    one.start_again()
                assert apply(one, *((wanted,) if wanted else ())) == []
                assert apply(one, *((wanted,) if wanted else ())) == []
                if path and at % 6 == 1:
                    assert ask(one, path, "10.0.1.6") == "b"
        assert broken > 20


def test_what_stands_in_the_way_is_told_and_the_rest_is_done(pair: tuple[OverlayHost, OverlayHost]) -> None:
    one, _ = pair
    a, b = one.sandbox("a"), one.sandbox("b")
    one.ip(b, "ip", "link", "add", "eth0", "type", "veth", "peer", "other")
    wanted = state(one, {"10.0.1.5/24": a, "10.0.1.6/24": b, "10.0.1.7/24": one.folder / "none"})
    found = apply(one, wanted)
    assert {(trouble.endpoint, trouble.message) for trouble in found} == {
        (endpoint("10.0.1.6/24").id, "eth0 is there already in the container"),
        (endpoint("10.0.1.7/24").id, f"{one.folder / 'none'}: No such file or directory"),
    }
    assert "10.0.1.5/24" in one.ip(a, "ip", "address")
    one.ip(b, "ip", "link", "del", "eth0")
    assert [trouble.endpoint for trouble in apply(one, wanted)] == [endpoint("10.0.1.7/24").id]
    assert "10.0.1.6/24" in one.ip(b, "ip", "address")


def test_a_vxlan_id_of_another_network_can_be_used_at_once(pair: tuple[OverlayHost, OverlayHost]) -> None:
    """Known fault 13: a network removed and one made with its VXLAN id and interfaces, in one change and in a loop."""
    one, two = pair
    a, b = one.sandbox("a"), two.sandbox("b")
    with Servers() as servers:
        servers.add(two, b, "b")
        for turn in range(6):
            network = Overlay(f"again{turn}", "again", NET.subnets)
            assert apply(one, state(one, {"10.0.1.5/24": a}, {"10.0.1.6/24": two}, network)) == []
            assert apply(two, state(two, {"10.0.1.6/24": b}, {"10.0.1.5/24": one}, network)) == []
            assert ask(one, a, "10.0.1.6") == "b"


def test_a_foreign_vxlan_device_is_named_and_left(pair: tuple[OverlayHost, OverlayHost]) -> None:
    one, _ = pair
    home = Path(f"/run/netns/{one.name}")
    one.words(home, "ip link add foreign type vxlan id 4097 dstport 4789")
    try:
        found = apply(one, state(one, {"10.0.1.5/24": one.sandbox("a")}))
        assert [trouble.message for trouble in found if not trouble.endpoint] == [
            "VXLAN id 4097 on port 4789 is in use by another device of this host"
        ]
        assert "foreign" in one.ip(home, "ip", "link")
    finally:
        one.ip(home, "ip", "link", "del", "foreign")


def test_what_others_changed_is_mended_when_told_to_look(pair: tuple[OverlayHost, OverlayHost]) -> None:
    one, two = pair
    wanted = state(one, {"10.0.1.5/24": one.sandbox("a")}, {"10.0.1.6/24": two, "10.0.1.7/24": two})
    assert apply(one, wanted) == []
    before = tables(one)
    place = one.place(NET.id)
    one.words(place, "bridge fdb del 02:42:0a:00:01:06 dev vx4097 self")
    one.words(place, "ip neighbour del 10.0.1.7 dev vx4097")
    one.words(place, "ip neighbour add 10.0.1.99 lladdr 02:42:0a:00:01:63 dev vx4097")
    assert tables(one) != before
    one.do(lambda: one.overlays.look_again([NET.id]))
    assert apply(one, wanted) == []
    assert tables(one) == before


def test_containers_of_a_process_that_ended_are_taken_over(pair: tuple[OverlayHost, OverlayHost]) -> None:
    """A connection goes on over the end of the network process; what is no longer wanted meanwhile is removed."""
    one, two = pair
    a, b, c = one.sandbox("a"), two.sandbox("b"), one.sandbox("c")
    both = {"10.0.1.5/24": a, "10.0.1.7/24": c}
    other = Overlay("gone", "gone", (Subnet("10.0.9.0/24", "10.0.9.1", 5000),))
    assert (
        apply(
            one, state(one, both, {"10.0.1.6/24": two}), state(one, {"10.0.9.5/24": a}, network=other, interface="eth1")
        )
        == []
    )
    assert apply(two, state(two, {"10.0.1.6/24": b}, {"10.0.1.5/24": one})) == []
    with Servers() as servers, open_tcp(one, a) as kept:
        servers.add(two, b, "b")
        kept.connect(("10.0.1.6", 80))
        assert kept.recv(1) == b"b"
        index = one.ip(a, "ip", "-o", "link", "show", "eth0")
        one.start_again()
        assert apply(one, state(one, {"10.0.1.5/24": a}, {"10.0.1.6/24": two})) == []
        assert one.ip(a, "ip", "-o", "link", "show", "eth0") == index
        kept.sendall(b"still")
        assert kept.recv(5) == b"still"
    assert "eth1" not in one.ip(a, "ip", "link")
    assert not one.place("gone").exists()
    eventually(lambda: "eth0" not in one.ip(c, "ip", "link"), "the interface of what is not wanted is gone", patience=5)
