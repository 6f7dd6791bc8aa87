"""Many agents in one process, without containers, for `script/bench agents`.

Each agent joins with a certificate request of its own, and then runs Shoal's own sessions with the manager (TLS with
its certificate; Session, Heartbeat, Assignments, UpdateTaskStatus, log subscriptions) and paces its reports as Shoal's
agent does. Only the tasks are simulated, because this process shares the machine with the leader. Input: one JSON line
of arguments on standard input, then an empty line to begin the sessions. Output: a JSON line of counts whenever they
change.
"""

import asyncio
import json
import logging
import ssl
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, cast

import uvloop

from shoal.agent.log_streams import LoggedTask
from shoal.agent.remotes import Remotes
from shoal.agent.reporter import Report
from shoal.agent.reports import Reports
from shoal.agent.sessions import AgentConfig, Sessions
from shoal.agent.tasks import TaskSet
from shoal.agent.worker import changes
from shoal.api import v1 as api
from shoal.api.times import timestamp
from shoal.ca.csr import make_csr, new_key
from shoal.ca.security import CA_SERVER_NAME, first_context, joining_context
from shoal.ca.tokens import parse_token
from shoal.errors import RpcError
from shoal.node.certificates import CAClient, download_root

log = logging.getLogger(__name__)

JOINS_AT_ONCE = 50
TELL_EVERY = 0.02
START = 0.05  # seconds that a container takes to start; they cost no CPU


@dataclass(slots=True)
class Counts:
    """The counts over all agents. A report counts once the leader has acknowledged it."""

    joined: int = 0
    join_failures: int = 0
    registered: int = 0  # agents that have had a session
    sessions: int = 0  # sessions that were begun; more than `registered` if some had to begin again
    tasks: int = 0
    running: int = 0
    reports: int = 0


class Tasks:
    """The tasks of a node, with the methods that `Sessions` calls. A task is just a status here. Starting a container
    takes `START`.
    """

    def __init__(self) -> None:
        self._states: dict[str, api.TaskState] = {}
        self._reports = Reports()
        self._free_at = 0.0

    def ids(self) -> Collection[str]:
        """Return the tasks that are here."""
        return self._states.keys()

    def apply(self, message: api.AssignmentsMessage) -> None:
        """Take in assignments: start what is new, end what is to end, forget what is gone."""
        loop = asyncio.get_running_loop()
        wanted = changes(message, self._states.keys())
        for task in wanted.put:
            if task.id not in self._states:
                for state in (api.ACCEPTED, api.PREPARING):
                    self._set(task.id, state)
                self._free_at = max(self._free_at, loop.time()) + START  # one after the other, as on a small host
                loop.call_at(self._free_at, self._started, task.id)
            if task.desired_state >= api.SHUTDOWN and self._states[task.id] <= api.RUNNING:
                self._set(task.id, api.SHUTDOWN)
        for task_id in wanted.remove:
            del self._states[task_id]
            self._reports.drop(task_id)

    def report_all(self) -> None:
        """Report every task anew."""
        for task_id, state in self._states.items():
            self._set(task_id, state)

    async def wait_reports(self) -> list[Report]:
        """Return the next statuses to report, once they are due."""
        return await self._reports.wait()

    def give_back_reports(self, reports: list[Report]) -> None:
        """Take back statuses that the manager did not receive."""
        self._reports.give_back(report for report in reports if report[0] in self._states)

    def close(self) -> None:
        """Do nothing, because nothing is under way."""

    def logged_tasks(self) -> Iterable[LoggedTask]:
        """There are no logs."""
        return ()

    @contextmanager
    def hear_new_tasks(self, _hear: Callable[[LoggedTask], None]) -> Iterator[None]:
        """There are no logs."""
        yield

    def _started(self, task_id: str) -> None:
        if self._states.get(task_id) == api.PREPARING:
            for state in (api.READY, api.STARTING, api.RUNNING):
                self._set(task_id, state)

    def _set(self, task_id: str, state: api.TaskState) -> None:
        self._states[task_id] = state
        status = api.TaskStatus(
            state=state, timestamp=timestamp(time.time()), message=api.TaskState.Name(state).lower()
        )
        self._reports.put(task_id, status, passing=state < api.RUNNING)


class Agent(Sessions):
    """The sessions of one node, counted."""

    def __init__(self, counts: Counts, tasks: Tasks, *arguments: Any) -> None:
        super().__init__(cast(TaskSet, tasks), *arguments)
        self._counts = counts
        self._mine = tasks
        self._tasks_here = 0
        self._running: set[str] = set()
        self._unacknowledged: list[Report] = []
        self._registered = False

    def handle_registered(self) -> None:
        """Count the session."""
        self._counts.registered += not self._registered
        self._counts.sessions += 1
        self._registered = True
        super().handle_registered()

    def handle_assignments(self, message: api.AssignmentsMessage) -> None:
        """Count the tasks."""
        super().handle_assignments(message)
        here = self._mine.ids()
        self._counts.tasks += len(here) - self._tasks_here
        self._tasks_here = len(here)
        gone = self._running.difference(here)
        self._running -= gone
        self._counts.running -= len(gone)

    async def wait_reports(self) -> list[Report]:
        """Count the reports before: the caller asks for more only after they were answered."""
        self._counts.reports += bool(self._unacknowledged)
        for task_id, status in self._unacknowledged:
            if task_id in self._mine.ids() and (status.state == api.RUNNING) != (task_id in self._running):
                (self._running.add if status.state == api.RUNNING else self._running.discard)(task_id)
                self._counts.running += 1 if status.state == api.RUNNING else -1
        self._unacknowledged = []
        self._unacknowledged = await super().wait_reports()
        return self._unacknowledged

    def give_back_reports(self, reports: list[Report]) -> None:
        """Do not count these reports."""
        self._unacknowledged = []
        super().give_back_reports(reports)


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity with which an agent calls its manager."""

    context: ssl.SSLContext

    def client_context(self) -> ssl.SSLContext:
        """Return the context."""
        return self.context


class Swarm:
    """All agents. `arguments`: how many, the manager's `address`, a worker's `token`."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.counts = Counts()
        self._agents: int = arguments["agents"]
        self._address: str = arguments["address"]
        self._token: str = arguments["token"]
        self._rng = Random(1)

    async def run(self) -> None:
        """Join, wait for the empty line, and run until cancelled."""
        reader = await _stdin()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell(), name="tell")
            root = await download_root(self._address, parse_token(self._token).digest)
            identities = await self._join(root)
            await reader.readline()
            for number, identity in enumerate(identities):
                group.create_task(self._run_agent(number, identity), name=f"agent {number}")

    async def _join(self, root: bytes) -> list[Identity]:
        limit = asyncio.Semaphore(JOINS_AT_ONCE)

        async def join() -> Identity:
            async with limit:
                key = new_key()
                context = joining_context(root)
                client = CAClient(Remotes({self._address: 1}), lambda: context, CA_SERVER_NAME, self._rng)
                while True:
                    try:
                        chain = await client.request(make_csr(key), self._token)
                        break
                    except RpcError as error:
                        self.counts.join_failures += 1
                        log.warning("a join failed: %s", error)
                self.counts.joined += 1
                return Identity(first_context(root, chain, key, time.time()))

        async with asyncio.TaskGroup() as group:
            joining = [group.create_task(join(), name="join") for _ in range(self._agents)]
        return [child.result() for child in joining]

    async def _run_agent(self, number: int, identity: Identity) -> None:
        description = api.NodeDescription(
            hostname=f"agent-{number}",
            platform=api.Platform(architecture="x86_64", os="linux"),
            resources=api.Resources(nano_cpus=8 * 10**9, memory_bytes=32 * 2**30),
            engine=api.EngineDescription(engine_version="28.2.2"),
        )
        config = AgentConfig(describe=lambda: description)
        await Agent(self.counts, Tasks(), identity, Remotes({self._address: 1}), config, self._rng).run()

    async def _tell(self) -> None:
        told: dict[str, Any] = {}
        while True:
            now = asdict(self.counts)
            if now != told:
                print(json.dumps(now), flush=True)
                told = now
            await asyncio.sleep(TELL_EVERY)


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s agents: %(message)s")
    given = json.loads(sys.stdin.readline())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Swarm(given).run())
