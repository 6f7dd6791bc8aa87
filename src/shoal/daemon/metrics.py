"""The metrics for Prometheus at `--metrics-addr`: those of the engine and, on a manager, those of the swarm.

A metric that Docker has as well has Docker's name (engine_daemon_*, swarm_*). The text format is Prometheus's 0.0.4.
Everything is counted only when it is asked for, so metrics cost nothing otherwise.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from aiohttp import web

from shoal.api import states
from shoal.api import v1 as api
from shoal.daemon import listeners, network_metrics
from shoal.engine import last_calls
from shoal.engine.backend import Backend
from shoal.errors import Unavailable
from shoal.network.connections import Table

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# A scraper gives up after ten.
PATIENCE = 3.0  # seconds
NODE_STATES = {value: name.lower() for name, value in api.NodeStatus.State.items()}


@contextlib.asynccontextmanager
async def serve(address: str, backend: Backend) -> AsyncIterator[None]:
    """Serve /metrics at `host:port`. With an empty address, do nothing."""
    if not address:
        yield
        return

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=await render(backend), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    last_calls.watch(app)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=last_calls.SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        await web.SockSite(runner, listeners.tcp_socket(address)).start()
        yield
    finally:
        await runner.cleanup()


async def render(backend: Backend) -> str:
    """Return the metrics as text."""
    facts, host = backend.facts, backend.host
    phases = Counter(str(container.phase) for container in backend.containers.list())
    lines = [
        *_metric(
            "engine_daemon_engine_info",
            "The information related to the engine and the OS it is running on",
            [({"version": facts.version, "daemon_id": facts.id, "kernel": host.kernel_version, "os": "linux"}, 1)],
        ),
        *_metric(
            "engine_daemon_engine_cpus_cpus", "The number of cpus that the host system of the engine has", host.cpus
        ),
        *_metric("engine_daemon_engine_memory_bytes", "The number of bytes of memory of the host", host.memory_bytes),
        *_metric(
            "engine_daemon_container_states_containers",
            "The count of containers in various states",
            [({"state": state}, phases.get(state, 0)) for state in ("created", "exited", "running")],
        ),
        *_connections(backend.connections.table),
        *_swarm(backend),
        *network_metrics.lines(await _network_counts(backend)),
    ]
    return "\n".join(lines) + "\n"


async def _network_counts(backend: Backend) -> Mapping[str, Any] | None:
    """Return what the network process has counted; None where there is none, or it is too busy to say."""
    if not backend.overlays.wanted.revision:
        return None
    try:
        async with asyncio.timeout(PATIENCE):
            return await backend.overlays.counts()
    except (Unavailable, TimeoutError):
        return None


def _connections(table: Table | None) -> Iterable[str]:
    """Yield what the kernel says of the connections that it tracks for the host; nothing while it tracks none."""
    if table is None:
        return
    for name, kind, text, value in (
        ("connections", "gauge", "Connections that the kernel tracks in the host's namespace", table.count),
        ("connections_limit", "gauge", "How many it tracks at most", table.limit),
        ("connections_lost_total", "counter", "Connections that found no room there, or lost it", table.dropped),
    ):
        yield from network_metrics.metric(f"shoal_host_{name}", kind, text, [({}, value)])  # type: ignore[arg-type]


def _swarm(backend: Backend) -> Iterable[str]:
    manager = 1
    try:
        view = backend.node.view()
    except Unavailable:
        manager = 0
    yield from _metric("swarm_node_manager", "Whether this node is a manager or not", manager)
    if not manager:
        return
    nodes = Counter(node.status.state for node in view.nodes.all())
    tasks = Counter(task.status.state for task in view.tasks.all())
    yield from _metric(
        "swarm_manager_nodes",
        "The number of nodes",
        [({"state": name}, nodes[state]) for state, name in NODE_STATES.items()],
    )
    yield from _metric(
        "swarm_manager_services_total", "The number of services in the cluster object store", len(view.services)
    )
    yield from _metric(
        "swarm_manager_tasks_total",
        "The number of tasks in the cluster object store",
        [({"state": name}, tasks[state]) for state, name in states.NAMES.items()],
    )


def _metric(name: str, text: str, values: float | list[tuple[dict[str, str], float]]) -> Iterable[str]:
    return network_metrics.metric(name, "gauge", text, values if isinstance(values, list) else [({}, values)])
