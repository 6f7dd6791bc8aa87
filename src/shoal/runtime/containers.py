"""The containers of this host: made, started, watched, stopped and removed.

In: references (an id, a name, a unique prefix of an id) and configs. Out: Container values, events on the bus, errors
with Docker's words. Everything needed to find a running container again is on disk before `start` returns; entering
the context adopts what an earlier process left. One loop uses it; what blocks runs in a few worker threads.

An end is noticed through a pidfd of the container's conmon, which exits after it has written the exit code.
"""

import asyncio
import contextlib
import dataclasses
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator
from signal import SIGKILL
from types import TracebackType
from typing import Self

from shoal.errors import Conflict, InvalidArgument, NotFound, ShoalError
from shoal.host.events import EventBus
from shoal.network.types import Sandbox
from shoal.paths import Paths
from shoal.runtime import adoption, bundle, conmon, health, oci_runtime, process, processes, records, stats, survey, top
from shoal.runtime.attachment import Attachment
from shoal.runtime.children import Children
from shoal.runtime.creation import Creation
from shoal.runtime.failures import FAILED, StartFailed
from shoal.runtime.interfaces import Images, Network, Volumes
from shoal.runtime.life import Life
from shoal.runtime.log_cuts import LogCuts
from shoal.runtime.log_options import LogDefault
from shoal.runtime.logs import LogFiles
from shoal.runtime.types import Container, ContainerConfig, Health, LogLine, LogOptions, Phase, Stats
from shoal.runtime.workers import Workers

log = logging.getLogger(__name__)

NO_DEFAULT = LogDefault()
Names = list[str]  # inside the class `list` is a method

# How long a SIGKILL may take before it is called a failure: a process in the kernel's hands (moby waits as long).
KILL_TIMEOUT = 10.0


class Containers:
    """All containers. An async context manager: adopts on enter; on leave containers go on running."""

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
    ) -> None:
        """`tag` tells this daemon's cgroups from another's on the same host: letters and digits of the node's id.

        `logs`: how logs are kept where a container does not say.
        """
        self._paths = paths
        self._network = network
        self._images = images
        self._volumes = volumes
        self._events = events
        self._tag = tag
        self._log_default = logs
        self._cuts = LogCuts()
        self._lives: dict[str, Life] = {}
        self._names: dict[str, str] = {}
        self._workers = Workers()
        self._children = Children()
        self._logs = LogFiles()
        self._site: bundle.Site
        self._creation: Creation

    async def __aenter__(self) -> Self:
        self._site = await self._workers.run(survey.look_around, self._paths, self._tag, self._log_default)
        self._creation = Creation(self._site, self._workers, self._images, self._volumes, self._network)
        await self._children.__aenter__()
        try:
            await self._adopt()
            # The first start need not wait for it, nor it for the first start.
            self._children.must_finish(self._workers.run(survey.prepare, self._site), "preparing")
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for life in self._lives.values():
            if life.conmon_fd is not None:
                loop.remove_reader(life.conmon_fd)
        try:
            await self._children.__aexit__(kind, error, tb)
        finally:
            running = any(life.value.phase is Phase.RUNNING for life in self._lives.values())
            for life in self._lives.values():
                life.close()
            self._logs.close()
            await self._workers.run(self._leave, running)
            self._workers.close()

    # What there is.

    @property
    def runtime_name(self) -> str:
        """Which OCI runtime starts containers here: crun or runc."""
        return self._site.runtime.name

    @property
    def apparmor(self) -> str:
        """The AppArmor profile that containers are held to; empty where the kernel holds them to none."""
        return self._site.host.apparmor.profile

    @property
    def site(self) -> bundle.Site:
        """For `exec`, which starts processes in containers."""
        return self._site

    @property
    def workers(self) -> Workers:
        """For `exec`."""
        return self._workers

    @property
    def children(self) -> Children:
        """For `exec`."""
        return self._children

    def list(self) -> list[Container]:
        """Every container, newest first."""
        return sorted((life.value for life in self._lives.values()), key=lambda one: -one.created_at)

    def get(self, ref: str) -> Container:
        """One container. NotFound, or InvalidArgument for a prefix of several."""
        return self._life(ref).value

    def _life(self, ref: str) -> Life:
        name = ref.removeprefix("/")
        found = self._lives.get(name) or self._lives.get(self._names.get(name, ""))
        if found is not None:
            return found
        matching = [known for known in self._lives if name and known.startswith(name)]
        if len(matching) == 1:
            return self._lives[matching[0]]
        if matching:
            raise InvalidArgument(f"multiple IDs found with provided prefix: {ref}")
        raise NotFound(f"No such container: {ref}")

    # Making and starting.

    async def create(self, config: ContainerConfig, *, id: str | None = None) -> Container:  # noqa: A002
        """Make one. One with this id already: returned as it is. Conflict when the name is taken."""
        if id is not None and id in self._lives:
            return self._lives[id].value
        id = id or secrets.token_hex(32)  # noqa: A001
        holder = self._names.get(config.name)
        if holder is not None:
            raise Conflict(
                f'Conflict. The container name "/{config.name}" is already in use by container "{holder}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )
        self._names[config.name] = id
        return await self._children.finish(self._create(id, config), f"create {id[:12]}")

    async def _create(self, id: str, config: ContainerConfig) -> Container:  # noqa: A002
        try:
            container = await self._creation.make(id, config)
        except BaseException:
            del self._names[config.name]
            raise
        self._lives[id] = Life(container)
        self.tell(container, "create")
        return container

    async def start(self, ref: str) -> Container:
        """Start it; returns when its process runs. Nothing happens when it runs already. StartFailed."""
        life = self._life(ref)
        return await self._children.finish(self._start(life), f"start {life.value.id[:12]}")

    async def _start(self, life: Life) -> Container:
        async with life.lock:
            if life.removed:
                raise NotFound(f"No such container: {life.value.id}")
            if life.value.phase is Phase.RUNNING:
                return life.value
            container = dataclasses.replace(life.value, sandbox=await self._creation.connect(life.value))
            try:
                lower = self._images.lower_dirs(container.image_id)
                started, running = await self._workers.run(self._launch, container, lower)
            except (ShoalError, OSError) as error:
                await self._could_not_start(life, error)
                raise
            life.running = running
            life.conmon_fd = self._open_conmon(running)
            life.become(started)
            self.tell(started, "start")
            self._watch(life)
            return life.value

    def _launch(self, container: Container, lower: Names) -> tuple[Container, records.Running]:
        """Start it, and put on disk how it is found again: a start that cannot be recorded is none."""
        there = self._site.bundle(container.id)
        container = dataclasses.replace(
            container, apparmor_profile=self._site.host.apparmor.of(container.config.apparmor)
        )
        self._cuts.begin(container)
        cgroups, written = self._site.cgroups, bundle.write(self._site, container, lower)
        launched = conmon.launch(self._site.conmon, self._site.runtime, written, cgroups.keep_apart)
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
        records.write_state(there, started, launched.running)
        # What is in the bundle is gone after a reboot: that it ran, and ended with the host, is told by this.
        records.write_state(self._site.folder(container.id), started)
        return started, launched.running

    async def _could_not_start(self, life: Life, error: ShoalError | OSError) -> None:
        code = error.exit_code if isinstance(error, StartFailed) else FAILED
        life.change(error=str(error), exit_code=code)
        await self._clean_up(life)
        self._record(life.value)

    def _record(self, container: Container) -> None:
        """Write how it ended. A disk that is full loses that at the next start of the daemon, and nothing now."""
        try:
            records.write_state(self._site.folder(container.id), container)
        except OSError as error:
            log.error("the state of container %s cannot be written: %s", container.id[:12], error)

    # Ends.

    def _open_conmon(self, running: records.Running) -> int | None:
        if not running.conmon_started:
            return None
        return processes.open_if(running.conmon_pid, running.conmon_started)

    def _watch(self, life: Life) -> None:
        """Be told of its end, and probe its health."""
        if life.conmon_fd is None:  # it has ended before we looked
            self._ended(life)
            return
        asyncio.get_running_loop().add_reader(life.conmon_fd, self._ended, life)
        if life.value.health_config is not None:
            probing = health.watch(self._site, self._workers, life, self._health_changed)
            life.probing = self._children.start(probing, f"health of {life.value.id[:12]}")

    def _ended(self, life: Life) -> None:
        if life.conmon_fd is not None:
            asyncio.get_running_loop().remove_reader(life.conmon_fd)
            life.close()
        if life.probing is not None:
            life.probing.cancel()
            life.probing = None
        there = self._site.bundle(life.value.id)
        code, at = conmon.exit_of(there) or (adoption.KILLED_EXIT, time.time())
        oom = conmon.was_oom_killed(there)
        if oom:
            self.tell(life.value, "oom")
        life.running = None
        life.change(
            phase=Phase.EXITED,
            pid=0,
            exit_code=code,
            finished_at=max(at, life.value.started_at),
            oom_killed=oom,
            health=Health.NONE if life.value.health is Health.NONE else Health.UNHEALTHY,
        )
        self._record(life.value)
        self._tell_end(life.value)
        self._logs.poke(life.value.log_path)
        self._children.must_finish(self._after_end(life), f"clean up {life.value.id[:12]}")

    async def _after_end(self, life: Life) -> None:
        async with life.lock:
            if not life.removed and life.value.phase is Phase.EXITED:
                await self._clean_up(life)

    async def _clean_up(self, life: Life) -> None:
        """Give back what only a running container needs."""
        container = life.value
        (self._site.bundle(container.id) / records.STATE).unlink(missing_ok=True)
        await self._workers.run(bundle.take_down, self._site, container.id)
        await self._workers.run(self._cuts.end, container)
        await self._network.disconnect(container.id)
        life.change(sandbox=Sandbox())

    def _tell_end(self, container: Container) -> None:
        duration = max(0, int(container.finished_at - container.started_at))
        self.tell(container, "die", exitCode=str(container.exit_code), execDuration=str(duration))

    # Stopping and removing.

    async def kill(self, ref: str, signal: str = "KILL") -> None:
        """Send a signal. Conflict when it does not run."""
        life = self._life(ref)
        number = process.parse_signal(signal)
        if not self._send(life, number):
            container = life.value
            raise Conflict(f"cannot kill container: {ref}: container {container.id} is not running")
        if number == SIGKILL:
            await self._workers.run(self._site.cgroups.thaw, life.value.id)
        self.tell(life.value, "kill", signal=str(number))

    def _send(self, life: Life, number: int) -> bool:
        if life.value.phase is not Phase.RUNNING or life.running is None:
            return False
        return processes.send(life.value.pid, life.running.pid_started, number)

    async def stop(self, ref: str, timeout: float | None = None) -> None:
        """Ask it to end with its stop signal, then kill it. Ends when it has ended; a negative timeout never kills."""
        life = self._life(ref)
        if life.value.phase is not Phase.RUNNING:
            return
        wait = life.value.config.stop_timeout if timeout is None else timeout
        if self._send(life, life.value.stop_signal):
            self.tell(life.value, "kill", signal=str(life.value.stop_signal))
        try:
            async with asyncio.timeout(wait if wait >= 0 else None):
                await life.wait_ended()
        except TimeoutError:
            await self._kill_and_wait(life)
        self.tell(life.value, "stop")

    async def _kill_and_wait(self, life: Life) -> None:
        if self._send(life, SIGKILL):
            self.tell(life.value, "kill", signal=str(int(SIGKILL)))
        await self._workers.run(self._site.cgroups.thaw, life.value.id)
        try:
            async with asyncio.timeout(KILL_TIMEOUT):
                await life.wait_ended()
        except TimeoutError as error:
            raise ShoalError("tried to kill container, but did not receive an exit event") from error

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it and all that it has; `volumes`: its anonymous volumes too. Conflict when it runs."""
        life = self._life(ref)
        if life.value.phase is Phase.RUNNING:
            if not force:
                raise Conflict(
                    f'cannot remove container "/{life.value.config.name}": container is running: '
                    "stop the container before removing or force remove"
                )
            await self._kill_and_wait(life)
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
            del self._lives[container.id]
            if self._names.get(container.config.name) == container.id:
                del self._names[container.config.name]
            life.end()
            self._logs.poke(container.log_path)
            self.tell(container, "destroy")

    # Looking at one.

    async def wait(self, ref: str) -> Container:
        """Its value once it has exited; at once when it has."""
        return await self._life(ref).wait_ended()

    async def changes(self, ref: str) -> AsyncIterator[Container]:
        """The present value, then each new one, until it is removed."""
        async with contextlib.aclosing(self._life(ref).changes()) as values:  # type: ignore[type-var]
            async for value in values:
                yield value

    def logs(self, ref: str, options: LogOptions) -> AsyncIterator[LogLine]:
        """Lines of its output. With `follow` until it ends or is removed."""
        life = self._life(ref)
        return self._logs.read(
            life.value.log_path, options, lambda: life.removed or life.value.phase is not Phase.RUNNING
        )

    async def stats(self, ref: str) -> Stats:
        """One reading; zeros when it does not run."""
        container = self.get(ref)
        return await self._workers.run(stats.read, self._site.cgroups, container.id, container.pid)

    async def top(self, ref: str, ps_args: str = "") -> top.Table:
        """Its processes: titles and rows, as `docker top`."""
        container = self._running(ref).value
        pids = await self._workers.run(self._site.cgroups.pids, container.id)
        return await self._workers.run(top.processes, pids, ps_args)

    async def attach(self, ref: str) -> Attachment:
        """Both ways of its stdio from now on."""
        life = self._running(ref)
        container = life.value
        attachment = await Attachment.to_container(self._site.bundle(container.id), tty=container.config.tty)
        self.tell(container, "attach")
        return attachment

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Tell its terminal the size."""
        container = self._running(ref).value
        conmon.resize(self._site.bundle(container.id), height, width)
        self.tell(container, "resize", height=str(height), width=str(width))

    def _running(self, ref: str) -> Life:
        life = self._life(ref)
        if life.value.phase is not Phase.RUNNING:
            raise Conflict(f"container {life.value.id} is not running")
        return life

    # Around it.

    def _health_changed(self, life: Life) -> None:
        container = life.value
        self.tell(container, f"health_status: {container.health.value}")
        there = self._site.bundle(container.id)
        if life.running is None:
            return
        try:
            records.write_state(there, container, life.running)
        except OSError as error:
            log.error("the health of container %s cannot be written: %s", container.id[:12], error)

    def tell(self, container: Container, action: str, **more: str) -> None:
        """Publish an event of a container; for `exec` too."""
        attributes = {**container.config.labels, "image": container.config.image, "name": container.config.name}
        self._events.emit("container", action, container.id, {**attributes, **more})

    async def _adopt(self) -> None:
        found = await self._workers.run(adoption.scan, self._site)
        sandboxes = {}
        for one in found:
            life = Life(one.container)
            life.running, life.conmon_fd = one.running, one.conmon_fd
            self._lives[one.container.id] = life
            self._names[one.container.config.name] = one.container.id
            await self._creation.hold_again(one.container)
            if one.container.phase in (Phase.CREATED, Phase.RUNNING) and one.container.sandbox.netns:
                sandboxes[one.container.id] = one.container.sandbox
        await self._network.adopt(sandboxes)
        for one in found:
            life = self._lives[one.container.id]
            await self._workers.run(self._cuts.adopt, one.container)
            if one.running is not None:
                self._watch(life)
            elif one.ended_unseen:
                self._record(one.container)
                self._tell_end(one.container)
                self._children.must_finish(self._after_end(life), f"clean up {one.container.id[:12]}")
        running = sum(one.running is not None for one in found)
        if found:
            log.info("%s containers adopted, %s of them running", len(found), running)

    def _leave(self, running: bool) -> None:
        self._cuts.close()
        if self._site.runtime.namespace is not None:
            self._site.runtime.namespace.close()
        if running:
            return
        with contextlib.suppress(OSError):
            os.rmdir(self._site.runtime.root)
        oci_runtime.unshare(self._paths.bundles)
        self._site.cgroups.remove_parent()
