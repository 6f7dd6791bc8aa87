"""The parts of the network process, joined."""

import asyncio
import socket
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given, settings

from shoal.errors import NotFound, ShoalError
from shoal.network.balancing.rules import Virtual
from shoal.network.gossip.confirming import Owed
from shoal.network.kernel.state import OverlayState
from shoal.network.mesh.state import Mesh, Meshed
from shoal.network.names.sockets import Listening, Opener
from shoal.network.process import composition, memory
from shoal.network.process.composition import NodeNetwork, compose
from shoal.network.process.kernel import Kernel
from shoal.network.process.memory import Memory
from shoal.network.process.parts import Legacy
from shoal.network.process.talk import Talk
from shoal.network.records import ENDPOINTS, Address, Changed, EndpointRecord
from shoal.network.wanted import Endpoint, Key, Overlay, Sandbox, Subnet, Trouble, Wanted, from_json, to_json
from tests.unit.network.process.wanteds import NETWORKS, sequences


async def test_a_network_is_known_once_it_is_wanted(tmp_path: Path) -> None:
    async with compose(tmp_path, "test", Legacy()) as parts:
        with pytest.raises(NotFound):
            await parts.show("n")
        troubles = await parts.apply(Wanted(1, overlays=(Overlay("n", "blue", ()),)))
        assert [trouble.message for trouble in troubles] == ["network blue has no subnet"]
        shown = await parts.show("n")
        assert len(shown["nodes"]) == 1  # this one
        assert shown["endpoints"] == shown["neighbours"] == {}


async def test_what_the_last_process_knew_of_others_is_forgotten_unless_gossip_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "HOLD", 0.2)
    monkeypatch.setattr(memory, "ALONE", 0.2)
    monkeypatch.setattr(composition, "FORGET_EVERY", 0.05)
    record = EndpointRecord("web.1", ip_address("10.0.1.9"), "s", "web").encode()
    last = Memory()
    last.hear([Changed(ENDPOINTS, "n", "e1", "other", None, record)], "me", 0.0)
    memory.keep(tmp_path, last.text())
    wanted = Wanted(1, overlays=(Overlay("n", "blue", ()),))
    async with compose(tmp_path, "test", Legacy()) as parts:
        await parts.apply(wanted)
        await parts.apply(replace(wanted, revision=2))  # shoald says the same again at once
        assert list((await parts.show("n"))["endpoints"]) == ["e1"]
        async with asyncio.timeout(60):
            while (await parts.show("n"))["endpoints"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


class Remembering:
    """A kernel that remembers what it is to look like.

    `failing`: how often it cannot be asked; `refused`: the last digit of the MACs that it does not take.
    """

    tag = "t"

    def __init__(self) -> None:
        self.routing: Mesh | None = None
        self.states: dict[str, OverlayState] = {}
        self.virtuals: dict[Path, Mapping[Address, Virtual]] = {}
        self.given = 0
        self.clear = ""  # why it cannot encrypt
        self.failing = 0
        self.refused = ""
        self.others = ""  # what it says of others' entries that it does not take
        self.ruled: dict[Path, str] = {}
        self.spoilt: set[Path] = set()
        self.hopeless: set[Path] = set()
        self.again: list[dict[Path, str]] = []

    async def path_mtu(self, local: Address) -> int:
        return 1500 if str(local) != "127.0.0.2" else 9000

    async def cannot_encrypt(self) -> str:
        return self.clear

    async def apply(
        self, states: Sequence[OverlayState], keys: Sequence[Key] = (), local: Address | None = None
    ) -> list[Trouble]:
        if self.failing:
            self.failing -= 1
            raise ShoalError("not now")
        self.states = {state.id: state for state in states}
        return [
            *(Trouble(state.id, port.endpoint, "c") for state in states for port in state.ports if port.mac[-1] == "c"),
            *(Trouble(state.id, "", self.others, bearable=True) for state in states if self.others),
        ]

    async def balance(self, virtuals: Mapping[Path, Mapping[Address, Virtual]]) -> dict[Path, str]:
        self.given += len(virtuals)
        self.virtuals.update(virtuals)
        return {}

    async def forget(self, namespaces: Sequence[Path]) -> None:
        for netns in namespaces:
            self.virtuals.pop(netns, None)

    async def mesh(self, mesh: Mesh) -> Meshed:
        self.routing = mesh
        return Meshed()

    async def no_mesh(self) -> None:
        self.routing = None

    async def rules(self, netns: Path, text: str) -> None:
        self.ruled[netns] = text

    async def look_again(
        self, states: Sequence[OverlayState], due: Collection[str], keys: Sequence[Key], local: Address | None
    ) -> list[Trouble]:
        assert set(due) <= {state.id for state in states}
        return [Trouble(state.id, "", self.others, bearable=True) for state in states if self.others]

    async def others_wrote(self, namespaces: Collection[Path], among: Collection[Path]) -> list[Path]:
        assert set(namespaces) <= set(among)
        return [netns for netns in namespaces if netns in self.spoilt]

    async def write_again(self, texts: Mapping[Path, str]) -> dict[Path, str]:
        self.again.append(dict(texts))
        return dict.fromkeys(set(texts) & self.hopeless, "no")


class Opening:
    async def open(self, netns: Path) -> Listening:
        return Listening(*(Quiet(0) for _ in range(2)))


class Quiet(socket.socket):
    """A socket that nobody speaks to."""

    def __init__(self, port: int) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        self.bind(("127.0.0.1", port))


class One:
    """The network of a node in a made-up kernel, and all that one can see of it."""

    def __init__(self, folder: Path, group: asyncio.TaskGroup) -> None:
        self.kernel = Remembering()
        kernel, opener = cast("Kernel", self.kernel), cast("Opener", Opening())
        self.network = NodeNetwork(folder, kernel, opener, group, Legacy())

    async def seen(self) -> dict[str, Any]:
        served = self.network._names._served
        found: dict[str, Any] = {one: served[one].who for one in served}
        for network in NETWORKS:
            try:
                shown = await self.network.show(network)
            except NotFound:
                continue
            found[network] = sorted(str(one) for one in shown["endpoints"].values()), shown["neighbours"]
        return found | {"states": self.kernel.states, "virtuals": self.kernel.virtuals, "mesh": self.kernel.routing}

    def close(self) -> None:
        for container in self.network._names.served():
            self.network._names.stop(container)


async def test_what_others_told_is_confirmed_once_it_is_in_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node's new task, and another that balances to it."""
    seen: list[str] = []

    def take_owed(_talk: Talk) -> list[Owed]:
        seen.append("taken")
        return []

    monkeypatch.setattr(Talk, "take_owed", take_owed)
    monkeypatch.setattr(Talk, "acknowledge", lambda talk, owed: seen.append("confirmed"))
    async with asyncio.TaskGroup() as group:
        one = One(tmp_path, group)

        async def balance(virtuals: Mapping[Path, object]) -> dict[Path, str]:
            seen.append("balanced")
            return {}

        monkeypatch.setattr(one.kernel, "balance", balance)
        await one.network.apply(Wanted(1))
        one.close()
    assert seen == ["taken", "balanced", "confirmed"]


async def test_a_wanted_state_is_told_once_nobody_is_waited_for(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        one = One(tmp_path, group)
        tables = one.network._talk.tables
        telling = tables._state.telling
        waiting = group.create_task(one.network.told(0))
        telling.write("n", "k", b"event", ["other"], one.network._talk.now)
        await one.network.apply(Wanted(4))
        await asyncio.sleep(0)
        assert not waiting.done()
        (packet,) = telling.due(lambda node, network: True, one.network._talk.now)
        one.network._talk.confirmed(packet.number, True, one.network._talk.now)
        assert await waiting == 4
        one.close()


async def no_gossip(_talk: Talk, _gossip: object) -> str:
    return ""


async def both_ways(folder: Path, sequence: list[Wanted]) -> None:
    async with asyncio.TaskGroup() as group:
        by_changes, whole = One(folder, group), One(folder, group)
        try:
            for wanted in sequence:
                by_changes.kernel.failing = int(wanted.revision % 4 == 3)
                by_changes.kernel.clear = whole.kernel.clear = "no ESP" if wanted.revision % 2 else ""
                by_changes.kernel.refused = whole.kernel.refused = "abcd"[wanted.revision % 3]
                troubles = []
                try:
                    troubles = list(await by_changes.network.apply(wanted))
                except ShoalError:
                    await by_changes.network.apply(wanted)
                whole.network._underlay = replace(whole.network._underlay, node="")
                told = await whole.network.apply(from_json(Wanted, to_json(wanted)))
                if wanted.revision % 4 != 3:
                    assert sorted(map(str, troubles)) == sorted(map(str, told))
                assert await by_changes.seen() == await whole.seen()
        finally:
            by_changes.close()
            whole.close()


RED = (Overlay("red", "red", ()),)
ON_RED = Endpoint("a1".ljust(64, "0"), "red", "10.2.0.10/24", "02:42:0a:02:00:0a", "eth1", enabled=True)


@settings(deadline=None, max_examples=60)  # each example is a loop of its own
@example(
    [  # the end of a container is what is broken off
        Wanted(1, overlays=RED),
        Wanted(2, overlays=RED, sandboxes=(Sandbox("a" * 64, "web.a", "/n/a", (ON_RED,)),)),
        Wanted(3, overlays=RED),
    ]
)
@given(sequences())
def test_what_is_made_by_changes_is_what_is_made_whole(sequence: list[Wanted]) -> None:
    """Kernel, virtual IPs, names and entries, also after one that was broken off."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(Talk, "set_gossip", no_gossip)
        asyncio.run(both_ways(Path(folder), sequence))


async def test_what_others_write_and_the_kernel_refuses_is_told_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails no container: their endpoints are written, and names lead to them."""
    monkeypatch.setattr(Talk, "set_gossip", no_gossip)
    blue = Overlay("blue", "blue", (Subnet("10.2.0.0/24", "10.2.0.1", 4097),))
    on_blue = replace(ON_RED, network="blue")
    wanted = Wanted(1, overlays=(blue,), sandboxes=(Sandbox("a" * 64, "web.a", "/n/a", (on_blue,)),))
    async with asyncio.TaskGroup() as group:
        one = One(tmp_path, group)
        try:
            one.kernel.others = "1 entries of other nodes are refused"
            said = Trouble("blue", "", one.kernel.others, bearable=True)
            assert await one.network.apply(wanted) == [said]
            assert (await one.network.show("blue"))["endpoints"]
            assert await one.network.verify() is None  # as it was told
            one.kernel.others = ""
            assert await one.network.verify() == []
            assert await one.network.verify() is None
            one.kernel.others = "2 entries of other nodes are refused"
            assert await one.network.verify() == [replace(said, message=one.kernel.others)]
        finally:
            one.close()
