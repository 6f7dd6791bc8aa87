"""The agent: everything a node does as a worker, as long as it belongs to a swarm.

Composes the tasks of this node (`tasks`), what is remembered of them (`storage`) and the sessions with managers
(`sessions`). In: a `Runtime`, this node's identity, managers to ask; out: containers that run as assigned.
Containers outlive all of this: stopping the agent stops none of them.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

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
        """This node as its manager last told it; None before the first session."""
        return self._sessions.node if self._sessions is not None else None

    @property
    def manager(self) -> str:
        """The address of the manager that this node holds a session with, or seeks one; empty between sessions."""
        return self._sessions.manager if self._sessions is not None else ""

    async def run(self) -> None:
        """Run the node's tasks and hold a session until cancelled.

        Raises DamagedState for a damaged file of tasks, OSError where it cannot be opened, and an ExceptionGroup of
        SessionEnded where the first session would be with a manager that cannot be trusted.
        """
        # SQLite blocks, and wants one thread at a time: this one has it for itself.
        with ThreadPoolExecutor(1, thread_name_prefix="agent-storage") as executor:
            loop = asyncio.get_running_loop()
            storage: Storage = await loop.run_in_executor(executor, Storage, self._path)
            try:
                await self._run(executor, storage)
            finally:
                # Behind a write that is under way, whose caller may have been cancelled: SQLite does not survive
                # a connection that is closed under it.
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
                    self._session_child = group.create_task(sessions.run(), name="agent-sessions")
                    await asyncio.Event().wait()
                finally:
                    tasks.close()
        finally:
            if self._tasks is not None:
                await self._flush(executor, storage, self._tasks)

    async def leave(self) -> None:
        """End the session and remove every task with its container. `run` goes on, idle, until it is cancelled."""
        if self._session_child is not None:
            self._session_child.cancel()
        if self._tasks is not None:
            await self._tasks.remove_all()

    def describe_changed(self) -> None:
        """Look at once whether the description has changed, and register anew if so."""
        if self._sessions is not None:
            self._sessions.describe_changed()

    def identity_changed(self) -> None:
        """Register anew, because the certificate has changed. A changed description is noticed by itself."""
        if self._sessions is not None:
            self._sessions.identity_changed()

    async def _flush(self, executor: ThreadPoolExecutor, storage: Storage, tasks: TaskSet) -> None:
        entries = tasks.unwritten()
        if not entries:
            return
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT):
                await asyncio.get_running_loop().run_in_executor(executor, storage.write, entries)
        except (OSError, TimeoutError) as error:
            log.error("the last statuses of this node's tasks were not recorded: %s", error)
