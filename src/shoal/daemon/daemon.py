"""The composition root: makes the parts, gives each what it needs, and ends them in the reverse order.

Order of the start: locks on the two roots, the host's network, images and volumes, containers (which adopts running
ones), the node with its manager and agent, last the API's sockets. Containers go on when the daemon ends.

This module makes the host's side. `serving` makes the node and the API. It is half of what a daemon imports, so it is
imported only once the host's side is there: a start that fails before that fails sooner.
"""

import asyncio
import contextlib
import fcntl
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shoal import spawning
from shoal.daemon import leftovers
from shoal.daemon.config import DaemonConfig
from shoal.daemon.service import Notifier
from shoal.errors import DamagedState, ShoalError
from shoal.files import write_atomic
from shoal.host import programs
from shoal.host.events import EventBus
from shoal.network.bridge import BridgeNetwork
from shoal.network.configurations import Configurations
from shoal.network.host_network import HostNetwork
from shoal.network.leftovers.sweeper import Sweeper
from shoal.network.local.networks import LocalNetworks
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
# The programs without which the daemon does not start. etcd is only needed by a manager.
NEEDED = ("conmon", "ip", "mount", "nft", "skopeo")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the host's side, from which the node and the API are made. It is the runtime of the node's agent."""

    engine_id: str
    events: EventBus
    volumes: Volumes
    network: BridgeNetwork
    configurations: Configurations
    overlays: Overlays
    images: Images
    containers: Containers
    devices: Devices
    runtime_version: str
    conmon_version: str


Serve = Callable[[DaemonConfig, Parts, asyncio.Event, Notifier], Awaitable[None]]


async def run(config: DaemonConfig, stop: asyncio.Event, notifier: Notifier) -> None:
    """Run the daemon until `stop` is set. `notifier` hears when it serves. Raises ShoalError, a line for the user."""
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
            configurations = await asyncio.to_thread(Configurations, paths.network / "configurations.json")
            own = LocalNetworks(tag, f"shoal {paths.data_root}", configurations.get)

            async def close_vxlan(port: int) -> None:
                await bridge.close_vxlan(port)
                await own.close_vxlan(port)

            overlays = Overlays(process, last_wanted(paths.network_process), close_vxlan)
            sweeper = Sweeper(tag, leftovers.owned)
            await sweeper.look()
            async with bridge as network, own, _kept(process, overlays, bridge, own, sweeper):
                overlays.set_bridge(network.as_wanted())
                await asyncio.to_thread(leftovers.tell, await network.others())
                images = Images(paths, events, insecure_registries=config.insecure_registries)
                devices = Devices(config.cdi_folders, frozenset(kind for kind, _ in config.generic))
                await asyncio.to_thread(devices.refresh)
                async with Containers(
                    paths,
                    images,
                    volumes,
                    HostNetwork(network, overlays, own),
                    events,
                    tag=tag,
                    logs=config.logs,
                    devices=devices,
                ) as containers:
                    # Without --root, crun would make a folder in /run.
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
                        configurations=configurations,
                        overlays=overlays,
                        images=images,
                        containers=containers,
                        devices=devices,
                        runtime_version=await runtime,
                        conmon_version=await conmon,
                    )
                    await serve(config, parts, stop, notifier)


@contextlib.asynccontextmanager
async def _kept(
    process: NetworkProcess, overlays: Overlays, bridge: BridgeNetwork, own: LocalNetworks, sweeper: Sweeper
) -> AsyncIterator[None]:
    """Keep the bridges' rules and a network process that is told of what is wanted; both stay when this ends.

    What others left of rules is removed meanwhile.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(process.run(), name="network process"),
            group.create_task(overlays.run(), name="overlays"),
            group.create_task(bridge.keep_rules(), name="bridge's rules"),
            group.create_task(own.keep_rules(), name="rules of the swarm's bridges"),
            group.create_task(sweeper.run(), name="leftover rules"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _import_serving() -> Serve:
    """Import everything that the API needs. Blocks for several tenths of a second."""
    from shoal.daemon import loading  # noqa: F401 - before anything that imports aiohttp
    from shoal.daemon.serving import serve  # imported only here; see the module's docstring

    return serve


@contextlib.contextmanager
def _locked(paths: Paths) -> Iterator[None]:
    """Lock both roots. Two daemons with a root in common would each remove the other's files."""
    with contextlib.ExitStack() as held:
        for root, flag in ((paths.data_root, "--data-root"), (paths.exec_root, "--exec-root")):
            # 0711, because others must reach the socket and the files that containers mount. The folders inside are
            # 0700.
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
    """Yield this daemon's id and its tag, and claim the tag: objects of this host named with it are this daemon's."""
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
    """Return this daemon's id, which is made once and kept in the data root. Raises DamagedState."""
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
    child = await spawning.start(
        programs.find(program), *flags, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await child.communicate()
    words = output.decode(errors="replace").partition("\n")[0].split()
    return words[-1] if words else ""
