"""Runs the node, with its manager and agent, and the API, until the daemon is told to stop.

In: the host's parts. Out: nothing. A node that fails for good ends the daemon. `daemon` imports this module, and with
it aiohttp and all of `engine`, once the host's side is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from aiohttp import web

from shoal import __version__
from shoal.agent.host import describe
from shoal.api import v1 as api
from shoal.daemon import listeners, metrics, tracking
from shoal.daemon.config import DaemonConfig
from shoal.daemon.service import Notifier
from shoal.engine.app import make_app, make_runner
from shoal.engine.backend import Backend, DaemonFacts
from shoal.host import programs
from shoal.network.bridge import BridgeNetwork
from shoal.node.door import Door
from shoal.runtime.devices import Devices
from shoal.runtime.exec import Execs

if TYPE_CHECKING:
    from shoal.daemon.daemon import Parts

log = logging.getLogger(__name__)

# gc's thresholds: new objects before the youngest generation is collected, then collections of each generation before
# the next older one. Requests and messages make few cycles, and Python's default of 700 would collect hundreds of times
# while 100 tasks start.
GC_THRESHOLDS = (20_000, 10, 10)
# Seconds. A driver may write its CDI file at any time. The agent checks its own description at the same interval.
LOOK_FOR_DEVICES_EVERY = 20.0


async def serve(config: DaemonConfig, parts: Parts, stop: asyncio.Event, notifier: Notifier) -> None:
    """Run a node and the API over these parts until `stop` is set. `notifier` hears when the API answers."""
    node = Door(
        config.paths,
        parts,
        lambda tls: _describe(config, parts.devices, tls),
        rng=Random(secrets.randbits(64)),
        own_subnets=lambda: _subnets(parts.network),
        default_advertise_addr=config.default_advertise_addr,
        keep_out=parts.network.keep_out,
    )
    backend = Backend(
        containers=parts.containers,
        execs=Execs(parts.containers),
        images=parts.images,
        volumes=parts.volumes,
        network=parts.network,
        overlays=parts.overlays,
        configurations=parts.configurations,
        events=parts.events,
        node=node,
        facts=_facts(config, parts),
        devices=parts.devices,
        generic=lambda: _generic(config, parts.devices),
    )
    async with asyncio.TaskGroup() as group:
        living = group.create_task(node.run(), name="node")
        telling = group.create_task(backend.swarm_events.run(node), name="swarm events")
        looking = group.create_task(_watch_devices(parts.devices), name="devices")
        tracked = group.create_task(tracking.watch(backend.connections), name="tracked connections")
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
        tracked.cancel()
        living.cancel()


def _settle_memory() -> None:
    """Exclude all present objects, about 100,000, from later collections.

    They are not collected first: the pause would delay every client, and a start makes little garbage.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()  # `main` turned it off


async def _prepare(node: Door) -> None:
    """Import what a swarm needs while the daemon is idle, so that `swarm init` and `join` need not wait for it."""
    await node.prepare()
    gc.freeze()


@contextlib.asynccontextmanager
async def _api(config: DaemonConfig, backend: Backend) -> AsyncIterator[list[web.SockSite]]:
    """Open the Engine API's sockets and serve metrics. Clients wait in the sockets until the sites are started."""
    runner = make_runner(make_app(backend))
    await runner.setup()
    made: list[Path] = []
    sites: list[web.SockSite] = []
    try:
        for host in config.sockets:
            scheme, _, rest = host.partition("://")
            sites.append(_site(runner, config, scheme, rest))
            if scheme == "unix":
                made.append(Path(rest))  # from here on it is ours to remove; before, it could be another daemon's
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


def _subnets(network: BridgeNetwork) -> list[ipaddress.IPv4Network]:
    return [ipaddress.IPv4Network(one.subnet) for one in network.networks() if one.subnet]


def _describe(config: DaemonConfig, devices: Devices, tls: api.NodeTLSInfo) -> api.NodeDescription:
    return describe(__version__, labels=config.engine_labels, generic=_generic(config, devices), tls_info=tls)


def _generic(config: DaemonConfig, devices: Devices) -> tuple[api.GenericResource, ...]:
    """Return what services may reserve here: the configured resources and the devices from CDI files."""
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


def _facts(config: DaemonConfig, parts: Parts) -> DaemonFacts:
    runtime = parts.containers.runtime_name
    return DaemonFacts(
        id=parts.engine_id,
        name=socket.gethostname(),
        version=__version__,
        data_root=str(config.data_root),
        labels=config.labels,
        debug=config.debug,
        runtime=runtime,
        runtime_path=programs.find(runtime),
        runtime_version=parts.runtime_version,
        conmon_version=parts.conmon_version,
        apparmor=parts.containers.apparmor,
        insecure_registries=config.insecure_registries,
    )
