"""shoald's view of the overlays, with a network process that is played: what is sent, and what troubles become."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shoal.errors import ShoalError, Unavailable
from shoal.network import overlays
from shoal.network.overlays import Overlays
from shoal.network.wanted import Endpoint, Gossip, HostBridge, Overlay, Reached, Sandbox, Subnet, Trouble, Wanted

BLUE = Overlay("blue", "blue", (Subnet("10.0.1.0/24", "10.0.1.1", 4097),), "10.0.1.2/24")
RED = Overlay("red", "red", (Subnet("10.0.2.0/24", "10.0.2.1", 4098),))


class Played:
    """A network process that reaches at once what it is told, unless it is `deaf`."""

    def __init__(self) -> None:
        self.sent: list[Wanted] = []
        self.given: tuple[Trouble, ...] = ()
        self.deaf = False
        self.others = 0
        self.hearing = 0.0  # seconds until the others have heard something
        self.removed = False
        self.fault: Unavailable | None = None
        self.guarded: list[int] = []
        self.expecting: list[str] = []
        self._revision = 100
        self._changed = asyncio.Condition()

    def next_revision(self) -> int:
        self._revision += 1
        return self._revision

    def expect_gossip(self, bind: str) -> None:
        self.expecting.append(bind)

    def troubles(self) -> Sequence[Trouble]:
        return self.given

    async def other_troubles(self, known: Sequence[Trouble]) -> Sequence[Trouble]:
        return self.given

    async def want(self, wanted: Wanted) -> None:
        self.sent.append(wanted)
        async with self._changed:
            self._changed.notify_all()

    async def reached(self, revision: int) -> Reached:
        async with self._changed:
            await self._changed.wait_for(
                lambda: not self.deaf and bool(self.sent) and self.sent[-1].revision >= revision
            )
        return Reached(self.sent[-1].revision, self.given, self.others)

    async def told(self, revision: int) -> Reached:
        await asyncio.sleep(self.hearing)
        return Reached(self.sent[-1].revision, self.given, self.others, revision)

    async def show(self, network: str) -> dict[str, Any]:
        return {"network": network}

    async def examine(self, network: str) -> dict[str, Any]:
        if self.fault is not None:
            raise self.fault
        return {"examined": network}

    async def counts(self) -> dict[str, Any]:
        return {"overlays": 1}

    async def remove(self) -> None:
        self.removed = True


@asynccontextmanager
async def running(last: Wanted | None = None) -> AsyncIterator[tuple[Overlays, Played]]:
    process = Played()

    async def guard(port: int) -> None:
        process.guarded.append(port)

    made = Overlays(process, last, guard)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(made.run())
        if last is None:
            made.set_node_addresses({"blue": "10.0.1.2/24", "red": "10.0.2.2/24"}, None)
        try:
            yield made, process
        finally:
            task.cancel()


def sandbox(name: str, *networks: str) -> Sandbox:
    return Sandbox(
        name,
        f"{name}.1",
        f"/netns/{name}",
        tuple(
            Endpoint(f"{name}-{network}", network, "10.0.9.9/24", "02:42:0a:00:09:09", f"eth{at}")
            for at, network in enumerate(networks)
        ),
    )


async def test_a_container_comes_is_enabled_and_goes() -> None:
    async with running() as (made, process):
        await made.connect(sandbox("a", "blue"), [BLUE])
        await made.enable("a")
        assert process.sent[-1].sandboxes[0].endpoints[0].enabled
        await made.disable("a")
        assert not process.sent[-1].sandboxes[0].endpoints[0].enabled
        await made.disconnect("a")
        assert process.sent[-1] == Wanted(process.sent[-1].revision)
        assert [wanted.revision for wanted in process.sent] == [101, 102, 103, 104]


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("others", "hearing", "starts", "stops"),
    [(0, 0.0, 0.0, 0.0), (3, 0.05, 0.05, 0.45), (3, 1.9, 1.9, 2.0), (3, 2.1, 2.1, 2.1), (3, 60.0, 3.0, 3.0)],
)
async def test_a_container_counts_and_is_stopped_only_once_the_others_have_heard(
    others: int, hearing: float, starts: float, stops: float
) -> None:
    """One that is alone behind a virtual IP counts for 0.4 s after its end was heard."""
    async with running() as (made, process):
        process.others, process.hearing = others, hearing
        loop = asyncio.get_running_loop()
        await made.connect(sandbox("a", "blue"), [BLUE])
        began = loop.time()
        await made.enable("a")
        assert loop.time() - began == pytest.approx(starts, abs=0.01)
        began = loop.time()
        await made.disable("a")
        assert loop.time() - began == pytest.approx(stops, abs=0.01)
        began = loop.time()
        process.hearing = 0.0
        await made.disable("a")  # nothing is new
        await made.disable("nobody")
        assert loop.time() - began == pytest.approx(0.0, abs=0.01)


async def test_what_changes_nothing_is_not_sent() -> None:
    async with running() as (made, process):
        await made.disconnect("nobody")
        made.set_gossip(None)
        made.keep_only([])
        assert process.sent == []
        await made.connect(sandbox("a", "blue"), [BLUE])
        await made.connect(sandbox("a", "blue"), [BLUE])
        assert len(process.sent) == 1


async def test_many_at_once_are_sent_together() -> None:
    async with running() as (made, process):
        async with asyncio.TaskGroup() as group:
            for at in range(100):
                group.create_task(made.connect(sandbox(f"c{at}", "blue"), [BLUE]))
        assert len(process.sent) == 1
        assert len(process.sent[0].sandboxes) == 100


@pytest.mark.parametrize("trouble", [Trouble("blue", "a-blue", "no"), Trouble("blue", "", "no"), Trouble("", "", "no")])
async def test_a_trouble_of_its_own_is_the_containers_error(trouble: Trouble) -> None:
    async with running() as (made, process):
        process.given = (trouble,)
        with pytest.raises(ShoalError, match=r"^no$"):
            await made.connect(sandbox("a", "blue"), [BLUE])
        assert made.wanted.sandboxes == ()


async def test_a_trouble_of_others_is_not() -> None:
    async with running() as (made, process):
        process.given = (Trouble("red", "", "no"), Trouble("blue", "b-blue", "no"))
        await made.connect(sandbox("a", "blue"), [BLUE])
        assert [each.container for each in made.wanted.sandboxes] == ["a"]
        assert made.troubles() == process.given


async def test_a_process_that_never_answers_fails_a_start_and_holds_up_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overlays, "CONNECT_TIMEOUT", 0.01)
    async with running() as (made, process):
        await made.connect(sandbox("a", "blue"), [BLUE])
        process.deaf = True
        with pytest.raises(Unavailable, match="does not answer"):
            await made.connect(sandbox("b", "red"), [RED])
        await made.disconnect("a")
        assert made.wanted.sandboxes == ()


async def test_a_container_waits_for_this_nodes_own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (made, process), asyncio.TaskGroup() as group:
        made.set_node_addresses({}, None)
        connecting = group.create_task(made.connect(sandbox("a", "blue"), [BLUE]))
        await asyncio.sleep(0)
        assert not process.sent
        made.set_node_addresses({"blue": "10.0.1.9/24"}, None)
        await connecting
        assert process.sent[-1].overlays[0].node_address == "10.0.1.9/24"
        monkeypatch.setattr(overlays, "ADDRESS_TIMEOUT", 0.01)
        with pytest.raises(ShoalError, match="node is missing network attachments, ip addresses may be exhausted"):
            await made.connect(sandbox("b", "red"), [RED])


async def test_a_restarted_daemon_goes_on_with_what_was_wanted() -> None:
    last = Wanted(7, Gossip("0.0.0.0", "10.9.0.1", "10.9.0.1"), (BLUE,), (sandbox("a", "blue"), sandbox("b", "blue")))
    async with running(last) as (made, process):
        made.keep_only(["a"])
        await made.enable("a")
        assert [each.container for each in process.sent[-1].sandboxes] == ["a"]
        assert process.sent[-1].gossip == last.gossip
        assert process.sent[-1].revision > last.revision


async def test_the_swarms_word_reaches_the_process_and_leaving_takes_all_away() -> None:
    async with running() as (made, process):
        ingress = Overlay("in", "ingress", (), ingress=True)
        made.set_gossip(Gossip("0.0.0.0", "10.9.0.1", "10.9.0.1", 4790))
        assert process.expecting == ["0.0.0.0"]  # at once: before a swarm's init is answered
        made.set_node_addresses({"in": "10.0.0.2/24"}, ingress)
        await made.enable("nobody")
        assert process.sent[-1].overlays[0].node_address == "10.0.0.2/24"
        assert process.guarded == [4790]
        assert await made.show("in") == {"network": "in"}
        assert await made.examine("in") == {"examined": "in"}
        assert await made.view("in") == {"Told": {"network": "in"}, "Layers": {"examined": "in"}, "Reason": ""}
        process.fault = Unavailable("it is being started")
        assert await made.view("in") == {"Told": None, "Layers": None, "Reason": "it is being started"}
        assert await made.counts() == {"overlays": 1}
        await made.leave()
        assert process.removed
        assert made.wanted == Wanted(0)


async def test_what_a_container_can_be_with_does_not_keep_it_from_coming() -> None:
    async with running() as (made, process):
        process.given = (
            Trouble("blue", "a-blue", "port 80/tcp is another's", bearable=True),
            Trouble("blue", "b-blue", "port 80/tcp is another's", bearable=True),
            Trouble("blue", "a-red", "no"),
        )
        await made.connect(sandbox("a", "blue"), [BLUE])
        assert made.said_of(await made.other_troubles(())) == {"a": "port 80/tcp is another's"}


async def test_the_bridge_is_told_with_what_else_is_wanted_and_alone_wants_nothing() -> None:
    bridge = HostBridge("shoalt1", ("172.18.0.0/16",))
    async with running() as (made, process):
        made.set_bridge(bridge)
        await made.disconnect("nobody")  # as after a start, of containers that are on no overlay
        assert process.sent == []
        await made.connect(sandbox("a", "blue"), [BLUE])
        assert process.sent[-1].bridge == bridge
    last = Wanted(7, overlays=(BLUE,), sandboxes=(sandbox("a", "blue"),), bridge=bridge)
    async with running(last) as (made, process):
        made.set_bridge(HostBridge("shoalt1", ("172.19.0.0/16",)))
        await made.disconnect("nobody")
        await process.reached(101)
        assert process.sent[-1].bridge == HostBridge("shoalt1", ("172.19.0.0/16",))
