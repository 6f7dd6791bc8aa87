"""Reads what a container uses: its cgroup (v1 or v2), its interfaces, and the host's CPUs.

Blocking, but only for the kernel's files. In: a container's id and pid. Out: Stats, with zeros if it does not run.
"""

import os
import time
from pathlib import Path

from shoal.runtime.cgroups import Cgroups, Layout
from shoal.runtime.types import Stats

_TICK_NANOS = 10**9 // os.sysconf("SC_CLK_TCK")

# More than any host has. cgroups of v1 have such a number if there is no limit.
_NO_LIMIT = 1 << 60

_INTERFACE_FIELDS = (
    "rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "", "", "", "",
    "tx_bytes", "tx_packets", "tx_errors", "tx_dropped",
)  # fmt: skip


def read(cgroups: Cgroups, id: str, pid: int) -> Stats:  # noqa: A002 - a container's id
    """Return the present reading. `pid` 0: the container does not run."""
    host_cpu, online = _host_cpu()
    one = _unified(cgroups, id) if cgroups.layout is Layout.UNIFIED else _legacy(cgroups, id)
    total, user, system, usage, limit, memory, pids, pids_limit, block_io = one
    return Stats(
        read_at=time.time(),
        cpu_total_nanos=total,
        cpu_user_nanos=user,
        cpu_system_nanos=system,
        host_cpu_nanos=host_cpu,
        online_cpus=online,
        memory_usage_bytes=usage,
        memory_limit_bytes=limit if pid and 0 < limit < _NO_LIMIT else (_host_memory() if pid else 0),
        memory_stats=memory,
        pids=pids,
        pids_limit=pids_limit,
        networks=interfaces(_read(f"/proc/{pid}/net/dev")) if pid else {},
        block_io=block_io,
    )


_Reading = tuple[int, int, int, int, int, dict[str, int], int, int, tuple[tuple[int, int, str, int], ...]]


def _unified(cgroups: Cgroups, id: str) -> _Reading:  # noqa: A002
    def text(name: str) -> str:
        return cgroups.read(id, "", name)

    cpu = pairs(text("cpu.stat"))
    io = []
    for line in text("io.stat").splitlines():
        device, *values = line.split()
        major, _, minor = device.partition(":")
        found = dict(value.split("=", 1) for value in values if "=" in value)
        io.append((int(major), int(minor), "Read", int(found.get("rbytes", 0))))
        io.append((int(major), int(minor), "Write", int(found.get("wbytes", 0))))
    return (
        cpu.get("usage_usec", 0) * 1000,
        cpu.get("user_usec", 0) * 1000,
        cpu.get("system_usec", 0) * 1000,
        number(text("memory.current")),
        number(text("memory.max")),
        pairs(text("memory.stat")),
        number(text("pids.current")),
        number(text("pids.max")),
        tuple(io),
    )


def _legacy(cgroups: Cgroups, id: str) -> _Reading:  # noqa: A002
    cpu = pairs(cgroups.read(id, "cpuacct", "cpuacct.stat"))
    return (
        number(cgroups.read(id, "cpuacct", "cpuacct.usage")),
        cpu.get("user", 0) * _TICK_NANOS,
        cpu.get("system", 0) * _TICK_NANOS,
        number(cgroups.read(id, "memory", "memory.usage_in_bytes")),
        number(cgroups.read(id, "memory", "memory.limit_in_bytes")),
        pairs(cgroups.read(id, "memory", "memory.stat")),
        number(cgroups.read(id, "pids", "pids.current")),
        number(cgroups.read(id, "pids", "pids.max")),
        block_io(cgroups.read(id, "blkio", "blkio.throttle.io_service_bytes_recursive")),
    )


def pairs(text: str) -> dict[str, int]:
    """Parse lines of a name and a number."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            found[name] = int(value)
    return found


def number(text: str) -> int:
    """Parse a number; 0 for `max` and for an empty text."""
    value = text.strip()
    return int(value) if value.isdigit() else 0


def block_io(text: str) -> tuple[tuple[int, int, str, int], ...]:
    """Parse lines of `major:minor Operation bytes`, and keep reads and writes."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in ("Read", "Write"):
            major, _, minor = words[0].partition(":")
            found.append((int(major), int(minor), words[1], int(words[2])))
    return tuple(found)


def interfaces(text: str) -> dict[str, dict[str, int]]:
    """Parse /proc/PID/net/dev, without the loopback."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, values = line.partition(":")
        counters = zip(_INTERFACE_FIELDS, values.split(), strict=False)
        if name.strip() != "lo":
            found[name.strip()] = {key: int(value) for key, value in counters if key}
    return found


def _host_cpu() -> tuple[int, int]:
    lines = _read("/proc/stat").splitlines()
    # user nice system idle iowait irq softirq steal. The times of guests are already in user and nice.
    ticks = sum(int(word) for word in lines[0].split()[1:9])
    online = sum(line.startswith("cpu") for line in lines) - 1
    return ticks * _TICK_NANOS, online


def _host_memory() -> int:
    first = _read("/proc/meminfo").split("\n", 1)[0]
    return int(first.split()[1]) * 1024


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
