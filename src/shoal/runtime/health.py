"""Health probes: runs a container's check at intervals and keeps the result.

`judge` decides. `watch` is the loop of one container: it sleeps, runs the probe inside, and changes the container's
value. Durations are in seconds. Source of the defaults and rules: moby daemon/health.go.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from shoal.runtime import bundle, command
from shoal.runtime.life import Life
from shoal.runtime.types import Container, Health, HealthConfig, Phase, Probe
from shoal.runtime.workers import Workers

INTERVAL = TIMEOUT = 30.0
START_INTERVAL = 5.0
RETRIES = 3
KEPT = 5
OUTPUT_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """A container's health after a probe."""

    health: Health
    failing_streak: int


def judge(container: Container, probe: Probe, config: HealthConfig) -> Verdict:
    """Return the health after a probe. One success is enough to be healthy.

    Failures only count after the start period or after a first success.
    """
    if probe.exit_code == 0:
        return Verdict(Health.HEALTHY, 0)
    young = probe.started_at - container.started_at < config.start_period
    if container.health is Health.STARTING and young:
        return Verdict(Health.STARTING, container.failing_streak)
    streak = container.failing_streak + 1
    if streak >= (config.retries or RETRIES):
        return Verdict(Health.UNHEALTHY, streak)
    return Verdict(container.health, streak)


def pause(container: Container, config: HealthConfig, now: float) -> float:
    """Return the seconds to the next probe."""
    interval = config.interval or INTERVAL
    if container.health is Health.STARTING and now - container.started_at < config.start_period:
        return min(interval, config.start_interval or START_INTERVAL)
    return interval


def arguments(config: HealthConfig) -> tuple[str, ...]:
    """Return the command of the check."""
    if config.test[0] == "CMD-SHELL":
        return ("/bin/sh", "-c", *config.test[1:])
    return config.test[1:] if config.test[0] == "CMD" else config.test


async def watch(site: bundle.Site, workers: Workers, life: Life, changed: Callable[[Life], None]) -> None:
    """Probe a container until it ends or this is cancelled. `changed` is called when its health has changed."""
    config = life.value.health_config
    if config is None:
        return
    while life.value.phase is Phase.RUNNING:
        await asyncio.sleep(pause(life.value, config, time.time()))
        probe = await _probe(site, workers, life.value, config)
        if life.value.phase is not Phase.RUNNING:
            return
        verdict = judge(life.value, probe, config)
        before = life.value.health
        life.change(
            health=verdict.health,
            failing_streak=verdict.failing_streak,
            probes=(*life.value.probes, probe)[-KEPT:],
        )
        if verdict.health is not before:
            changed(life)


async def _probe(site: bundle.Site, workers: Workers, container: Container, config: HealthConfig) -> Probe:
    began = time.time()
    limit = config.timeout or TIMEOUT
    try:
        async with asyncio.timeout(limit):
            code, output = await command.run(site, workers, container, arguments(config), OUTPUT_LIMIT)
    except TimeoutError:
        return Probe(began, time.time(), -1, f"Health check exceeded timeout ({limit:g}s)")
    return Probe(began, time.time(), code, output.decode(errors="replace"))
