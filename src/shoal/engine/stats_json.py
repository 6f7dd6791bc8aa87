"""The JSON of a container's statistics. Pure. Source of the shape: moby api/types/container/stats.go."""

from typing import Any

from shoal.engine.container_json import NO_TIME, instant
from shoal.runtime.types import Container, Stats

# Only cgroups of version 1 counted these.
_UNCOUNTED = (
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)


def stats_json(container: Container, now: Stats | None, previous: Stats | None) -> dict[str, Any]:
    """Return one reading together with the one before it. `now` is None if the container does not run."""
    shown: dict[str, Any] = {
        "name": f"/{container.config.name}",
        "id": container.id,
        "read": instant(now.read_at) if now else NO_TIME,
        "preread": instant(previous.read_at) if previous else NO_TIME,
        "pids_stats": _pids(now),
        "blkio_stats": _block_io(now),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now),
        "precpu_stats": _cpu(previous),
        "memory_stats": _memory(now),
    }
    if now is not None and now.networks:
        shown["networks"] = {name: dict(counters) for name, counters in now.networks.items()}
    return shown


def _pids(reading: Stats | None) -> dict[str, int]:
    if reading is None:
        return {}
    found = {"current": reading.pids, "limit": reading.pids_limit}
    return {name: value for name, value in found.items() if value}


def _memory(reading: Stats | None) -> dict[str, Any]:
    if reading is None:
        return {}
    return {
        "usage": reading.memory_usage_bytes,
        "stats": dict(reading.memory_stats),
        "limit": reading.memory_limit_bytes,
    }


def _cpu(reading: Stats | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "cpu_usage": {
            "total_usage": reading.cpu_total_nanos if reading else 0,
            "usage_in_kernelmode": reading.cpu_system_nanos if reading else 0,
            "usage_in_usermode": reading.cpu_user_nanos if reading else 0,
        },
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }
    if reading is not None:
        shown |= {"system_cpu_usage": reading.host_cpu_nanos, "online_cpus": reading.online_cpus}
    return shown


def _block_io(reading: Stats | None) -> dict[str, Any]:
    entries = [
        {"major": major, "minor": minor, "op": op.lower(), "value": value}
        for major, minor, op, value in (reading.block_io if reading else ())
    ]
    return {"io_service_bytes_recursive": entries or None} | dict.fromkeys(_UNCOUNTED)
