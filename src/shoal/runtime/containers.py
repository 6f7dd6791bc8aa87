"""The containers of this host: creates, starts, watches, stops and removes them.

In: references (an id, a name, a unique prefix of an id) and configs. Out: Container values, events on the bus, errors
with Docker's words. Entering the context adopts the containers of an earlier process; leaving it ends none. It is for
one event loop; blocking work runs in a few worker threads.

The parts: `roster` knows the containers, `creation` makes and removes them, `starting` starts them, `watching` notices
ends and health, `stopping` sends signals. This module combines them, and reads logs, statistics and processes.
"""

import contextlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

from shoal.errors import Conflict
from shoal.host.events import EventBus
from shoal.paths import Paths
from shoal.runtime import adoption, conmon, oci_runtime, stats, survey, top
from shoal.runtime.attachment import Attachment
from shoal.runtime.children import Children
from shoal.runtime.creation import Creation
from shoal.runtime.devices import Devices
from shoal.runtime.interfaces import Images, Network, Volumes
from shoal.runtime.life import Life
from shoal.runtime.log_cuts import LogCuts
from shoal.runtime.log_options import LogDefault
from shoal.runtime.logs import LogFiles
from shoal.runtime.roster import Roster
from shoal.runtime.starting import Starting
from shoal.runtime.stopping import Stopping
from shoal.runtime.tools import Tools
from shoal.runtime.types import Container, ContainerConfig, LogLine, LogOptions, Phase, SecretFile, Stats
from shoal.runtime.waits import Waits, silently
from shoal.runtime.watching import Watching
from shoal.runtime.workers import Workers

log = logging.getLogger(__name__)

NO_DEFAULT = LogDefault()


class Containers:
    """All containers. An async context manager: it adopts on entering, and on leaving containers go on running."""

    def __init__(
        self,
        paths: Paths,
        images: Images,
        volumes: Volumes,
        network: Network,
        events: EventBus,
        *,
        tag: str,
        logs: LogDefault = NO_DEFAULT,
        devices: Devices | None = None,
    ) -> None:
        """`tag` distinguishes this daemon's cgroups from another's on the same host (`paths.tag_of`).

        `logs`: the default for containers' logs. `devices`: the devices that containers may claim.
        """
        self._paths = paths
        self._network = network
        self._images = images
        self._volumes = volumes
        self._events = events
        self._tag = tag
        self._log_default = logs
        self._devices = devices or Devices()
        self._cuts = LogCuts()
        self._roster = Roster()
        self._workers = Workers()
        self._children = Children()
        self._logs = LogFiles()
        # These need facts about the host, which are only read on entering.
        self._tools: Tools
        self._creation: Creation
        self._watching: Watching
        self._starting: Starting
        self._stopping: Stopping

    async def __aenter__(self) -> Self:
        site = await self._workers.run(survey.look_around, self._paths, self._tag, self._log_default, self._devices)
        self._tools = Tools(site, self._workers, self._children, self._events)
        self._creation = Creation(site, self._workers, self._images, self._volumes, self._network)
        self._watching = Watching(self._tools, self._network, self._cuts, self._logs)
        self._starting = Starting(self._tools, self._images, self._network, self._creation, self._cuts, self._watching)
        self._stopping = Stopping(self._tools)
        await self._children.__aenter__()
        try:
            await self._adopt()
            # In the background, so that the first start need not wait for it.
            self._children.must_finish(self._workers.run(survey.prepare, site), "preparing")
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        for life in self._roster:
            self._watching.look_away(life)
        try:
            await self._children.__aexit__(kind, error, tb)
        finally:
            running = any(life.value.phase is Phase.RUNNING for life in self._roster)
            for life in self._roster:
                life.close()
            self._logs.close()
            await self._workers.run(self._leave, running)
            self._workers.close()

    # What there is.

    @property
    def runtime_name(self) -> str:
        """The OCI runtime that starts containers here: crun or runc."""
        return self._tools.site.runtime.name

    @property
    def apparmor(self) -> str:
        """The AppArmor profile of containers, or an empty text without AppArmor."""
        return self._tools.site.host.apparmor.profile

    @property
    def tools(self) -> Tools:
        """For `exec`, which starts processes in containers."""
        return self._tools

    def list(self) -> list[Container]:
        """Return all containers, newest first."""
        return self._roster.list()

    def get(self, ref: str) -> Container:
        """Return a container. Raises NotFound, or InvalidArgument for a prefix of several ids."""
        return self._roster.find(ref).value

    # The life of a container.

    async def create(
        self,
        config: ContainerConfig,
        *,
        id: str | None = None,  # noqa: A002
        waits: Waits = silently,
    ) -> Container:
        """Make a container. If there is one with this id, it is returned as it is.

        Raises Conflict if the name is taken, NotFound and InvalidArgument.
        """
        there = self._roster.by_id(id) if id is not None else None
        if there is not None:
            return there.value
        id = id or secrets.token_hex(32)  # noqa: A001
        self._roster.take_name(config.name, id)
        return await self._children.finish(self._create(id, config, waits), f"create {id[:12]}")

    async def _create(self, id: str, config: ContainerConfig, waits: Waits) -> Container:  # noqa: A002
        try:
            container = await self._creation.make(id, config, waits)
        except BaseException:
            self._roster.give_name_back(config.name, id)
            raise
        self._roster.add(Life(container))
        self._tools.tell(container, "create")
        return container

    async def start(self, ref: str, files: Sequence[SecretFile] = (), *, waits: Waits = silently) -> Container:
        """Start it with its secrets and configs, and return when its process runs. Does nothing if it runs already.

        Raises StartFailed.
        """
        life = self._roster.find(ref)
        return await self._children.finish(self._starting.start(life, files, waits), f"start {life.value.id[:12]}")

    async def kill(self, ref: str, signal: str = "KILL") -> None:
        """Send a signal. Raises Conflict if it does not run."""
        await self._stopping.kill(self._roster.find(ref), ref, signal)

    async def activate(self, ref: str) -> None:
        """Let names and load balancers of its overlays lead to it. Returns when those of this node do."""
        life = self._roster.find(ref)
        if life.value.config.attachments:
            await self._network.enable(life.value.id)

    async def deactivate(self, ref: str) -> None:
        """Let no name and no new connection of its overlays lead to it. The wait for the other nodes is bounded."""
        life = self._roster.find(ref)
        if life.value.config.attachments:
            await self._network.disable(life.value.id)

    async def stop(self, ref: str, timeout: float | None = None) -> None:
        """Send its stop signal and, after `timeout` seconds, SIGKILL. Return when it has ended.

        A negative timeout means no SIGKILL; None means the container's own timeout.
        """
        await self._stopping.stop(self._roster.find(ref), timeout)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it and everything that it has; with `volumes`, its anonymous volumes too.

        Raises Conflict if it runs, unless `force` is given.
        """
        life = self._roster.find(ref)
        if life.value.phase is Phase.RUNNING:
            if not force:
                raise Conflict(
                    f'cannot remove container "/{life.value.config.name}": container is running: '
                    "stop the container before removing or force remove"
                )
            await self._stopping.kill_and_wait(life)
        await self._children.finish(self._remove(life, volumes=volumes), f"remove {life.value.id[:12]}")

    async def _remove(self, life: Life, *, volumes: bool) -> None:
        async with life.lock:
            if life.removed:
                return
            container = life.value
            if container.phase is Phase.RUNNING:
                raise Conflict(f'cannot remove container "/{container.config.name}": container is running')
            life.change(phase=Phase.REMOVING)
            try:
                await self._creation.remove(container, volumes=volumes)
            except BaseException:
                life.change(phase=Phase.DEAD)
                raise
            self._roster.remove(container)
            life.end()
            self._logs.poke(container.log_path)
            self._tools.tell(container, "destroy")

    # Reading from a container.

    async def wait(self, ref: str) -> Container:
        """Wait until it has ended, and return its value."""
        return await self._roster.find(ref).wait_ended()

    async def changes(self, ref: str) -> AsyncIterator[Container]:
        """Yield the present value, then each new one, until it is removed."""
        async with contextlib.aclosing(self._roster.find(ref).changes()) as values:  # type: ignore[type-var]
            async for value in values:
                yield value

    def logs(self, ref: str, options: LogOptions) -> AsyncIterator[LogLine]:
        """Yield lines of its output. With `follow`, until it ends or is removed."""
        life = self._roster.find(ref)
        return self._logs.read(
            life.value.log_path, options, lambda: life.removed or life.value.phase is not Phase.RUNNING
        )

    async def stats(self, ref: str) -> Stats:
        """Return one reading of its statistics; zeros if it does not run."""
        container = self.get(ref)
        return await self._workers.run(stats.read, self._tools.site.cgroups, container.id, container.pid)

    async def top(self, ref: str, ps_args: str = "") -> top.Table:
        """Return its processes as titles and rows, like `docker top`. Raises Conflict if it does not run."""
        container = self._roster.running(ref).value
        pids = await self._workers.run(self._tools.site.cgroups.pids, container.id)
        return await self._workers.run(top.processes, pids, ps_args)

    async def attach(self, ref: str) -> Attachment:
        """Connect to its stdio from now on. Raises Conflict if it does not run."""
        container = self._roster.running(ref).value
        bundle = self._tools.site.bundle(container.id)
        attachment = await Attachment.to_container(bundle, tty=container.config.tty)
        self._tools.tell(container, "attach")
        return attachment

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Set the size of its terminal. Raises Conflict if it does not run."""
        container = self._roster.running(ref).value
        conmon.resize(self._tools.site.bundle(container.id), height, width)
        self._tools.tell(container, "resize", height=str(height), width=str(width))

    # Entering and leaving the context.

    async def _adopt(self) -> None:
        found = await self._workers.run(adoption.scan, self._tools.site)
        sandboxes = {}
        for one in found:
            life = Life(one.container)
            life.running, life.conmon_fd = one.running, one.conmon_fd
            self._roster.add(life)
            await self._creation.hold_again(one.container)
            if one.container.phase in (Phase.CREATED, Phase.RUNNING) and one.container.sandbox.netns:
                sandboxes[one.container.id] = one.container.sandbox
        await self._network.adopt(sandboxes)
        for one in found:
            life = self._roster.find(one.container.id)
            await self._workers.run(self._cuts.adopt, one.container)
            if one.running is not None:
                self._watching.follow(life)
            elif one.ended_unseen:
                self._watching.ended_unseen(life)
        running = sum(one.running is not None for one in found)
        if found:
            log.info("%s containers adopted, %s of them running", len(found), running)

    def _leave(self, running: bool) -> None:
        site = self._tools.site
        self._cuts.close()
        if site.runtime.namespace is not None:
            site.runtime.namespace.close()
        if running:
            return
        with contextlib.suppress(OSError):
            os.rmdir(site.runtime.root)
        oci_runtime.unshare(self._paths.bundles)
        site.cgroups.remove_parent()
