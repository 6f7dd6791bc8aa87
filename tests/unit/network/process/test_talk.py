"""Two nodes' talk over loopback: what one writes the other reads, until it leaves; and a port that is taken."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from shoal.network.gossip.confirming import Owed
from shoal.network.gossip.messages import DEFAULT_PORT
from shoal.network.gossip.sockets import open_sockets
from shoal.network.process.talk import Talk
from shoal.network.records import ENDPOINTS, Changed
from shoal.network.wanted import Gossip, Key

KEYS = tuple(Key("networking:gossip", secrets.token_hex(16), number) for number in (1, 2, 3))
# The port is one for all: tests that run at the same time have loopback addresses of their own.
NET = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250}"


class Node:
    """A node's talk, and what it has read."""

    def __init__(self, group: asyncio.TaskGroup, number: int) -> None:
        self.address = f"{NET}.{number}"
        self.read: list[Changed] = []
        self.talk = Talk(group, self.look)

    def gossip(self, *contacts: "Node") -> Gossip:
        return Gossip(self.address, self.address, self.address, contacts=tuple(c.address for c in contacts), keys=KEYS)

    def look(self) -> None:
        if hasattr(self, "talk"):
            self.read += self.talk.tables.take_changes()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def nodes(count: int) -> AsyncIterator[list[Node]]:
    async with asyncio.TaskGroup() as group:
        made = [Node(group, number) for number in range(1, count + 1)]
        try:
            yield made
        finally:
            for node in made:
                await node.talk.set_gossip(None)


async def test_what_one_writes_the_other_reads_until_it_leaves() -> None:
    async with nodes(2) as (one, other):
        assert await one.talk.set_gossip(one.gossip(other)) == ""
        assert await other.talk.set_gossip(other.gossip(one)) == ""
        for node in (one, other):
            node.talk.tables.join_network("blue", node.talk.now)
            node.talk.changed()
        one.talk.tables.put(ENDPOINTS, "blue", "e1", b"value", one.talk.now)
        one.talk.changed()
        await until(lambda: any(change.value == b"value" for change in other.read))
        assert one.talk.others == other.talk.others == 1
        name = one.talk.name
        assert other.talk.tables.peers("blue") == sorted([name, other.talk.name])
        await one.talk.set_gossip(None)
        await until(lambda: other.read[-1].value is None)
        assert other.talk.tables.peers("blue") == [other.talk.name]
        assert one.talk.name != name  # another node, should it come again


async def test_what_one_writes_is_told_once_the_others_have_acted_upon_it() -> None:
    async with nodes(3) as made:
        one, second, third = made
        told = asyncio.Event()
        one.talk._told = told.set
        for node in made:
            assert await node.talk.set_gossip(node.gossip(*made)) == ""
        for node in (one, second):  # the third is on another network
            node.talk.tables.join_network("blue", node.talk.now)
            node.talk.changed()
        await until(lambda: all(node.talk.others == 2 for node in made))
        await until(lambda: len(one.talk.tables.peers("blue")) == 2)
        one.talk.tables.put(ENDPOINTS, "blue", "e1", b"value", one.talk.now)
        one.talk.changed()
        owed: list[Owed] = []

        def asked() -> bool:
            owed.extend(second.talk.take_owed())
            return bool(owed)

        await until(asked)
        assert [change.value for change in second.read] == [b"value"]
        assert not told.is_set()
        second.talk.acknowledge(owed)
        async with asyncio.timeout(60):
            await told.wait()
        assert one.talk.tables.told == one.talk.tables.written == 1
        assert third.talk.take_owed() == []


async def test_who_does_not_confirm_is_not_waited_for_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async with nodes(2) as (one, other):
        told = asyncio.Event()
        one.talk._told = told.set
        for node in (one, other):
            assert await node.talk.set_gossip(node.gossip(one, other)) == ""
            node.talk.tables.join_network("blue", node.talk.now)
            node.talk.changed()
        await until(lambda: len(one.talk.tables.peers("blue")) == 2)
        one.talk.tables.put(ENDPOINTS, "blue", "e1", b"value", one.talk.now)
        one.talk.changed()
        async with asyncio.timeout(60):
            await told.wait()
        said = f"node {other.address} did not confirm within 2 s"
        assert caplog.text.count(said) == 1
        told.clear()
        one.talk.tables.put(ENDPOINTS, "blue", "e2", b"value", one.talk.now)
        one.talk.changed()
        async with asyncio.timeout(60):
            await told.wait()
        assert caplog.text.count(said) == 1  # the log is told of it the 10th time again


async def test_another_address_is_another_node() -> None:
    async with nodes(1) as (node,):
        assert await node.talk.set_gossip(node.gossip()) == ""
        name = node.talk.name
        assert await node.talk.set_gossip(replace(node.gossip(), contacts=("127.0.0.1",))) == ""
        assert node.talk.name == name
        moved = f"{NET}.200"
        assert await node.talk.set_gossip(Gossip(moved, moved, moved, keys=KEYS)) == ""
        assert node.talk.name != name


async def test_without_the_port_or_the_keys_it_says_why_and_the_tables_are_there_all_the_same() -> None:
    async with nodes(1) as (node,):
        with socket.create_server((node.address, DEFAULT_PORT)):
            words = await node.talk.set_gossip(node.gossip())
        assert words == f"gossip cannot listen on port {DEFAULT_PORT} of {node.address}: Address already in use"
        assert "must be 3 keys" in await node.talk.set_gossip(replace(node.gossip(), keys=KEYS[:2]))
        node.talk.tables.join_network("blue", node.talk.now)
        node.talk.tables.put(ENDPOINTS, "blue", "e1", b"value", node.talk.now)
        node.look()
        assert [change.value for change in node.read] == [b"value"]
        assert await node.talk.set_gossip(node.gossip()) == ""


async def test_a_successor_is_the_same_node_to_the_others() -> None:
    """Nothing of it vanishes for them, not even for a moment."""
    async with nodes(2) as (one, other):
        assert await one.talk.set_gossip(one.gossip(other)) == ""
        assert await other.talk.set_gossip(other.gossip(one)) == ""
        for node in (one, other):
            node.talk.tables.join_network("blue", node.talk.now)
            node.talk.tables.put(ENDPOINTS, "blue", node.address, b"value", node.talk.now)
            node.talk.changed()
        await until(lambda: len(one.read) == len(other.read) == 2)
        left = one.talk.leave_to_successor()
        assert left is not None
        who, (udp, tcp) = left
        sockets = udp.dup(), tcp.dup()
        for task in one.talk._running:
            task.cancel()
        await asyncio.wait(one.talk._running)
        one.talk._server = None
        former, one.talk = one.talk, Talk(one.talk._group, one.look, sockets, who)
        assert (one.talk.name, one.talk.tables.clocks) == (former.name, former.tables.clocks)
        one.talk.tables.join_network("blue", one.talk.now)
        one.talk.tables.put(ENDPOINTS, "blue", one.address, b"value", one.talk.now)
        one.read.clear()
        assert await one.talk.set_gossip(one.gossip(other)) == ""
        # What it says is believed, and what the other has is there.
        one.talk.tables.put(ENDPOINTS, "blue", one.address, b"another", one.talk.now)
        one.talk.changed()
        await until(lambda: {change.key for change in one.read} == {one.address, other.address})
        await until(lambda: other.read[-1].value == b"another")
        assert [change.value for change in other.read if change.key == one.address] == [b"value", b"another"]
        assert other.talk.tables.peers("blue") == sorted([one.talk.name, other.talk.name])
        assert other.talk.others == 1


async def test_a_successor_at_another_address_is_another_node() -> None:
    async with nodes(1) as (node,):
        assert await node.talk.set_gossip(node.gossip()) == ""
        left = node.talk.leave_to_successor()
        assert left is not None
        await node.talk.set_gossip(None)
        moved = f"{NET}.201"
        sockets = open_sockets(node.address, DEFAULT_PORT)
        node.talk = Talk(node.talk._group, node.look, sockets, left[0])
        assert await node.talk.set_gossip(Gossip(moved, moved, moved, keys=KEYS)) == ""
        assert node.talk.name != left[0].name
        assert [sock.fileno() for sock in sockets] == [-1, -1]
