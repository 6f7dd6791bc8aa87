"""The agent: everything a node does as a worker while it belongs to a swarm.

The agent joins three parts: the tasks of this node (`tasks`), their record on disk (`storage`) and the sessions with
managers (`sessions`). In: a `Runtime`, this node's identity, the managers to ask; out: containers that run as
assigned. Containers outlive the agent: stopping it stops no container.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from shoal.agent.attachments import told_networks
from shoal.agent.remotes import Remotes
from shoal.agent.runtime import Runtime
from shoal.agent.sessions import AgentConfig, Security, Sessions
from shoal.agent.storage import FILE, Storage
from shoal.agent.tasks import TaskSet
from shoal.api import v1 as api
from shoal.paths import Paths

__all__ = ["Agent", "AgentConfig", "Security"]

log = logging.getLogger(__name__)

FLUSH_TIMEOUT = 5.0


class Agent:
    """A node's part in a swarm as a worker. `run` may be called once."""

    def __init__(
        self,
        paths: Paths,
        security: Security,
        runtime: Runtime,
        remotes: Remotes,
        config: AgentConfig,
        *,
        rng: Random,
        clock: Callable[[], float],
    ) -> None:
        self._path: Path = paths.swarm / "worker" / FILE
        self._security = security
        self._runtime = runtime
        self._remotes = remotes
        self._config = config
        self._rng = rng
        self._clock = clock
        self._tasks: TaskSet | None = None
        self._sessions: Sessions | None = None
        self._session_child: asyncio.Task[None] | None = None

    @property
    def node(self) -> api.Node | None:
        """This node's object as its manager last sent it; None before the first session."""
        return self._sessions.node if self._sessions is not None else None

    @property
    def manager(self) -> str:
        """The address (`host:port`) of the manager that this node has, or opens, a session with; else empty."""
        return self._sessions.manager if self._sessions is not None else ""

    def networks(self) -> list[api.Network]:
        """Return the swarm's networks that this node was told of, as it was told last."""
        return told_networks(self.node, self._tasks.assigned() if self._tasks is not None else ())

    async def run(self) -> None:
        """Run the node's tasks and hold a session until cancelled.

        Raises DamagedState when the file of tasks is damaged and OSError when it cannot be opened. While the node
        joins, raises an ExceptionGroup with SessionEnded when the certificate of the first manager cannot be verified.
        """
        # SQLite blocks, and allows one thread at a time: this thread does nothing else.
        with ThreadPoolExecutor(1, thread_name_prefix="agent-storage") as executor:
            loop = asyncio.get_running_loop()
            storage: Storage = await loop.run_in_executor(executor, Storage, self._path)
            try:
                await self._run(executor, storage)
            finally:
                # The executor closes after a write that still runs, even when the writer's caller was cancelled:
                # SQLite does not survive a close during a write.
                executor.submit(storage.close)

    async def _run(self, executor: ThreadPoolExecutor, storage: Storage) -> None:
        remembered = await asyncio.get_running_loop().run_in_executor(executor, storage.load)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = TaskSet(self._runtime, storage, self._config.describe, group, self._clock)
                sessions = Sessions(tasks, self._security, self._remotes, self._config, self._rng)
                self._tasks, self._sessions = tasks, sessions
                try:
                    tasks.resume(remembered)
                    group.create_task(tasks.record(executor), name="agent-record")
                    group.create_task(tasks.follow_network(), name="agent-network")
                    self._session_child = group.create_task(sessions.run(), name="agent-sessions")
                    await asyncio.Event().wait()
                finally:
                    tasks.close()
        finally:
            if self._tasks is not None:
                await self._flush(executor, storage, self._tasks)

    async def leave(self) -> None:
        """End the session and remove every task with its container. `run` stays, idle, until it is cancelled."""
        if self._session_child is not None:
            self._session_child.cancel()
        if self._tasks is not None:
            await self._tasks.remove_all()

    def describe_changed(self) -> None:
        """Compare the description now, and register again if it has changed."""
        if self._sessions is not None:
            self._sessions.describe_changed()

    def identity_changed(self) -> None:
        """Register again, because the certificate has changed.

        A new description needs no call; the agent notices it.
        """
        if self._sessions is not None:
            self._sessions.identity_changed()

    async def _flush(self, executor: ThreadPoolExecutor, storage: Storage, tasks: TaskSet) -> None:
        entries = tasks.unwritten()
        if not entries:
            return
        # Not given up where it takes long: it is still written before the executor closes.
        writing = asyncio.get_running_loop().run_in_executor(executor, storage.write, entries)
        await asyncio.wait([writing], timeout=FLUSH_TIMEOUT)
        if not writing.done():
            log.error("the last statuses of this node's tasks are not recorded yet: the disk is slow")
        elif isinstance(error := writing.exception(), OSError):
            log.error("the last statuses of this node's tasks were not recorded: %s", error)
        elif error is not None:
            raise error
