"""The composition root: makes the parts, gives each what it needs, and ends them in the reverse order.

Order of the start: lock on the data root, the host's network, images and volumes, containers (which adopts those that
run), the node with its manager and agent, last the API's sockets. Containers go on when all of this ends.
"""

import asyncio
import contextlib
import fcntl
import gc
import ipaddress
import logging
import os
import secrets
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from aiohttp import web

from shoal import __version__
from shoal.agent.host import describe
from shoal.api import v1 as api
from shoal.daemon import leftovers, listeners, metrics
from shoal.daemon.config import DaemonConfig
from shoal.daemon.service import Notifier
from shoal.engine.app import make_app, make_runner
from shoal.engine.backend import Backend, DaemonFacts
from shoal.errors import DamagedState, ShoalError
from shoal.files import write_atomic
from shoal.host import programs
from shoal.host.events import EventBus
from shoal.network.bridge import BridgeNetwork
from shoal.node.door import Door
from shoal.paths import Paths, tag_of
from shoal.runtime.cgroups import Cgroups
from shoal.runtime.containers import Containers
from shoal.runtime.devices import Devices
from shoal.runtime.exec import Execs
from shoal.runtime.images import Images
from shoal.runtime.types import Phase
from shoal.runtime.volumes import Volumes

log = logging.getLogger(__name__)

LOCK_FILE = "shoald.lock"
# Objects made before the youngest, and collections before the older generations are searched for cycles. Requests and
# messages make few; Python's 700 would search hundreds of times while a hundred tasks start.
GC_THRESHOLDS = (20_000, 10, 10)
# A driver that is installed or loaded later writes its CDI file then. An agent looks at its description as often.
LOOK_FOR_DEVICES_EVERY = 20.0
# What must be there to start at all; etcd is asked for when a swarm is made.
NEEDED = ("conmon", "ip", "mount", "nft", "skopeo")


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the node's agent needs of this host."""

    containers: Containers
    images: Images


async def run(config: DaemonConfig, stop: asyncio.Event, notifier: Notifier) -> None:
    """Be a daemon until `stop` is set; `notifier` is told when it serves. ShoalError says in a line what to do."""
    paths = config.paths
    for name in NEEDED:
        programs.find(name)
    with _locked(paths), _pidfile(config.pidfile), _identified(paths) as (engine_id, tag):
        events = EventBus()
        volumes = Volumes(paths, events)
        async with BridgeNetwork(paths, tag, events=events) as network:
            await asyncio.to_thread(leftovers.tell, await network.others())
            images = Images(paths, events, insecure_registries=config.insecure_registries)
            devices = Devices(config.cdi_folders, frozenset(kind for kind, _ in config.generic))
            await asyncio.to_thread(devices.refresh)
            async with Containers(
                paths, images, volumes, network, events, tag=tag, logs=config.logs, devices=devices
            ) as containers:
                images.running = lambda holder: _runs(containers, holder)
                await images.sweep()
                node = Door(
                    paths,
                    Runtime(containers, images),
                    lambda tls: _describe(config, devices, tls),
                    rng=Random(secrets.randbits(64)),
                    own_subnets=lambda: _subnets(network),
                    default_advertise_addr=config.default_advertise_addr,
                    keep_out=network.keep_out,
                )
                backend = Backend(
                    containers=containers,
                    execs=Execs(containers),
                    images=images,
                    volumes=volumes,
                    network=network,
                    events=events,
                    node=node,
                    facts=await _facts(config, engine_id, containers),
                    devices=devices,
                    generic=lambda: _generic(config, devices),
                )
                await _serve(config, backend, node, stop, notifier)


async def _serve(config: DaemonConfig, backend: Backend, node: Door, stop: asyncio.Event, notifier: Notifier) -> None:
    """Run the node and the API until `stop` is set; a node that fails for good takes the daemon down."""
    async with asyncio.TaskGroup() as group:
        living = group.create_task(node.run(), name="node")
        telling = group.create_task(backend.swarm_events.run(node), name="swarm events")
        looking = group.create_task(_watch_devices(backend.devices), name="devices")
        stopping = group.create_task(stop.wait(), name="stop")
        async with _api(config, backend) as sites:
            settling = group.create_task(node.wait_settled(), name="settle")
            await asyncio.wait({living, stopping, settling}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                for site in sites:
                    await site.start()
                _settle_memory()
                log.info("shoald %s serves on %s", __version__, ", ".join(config.sockets))
                notifier.ready(f"serves on {', '.join(config.sockets)}")
                preparing = group.create_task(_prepare(node), name="prepare")
                await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
                preparing.cancel()
            stopping.cancel()
            settling.cancel()
            notifier.stopping("containers go on")
        log.info("stopping; containers go on")
        telling.cancel()
        looking.cancel()
        living.cancel()


def _settle_memory() -> None:
    """Leave what was imported and made so far out of every later collection; there are a hundred thousand objects.

    Without a collection before, whose pause would be every client's: what little garbage a start makes stays.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()  # `main` has turned it off


async def _prepare(node: Door) -> None:
    """Import what a swarm needs while nobody waits for it, so that who makes or joins one need not."""
    await node.prepare()
    gc.freeze()


@contextlib.asynccontextmanager
async def _api(config: DaemonConfig, backend: Backend) -> AsyncIterator[list[web.SockSite]]:
    """The Engine API's sockets, whose clients wait until the sites are started; metrics where they were asked for."""
    runner = make_runner(make_app(backend))
    await runner.setup()
    made: list[Path] = []
    sites: list[web.SockSite] = []
    try:
        for host in config.sockets:
            scheme, _, rest = host.partition("://")
            sites.append(_site(runner, config, scheme, rest))
            if scheme == "unix":
                made.append(Path(rest))  # only now is it ours, and not another daemon's
        async with metrics.serve(config.metrics_addr, backend):
            yield sites
    finally:
        await runner.cleanup()
        for path in made:
            path.unlink(missing_ok=True)


def _site(runner: web.AppRunner, config: DaemonConfig, scheme: str, rest: str) -> web.SockSite:
    if scheme == "unix":
        return web.SockSite(runner, listeners.unix_socket(Path(rest), config.group), backlog=listeners.BACKLOG)
    context = listeners.tls_context(config)
    return web.SockSite(runner, listeners.tcp_socket(rest), ssl_context=context, backlog=listeners.BACKLOG)


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


def _subnets(network: BridgeNetwork) -> list[ipaddress.IPv4Network]:
    return [ipaddress.IPv4Network(one.subnet) for one in network.networks() if one.subnet]


def _describe(config: DaemonConfig, devices: Devices, tls: api.NodeTLSInfo) -> api.NodeDescription:
    return describe(__version__, labels=config.engine_labels, generic=_generic(config, devices), tls_info=tls)


def _generic(config: DaemonConfig, devices: Devices) -> tuple[api.GenericResource, ...]:
    """What services may reserve here: what the owner names, and the devices found."""
    offered = (*config.generic, *((offer.kind, offer.value) for offer in devices.offers))
    return tuple(_resource(kind, value) for kind, value in offered)


def _resource(kind: str, value: str | int) -> api.GenericResource:
    if isinstance(value, int):
        return api.GenericResource(discrete_resource_spec=api.DiscreteGenericResource(kind=kind, value=value))
    return api.GenericResource(named_resource_spec=api.NamedGenericResource(kind=kind, value=value))


async def _watch_devices(devices: Devices) -> None:
    while devices.folders:
        await asyncio.sleep(LOOK_FOR_DEVICES_EVERY)
        await asyncio.to_thread(devices.refresh)


async def _facts(config: DaemonConfig, engine_id: str, containers: Containers) -> DaemonFacts:
    runtime = containers.runtime_name
    async with asyncio.TaskGroup() as group:
        # Without a root of ours, crun makes one in /run.
        runtime_version = group.create_task(_version(runtime, f"--root={config.exec_root}"), name="runtime's version")
        conmon_version = group.create_task(_version("conmon"), name="conmon's version")
    return DaemonFacts(
        id=engine_id,
        name=socket.gethostname(),
        version=__version__,
        data_root=str(config.data_root),
        labels=config.labels,
        debug=config.debug,
        runtime=runtime,
        runtime_path=programs.find(runtime),
        runtime_version=runtime_version.result(),
        conmon_version=conmon_version.result(),
        apparmor=containers.apparmor,
        insecure_registries=config.insecure_registries,
    )


async def _version(program: str, *flags: str) -> str:
    """Return the version in the first line of what `program --version` prints: `crun version 1.8.1`."""
    child = await asyncio.create_subprocess_exec(
        programs.find(program), *flags, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await child.communicate()
    words = output.decode(errors="replace").partition("\n")[0].split()
    return words[-1] if words else ""
