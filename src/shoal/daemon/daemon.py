"""The composition root: makes the parts, gives each what it needs, and ends them in the reverse order.

Order of the start: lock on the data root, the host's network, images and volumes, containers (which adopts those that
run), the node with its manager and agent, last the API's sockets. Containers go on when all of this ends.

What is made here is the host's side. The node and the API are made in `serving`, which is half of all that a daemon
imports: it is imported once the host's side is there, so that a start that fails there fails soon.
"""

import asyncio
import contextlib
import fcntl
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shoal.daemon import leftovers
from shoal.daemon.config import DaemonConfig
from shoal.daemon.service import Notifier
from shoal.errors import DamagedState, ShoalError
from shoal.files import write_atomic
from shoal.host import programs
from shoal.host.events import EventBus
from shoal.network.bridge import BridgeNetwork
from shoal.network.host_network import HostNetwork
from shoal.network.overlays import Overlays
from shoal.network.process.client import NetworkProcess
from shoal.network.process.state import last_wanted
from shoal.paths import Paths, tag_of
from shoal.runtime.cgroups import Cgroups
from shoal.runtime.containers import Containers
from shoal.runtime.devices import Devices
from shoal.runtime.images import Images
from shoal.runtime.types import Phase
from shoal.runtime.volumes import Volumes

LOCK_FILE = "shoald.lock"
# What must be there to start at all; etcd is asked for when a swarm is made.
NEEDED = ("conmon", "ip", "mount", "nft", "skopeo")


@dataclass(frozen=True, slots=True)
class Parts:
    """What was made of this host; the node and the API are made of it. To the node's agent it is the runtime."""

    engine_id: str
    events: EventBus
    volumes: Volumes
    network: BridgeNetwork
    overlays: Overlays
    images: Images
    containers: Containers
    devices: Devices
    runtime_version: str
    conmon_version: str


Serve = Callable[[DaemonConfig, Parts, asyncio.Event, Notifier], Awaitable[None]]


async def run(config: DaemonConfig, stop: asyncio.Event, notifier: Notifier) -> None:
    """Be a daemon until `stop` is set; `notifier` is told when it serves. ShoalError says in a line what to do."""
    paths = config.paths
    for name in NEEDED:
        programs.find(name)
    with _locked(paths), _pidfile(config.pidfile), _identified(paths) as (engine_id, tag):
        async with asyncio.TaskGroup() as group:
            conmon = group.create_task(_version("conmon"), name="conmon's version")
            events = EventBus()
            volumes = Volumes(paths, events)
            process = NetworkProcess(paths.network_process, tag, Cgroups(tag).keep_apart)
            bridge = BridgeNetwork(paths, tag, events=events)
            overlays = Overlays(process, last_wanted(paths.network_process), bridge.close_vxlan)
            async with bridge as network, _kept(process, overlays):
                await asyncio.to_thread(leftovers.tell, await network.others())
                images = Images(paths, events, insecure_registries=config.insecure_registries)
                devices = Devices(config.cdi_folders, frozenset(kind for kind, _ in config.generic))
                await asyncio.to_thread(devices.refresh)
                async with Containers(
                    paths,
                    images,
                    volumes,
                    HostNetwork(network, overlays),
                    events,
                    tag=tag,
                    logs=config.logs,
                    devices=devices,
                ) as containers:
                    # Without a root of ours, crun makes one in /run.
                    runtime = group.create_task(
                        _version(containers.runtime_name, f"--root={config.exec_root}"), name="runtime's version"
                    )
                    images.running = lambda holder: _runs(containers, holder)
                    await images.sweep()
                    serve = await asyncio.to_thread(_import_serving)
                    parts = Parts(
                        engine_id=engine_id,
                        events=events,
                        volumes=volumes,
                        network=network,
                        overlays=overlays,
                        images=images,
                        containers=containers,
                        devices=devices,
                        runtime_version=await runtime,
                        conmon_version=await conmon,
                    )
                    await serve(config, parts, stop, notifier)


@contextlib.asynccontextmanager
async def _kept(process: NetworkProcess, overlays: Overlays) -> AsyncIterator[None]:
    """Keep a network process there while this daemon runs, told of what is wanted; it stays when this ends."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(process.run(), name="network process"),
            group.create_task(overlays.run(), name="overlays"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _import_serving() -> Serve:
    """Import all that the API needs. Blocks for a good part of a second."""
    from shoal.daemon import loading  # noqa: F401 - before anything that imports aiohttp
    from shoal.daemon.serving import serve  # here, and nowhere else: see above

    return serve


@contextlib.contextmanager
def _locked(paths: Paths) -> Iterator[None]:
    """Hold both roots: two daemons over one would each remove what the other makes."""
    with contextlib.ExitStack() as held:
        for root, flag in ((paths.data_root, "--data-root"), (paths.exec_root, "--exec-root")):
            # Others may pass through, to the socket and to what containers mount; the folders inside are 0700.
            root.mkdir(mode=0o711, parents=True, exist_ok=True)
            handle = os.open(root / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            held.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ShoalError(f"{root} is in use by another shoald: give this one another {flag}") from error
        yield


@contextlib.contextmanager
def _identified(paths: Paths) -> Iterator[tuple[str, str]]:
    """This daemon's id, and the tag made of it, which it holds: what is named with the tag on this host is its own."""
    engine_id = _engine_id(paths)
    tag = tag_of(engine_id)
    cgroups = Cgroups(tag)
    if not cgroups.claim():
        raise ShoalError(
            f"another shoald on this host has the id that is in {paths.engine_id}: "
            "in a copy of a data root, remove that file"
        )
    try:
        yield engine_id, tag
    finally:
        cgroups.release()


@contextlib.contextmanager
def _pidfile(path: Path | None) -> Iterator[None]:
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, f"{os.getpid()}\n".encode(), 0o644)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _engine_id(paths: Paths) -> str:
    """Return this daemon's id: made once, kept in the data root. Bridge, cgroups and tables are named after it."""
    path = paths.engine_id
    try:
        return str(uuid.UUID(path.read_text().strip()))
    except FileNotFoundError:
        text = str(uuid.uuid4())
        write_atomic(path, f"{text}\n".encode())
        return text
    except ValueError as error:
        raise DamagedState(str(path), "it does not hold an id") from error


def _runs(containers: Containers, holder: str) -> bool:
    return any(one.id == holder and one.phase is Phase.RUNNING for one in containers.list())


async def _version(program: str, *flags: str) -> str:
    """Return the version in the first line of what `program --version` prints: `crun version 1.8.1`."""
    child = await asyncio.create_subprocess_exec(
        programs.find(program), *flags, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await child.communicate()
    words = output.decode(errors="replace").partition("\n")[0].split()
    return words[-1] if words else ""
