"""Leaving a swarm, while the loops of tasks still remove their containers."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shoal.api import v1 as api
from shoal.errors import NotFound, Unavailable
from shoal.node import founding, refusals, state
from shoal.node.node import TASK_LABEL, SwarmNode
from shoal.node.types import InitRequest, LocalState, SwarmInfo
from shoal.paths import Paths
from shoal.runtime.types import Container, ContainerConfig, Phase
from tests.unit.agent.fakes import FakeOverlays


def made(name: str) -> Container:
    config = ContainerConfig(name=name, image="busybox", labels={TASK_LABEL: name})
    return Container(id=name * 64, config=config, image_id="sha256:1", phase=Phase.EXITED, created_at=1.0)


class Going:
    """Containers of which somebody else removes the first between listing and removal."""

    def __init__(self) -> None:
        self.left = {one.id: one for one in (made("a"), made("b"))}

    def list(self) -> list[Container]:
        found = list(self.left.values())
        self.left.pop("a" * 64, None)
        return found

    async def remove(self, ref: str, *, force: bool, volumes: bool) -> None:
        if ref not in self.left:
            raise NotFound(f"No such container: {ref}")
        del self.left[ref]


@dataclass(frozen=True)
class Host:
    """The parts of a host that a node needs to leave."""

    containers: Any
    images: Any = None
    overlays: Any = field(default_factory=FakeOverlays)


def node_of(paths: Paths, containers: Any) -> SwarmNode:
    return SwarmNode(paths, Host(containers), lambda tls: api.NodeDescription(), rng=Random(1), own_subnets=list)


async def test_container_that_its_task_removes_meanwhile_is_no_reason_to_stay(tmp_path: Path) -> None:
    containers = Going()
    await node_of(Paths(tmp_path / "data", tmp_path / "run"), containers)._end()
    assert containers.left == {}


async def test_after_a_locked_manager_has_left_nothing_of_its_swarm_is_there(tmp_path: Path) -> None:
    """Known fault 74: a timer brought the former swarm back, and the next `swarm init` found a locked one."""
    paths = Paths(tmp_path / "data", tmp_path / "run")
    saved = state.NodeState("0.0.0.0:2377", "10.0.0.5:2377", "10.0.0.5")
    request = InitRequest("0.0.0.0:2377", auto_lock_managers=True)
    await asyncio.to_thread(founding.found, paths, request, saved, time.time())
    state.save(paths.swarm, saved)
    node = node_of(paths, Going())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(node.run())
        await node.resumed.wait()
        assert node.info().local_state is LocalState.LOCKED
        with pytest.raises(Unavailable, match="locked"):
            await node.leave(force=False)
        await node.leave(force=True)
        assert node.info() == SwarmInfo()
        with pytest.raises(Unavailable, match=refusals.NOT_PART_OF_A_SWARM):
            await node.leave(force=True)
        assert not paths.swarm.exists()
        assert asyncio.all_tasks() == {asyncio.current_task(), running}  # nothing that could bring it back
        running.cancel()
    again = node_of(paths, Going())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(again.run())
        await again.resumed.wait()
        assert again.info() == SwarmInfo()
        running.cancel()
