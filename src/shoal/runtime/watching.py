"""Follows running containers: their health, their end, and the clean-up after it.

The end is noticed by a pidfd of the container's conmon, which exits after it has written the exit code. The end is
recorded and reported at once. The clean-up is a child of its own, which always runs to its end.
"""

import asyncio
import logging
import time

from shoal.network.types import Sandbox
from shoal.runtime import adoption, bundle, conmon, health, processes, records
from shoal.runtime.interfaces import Network
from shoal.runtime.life import Life
from shoal.runtime.log_cuts import LogCuts
from shoal.runtime.logs import LogFiles
from shoal.runtime.tools import Tools
from shoal.runtime.types import Container, Health, Phase

log = logging.getLogger(__name__)


class Watching:
    """Follows containers from their start, or from their adoption, to their end."""

    def __init__(self, tools: Tools, network: Network, cuts: LogCuts, logs: LogFiles) -> None:
        self._tools = tools
        self._network = network
        self._cuts = cuts
        self._logs = logs

    def begin(self, life: Life, running: records.Running) -> None:
        """Note that it was started, and open the pidfd of its conmon for `follow`."""
        life.running = running
        if running.conmon_started:
            life.conmon_fd = processes.open_if(running.conmon_pid, running.conmon_started)

    def follow(self, life: Life) -> None:
        """Watch for its end, and probe its health."""
        if life.conmon_fd is None:  # it has ended already
            self._ended(life)
            return
        asyncio.get_running_loop().add_reader(life.conmon_fd, self._ended, life)
        if life.value.health_config is not None:
            probing = health.watch(self._tools.site, self._tools.workers, life, self._health_changed)
            life.probing = self._tools.children.start(probing, f"health of {life.value.id[:12]}")

    def look_away(self, life: Life) -> None:
        """Stop watching it. It goes on."""
        if life.conmon_fd is not None:
            asyncio.get_running_loop().remove_reader(life.conmon_fd)

    def ended_unseen(self, life: Life) -> None:
        """Record, report and clean up after a container that ended while no daemon ran."""
        self.record(life.value)
        self._tell_end(life.value)
        self._clean_up_soon(life)

    async def clean_up(self, life: Life) -> None:
        """Free what only a running container needs. The caller holds its lock."""
        container, site = life.value, self._tools.site
        (site.bundle(container.id) / records.STATE).unlink(missing_ok=True)
        await self._tools.workers.run(bundle.take_down, site, container.id)
        await self._tools.workers.run(self._cuts.end, container)
        await self._network.disconnect(container.id)
        life.change(sandbox=Sandbox())

    def record(self, container: Container) -> None:
        """Write how it ended. If that fails, for example on a full disk, only the next start of the daemon notices."""
        try:
            records.write_state(self._tools.site.folder(container.id), container)
        except OSError as error:
            log.error("the state of container %s cannot be written: %s", container.id[:12], error)

    def _ended(self, life: Life) -> None:
        self.look_away(life)
        life.close()
        if life.probing is not None:
            life.probing.cancel()
            life.probing = None
        there = self._tools.site.bundle(life.value.id)
        code, at = conmon.exit_of(there) or (adoption.KILLED_EXIT, time.time())
        oom = conmon.was_oom_killed(there)
        if oom:
            self._tools.tell(life.value, "oom")
        life.running = None
        life.change(
            phase=Phase.EXITED,
            pid=0,
            exit_code=code,
            finished_at=max(at, life.value.started_at),
            oom_killed=oom,
            health=Health.NONE if life.value.health is Health.NONE else Health.UNHEALTHY,
        )
        self.record(life.value)
        self._tell_end(life.value)
        self._logs.poke(life.value.log_path)
        self._clean_up_soon(life)

    def _clean_up_soon(self, life: Life) -> None:
        self._tools.children.must_finish(self._after_end(life), f"clean up {life.value.id[:12]}")

    async def _after_end(self, life: Life) -> None:
        async with life.lock:
            if not life.removed and life.value.phase is Phase.EXITED:
                await self.clean_up(life)

    def _tell_end(self, container: Container) -> None:
        duration = max(0, int(container.finished_at - container.started_at))
        self._tools.tell(container, "die", exitCode=str(container.exit_code), execDuration=str(duration))

    def _health_changed(self, life: Life) -> None:
        container = life.value
        self._tools.tell(container, f"health_status: {container.health.value}")
        if life.running is None:
            return
        try:
            records.write_state(self._tools.site.bundle(container.id), container, life.running)
        except OSError as error:
            log.error("the health of container %s cannot be written: %s", container.id[:12], error)
