"""The operations of the state machine on one task's container, carried out by the runtime. Each may be repeated.

In: the configuration of the container; out: nothing, or an error whose text becomes the task's error. Source of the
rules and texts: moby daemon/cluster/executor/container/controller.go.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from shoal.agent.executor import container_id
from shoal.agent.machine import Facts, Operation
from shoal.agent.ports import port_status
from shoal.agent.pulls import Pulls
from shoal.agent.runtime import Containers, closing
from shoal.errors import InvalidArgument, NotFound, ShoalError
from shoal.runtime import aside
from shoal.runtime.types import Container, ContainerConfig, Health, Phase, SecretFile
from shoal.runtime.waits import Waits

UNHEALTHY = "dockerexec: unhealthy container"
DESTROYED = "dockerexec: container destroyed"
SAY_AFTER = 3.0  # seconds of waiting for a file server after which the task's status says so
SOURCES_TIMEOUT = 120.0  # as long as for a volume's mount
LOST, LOST_EXIT = "the container ended with its host", 255  # Docker's exit code for an end that nobody saw


class NonZeroExit(ShoalError):
    """The task's process ended with an exit code other than 0, by itself or because it was unhealthy."""

    def __init__(self, exit_code: int, cause: str = "") -> None:
        self.exit_code = exit_code
        super().__init__(f"task: non-zero exit ({exit_code})" + (f": {cause}" if cause else ""))


class Limits:
    """How many containers this node creates at once, and how many it starts at once. Further ones wait.

    The limits are separate so that some containers start while others are still being created: creating waits for the
    disk and netlink, starting waits for the runtime's processes. Each spends half of its time waiting, so the limits
    are two for each CPU.
    """

    PER_CPU = 2

    def __init__(self, cpus: int) -> None:
        self.creates = asyncio.Semaphore(self.PER_CPU * cpus)
        self.starts = asyncio.Semaphore(self.PER_CPU * cpus)


class Controller:
    """The operations on one task's container. `limits` is shared by all controllers of this node.

    `files` takes up the task's secrets and configs as they are assigned now, and returns a function that makes the
    container's files of them, for another thread. None: the container has no such files.
    """

    def __init__(
        self,
        task_id: str,
        config: ContainerConfig,
        encoded_auth: str,
        pull_policy: str,
        containers: Containers,
        pulls: Pulls,
        limits: Limits,
        group: asyncio.TaskGroup,
        files: Callable[[], Callable[[], Sequence[SecretFile]]] | None = None,
    ) -> None:
        self.id = container_id(task_id)
        self.config = config
        self._encoded_auth = encoded_auth
        self._pull_policy = pull_policy
        self._containers = containers
        self._pulls = pulls
        self._limits = limits
        self._group = group
        self._files = files
        self.say: Callable[[str], None] = _tell_nobody
        """Called with what the running operation waits for, and with an empty text once it goes on."""

    async def perform(self, operation: Operation) -> None:
        """Do one operation of the state machine."""
        match operation:
            case Operation.PREPARE:
                await self.prepare()
            case Operation.START:
                await self.start()
            case Operation.WAIT:
                await self.wait()
            case Operation.STOP:
                await self.stop()
            case Operation.NOTHING:
                return

    async def prepare(self) -> None:
        """Pull the image and create the container. Does nothing when the container exists."""
        if self._get() is not None:
            return
        await self._secret_files()  # a template that fails, fails before a pull; the start makes them again
        await self._pulls.ensure(self.config.image, self._encoded_auth, self._pull_policy)
        waits = self._waits(self._limits.creates)
        async with self._limits.creates:
            await self._whole(lambda: self._containers.create(self.config, id=self.id, waits=waits))

    async def start(self) -> None:
        """Start the container unless it was started; with a health check, wait until it is healthy."""
        container = self._containers.get(self.id)
        if container.phase is Phase.CREATED:
            await self._check_bind_sources()
            files = await self._secret_files()
            waits = self._waits(self._limits.starts)
            async with self._limits.starts:
                try:
                    container = await self._whole(lambda: self._containers.start(self.id, files, waits=waits))
                except (ShoalError, OSError) as error:
                    raise ShoalError(f"starting container failed: {error}") from error
        if container.health is not Health.NONE:
            await self._watch(until_healthy=True)
        await self._containers.activate(self.id)

    async def wait(self) -> None:
        """Return when the process has ended with 0; raise NonZeroExit for other codes. Stops an unhealthy container."""
        if self._containers.get(self.id).phase is Phase.CREATED:
            # The task is RUNNING, so the container was started. Its record says CREATED again because the host went
            # down since then.
            raise NonZeroExit(LOST_EXIT, LOST)
        await self._watch(until_healthy=False)

    async def stop(self) -> None:
        """Wait until no new connection is led to the container, then stop it by its signal and, if needed, kill it."""
        try:
            await self._containers.deactivate(self.id)
            await self._containers.stop(self.id, self.config.stop_timeout)
        except NotFound:
            return

    def facts(self) -> Facts | None:
        """Return what a task's status says about the container, or None when there is no container."""
        container = self._get()
        if container is None:
            return None
        ports = container.sandbox.ports if container.phase is Phase.RUNNING else ()
        return Facts(container.id, container.pid, container.exit_code, port_status(ports))

    def _get(self) -> Container | None:
        try:
            return self._containers.get(self.id)
        except NotFound:
            return None

    def _waits(self, turns: asyncio.Semaphore) -> Waits:
        """Return the context of a slow wait, within which the turn of this task is another's."""

        @asynccontextmanager
        async def wait(words: str) -> AsyncIterator[None]:
            turns.release()
            try:
                with self._saying(words):
                    yield
            finally:
                await turns.acquire()

        return wait

    @contextmanager
    def _saying(self, words: str) -> Iterator[None]:
        """Say what is waited for once it takes long, and unsay it then."""
        said = False

        def say() -> None:
            nonlocal said
            said = True
            self.say(words)

        timer = asyncio.get_running_loop().call_later(SAY_AFTER, say)
        try:
            yield
        finally:
            timer.cancel()
            if said:  # otherwise the status may hold the error of a former try
                self.say("")

    async def _secret_files(self) -> Sequence[SecretFile]:
        if self._files is None:
            return ()
        # In a thread, because a large template takes long.
        return await asyncio.to_thread(self._files())

    async def _whole(self, work: Callable[[], Coroutine[Any, Any, Container]]) -> Container:
        # A cancelled operation must not leave a half-made container. So a cancelled caller waits here until the work
        # is done, and the container can then be stopped or removed.
        outcome: list[Container | Exception] = []

        async def run() -> None:
            try:
                outcome.append(await work())
            except Exception as error:  # noqa: BLE001 - raised again below, in the caller
                outcome.append(error)

        child = self._group.create_task(run(), name=f"runtime {self.id[:12]}")
        cancelled = False
        while not child.done():
            try:
                await asyncio.wait({child})
            except asyncio.CancelledError:  # may come twice: when the task is shut down, and when it is removed
                cancelled = True
        if cancelled or not outcome:
            raise asyncio.CancelledError
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    async def _watch(self, *, until_healthy: bool) -> None:
        cause = ""
        async with closing(self._containers.changes(self.id)) as changes:
            async for container in changes:
                if container.phase in {Phase.EXITED, Phase.DEAD}:
                    if container.exit_code:
                        raise NonZeroExit(container.exit_code, cause or container.error)
                    return
                if until_healthy and container.health is Health.HEALTHY:
                    return
                if container.health is Health.UNHEALTHY and not cause:
                    cause = UNHEALTHY
                    await self.stop()
        raise ShoalError(DESTROYED)

    async def _check_bind_sources(self) -> None:
        sources = [m.source for m in self.config.mounts if m.type == "bind" and not m.create_mountpoint]
        if not sources:
            return
        # In a thread of its own, because a source may lie on a network file system that does not answer.
        key = ("sources", tuple(sources))
        try:
            with self._saying("waiting for the sources of its bind mounts"):
                missing = await aside.run(lambda: _first_missing(sources), SOURCES_TIMEOUT, key=key)
        except TimeoutError as error:
            raise ShoalError(f"the source of a bind mount does not answer: one of {', '.join(sources)}") from error
        if missing is not None:
            raise InvalidArgument(f"invalid bind mount source, source path not found: {missing}")


async def remove(containers: Containers, task_id: str, stop_timeout: float) -> None:
    """Stop and remove a task's container with its anonymous volumes. `stop_timeout` is seconds. May be repeated."""
    ref = container_id(task_id)
    try:
        await containers.deactivate(ref)
        await containers.stop(ref, stop_timeout)
        await containers.remove(ref, force=True, volumes=True)
    except NotFound:
        return


def _tell_nobody(_words: str) -> None:
    pass


def _first_missing(sources: list[str]) -> str | None:
    return next((source for source in sources if not os.path.lexists(source)), None)
