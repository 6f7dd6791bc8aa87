"""A working container runtime in memory: containers are made, run, are healthy or not, exit and are removed."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from shoal.api import v1 as api
from shoal.errors import NotFound, ShoalError
from shoal.network.wanted import Gossip, Overlay, Trouble
from shoal.runtime.types import Container, ContainerConfig, Health, Image, LogLine, LogOptions, Phase, SecretFile
from shoal.runtime.waits import Waits, silently


class FakeContainers:
    """Containers that end when a test says so. A command of `missing` does not start."""

    def __init__(self, images: "FakeImages") -> None:
        self._images = images
        self._all: dict[str, Container] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self.log: list[str] = []
        self.lines: dict[str, list[LogLine]] = {}
        self.files: dict[str, Sequence[SecretFile]] = {}  # what each was started with, by name
        self.gate: asyncio.Event | None = None
        self.busy = 0
        self.most_busy = 0
        self.stop_code = 143
        self.has_health = False
        self.slow: dict[str, asyncio.Event] = {}  # by name: containers whose volume's file server does not answer yet

    def list(self) -> list[Container]:
        return list(self._all.values())

    def get(self, ref: str) -> Container:
        for container in self._all.values():
            if ref in {container.id, container.config.name}:
                return container
        raise NotFound(f"No such container: {ref}")

    async def create(
        self,
        config: ContainerConfig,
        *,
        id: str | None = None,  # noqa: A002
        waits: Waits = silently,
    ) -> Container:
        assert id is not None
        if id in self._all:
            return self._all[id]
        image = self._images.get(config.image)
        if config.name in self.slow:
            async with waits(f"waiting for the volume of {config.name}"):
                await self.slow[config.name].wait()
        with self._work():
            await self._pause()
        self.log.append(f"create {config.name}")
        return self._put(Container(id=id, config=config, image_id=image.id, phase=Phase.CREATED, created_at=0.0))

    async def start(self, ref: str, files: Sequence[SecretFile] = (), *, waits: Waits = silently) -> Container:
        container = self.get(ref)
        self.files[container.config.name] = files
        if container.config.entrypoint[:1] == ("missing",):
            raise ShoalError('exec: "missing": executable file not found in $PATH')
        with self._work():
            await self._pause()
        self.log.append(f"start {container.config.name}")
        health = Health.STARTING if container.config.health else Health.NONE
        return self._put(replace(container, phase=Phase.RUNNING, pid=4711, health=health))

    async def activate(self, ref: str) -> None:
        if self.get(ref).config.attachments:
            self.log.append(f"activate {self.get(ref).config.name}")

    async def deactivate(self, ref: str) -> None:
        if self.get(ref).config.attachments:
            self.log.append(f"deactivate {self.get(ref).config.name}")

    async def stop(self, ref: str, timeout: float | None = None) -> None:
        container = self.get(ref)
        if container.phase is Phase.RUNNING:
            self.log.append(f"stop {container.config.name}")
            self.exit(ref, self.stop_code)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        container = self.get(ref)
        self.log.append(f"remove {container.config.name}")
        del self._all[container.id]
        self._changed[container.id].set()

    async def changes(self, ref: str) -> AsyncIterator[Container]:
        container: Container | None = self.get(ref)
        while container is not None:
            yield container
            while self._all.get(container.id) is container:
                event = self._changed.setdefault(container.id, asyncio.Event())
                event.clear()
                await event.wait()
            container = self._all.get(container.id)

    async def logs(self, ref: str, options: LogOptions) -> AsyncIterator[LogLine]:
        container = self.get(ref)
        lines = self.lines.get(container.id, [])
        for line in lines[-options.tail :] if options.tail else lines:
            yield line
        while options.follow:
            await asyncio.Event().wait()

    # What tests can do to containers.

    def exit(self, ref: str, code: int) -> None:
        self._put(replace(self.get(ref), phase=Phase.EXITED, pid=0, exit_code=code))

    def set_health(self, ref: str, health: Health) -> None:
        self._put(replace(self.get(ref), health=health))

    def _put(self, container: Container) -> Container:
        self._all[container.id] = container
        self._changed.setdefault(container.id, asyncio.Event()).set()
        return container

    async def _pause(self) -> None:
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)

    @contextmanager
    def _work(self):  # type: ignore[no-untyped-def]
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        try:
            yield
        finally:
            self.busy -= 1


class FakeImages:
    """Images by reference, and a registry that has some more."""

    def __init__(self, *present: str) -> None:
        self._present = {reference: _image(reference) for reference in present}
        self.registry: set[str] = set()
        self.pulls: Counter[str] = Counter()
        self.words = "No such image: {}"
        self.gate: asyncio.Event | None = None

    def get(self, ref: str) -> Image:
        if ref not in self._present:
            raise NotFound(f"No such image: {ref}")
        return self._present[ref]

    def put(self, ref: str, *, from_registry: bool) -> None:
        self._present[ref] = replace(_image(ref), repo_digests=("x@sha256:1",) if from_registry else ())

    async def pull(self, ref: str, auth: object, progress: object) -> Image:
        self.pulls[ref] += 1
        await (self.gate.wait() if self.gate is not None else asyncio.sleep(0))
        if ref not in self.registry:
            raise ShoalError(self.words.format(ref))
        self.put(ref, from_registry=True)
        return self._present[ref]


class FakeOverlays:
    """Overlays that record what managers say."""

    def __init__(self) -> None:
        self.gossip: Gossip | None = None
        self.addresses: Mapping[str, str] = {}
        self.troubles: tuple[Trouble, ...] = ()
        self.said: dict[str, str] = {}
        self._changed = asyncio.Condition()

    def set_gossip(self, gossip: Gossip | None) -> None:
        self.gossip = gossip

    def set_node_addresses(self, addresses: Mapping[str, str], ingress: Overlay | None) -> None:
        self.addresses = addresses

    async def leave(self) -> None:
        self.gossip = None

    async def lack(self, *troubles: Trouble, said: Mapping[str, str]) -> None:
        """Lack this from now on."""
        async with self._changed:
            self.troubles, self.said = troubles, dict(said)
            self._changed.notify_all()

    async def other_troubles(self, known: Sequence[Trouble]) -> Sequence[Trouble]:
        async with self._changed:
            await self._changed.wait_for(lambda: self.troubles != tuple(known))
        return self.troubles

    def said_of(self, troubles: Iterable[Trouble]) -> dict[str, str]:
        assert tuple(troubles) == self.troubles
        return self.said

    async def view(self, network: str) -> dict[str, Any]:
        return {"Told": None, "Layers": None, "Reason": f"network {network} is not on this node"}


class FakeRuntime:
    """The runtime that a node gives its agent."""

    def __init__(self, *images: str) -> None:
        self.images = FakeImages(*(images or ("busybox:latest",)))
        self.containers = FakeContainers(self.images)
        self.overlays = FakeOverlays()


def _image(reference: str) -> Image:
    return Image(f"sha256:{reference}", {}, (), 0, (reference,), (), 0.0)


NODE = api.NodeDescription(
    hostname="host-1",
    platform=api.Platform(architecture="x86_64", os="linux"),
    engine=api.EngineDescription(engine_version="28.2.2"),
)


def task(
    task_id: str = "t1",
    *,
    state: int = api.ASSIGNED,
    desired: int = api.RUNNING,
    node_id: str = "node-1",
    image: str = "busybox:latest",
    command: tuple[str, ...] = ("sleep", "1000"),
    healthy: bool = False,
) -> api.Task:
    """Return a task of the service `web`."""
    made = api.Task(
        id=task_id,
        service_id="s1",
        slot=1,
        node_id=node_id,
        service_annotations=api.Annotations(name="web", labels={"tier": "front"}),
        desired_state=desired,  # type: ignore[arg-type]
        status=api.TaskStatus(state=state),  # type: ignore[arg-type]
    )
    made.spec.container.image = image
    made.spec.container.command.extend(command)
    if healthy:
        made.spec.container.healthcheck.test.extend(["CMD", "true"])
    return made
