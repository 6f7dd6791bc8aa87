"""Flows of the kernel's connection tracking: those that are to end do, and no others."""

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from shoal.network.balancing import ending, flows
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import Address
from tests.harness.overlay_hosts import OverlayHost, overlay_hosts

pytestmark = pytest.mark.root

# One is a beginning of the other, and two differ in the last byte only.
SIX = [ip_address(one) for one in ("fd00:5::1", "fd00:5::10", "fd00:5::11", "fd00:6::10")]
FOUR = [ip_address(one) for one in ("198.18.5.1", "198.18.5.10", "198.18.5.11", "198.18.6.10")]
PORTS = (5000, 5001)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OverlayHost]:
    with overlay_hosts(1, tmp_path_factory.mktemp("o")) as (made,):
        yield made


@pytest.fixture
def place(host: OverlayHost) -> Iterator[Path]:
    """A namespace with all these addresses, where flows are tracked, and one of UDP to each port of each."""
    path = host.sandbox("a")
    for address in (*SIX, *FOUR):
        host.ip(path, "ip", "address", "add", str(address), "dev", "lo")

    def track() -> None:
        with path.open("rb") as netns:
            chain = "add chain inet t c { type filter hook output priority 0; }"
            host.nftables.run(f"add table inet t\n{chain}\nadd rule inet t c ct state new accept\n", netns.fileno())

    host.do(track)
    host.inside(path, begin)
    yield path
    host.end(path)


def begin() -> None:
    for address in (*SIX, *FOUR):
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        for port in PORTS:
            with socket.socket(family, socket.SOCK_DGRAM) as one:
                one.sendto(b"?", (str(address), port))


def there(host: OverlayHost, path: Path) -> set[tuple[Address, int]]:
    """Return to which address and port there is a flow."""

    def look() -> set[tuple[Address, int]]:
        with NetlinkSocket(netfilter=True) as conntrack:
            found = [flows.flow(reply) for reply in conntrack.run(flows.list_every())]
        return {(one.to, one.port) for one in found if one is not None and one.port in PORTS}

    return host.inside(path, look)


ALL = {(address, port) for address in (*SIX, *FOUR) for port in PORTS}


def end(host: OverlayHost, path: Path, endings: flows.Endings) -> int:
    def work() -> int:
        with NetlinkSocket(netfilter=True) as conntrack:
            return ending.end(conntrack, endings)

    return host.inside(path, work)


@pytest.mark.parametrize("address", [SIX[1], FOUR[1]], ids=str)
@pytest.mark.parametrize("answering", [None, "itself", "another"])
def test_flows_to_an_address_end_and_no_others(
    host: OverlayHost, place: Path, address: Address, answering: str | None
) -> None:
    """The filter of some kernels takes IPv6 for its opposite: all flows but those to the address ended."""
    assert there(host, place) == ALL
    who = {"itself": frozenset({address}), "another": frozenset({SIX[0], FOUR[0]}), None: None}[answering]
    gone = set() if answering == "another" else {(address, port) for port in PORTS}
    assert end(host, place, flows.Endings(to={address: who})) == len(gone)
    assert there(host, place) == ALL - gone


@pytest.mark.parametrize("address", [SIX[1], FOUR[1]], ids=str)
def test_flows_that_an_address_answers_end_and_no_others(host: OverlayHost, place: Path, address: Address) -> None:
    end(host, place, flows.Endings(answered=frozenset({address})))
    assert there(host, place) == ALL - {(address, port) for port in PORTS}


@pytest.mark.parametrize("address", [SIX[1], FOUR[1]], ids=str)
def test_flows_to_a_port_end_and_no_others(host: OverlayHost, place: Path, address: IPv4Address | IPv6Address) -> None:
    end(host, place, flows.Endings(begun=frozenset({("udp", address, 5000), ("tcp", address, 5001)})))
    assert there(host, place) == ALL - {(address, 5000)}


def test_a_thousand_endings_are_one_look(host: OverlayHost, place: Path) -> None:
    many: dict[Address, frozenset[Address] | None] = {IPv4Address("10.0.0.0") + one: None for one in range(1000)}
    endings = flows.Endings(to={**many, SIX[1]: None, FOUR[1]: None})
    asked: list[int] = []

    class Counting(NetlinkSocket):
        def stream(self, request: object) -> object:  # type: ignore[override]
            asked.append(1)
            return super().stream(request)  # type: ignore[arg-type]

    def work() -> int:
        with Counting(netfilter=True) as conntrack:
            return ending.end(conntrack, endings)

    assert host.inside(place, work) == 4
    assert len(asked) == 2  # and one to see that none is left
    assert there(host, place) == ALL - {(one, port) for one in (SIX[1], FOUR[1]) for port in PORTS}
