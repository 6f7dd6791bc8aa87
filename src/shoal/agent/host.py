"""The description of this node: hostname, platform, resources, engine and its plugins."""

import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from shoal.api import v1 as api
from shoal.api.engines import MANAGER_PLUGIN

# The built-in plugins. `overlay` must be listed: a manager looks for it before it places a task on such a network.
PLUGINS = (
    ("Log", "json-file"),
    MANAGER_PLUGIN,
    ("Network", "bridge"),
    ("Network", "host"),
    ("Network", "macvlan"),
    ("Network", "null"),
    ("Network", "overlay"),
    ("Volume", "local"),
)


def describe(
    engine_version: str,
    *,
    hostname: str = "",
    labels: Mapping[str, str] | None = None,
    generic: Iterable[api.GenericResource] = (),
    tls_info: api.NodeTLSInfo | None = None,
) -> api.NodeDescription:
    """Return the description of this node. A call is cheap enough for every few seconds."""
    uname = os.uname()
    return api.NodeDescription(
        hostname=hostname or socket.gethostname(),
        platform=api.Platform(architecture=uname.machine, os=uname.sysname.lower()),
        resources=api.Resources(
            nano_cpus=len(os.sched_getaffinity(0)) * 1_000_000_000, memory_bytes=memory_bytes(), generic=generic
        ),
        engine=api.EngineDescription(
            engine_version=engine_version,
            labels=dict(labels or {}),
            plugins=[api.PluginDescription(type=kind, name=name) for kind, name in PLUGINS],
        ),
        tls_info=tls_info,
    )


def memory_bytes(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the host's memory in bytes; 0 when `meminfo` does not tell it."""
    for line in meminfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            return int(value.split()[0]) * 1024
    return 0
