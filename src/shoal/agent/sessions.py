"""The sessions of this node with its managers, one after the other.

In: the managers to ask, and the node's description; out: a session, and after its end the next one. The waits between
sessions grow while managers do not answer.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random
from ssl import SSLContext
from typing import Any, Protocol

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

DESCRIBE_EVERY = 20.0  # seconds between two checks of the node's description


class Security(Protocol):
    """This node's identity, as `shoal.ca.security` keeps it."""

    def client_context(self) -> SSLContext:
        """Return the context for calling a manager."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The settings of an agent.

    `describe` returns the node's description; the agent asks for it at least every 20 s. `local_manager` returns the
    address of this host's own manager, which is preferred, or None. With `joining` the agent ends when it cannot verify
    a manager's certificate and has had no session yet. The agent calls `on_session` with each session message.
    It calls `on_refused` with the reason when a manager does not admit this node, and `on_managers` with all managers
    and their weights when the set of managers has changed.
    """

    describe: Callable[[], api.NodeDescription]
    local_manager: Callable[[], str | None] = lambda: None
    joining: bool = False
    on_session: Callable[[api.SessionMessage], None] = lambda message: None
    on_refused: Callable[[str], None] = lambda why: None
    on_managers: Callable[[dict[str, int]], None] = lambda weights: None


class Sessions:
    """Holds a session while `run` runs, and hands its assignments to the tasks."""

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
        """Hold one session after the other until cancelled. Raises SessionEnded only for a join that cannot succeed."""
        backoff = 0.0
        try:
            while True:
                backoff = next_backoff(0.0 if await self._session() else backoff)
                await asyncio.sleep(self._rng.uniform(0, backoff))
        except SessionEnded:
            self._tasks.close()
            raise

    def identity_changed(self) -> None:
        """Register again, because the certificate has changed."""
        self._identity.set()

    def describe_changed(self) -> None:
        """Register again if the description has changed."""
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
            # A manager's certificate names its role and not its address.
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
        except Exception:  # a defect ends only this session; another one begins
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

    # The methods of SessionOwner.

    def handle_session_message(self, message: api.SessionMessage) -> None:
        """Take in what the manager says about this node, the managers and the keys."""
        self._id = message.session_id
        self._had_session = True
        if message.HasField("node"):
            self.node = message.node
        if self._remotes.update((each.peer.addr, each.weight) for each in message.managers):
            self._config.on_managers(self._remotes.weights())
        self._config.on_session(message)

    def handle_registered(self) -> None:
        """Report every task again: the manager may have missed the last reports of the previous session."""
        self._tasks.report_all()

    def handle_assignments(self, message: api.AssignmentsMessage) -> None:
        """Take in assignments."""
        self._tasks.apply(message)

    async def wait_reports(self) -> list[Report]:
        """Return the next statuses to report, once they are due."""
        return await self._tasks.wait_reports()

    def give_back_reports(self, reports: list[Report]) -> None:
        """Take back statuses that the manager did not receive."""
        self._tasks.give_back_reports(reports)

    async def wait_identity_change(self) -> None:
        """Return when the node's certificate or description has changed."""
        while not self._identity.is_set() and self._config.describe() == self._description:
            try:
                async with asyncio.timeout(DESCRIBE_EVERY):
                    await self._identity.wait()
            except TimeoutError:
                continue

    async def look(self, network_id: str) -> Mapping[str, Any]:
        """Return what there is of a network on this node."""
        return await self._tasks.look(network_id)

    def logged_tasks(self) -> Iterable[LoggedTask]:
        """Return the present tasks of this node."""
        return self._tasks.logged_tasks()

    def hear_new_tasks(self, hear: Callable[[LoggedTask], None]) -> AbstractContextManager[None]:
        """Call `hear` with each task that is assigned here while the context is open."""
        return self._tasks.hear_new_tasks(hear)

    def read_logs(self, task: api.Task, options: LogOptions) -> AsyncIterator[LogLine]:
        """Yield lines of a task's container."""
        return self._tasks.read_logs(task, options)
