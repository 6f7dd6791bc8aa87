"""The door to a swarm: outside until there is one, and then the node's own answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shoal.api import v1 as api
from shoal.errors import DamagedState, InvalidArgument, Unavailable
from shoal.node import refusals, state
from shoal.node.door import Door
from shoal.node.types import JoinRequest, LocalState, SwarmInfo
from shoal.paths import Paths


class NoContainers:
    """A host that runs nothing."""

    images = None

    @property
    def containers(self) -> Any:
        return self

    def list(self) -> list[Any]:
        return []


def make(paths: Paths) -> Door:
    return Door(
        paths,
        NoContainers(),  # type: ignore[arg-type]
        lambda tls: api.NodeDescription(),
        rng=Random(1),
        own_subnets=list,
        default_advertise_addr="",
        keep_out=lambda port: contextlib.nullcontext(),
    )


@contextlib.asynccontextmanager
async def running(paths: Paths) -> AsyncIterator[Door]:
    door = make(paths)
    async with asyncio.TaskGroup() as group:
        child = group.create_task(door.run())
        await door.wait_settled()
        yield door
        child.cancel()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "data", tmp_path / "run")


async def test_host_in_no_swarm_has_no_node_and_says_so(paths: Paths) -> None:
    async with running(paths) as door:
        assert door.info() == SwarmInfo()
        for ask in (door.control, door.logs, door.watch, door.view):
            with pytest.raises(Unavailable) as refused:
                ask()
            assert str(refused.value) == refusals.NOT_IN_A_SWARM
        with pytest.raises(Unavailable, match="not a swarm manager"):
            await door.unlock_key()
        with pytest.raises(Unavailable, match="not a swarm manager"):
            await door.network_views(["n"])
        assert door.networks() == []
        assert door._node is None


async def test_node_itself_says_why_a_host_in_no_swarm_cannot_leave_or_join(paths: Paths) -> None:
    async with running(paths) as door:
        with pytest.raises(Unavailable) as refused:
            await door.leave(False)
        assert str(refused.value) == refusals.NOT_PART_OF_A_SWARM
        with pytest.raises(InvalidArgument, match="at least 1 RemoteAddr"):
            await door.join(JoinRequest("0.0.0.0:2377", (), "token"))
        assert door.info().local_state is LocalState.INACTIVE


async def test_what_is_on_the_disk_is_taken_up_before_the_door_is_settled(paths: Paths) -> None:
    paths.swarm.mkdir(parents=True)
    state.save(paths.swarm, state.NodeState("0.0.0.0:2377", "10.0.0.1:2377", "10.0.0.1"))
    async with running(paths) as door:
        info = door.info()
    assert info.local_state is LocalState.ERROR
    assert info.error == str(
        DamagedState(str(paths.swarm / "certificates"), "the node's certificate and key are missing")
    )


async def test_rest_of_a_swarm_that_never_came_to_be_is_removed(paths: Paths) -> None:
    (paths.swarm / "certificates").mkdir(parents=True)
    async with running(paths) as door:
        assert door.info() == SwarmInfo()
    assert not paths.swarm.exists()


async def test_who_waits_for_a_manager_waits_while_there_is_no_node(paths: Paths) -> None:
    async with running(paths) as door, asyncio.TaskGroup() as group:
        waiting = group.create_task(door.wait_manager())
        await door.prepare()
        assert not waiting.done()
        waiting.cancel()


async def test_nothing_is_begun_once_the_daemon_ends(paths: Paths) -> None:
    async with running(paths) as door:
        pass
    with pytest.raises(Unavailable, match="the daemon is stopping"):
        await door.leave(True)
