"""Starts a created container.

In: a Life. Out: the same, running and followed; or an error, which is also kept in its value. Everything that is needed
to find the container again is on disk before `start` returns.
"""

import dataclasses
import time
from collections.abc import Sequence

from shoal.errors import NotFound, ShoalError
from shoal.runtime import apparmor, bundle, conmon, records
from shoal.runtime.creation import Creation
from shoal.runtime.failures import FAILED, StartFailed
from shoal.runtime.interfaces import Images, Network
from shoal.runtime.life import Life
from shoal.runtime.log_cuts import LogCuts
from shoal.runtime.tools import Tools
from shoal.runtime.types import Container, Health, Phase, SecretFile
from shoal.runtime.waits import Waits, silently
from shoal.runtime.watching import Watching


class Starting:
    """Starts containers."""

    def __init__(
        self,
        tools: Tools,
        images: Images,
        network: Network,
        creation: Creation,
        cuts: LogCuts,
        watching: Watching,
    ) -> None:
        self._tools = tools
        self._images = images
        self._network = network
        self._creation = creation
        self._cuts = cuts
        self._watching = watching

    async def start(self, life: Life, files: Sequence[SecretFile] = (), waits: Waits = silently) -> Container:
        """Start it with its secrets and configs, and return when its process runs. Does nothing if it runs already.

        Raises StartFailed.
        """
        async with life.lock:
            if life.removed:
                raise NotFound(f"No such container: {life.value.id}")
            if life.value.phase is Phase.RUNNING:
                return life.value
            container = dataclasses.replace(life.value, sandbox=await self._creation.connect(life.value, waits))
            try:
                lower = self._images.lower_dirs(container.image_id)
                config = container.config
                with await self._network.publish(container.id, config.name, config.ports) as held:
                    sandbox = dataclasses.replace(container.sandbox, ports=held.ports)
                    container = dataclasses.replace(container, sandbox=sandbox)
                    started, running = await self._tools.workers.run(
                        self._launch, container, lower, held.descriptors, files
                    )
            except (ShoalError, OSError) as error:
                await self._could_not_start(life, error)
                raise
            self._watching.begin(life, running)
            life.become(started)
            self._tools.tell(started, "start")
            self._watching.follow(life)
            return life.value

    def _launch(
        self, container: Container, lower: list[str], held: Sequence[int], files: Sequence[SecretFile]
    ) -> tuple[Container, records.Running]:
        """Start it, and record how it is found again. If the record cannot be written, the start has failed."""
        site = self._tools.site
        profile = apparmor.held(site.host.apparmor, container.config.apparmor)
        container = dataclasses.replace(container, apparmor_profile=profile)
        self._cuts.begin(container)
        cgroups, written = site.cgroups, bundle.write(site, container, lower, files)
        launched = conmon.launch(site.conmon, site.runtime, written, cgroups.keep_apart, held)
        started = dataclasses.replace(
            container,
            phase=Phase.RUNNING,
            pid=launched.pid,
            started_at=time.time(),
            finished_at=0.0,
            exit_code=0,
            error="",
            oom_killed=False,
            health=Health.STARTING if container.health_config else Health.NONE,
            failing_streak=0,
            probes=(),
        )
        records.write_state(site.bundle(container.id), started, launched.running)
        # The bundle is gone after a reboot. Then this record tells that the container ran and ended with the host.
        records.write_state(site.folder(container.id), started)
        return started, launched.running

    async def _could_not_start(self, life: Life, error: ShoalError | OSError) -> None:
        code = error.exit_code if isinstance(error, StartFailed) else FAILED
        life.change(error=str(error), exit_code=code)
        await self._watching.clean_up(life)
        self._watching.record(life.value)
