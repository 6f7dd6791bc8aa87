"""Containers on the bridge, on overlays, and on both: who is asked for what, and what is undone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from shoal.errors import ShoalError
from shoal.network import wanted
from shoal.network.host_network import HostNetwork
from shoal.network.host_ports.held import Held
from shoal.network.types import Attachment, Endpoint, HostPort, LocalAttachment, Mode, Sandbox
from shoal.network.wanted import Overlay, Service, Subnet

BLUE = Overlay("blue", "blue", (Subnet("10.0.1.0/24", "10.0.1.1", 4097),))
INGRESS = Overlay("in", "ingress", (Subnet("10.0.0.0/24", "10.0.0.1", 4096),), ingress=True)
INNER = Overlay("inner", "inner", (Subnet("10.0.2.0/24", "10.0.2.1", 4098),), internal=True)


class Bridge:
    """A bridge that remembers who is on it."""

    def __init__(self) -> None:
        self.interfaces: dict[str, str] = {}
        self.known: dict[str, Sandbox] = {}

    def sandboxes(self) -> dict[str, Sandbox]:
        return dict(self.known)

    async def connect(self, container_id: str, mode: Mode, interface: str = "eth0") -> Sandbox:
        self.interfaces[container_id] = interface
        endpoint = Endpoint(mode, mode, f"e-{container_id}", address="172.18.0.2" if mode == "bridge" else "")
        made = self.known[container_id] = Sandbox(f"/netns/{container_id}", (endpoint,))
        return made

    async def publish(self, container_id: str, name: str, ports: Sequence[HostPort]) -> Held:
        return Held(ports)

    async def disconnect(self, container_id: str) -> None:
        self.known.pop(container_id, None)

    async def adopt(self, sandboxes: dict[str, Sandbox]) -> None:
        self.known = {container: sandbox for container, sandbox in sandboxes.items() if container != "gone"}


class Overlays:
    """Overlays that remember who is on them, or refuse."""

    def __init__(self) -> None:
        self.known: dict[str, wanted.Sandbox] = {}
        self.enabled: set[str] = set()
        self.refusal = ""

    async def connect(self, sandbox: wanted.Sandbox, overlays: Iterable[Overlay]) -> None:
        assert {overlay.id for overlay in overlays} == {endpoint.network for endpoint in sandbox.endpoints}
        if self.refusal:
            raise ShoalError(self.refusal)
        self.known[sandbox.container] = sandbox

    async def disconnect(self, container: str) -> None:
        self.known.pop(container, None)

    async def enable(self, container: str) -> None:
        self.enabled.add(container)

    async def disable(self, container: str) -> None:
        self.enabled.discard(container)

    def keep_only(self, containers: Iterable[str]) -> None:
        kept = set(containers)
        self.known = {container: sandbox for container, sandbox in self.known.items() if container in kept}


class Own:
    """Networks of the node's own making that remember who is on them."""

    def __init__(self) -> None:
        self.known: dict[str, list[tuple[Path, str, str]]] = {}
        self.adopted: Mapping[str, Sandbox] = {}
        self.ways: dict[str, list[str]] = {}  # the networks of default routes

    async def connect(
        self, container: str, netns: Path, asked: LocalAttachment, interface: str, *, default: bool = True
    ) -> Endpoint:
        self.known.setdefault(container, []).append((netns, asked.name, interface))
        if default:
            self.ways.setdefault(container, []).append(asked.name)
        if asked.configuration == "gone":
            raise ShoalError("no such configuration")
        return Endpoint(asked.name, asked.network_id, "e", "192.0.2.5", 24, "192.0.2.1", driver=asked.driver)

    async def disconnect(self, container: str) -> None:
        self.known.pop(container, None)

    async def adopt(self, sandboxes: Mapping[str, Sandbox]) -> None:
        self.adopted = sandboxes


def parts() -> tuple[HostNetwork, Bridge, Overlays]:
    bridge, overlays = Bridge(), Overlays()
    return HostNetwork(bridge, overlays, Own()), bridge, overlays


LAN = LocalAttachment("lan-id", "lan", "macvlan", "base")


async def test_a_network_of_the_nodes_own_making_is_the_way_out() -> None:
    bridge, overlays, own = Bridge(), Overlays(), Own()
    network = HostNetwork(bridge, overlays, own)
    sandbox = await network.connect("a", "bridge", [Attachment(BLUE, "10.0.1.5/24")], own=[LAN])
    assert own.known == {"a": [(Path("/netns/a"), "lan", "eth1")]}
    assert [endpoint.network_name for endpoint in sandbox.endpoints] == ["blue", "lan"]
    assert sandbox.way_out is None
    assert own.ways == {"a": ["lan"]}
    assert bridge.known["a"].first.network_name == "none"
    again = HostNetwork(bridge, overlays, own)
    await again.adopt({"a": sandbox, "gone": sandbox})
    assert list(own.adopted) == ["a"]
    await again.disconnect("a")
    assert not own.known
    assert not overlays.known
    assert not bridge.known


async def test_an_internal_one_leaves_the_way_out_to_the_bridge() -> None:
    bridge, overlays, own = Bridge(), Overlays(), Own()
    network = HostNetwork(bridge, overlays, own)
    inner = replace(LAN, internal=True)
    sandbox = await network.connect("a", "bridge", [Attachment(BLUE, "10.0.1.5/24")], own=[inner])
    assert sandbox.way_out == bridge.known["a"].first
    assert bridge.interfaces == {"a": "eth2"}
    # As in Docker, one that is on internal networks alone has none.
    alone = await network.connect("b", "bridge", own=[inner])
    assert alone.way_out is None
    assert list(overlays.known) == ["a"]


async def test_of_several_the_first_with_a_way_out_has_the_default_route() -> None:
    own = Own()
    network = HostNetwork(Bridge(), Overlays(), own)
    inner = replace(LAN, network_id="inner-id", name="inner", internal=True)
    await network.connect("a", "bridge", own=[inner, LAN, replace(LAN, network_id="wan-id", name="wan")])
    assert own.ways == {"a": ["lan"]}


@pytest.mark.parametrize("by_ingress", [False, True])
async def test_one_whose_ports_are_published_has_its_way_out_on_the_bridge(by_ingress: bool) -> None:
    bridge, overlays, own = Bridge(), Overlays(), Own()
    network = HostNetwork(bridge, overlays, own)
    ingress = [Attachment(replace(BLUE, id="in", name="ingress", ingress=True), "10.0.1.5/24")] if by_ingress else []
    sandbox = await network.connect("a", "bridge", ingress, own=[LAN], published=not by_ingress)
    assert own.known == {"a": [(Path("/netns/a"), "lan", "eth0")]}
    assert not own.ways
    assert sandbox.way_out == bridge.known["a"].first
    assert bridge.interfaces == {"a": "eth1"}


async def test_one_that_cannot_be_had_leaves_nothing() -> None:
    bridge, overlays, own = Bridge(), Overlays(), Own()
    network = HostNetwork(bridge, overlays, own)
    with pytest.raises(ShoalError, match="no such configuration"):
        await network.connect("a", "bridge", own=[replace(LAN, configuration="gone")])
    assert not own.known
    assert not overlays.known
    assert not bridge.known


async def test_without_attachments_a_container_is_on_the_bridge_alone() -> None:
    network, bridge, overlays = parts()
    sandbox = await network.connect("a", "bridge")
    assert sandbox == bridge.known["a"]
    assert bridge.interfaces == {"a": "eth0"}
    assert not overlays.known


async def test_on_overlays_it_has_an_interface_for_each_and_a_way_out() -> None:
    network, bridge, overlays = parts()
    service = Service("s", "web", "10.0.1.4")
    asked = [Attachment(BLUE, "10.0.1.5/24", service, ("x",)), Attachment(INNER, "10.0.2.5/24")]
    sandbox = await network.connect(
        "a", "bridge", asked, name="web.1.x", hostname="db", servers=["9.9.9.9"], ndots_set=True
    )
    assert bridge.interfaces == {"a": "eth2"}
    assert [endpoint.network_name for endpoint in sandbox.endpoints] == ["blue", "inner"]
    assert sandbox.addresses == ("10.0.1.5", "10.0.2.5")
    assert sandbox.way_out == bridge.known["a"].first
    told = overlays.known["a"]
    assert (told.name, told.hostname, told.netns, told.servers) == ("web.1.x", "db", "/netns/a", ("9.9.9.9",))
    assert [endpoint.interface for endpoint in told.endpoints] == ["eth0", "eth1"]
    assert [endpoint.id for endpoint in told.endpoints] == [each.endpoint_id for each in sandbox.endpoints]
    assert told.endpoints[0].mac == "02:42:0a:00:01:05"
    assert (told.endpoints[0].service, told.endpoints[0].aliases) == (service, ("x",))
    assert not told.endpoints[0].enabled
    assert told.ndots_set


async def test_a_second_address_is_on_the_same_interface() -> None:
    network, _, overlays = parts()
    sandbox = await network.connect("a", "bridge", [Attachment(BLUE, "10.0.1.5/24", address6="fd00::5/64")])
    (told,) = overlays.known["a"].endpoints
    assert (told.address, told.address6) == ("10.0.1.5/24", "fd00::5/64")
    assert sandbox.addresses == ("10.0.1.5", "fd00::5")
    assert (sandbox.first.of_ipv4, sandbox.first.of_ipv6) == (("10.0.1.5", 24), ("fd00::5", 64))


async def test_on_ingress_it_has_no_interface_but_its_place_on_the_bridge() -> None:
    """The node has the address there: what comes by a published port comes over the bridge."""
    network, bridge, overlays = parts()
    asked = [Attachment(INGRESS, "10.0.0.5/24"), Attachment(BLUE, "10.0.1.5/24")]
    await network.connect("a", "bridge", asked)
    assert bridge.interfaces == {"a": "eth1"}
    assert [endpoint.interface for endpoint in overlays.known["a"].endpoints] == ["", "eth0"]
    assert overlays.known["a"].outside == "172.18.0.2"
    sandbox = await network.connect("b", "bridge", asked[:1])
    assert (bridge.interfaces["b"], sandbox.way_out) == ("eth0", bridge.known["b"].first)


async def test_on_internal_overlays_alone_there_is_no_way_out() -> None:
    network, bridge, _ = parts()
    sandbox = await network.connect("a", "bridge", [Attachment(INNER, "10.0.2.5/24")])
    assert sandbox.way_out is None
    assert bridge.known["a"].first.network_name == "none"


async def test_an_overlay_that_cannot_be_had_leaves_nothing() -> None:
    network, bridge, overlays = parts()
    overlays.refusal = "this kernel has no VXLAN"
    with pytest.raises(ShoalError, match="no VXLAN"):
        await network.connect("a", "bridge", [Attachment(BLUE, "10.0.1.5/24")])
    assert not bridge.known


async def test_it_is_enabled_disabled_and_disconnected() -> None:
    network, bridge, overlays = parts()
    await network.connect("a", "bridge", [Attachment(BLUE, "10.0.1.5/24")])
    await network.enable("a")
    assert overlays.enabled == {"a"}
    await network.disable("a")
    assert not overlays.enabled
    await network.disconnect("a")
    await network.disconnect("a")
    assert not bridge.known
    assert not overlays.known


async def test_a_restart_takes_over_both_sides_and_sweeps_what_is_gone() -> None:
    first, bridge, overlays = parts()
    sandboxes = {
        "plain": await first.connect("plain", "bridge"),
        "blue": await first.connect("blue", "bridge", [Attachment(BLUE, "10.0.1.5/24")]),
        "inner": await first.connect("inner", "bridge", [Attachment(INNER, "10.0.2.5/24")]),
        "gone": await first.connect("gone", "bridge", [Attachment(BLUE, "10.0.1.6/24")]),
    }
    second = HostNetwork(bridge, overlays, Own())
    await second.adopt(sandboxes)
    assert bridge.known == {
        "plain": sandboxes["plain"],
        "blue": Sandbox("/netns/blue", (sandboxes["blue"].way_out,)),  # type: ignore[arg-type]
        "inner": Sandbox("/netns/inner"),
    }
    assert set(overlays.known) == {"blue", "inner"}


async def test_ports_of_the_host_are_the_bridges_and_stay_its_when_it_is_adopted() -> None:
    network, bridge, _ = parts()
    port = HostPort("tcp", 80, 8080)
    assert (await network.publish("a", "web.1", [port])).ports == (port,)
    way_out = Endpoint("bridge", "bridge", "e", "172.18.0.2")
    await network.adopt({"a": Sandbox("/netns/a", (Endpoint("blue", "blue", "e1"),), way_out, (port,))})
    assert bridge.known["a"] == Sandbox("/netns/a", (way_out,), None, (port,))
