"""Sessions of this node with its managers, one after the other.

In: managers to ask, the node's description; out: a session that is begun anew whenever it ends, with a growing wait
where managers do not answer. Wakes on the end of a session and on changes of the node.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random
from ssl import SSLContext
from typing import Protocol

from grpclib.config import Configuration

from shoal.agent.channel import WatchedChannel
from shoal.agent.log_streams import LoggedTask
from shoal.agent.remotes import Remotes, next_backoff, split_address
from shoal.agent.reporter import Report
from shoal.agent.session import ClientSession, SessionEnded
from shoal.agent.tasks import TaskSet
from shoal.api import v1 as api
from shoal.ca.security import MANAGER_SERVER_NAME
from shoal.runtime.types import LogLine, LogOptions

log = logging.getLogger(__name__)

DESCRIBE_EVERY = 20.0


class Security(Protocol):
    """This node's identity, as `shoal.ca.security` keeps it."""

    def client_context(self) -> SSLContext:
        """Return the context for calling a manager."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What an agent is told once.

    `describe` returns the node's description and is asked every 20 s. `local_manager` is the address of this host's own
    manager when there is one: it is preferred. `joining`: a manager whose certificate cannot be verified ends the
    agent, as long as there has been no session yet. `on_refused` is told why a manager refuses this node's certificate.
    """

    describe: Callable[[], api.NodeDescription]
    local_manager: Callable[[], str | None] = lambda: None
    joining: bool = False
    on_session: Callable[[api.SessionMessage], None] = lambda message: None
    on_refused: Callable[[str], None] = lambda why: None
    on_managers: Callable[[dict[str, int]], None] = lambda weights: None


class Sessions:
    """Holds a session as long as `run` runs. What a session asks for is handed on to the tasks."""

    def __init__(self, tasks: TaskSet, security: Security, remotes: Remotes, config: AgentConfig, rng: Random) -> None:
        self.node: api.Node | None = None
        self.manager = ""
        self._tasks = tasks
        self._security = security
        self._remotes = remotes
        self._config = config
        self._rng = rng
        self._id = ""
        self._description = api.NodeDescription()
        self._had_session = False
        self._failed_with = ""
        self._failures = 0
        self._identity = asyncio.Event()

    async def run(self) -> None:
        """Hold one session after the other until cancelled; raises SessionEnded only for a join that cannot succeed."""
        backoff = 0.0
        try:
            while True:
                backoff = next_backoff(0.0 if await self._session() else backoff)
                await asyncio.sleep(self._rng.uniform(0, backoff))
        except SessionEnded:
            self._tasks.close()
            raise

    def identity_changed(self) -> None:
        """Register anew, because the certificate has changed."""
        self._identity.set()

    def describe_changed(self) -> None:
        """Register anew if the description is another one now."""
        if self._config.describe() != self._description:
            self._identity.set()

    async def _session(self) -> bool:
        """Hold one session; return whether the node was registered in it."""
        address = self._choose()
        if address is None:
            log.debug("no manager is known")
            return False
        host, port = split_address(address)
        self._identity.clear()
        self._description = self._config.describe()
        channel = WatchedChannel(
            host,
            port,
            ssl=self._security.client_context(),
            # Managers are known by their role and not by their address: that is the name in their certificates.
            config=Configuration(ssl_target_name_override=MANAGER_SERVER_NAME),
        )
        session = ClientSession(channel, self, self._description, self._id)
        self.manager = address
        try:
            await session.run()
        except SessionEnded as ended:
            self._tell(address, ended, registered=bool(session.id))
            if ended.is_refused:
                self._config.on_refused(str(ended))
            if ended.distrusted and self._config.joining and not self._had_session:
                raise
        except Exception:  # a session is isolated: its defects end it, and another one begins
            log.exception("session with %s failed", address)
        finally:
            self.manager = ""
            channel.close()
        self._failed_with = "" if session.id else address
        self._remotes.observe(address, good=bool(session.id))
        return bool(session.id)

    def _choose(self) -> str | None:
        local = self._config.local_manager()
        if local is not None and local != self._failed_with:
            return local
        return self._remotes.select(self._rng.random, but=self._failed_with) or local

    def _tell(self, address: str, ended: SessionEnded, *, registered: bool) -> None:
        if registered:
            self._failures = 0
            log.info("session with %s ended: %s", address, ended)
            return
        self._failures += 1
        if str(self._failures).strip("0") == "1":  # at 1, 10, 100, ...
            log.warning("no session with %s (%s failures in a row): %s", address, self._failures, ended)

    # As the owner of a session.

    def handle_session_message(self, message: api.SessionMessage) -> None:
        """Take in what the manager tells of node, managers and keys; the first one of a session registers."""
        self._id = message.session_id
        self._had_session = True
        if message.HasField("node"):
            self.node = message.node
        if self._remotes.update((each.peer.addr, each.weight) for each in message.managers):
            self._config.on_managers(self._remotes.weights())
        self._config.on_session(message)

    def handle_registered(self) -> None:
        """Report every task anew: the manager may have missed the last reports of the session before."""
        self._tasks.report_all()

    def handle_assignments(self, message: api.AssignmentsMessage) -> None:
        """Take in assignments."""
        self._tasks.apply(message)

    async def wait_reports(self) -> list[Report]:
        """Return the next statuses to report."""
        return await self._tasks.wait_reports()

    def give_back_reports(self, reports: list[Report]) -> None:
        """Take back statuses that were not received."""
        self._tasks.give_back_reports(reports)

    async def wait_identity_change(self) -> None:
        """Return when the node has to register anew: its certificate or its description has changed."""
        while not self._identity.is_set() and self._config.describe() == self._description:
            try:
                async with asyncio.timeout(DESCRIBE_EVERY):
                    await self._identity.wait()
            except TimeoutError:
                continue

    def logged_tasks(self) -> Iterable[LoggedTask]:
        """Return the tasks that are here now."""
        return self._tasks.logged_tasks()

    def hear_new_tasks(self, hear: Callable[[LoggedTask], None]) -> AbstractContextManager[None]:
        """Tell of each task that comes while the context lasts."""
        return self._tasks.hear_new_tasks(hear)

    def read_logs(self, task: api.Task, options: LogOptions) -> AsyncIterator[LogLine]:
        """Yield lines of a task's container."""
        return self._tasks.read_logs(task, options)
