"""One task's container: each operation of the state machine, asked of the runtime. Every operation may be repeated.

In: the task's container as configured; out: nothing, or an error whose text becomes the task's. Source of the rules and
texts: moby daemon/cluster/executor/container/controller.go.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

from shoal.agent.executor import container_id
from shoal.agent.machine import Facts, Operation
from shoal.agent.pulls import Pulls
from shoal.agent.runtime import Containers, closing
from shoal.errors import InvalidArgument, NotFound, ShoalError
from shoal.runtime.types import Container, ContainerConfig, Health, Phase

UNHEALTHY = "dockerexec: unhealthy container"
DESTROYED = "dockerexec: container destroyed"
LOST, LOST_EXIT = "the container ended with its host", 255  # the code is Docker's for an end that nobody saw


class NonZeroExit(ShoalError):
    """The task's process ended by itself with another code than 0, or its health check ended it."""

    def __init__(self, exit_code: int, cause: str = "") -> None:
        self.exit_code = exit_code
        super().__init__(f"task: non-zero exit ({exit_code})" + (f": {cause}" if cause else ""))


class Limits:
    """How many containers are made, and how many started, at once: whoever comes beyond that waits.

    Two limits, so that those that are made already start while others are still being made: making waits for disk and
    netlink, starting for the runtime's processes. Half of the time of each is spent waiting.
    """

    PER_CPU = 2

    def __init__(self, cpus: int) -> None:
        self.creates = asyncio.Semaphore(self.PER_CPU * cpus)
        self.starts = asyncio.Semaphore(self.PER_CPU * cpus)


class Controller:
    """The operations on one task's container. `limits` bounds how many are made, and started, at once on this node."""

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
    ) -> None:
        self.id = container_id(task_id)
        self.config = config
        self._encoded_auth = encoded_auth
        self._pull_policy = pull_policy
        self._containers = containers
        self._pulls = pulls
        self._limits = limits
        self._group = group

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
        """Have the image and the container. One that is there already counts as prepared."""
        if self._get() is not None:
            return
        await self._pulls.ensure(self.config.image, self._encoded_auth, self._pull_policy)
        async with self._limits.creates:
            await self._whole(lambda: self._containers.create(self.config, id=self.id))

    async def start(self) -> None:
        """Start the container unless that has been done, and wait for its health check to say that it is well."""
        container = self._containers.get(self.id)
        if container.phase is Phase.CREATED:
            await self._check_bind_sources()
            async with self._limits.starts:
                try:
                    container = await self._whole(lambda: self._containers.start(self.id))
                except (ShoalError, OSError) as error:
                    raise ShoalError(f"starting container failed: {error}") from error
        if container.health is not Health.NONE:
            await self._watch(until_healthy=True)

    async def wait(self) -> None:
        """Return when the process has ended with 0; raise NonZeroExit for others. An unhealthy one is stopped."""
        if self._containers.get(self.id).phase is Phase.CREATED:
            # It was started, or the task would not run: the host went down since, and what it knew of it is gone.
            raise NonZeroExit(LOST_EXIT, LOST)
        await self._watch(until_healthy=False)

    async def stop(self) -> None:
        """End the container, by its stop signal if it listens."""
        try:
            await self._containers.stop(self.id, self.config.stop_timeout)
        except NotFound:
            return

    def facts(self) -> Facts | None:
        """Return what a status tells of the container, or None when there is none."""
        container = self._get()
        if container is None:
            return None
        return Facts(container.id, container.pid, container.exit_code)

    def _get(self) -> Container | None:
        try:
            return self._containers.get(self.id)
        except NotFound:
            return None

    async def _whole(self, work: Callable[[], Coroutine[Any, Any, Container]]) -> Container:
        # A cancelled operation leaves no half of this behind: whoever cancelled it waits until it is done, and then
        # finds a container to stop or to remove.
        outcome: list[Container | Exception] = []

        async def run() -> None:
            try:
                outcome.append(await work())
            except Exception as error:  # noqa: BLE001 - is raised below, where the operation fails of it
                outcome.append(error)

        child = self._group.create_task(run(), name=f"runtime {self.id[:12]}")
        cancelled = False
        while not child.done():
            try:
                await asyncio.wait({child})
            except asyncio.CancelledError:  # perhaps not the last: a task may be ended first, and then removed
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
        # A source may lie on a network file system that does not answer: not on the loop's thread.
        missing = await asyncio.to_thread(_first_missing, sources) if sources else None
        if missing is not None:
            raise InvalidArgument(f"invalid bind mount source, source path not found: {missing}")


async def remove(containers: Containers, task_id: str, stop_timeout: float) -> None:
    """Remove a task's container with its anonymous volumes, stopping it first. May be repeated."""
    ref = container_id(task_id)
    try:
        await containers.stop(ref, stop_timeout)
        await containers.remove(ref, force=True, volumes=True)
    except NotFound:
        return


def _first_missing(sources: list[str]) -> str | None:
    return next((source for source in sources if not os.path.lexists(source)), None)
