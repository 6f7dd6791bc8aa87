"""What a node has in the tables, while it takes part and when another program takes its place."""

import asyncio
from collections.abc import AsyncIterator, Collection
from ipaddress import ip_address

import pytest

from shoal.network.process.former import Former
from shoal.network.process.own import Own
from shoal.network.process.talk import Talk
from shoal.network.records import ENDPOINTS, PEERS
from shoal.network.wanted import Endpoint, Overlay, Sandbox, Wanted

HERE = ip_address("192.168.0.1")
BLUE = Overlay("blue", "blue", ())
WEB = Sandbox("c", "web", "/n", (Endpoint("e", "blue", "10.0.1.5/24", "02:42", "eth0", enabled=True),))
BOTH = {(PEERS, "e"), (ENDPOINTS, "e")}


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    async with asyncio.TaskGroup() as group:
        made = Talk(group, lambda: None)
        yield made
        await made.set_gossip(None)


def there(talk: Talk) -> set[tuple[str, str]]:
    """Return table and key of what the node has on the network now."""
    return {
        (change.table, change.key)
        for change in talk.tables.take_changes()
        if change.network == "blue" and change.value is not None
    }


def write(own: Own, *sandboxes: Sandbox, without: Collection[str] = ()) -> None:
    wanted = Wanted(1, overlays=(BLUE,), sandboxes=sandboxes)
    own.write(wanted, sandboxes, {one.container for one in sandboxes}, tunnel=HERE, without=set(without))


def keys(own: Own) -> list[tuple[str, str]]:
    """Return what the keys would be, and what they are."""
    return [(entry.key, entry.used) for entry in own.entries]


async def test_entries_come_and_go_and_come_again_under_another_key(talk: Talk) -> None:
    own = Own(talk, None)
    assert own.take_part({"blue"}) == set()
    write(own, WEB)
    assert there(talk) == BOTH
    assert keys(own) == [("e", "e")] * 2
    write(own)
    assert keys(own) == []
    write(own, WEB)
    assert {table for table, _ in there(talk)} == {PEERS, ENDPOINTS}
    assert [key for key, used in keys(own) if used != "e"] == ["e", "e"]


async def test_what_could_not_be_made_is_written_once_it_is(talk: Talk) -> None:
    own = Own(talk, None)
    own.take_part({"blue"})
    write(own, WEB, without=["e"])
    assert there(talk) == set()
    own.write(Wanted(2, overlays=(BLUE,), sandboxes=(WEB,)), (), {"c"}, tunnel=HERE, without=set())
    assert there(talk) == BOTH


async def test_a_network_that_was_left_counts_for_nothing(talk: Talk) -> None:
    own = Own(talk, None)
    own.take_part({"blue", "red"})
    write(own, WEB)
    assert own.take_part({"red"}) == {"blue"}
    assert own.networks == {"red"}
    write(own)
    assert keys(own) == []


async def test_a_successor_has_what_its_former_had(talk: Talk) -> None:
    first = Own(talk, None)
    first.take_part({"blue"})
    write(first, WEB)
    was = Former("me", "", "", 1, 1, joined=tuple(first.networks), entries=first.entries)
    async with asyncio.TaskGroup() as group:
        other = Talk(group, lambda: None)
        second = Own(other, was)
        assert (second.networks, second.entries) == (first.networks, first.entries)
        assert there(other) == BOTH
        assert second.take_part({"blue"}) == set()
        await other.set_gossip(None)
