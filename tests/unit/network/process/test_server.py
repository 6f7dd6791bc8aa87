"""The server of the network process, with parts that only remember: the newest wanted state is made, and told."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shoal.errors import NotFound
from shoal.network.process import changes, connection, server, state
from shoal.network.process.connection import Connection
from shoal.network.process.messages import LENGTH, MAX_BYTES, Message, fields, small
from shoal.network.process.parts import Legacy
from shoal.network.process.server import NetworkServer
from shoal.network.process.state import WANTED_FILE
from shoal.network.wanted import Overlay, Reached, Trouble, Wanted, from_json, to_json


class Remembering:
    """Parts that remember what was applied. `hold` keeps them busy."""

    def __init__(self) -> None:
        self.applied: list[int] = []
        self.verified: list[int] = []  # how many had been applied
        self.wanted = Wanted(0)
        self.hold = asyncio.Event()
        self.hold.set()
        self.began = asyncio.Event()
        self.fault: OSError | None = None
        self.mended: Sequence[Trouble] | None = None
        self.removed = False
        self.known = 0  # to others
        self.heard = asyncio.Condition()

    async def apply(self, wanted: Wanted) -> Sequence[Trouble]:
        self.applied.append(wanted.revision)
        self.wanted = wanted
        self.began.set()
        await self.hold.wait()
        if self.fault is not None:
            raise self.fault
        return ()

    async def told(self, after: int) -> int:
        async with self.heard:
            await self.heard.wait_for(lambda: self.known > after)
        return self.known

    async def tell_others(self, revision: int) -> None:
        self.known = revision
        async with self.heard:
            self.heard.notify_all()

    def others(self) -> int:
        return 3

    async def verify(self) -> Sequence[Trouble] | None:
        self.verified.append(len(self.applied))
        return self.mended

    async def show(self, network: str) -> Mapping[str, Any]:
        if network != "n":
            raise NotFound(f"network {network} is not on this node")
        return {"peers": 1}

    async def examine(self, network: str) -> Mapping[str, Any]:
        return {"layers": network}

    def counts(self) -> Mapping[str, Any]:
        return {"overlays": 1}

    def bequeath(self) -> Legacy:
        return Legacy({"gossip": "state"})

    async def remove(self) -> None:
        self.removed = True


class Serving:
    """A server that runs, its parts, and what it was replaced by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = Remembering()
        self.replaced: list[tuple[Sequence[str], Legacy]] = []
        self.task: asyncio.Task[None]

    async def connect(self) -> Connection:
        link = await connection.connect(self.folder)
        hello = await link.receive()
        assert hello is not None
        assert hello.kind == "hello"
        return link


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Serving]:
    made = Serving(folder)
    sock = connection.listen(folder)
    one = NetworkServer(folder, sock, made.parts, lambda command, legacy: made.replaced.append((command, legacy)))
    with sock:
        async with asyncio.TaskGroup() as group:
            made.task = group.create_task(one.run())
            try:
                yield made
            finally:
                made.task.cancel()


async def want(link: Connection, revision: int) -> None:
    await link.send(Message("wanted", to_json(Wanted(revision))))


async def reached(link: Connection) -> Reached:
    message = await link.receive()
    assert message is not None
    assert message.kind == "reached"
    return from_json(Reached, message.body)


async def test_what_is_wanted_is_made_and_told_to_all(tmp_path: Path) -> None:
    async with serving(tmp_path) as one:
        first, second = await one.connect(), await one.connect()
        await want(first, 1)
        assert await reached(first) == await reached(second) == Reached(1, others=3)
        await one.parts.tell_others(1)
        assert await reached(first) == await reached(second) == Reached(1, others=3, told=1)
        third = await one.connect()
        assert await reached(third) == Reached(1, others=3, told=1)  # also to who comes later
        for link in (first, second, third):
            await link.close()


async def test_the_newest_takes_the_place_of_what_waits(tmp_path: Path) -> None:
    async with serving(tmp_path) as one:
        link = await one.connect()
        one.parts.hold.clear()
        await want(link, 1)
        await one.parts.began.wait()
        for revision in range(2, 6):
            await want(link, revision)
        await link.send(small("show", what="network", network="n"))
        assert (await link.receive() or link) != link  # the five before it were read
        one.parts.hold.set()
        assert await reached(link) == Reached(1, others=3)
        assert await reached(link) == Reached(5, others=3)
        assert one.parts.applied == [1, 5]
        await link.close()


async def test_the_kernel_is_looked_at_in_time_also_while_there_is_always_something_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "VERIFY_EVERY", 0.0)
    async with serving(tmp_path) as one:
        link = await one.connect()
        one.parts.hold.clear()
        await want(link, 1)
        await one.parts.began.wait()
        await want(link, 2)
        await link.send(small("show", what="network", network="n"))
        await link.receive()  # the one before it was read
        one.parts.hold.set()
        await reached(link)
        await reached(link)
        assert 1 in one.parts.verified
        await link.close()


async def test_it_goes_on_with_what_was_last_wanted(tmp_path: Path) -> None:
    async with serving(tmp_path) as one:
        link = await one.connect()
        await want(link, 7)
        await reached(link)
        await link.close()
    async with serving(tmp_path) as one:
        link = await one.connect()
        assert await reached(link) == Reached(7, others=3)
        assert one.parts.applied == [7]
        await link.close()


async def test_a_full_disk_stops_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(folder: Path, wanted: Wanted) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(state, "keep", full)
    async with serving(tmp_path) as one:
        link = await one.connect()
        await want(link, 1)
        assert await reached(link) == Reached(1, others=3)
        assert "No space left on device" in caplog.text
        await link.close()


async def test_what_cannot_be_made_is_a_trouble_and_the_next_is_tried(tmp_path: Path) -> None:
    async with serving(tmp_path) as one:
        link = await one.connect()
        one.parts.fault = OSError("no memory")
        await want(link, 1)
        assert await reached(link) == Reached(1, (Trouble("", "", "no memory"),), 3)
        one.parts.fault = None
        await want(link, 2)
        assert await reached(link) == Reached(2, others=3)
        await link.close()


async def test_what_somebody_else_changed_is_mended_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "VERIFY_EVERY", 0.01)
    async with serving(tmp_path) as one:
        link = await one.connect()
        await want(link, 1)
        await reached(link)
        one.parts.mended = (Trouble("n", "", "still gone"),)
        assert await reached(link) == Reached(1, (Trouble("n", "", "still gone"),), 3)
        await link.close()


async def test_a_network_is_shown(tmp_path: Path) -> None:
    async with serving(tmp_path) as one:
        link = await one.connect()
        await link.send(small("show", what="network", network="n"))
        message = await link.receive()
        assert message is not None
        assert fields(message) == {"what": "network", "network": "n", "shown": {"peers": 1}}
        for what, shown in (("layers", {"layers": "n"}), ("counts", {"overlays": 1})):
            await link.send(small("show", what=what, network="n"))
            message = await link.receive()
            assert message is not None
            assert fields(message) == {"what": what, "network": "n", "shown": shown}
        await link.send(small("show", what="network", network="other"))
        message = await link.receive()
        assert message is not None
        assert message.kind == "refused"
        assert fields(message) == {
            "what": "network",
            "network": "other",
            "message": "network other is not on this node",
        }
        await link.send(small("show", what="nonsense"))
        message = await link.receive()
        assert message is not None
        assert fields(message) == {"message": "'nonsense' cannot be shown"}
        await link.close()


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 64, LENGTH.pack(MAX_BYTES + 1), LENGTH.pack(3) + b"x\n{", LENGTH.pack(8) + b"wanted\n{", b"\0\0"],
)
async def test_garbage_ends_its_connection_alone(tmp_path: Path, garbage: bytes) -> None:
    async with serving(tmp_path) as one:
        bad, good = await one.connect(), await one.connect()
        bad._writer.write(garbage)
        bad._writer.write_eof()
        while (message := await bad.receive()) is not None:
            assert message.kind == "refused"
        await want(good, 1)
        assert await reached(good) == Reached(1, others=3)
        await bad.close()
        await good.close()


async def test_stop_takes_all_away(tmp_path: Path) -> None:
    async with serving(tmp_path) as one:
        link = await one.connect()
        await want(link, 1)
        await reached(link)
        await link.send(Message("stop"))
        await one.task
        assert one.parts.removed
        assert not (tmp_path / WANTED_FILE).exists()
        assert await link.receive() is None
        await link.close()


async def test_replace_leaves_all_to_a_successor(tmp_path: Path) -> None:
    async with serving(tmp_path) as one:
        link = await one.connect()
        await link.send(small("replace", command=["/bin/new", "--x"]))
        await one.task
        assert one.replaced == [(["/bin/new", "--x"], Legacy({"gossip": "state"}))]
        assert not one.parts.removed
        await link.close()


async def test_a_change_stands_on_what_the_same_connection_told(tmp_path: Path) -> None:
    first = Wanted(1, overlays=(Overlay("n", "blue", ()),))
    second = Wanted(2, overlays=(Overlay("n", "blue", ()), Overlay("m", "red", ())))
    text = changes.change(first, second)
    assert text is not None
    async with serving(tmp_path) as one:
        link, other = await one.connect(), await one.connect()
        await link.send(Message("wanted", to_json(first)))
        assert (await reached(link)).revision == 1
        await link.send(Message("changed", text))
        assert (await reached(link)).revision == 2
        assert one.parts.wanted == second == state.last_wanted(tmp_path)
        for _ in range(2):
            await reached(other)
        await other.send(Message("changed", text))  # which has heard of no state: it must begin anew
        refused = await other.receive()
        assert refused is not None
        assert refused.kind == "refused"
        assert await other.receive() is None
        assert one.parts.applied == [1, 2]
        await link.close()
        await other.close()
