"""Fakes for testing the parts that work on containers: a folder, real threads and processes, but no OCI runtime."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from shoal.host.events import EventBus
from shoal.runtime import processes
from shoal.runtime.children import Children
from shoal.runtime.life import Life
from shoal.runtime.records import Running
from shoal.runtime.tools import Tools
from shoal.runtime.types import Container, ContainerConfig, Phase
from shoal.runtime.workers import Workers

ID = "ab" * 32


@dataclass
class Cgroups:
    """Cgroups that record what was thawed."""

    thawed: list[str] = field(default_factory=list)

    def thaw(self, id: str) -> None:  # noqa: A002 - a container's id
        self.thawed.append(id)

    def remove(self, id: str) -> bool:  # noqa: A002
        return True


@dataclass
class Runtime:
    """A runtime that records what it was told to forget."""

    forgotten: list[str] = field(default_factory=list)

    def forget(self, id: str) -> None:  # noqa: A002
        self.forgotten.append(id)


@dataclass
class Site:
    """A site with folders of containers, which cannot start any."""

    root: Path
    cgroups: Cgroups = field(default_factory=Cgroups)
    runtime: Runtime = field(default_factory=Runtime)

    def folder(self, id: str) -> Path:  # noqa: A002
        return self.root / "data" / id

    def bundle(self, id: str) -> Path:  # noqa: A002
        return self.root / "run" / id


@asynccontextmanager
async def tools(root: Path) -> AsyncIterator[Tools]:
    """Return tools over a folder of the test."""
    site = Site(root)
    for folder in (site.folder(ID), site.bundle(ID)):
        folder.mkdir(parents=True)
    workers = Workers()
    try:
        async with Children() as children:
            yield Tools(cast(Any, site), workers, children, EventBus())
    finally:
        workers.close()


def running(child: "subprocess.Popen[bytes]", **config: Any) -> Life:
    """Return a container whose process is this one."""
    made = Container(
        ID, ContainerConfig("web", "busybox", **config), "sha256:1", Phase.RUNNING, 1.0, pid=child.pid, started_at=2.0
    )
    life = Life(made)
    life.running = Running(child.pid, processes.started(child.pid), processes.started(child.pid))
    return life


def actions(tools: Tools) -> list[str]:
    """Return the actions of the events, with the signal if one was sent."""
    return [f"{one.action} {one.attributes.get('signal', '')}".strip() for one in tools.events.since(0)]
