"""A runtime for tests: one image made of busybox, folders as volumes, and no network. These are no mocks: each does
what containers need, on this host, below one temporary folder.
"""

# ruff: noqa: ASYNC110 - tests wait for conditions

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from shoal.errors import NotFound
from shoal.host.events import EventBus
from shoal.network.host_ports.held import Held
from shoal.network.types import Attachment, HostPort, LocalAttachment, Mode, Sandbox
from shoal.paths import Paths
from shoal.runtime.containers import Containers
from shoal.runtime.types import Container, ContainerConfig, Image, Phase, Volume

IMAGE_ID = "sha256:" + "1" * 64
APPLETS = (
    "cat chmod chown echo env false grep head hostname id kill ls mkdir mount ping ps pwd sh sleep stat stty "
    "sync test touch true tty unshare wc yes"
)


class OneImage:
    """The only image: busybox:latest."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "busybox"
        self.config: dict[str, object] = {"Cmd": ["sh"], "Env": ["FROM_IMAGE=1"]}
        self.holders: set[str] = set()
        for name in ("bin", "etc", "tmp", "data", "home/ann"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/busybox", self.root / "bin/busybox")
        for applet in APPLETS.split():
            (self.root / "bin" / applet).symlink_to("busybox")
        (self.root / "bin/plain").write_text("no program")
        (self.root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n")
        (self.root / "etc/group").write_text("root:x:0:\nann:x:1001:\nteam:x:2000:ann\n")
        (self.root / "data/seed").write_text("from the image")
        (self.root / "tmp").chmod(0o1777)
        self.root.chmod(0o755)
        self.layers = [str(self.root)]

    def add_layers(self, count: int) -> None:
        for number in range(count):
            layer = self.root.parent / f"layer-with-a-name-as-long-as-a-digest-{'x' * 40}-{number}"
            layer.mkdir()
            (layer / f"layer{number}").write_text(f"layer{number}\n")
            self.layers.insert(0, str(layer))

    def get(self, ref: str) -> Image:
        if ref not in ("busybox", "busybox:latest", IMAGE_ID):
            raise NotFound(f"No such image: {ref}")
        return Image(IMAGE_ID, {"config": self.config}, (), 0, ("busybox:latest",), (), 0.0)

    def lower_dirs(self, image_id: str) -> list[str]:
        return self.layers

    def hold(self, image_id: str, holder: str) -> None:
        self.holders.add(holder)

    def release(self, image_id: str, holder: str) -> None:
        self.holders.discard(holder)


class FolderVolumes:
    """Volumes that are folders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volumes: dict[str, Volume] = {}
        self.holders: set[tuple[str, str]] = set()

    def get(self, name: str) -> Volume:
        if name not in self.volumes:
            raise NotFound(f"get {name}: no such volume")
        return self.volumes[name]

    async def create(self, name: str, driver: str, options: Mapping[str, str], labels: Mapping[str, str]) -> Volume:
        name, anonymous = name or secrets.token_hex(32), not name
        if name not in self.volumes:
            (self.folder / name).mkdir(parents=True)
            self.volumes[name] = Volume(name, str(self.folder / name), 0.0, labels, options, anonymous)
        return self.volumes[name]

    async def remove(self, name: str, force: bool) -> None:
        shutil.rmtree(self.volumes.pop(name).mountpoint)

    async def mount(self, name: str) -> Volume:
        return self.get(name)

    def hold(self, name: str, container_id: str) -> None:
        self.holders.add((name, container_id))

    def release(self, name: str, container_id: str) -> None:
        self.holders.discard((name, container_id))


class NoNetwork:
    """A network that connects nothing, and remembers the calls."""

    def __init__(self) -> None:
        self.connected: set[str] = set()
        self.adopted: dict[str, Sandbox] = {}
        self.sandbox = Sandbox()

    async def connect(
        self,
        container_id: str,
        mode: Mode,
        attachments: Sequence[Attachment] = (),
        *,
        name: str = "",
        hostname: str = "",
        servers: Sequence[str] = (),
        ndots_set: bool = False,
        own: Sequence[LocalAttachment] = (),
        published: bool = False,
    ) -> Sandbox:
        self.connected.add(container_id)
        return self.sandbox

    async def publish(self, container_id: str, name: str, ports: Sequence[HostPort]) -> Held:
        return Held()

    async def disconnect(self, container_id: str) -> None:
        self.connected.discard(container_id)

    async def enable(self, container_id: str) -> None:
        raise AssertionError("it is on no overlay")

    async def disable(self, container_id: str) -> None:
        raise AssertionError("it is on no overlay")

    async def adopt(self, sandboxes: dict[str, Sandbox]) -> None:
        self.adopted = sandboxes


@dataclass
class Site:
    """Folders and other parts that outlive one `Containers`. To restart the daemon, enter `containers` again."""

    folder: Path
    tag: str = field(default_factory=lambda: f"test{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        self.paths = Paths(self.folder / "data", self.folder / "run")
        self.images = OneImage(self.folder)
        self.volumes = FolderVolumes(self.folder / "volumes")
        self.network = NoNetwork()
        self.events = EventBus()

    @asynccontextmanager
    async def containers(self) -> AsyncIterator[Containers]:
        async with Containers(
            self.paths, self.images, self.volumes, self.network, self.events, tag=self.tag
        ) as containers:
            yield containers

    def actions(self, id: str) -> list[str]:  # noqa: A002
        return [event.action for event in self.events.since(0) if event.id == id]

    async def clear(self) -> None:
        """Remove every container, then check that nothing is left."""
        async with self.containers() as containers:
            for container in containers.list():
                await containers.remove(container.id, force=True, volumes=True)
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        left = [point for point in mounts if point.startswith(str(self.folder))]
        # Not `**`, because other hosts' cgroups disappear meanwhile.
        left += [
            str(path)
            for at in ("*", "*/*")
            for path in Path("/sys/fs/cgroup").glob(at)
            if path.name == f"shoal-{self.tag}"
        ]
        left += [f"process {pid}" for pid in processes_with(str(self.folder))]
        left += [str(path) for path in self.paths.bundles.iterdir()]
        left += [str(path) for path in self.paths.containers.iterdir()]
        assert left == []


def processes_with(text: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def config(name: str, *command: str, **changes: object) -> ContainerConfig:
    base = ContainerConfig(name=name, image="busybox", command=command or ("sleep", "1000"), network="none")
    return replace(base, **changes)  # type: ignore[arg-type]


async def output(containers: Containers, made: ContainerConfig) -> tuple[int, str]:
    """Run a container to its end, and remove it. Returns its exit code and its output."""
    from shoal.runtime.types import LogOptions

    container = await containers.create(made)
    await containers.start(container.id)
    ended = await containers.wait(container.id)
    lines = [line.data async for line in containers.logs(container.id, LogOptions())]
    await containers.remove(container.id, volumes=True)
    return ended.exit_code, b"".join(lines).decode()


async def until(condition: Callable[[], object], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


def is_running(container: Container) -> bool:
    return container.phase is Phase.RUNNING and subprocess.run(["kill", "-0", str(container.pid)]).returncode == 0
