"""Leaving a swarm, while the loops of tasks still remove their containers."""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from shoal.api import v1 as api
from shoal.errors import NotFound
from shoal.node.node import TASK_LABEL, SwarmNode
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


async def test_container_that_its_task_removes_meanwhile_is_no_reason_to_stay(tmp_path: Path) -> None:
    containers = Going()
    node = SwarmNode(
        Paths(tmp_path / "data", tmp_path / "run"),
        Host(containers),
        lambda tls: api.NodeDescription(),
        rng=Random(1),
        own_subnets=list,
    )
    await node._end()
    assert containers.left == {}
