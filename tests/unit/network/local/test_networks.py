"""Who is on node-local networks, and when they come and go. A kernel in memory; the real one is in tests/cluster."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.network.local import networks
from shoal.network.local.networks import LocalNetworks, of_local
from shoal.network.local.plumbing import Place
from shoal.network.local.shape import Shape
from shoal.network.types import Endpoint, LocalAttachment, LocalNetwork, Sandbox
from tests.unit.network.local.test_shape import configuration

NETNS = Path("/netns/a")
BRIDGE = LocalAttachment("b" * 25, "br", "bridge", "base")
LAN = LocalAttachment("m" * 25, "lan", "macvlan", "card")
CONFIGURATIONS = {
    "base": configuration(subnet="192.0.2.0/24"),
    "card": configuration({"parent": "eth0"}, subnet="198.51.100.0/24", gateway="198.51.100.9"),
    "free": configuration(),
}


class Kernel:
    """The plumbing, in memory."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[IPv4Network, IPv4Address, int]] = {}
        self.places: list[tuple[str, Place]] = []
        self.used = [IPv4Network("172.18.0.0/16")]
        self.refuses = False
        self.mended: list[tuple[str, IPv4Network, int]] = []

    def close(self) -> None:
        pass

    def used_networks(self) -> list[IPv4Network]:
        return self.used

    def bridges(self) -> list[str]:
        return list(self.made)

    def make_bridge(self, name: str, subnet: IPv4Network, gateway: IPv4Address, shape: Shape, vxlan_port: int) -> None:
        self.made[name] = (subnet, gateway, vxlan_port)

    def mend(self, name: str, subnet: IPv4Network, shape: Shape, vxlan_port: int) -> None:
        self.mended.append((name, subnet, vxlan_port))

    def table(self, name: str) -> str:
        return f"rules of {name}"

    def remove_bridge(self, name: str) -> None:
        self.made.pop(name, None)

    def join_bridge(self, name: str, place: Place, mtu: int) -> None:
        if self.refuses:
            raise OSError(17, "File exists")
        assert name in self.made
        self.places.append((name, place))

    def join_macvlan(self, place: Place, shape: Shape) -> None:
        self.places.append((shape.parent, place))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(networks, "LocalPlumbing", lambda tag, alias: made)
    return made


@asynccontextmanager
async def entered() -> AsyncIterator[LocalNetworks]:
    async with LocalNetworks("t", "shoal /data", lambda name: CONFIGURATIONS.get(name)) as made:
        yield made


async def test_a_bridge_is_there_from_the_first_container_to_the_last(kernel: Kernel) -> None:
    async with entered() as own:
        one = await own.connect("a", NETNS, BRIDGE, "eth0")
        two = await own.connect("b", Path("/netns/b"), BRIDGE, "eth0")
        assert (one.address, one.prefix_length, one.gateway, one.driver) == ("192.0.2.2", 24, "192.0.2.1", "bridge")
        assert (two.address, two.mac) == ("192.0.2.3", "02:42:c0:00:02:03")
        assert one.host_interface != two.host_interface
        assert kernel.made == {"shoal-bbbbbbbbb": (IPv4Network("192.0.2.0/24"), IPv4Address("192.0.2.1"), 4789)}
        await own.close_vxlan(4790)
        assert kernel.made["shoal-bbbbbbbbb"][2] == 4790
        await own.disconnect("a")
        assert kernel.made
        await own.disconnect("b")
        await own.disconnect("b")
        assert not kernel.made


async def test_macvlan_is_on_a_card_of_the_host(kernel: Kernel) -> None:
    async with entered() as own:
        made = await own.connect("a", NETNS, LAN, "eth1")
        ((parent, place),) = kernel.places
        assert (parent, place.interface, str(place.address)) == ("eth0", "eth1", "198.51.100.1/24")
        assert (place.gateway, made.gateway, made.host_interface) == (IPv4Address("198.51.100.9"), "198.51.100.9", "")
        assert not kernel.made


async def test_a_network_of_no_subnet_gets_a_free_one_and_one_that_overlaps_is_refused(kernel: Kernel) -> None:
    free = LocalAttachment("f" * 25, "free", "bridge", "free")
    async with entered() as own:
        made = await own.connect("a", NETNS, free, "eth0")
        assert IPv4Address(made.address) not in kernel.used[0]
        kernel.used.append(IPv4Network("192.0.0.0/16"))
        with pytest.raises(ShoalError, match=r"^Pool overlaps with other one on this address space$"):
            await own.connect("b", NETNS, BRIDGE, "eth0")
        with pytest.raises(ShoalError, match="does not exist"):
            await own.connect("b", NETNS, LocalAttachment("x" * 25, "x", "bridge", "none"), "eth0")


async def test_what_cannot_be_connected_leaves_nothing(kernel: Kernel) -> None:
    kernel.refuses = True
    async with entered() as own:
        with pytest.raises(ShoalError, match=r"^cannot connect to network br: File exists$"):
            await own.connect("a", NETNS, BRIDGE, "eth0")
        assert not kernel.made
        kernel.refuses = False
        assert (await own.connect("a", NETNS, BRIDGE, "eth0")).address == "192.0.2.2"


async def test_the_next_run_goes_on_with_who_is_there_and_sweeps_the_rest(kernel: Kernel) -> None:
    async with entered() as first:
        kept = await first.connect("a", NETNS, BRIDGE, "eth0")
    kernel.made["shoal-left"] = (IPv4Network("203.0.113.0/24"), IPv4Address("203.0.113.1"), 4789)
    overlay = Endpoint("blue", "blue", "e", "10.0.1.5", 24)
    async with entered() as second:
        await second.adopt({"a": Sandbox(str(NETNS), (overlay, kept))})
        assert list(kernel.made) == ["shoal-bbbbbbbbb"]
        assert (await second.connect("b", NETNS, BRIDGE, "eth0")).address == "192.0.2.3"
        await second.disconnect("b")
        assert kernel.made
        await second.disconnect("a")
        assert not kernel.made
    assert of_local([overlay, kept]) == (kept,)


async def test_the_rules_of_the_bridges_that_are_there_are_watched_and_mended(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []

    class Noticing:
        """Sees a change of somebody's once."""

        def __init__(self, tables: set[str], mend: Callable[[], Awaitable[None]]) -> None:
            self.tables, self.mend = tables, mend

        async def run(self) -> None:
            seen.append(set(self.tables))
            await self.mend()

    monkeypatch.setattr(networks, "Guard", Noticing)
    async with entered() as own:
        await own.connect("a", NETNS, BRIDGE, "eth0")
        await own.connect("a", NETNS, LAN, "eth1")
        await own.keep_rules()
        assert kernel.mended == [("shoal-bbbbbbbbb", IPv4Network("192.0.2.0/24"), 4789)]
        await own.disconnect("a")
        await own.keep_rules()
        assert len(kernel.mended) == 1
    assert seen == [{"rules of shoal-bbbbbbbbb"}, set()]


def test_configurations_are_what_the_host_has() -> None:
    assert all(isinstance(one, LocalNetwork) for one in CONFIGURATIONS.values())
