"""A worker in the hands of an attacker: its certificate is real, made with the join token, and the test decides what it
says.

There is one manager (or more), a worker whose own daemon is stopped while its container runs on, and somebody else's
service, which must not be affected.
"""

import asyncio
import contextlib
import http.client
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherStub
from shoal.ca.security import SecurityConfig
from tests.cluster.swarms import create, join, make_swarm, tasks, token, wait_running
from tests.harness.api import UnixConnection
from tests.harness.hosts import Host, eventually
from tests.harness.inside import play
from tests.harness.network import network

T = TypeVar("T")

LISTS = ("/tasks", "/services", "/nodes", "/swarm", "/info", "/networks", "/containers/json", "/_ping")
TIMEOUT = 10.0


@dataclass
class StolenWorker:
    """The worker, and the managers that it speaks to. `others_task` is the task that must not change."""

    managers: list[Host]
    host: Host
    identity: SecurityConfig
    own_id: str
    others_task: dict[str, Any]
    pids: list[int]

    @property
    def manager(self) -> Host:
        """The leader."""
        return self.managers[0]

    def play(self, story: "Callable[[Speaker], Coroutine[Any, Any, T]]") -> T:
        """Run a coroutine function as the worker, over one connection with a live session."""

        async def told() -> T:
            async with self.speaks() as speaker:
                return await story(speaker)

        return play(self.host, told)

    @asynccontextmanager
    async def speaks(self) -> "AsyncIterator[Speaker]":
        """Yield a connection to the leader with a session. Called inside the worker's network."""
        context: ssl.SSLContext = self.identity.client_context()
        name = Configuration(ssl_target_name_override="swarm-manager")
        channel = Channel(self.manager.address, 2377, ssl=context, config=name)
        try:
            dispatcher = DispatcherStub(channel)
            async with asyncio.timeout(3 * TIMEOUT):
                session_id = await self._registered(dispatcher)
            async with asyncio.TaskGroup() as group:
                beating = group.create_task(_beat(dispatcher, session_id))
                try:
                    yield Speaker(channel, dispatcher, session_id)
                finally:
                    beating.cancel()
        finally:
            channel.close()

    async def _registered(self, dispatcher: DispatcherStub) -> str:
        """Register, as soon as the manager allows it to a node that registers this often."""
        description = api.NodeDescription(hostname=self.host.hostname)
        while True:
            try:
                async with dispatcher.Session.open() as session:
                    await session.send_message(api.SessionRequest(description=description), end=True)
                    first = await session.recv_message()
                    assert first is not None
                    await session.cancel()
                    return first.session_id
            except GRPCError as error:
                if error.status is not Status.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.5)

    def own_task(self) -> dict[str, Any]:
        """Return its task as the leader knows it."""
        found: dict[str, Any] = json.loads(get(self.manager, f"/tasks/{self.own_id}")[1])
        return found

    def check(self) -> None:
        """Check the one invariant: all daemons are up, all lists are answered with 200, and the others' service is
        untouched and can be changed.
        """
        for manager, pid in zip(self.managers, self.pids, strict=True):
            assert manager.pid == pid
            for path in LISTS:
                assert get(manager, path)[0] == 200, (path, get(manager, path))
            for kind in ("tasks", "services", "nodes"):
                for each in json.loads(get(manager, f"/{kind}")[1]):
                    assert get(manager, f"/{kind}/{each['ID']}")[0] == 200
            assert get(manager, f"/events?since=1&until={int(time.time())}")[0] == 200
            assert "Traceback" not in manager.log()
        (now,) = [task for task in tasks(self.manager, "others") if task["ID"] == self.others_task["ID"]]
        assert (now["Status"], now["DesiredState"]) == (self.others_task["Status"], "running")

    def check_changes(self) -> None:
        """Others can still change the swarm."""
        version = json.loads(get(self.manager, "/services/others")[1])["Version"]["Index"]
        self.manager.docker("service", "update", "-d", "--label-add", f"at={version}", "others")
        for manager in self.managers:
            eventually(
                lambda manager=manager: str(version) in get(manager, "/services/others")[1],  # type: ignore[misc]
                "every manager shows it",
                show=manager.log,
            )


@dataclass
class Speaker:
    """A live session of the worker's."""

    channel: Channel
    dispatcher: DispatcherStub
    session_id: str

    async def is_live(self) -> bool:
        """Return whether the session is still the worker's."""
        try:
            await self.dispatcher.Heartbeat(api.HeartbeatRequest(session_id=self.session_id), timeout=TIMEOUT)
        except (GRPCError, StreamTerminatedError):
            return False
        return True

    async def report(self, task_id: str, status: api.TaskStatus) -> None:
        """Report a status of a task."""
        request = api.UpdateTaskStatusRequest(session_id=self.session_id)
        request.updates.add(task_id=task_id, status=status)
        await self.dispatcher.UpdateTaskStatus(request, timeout=TIMEOUT)


async def _beat(dispatcher: DispatcherStub, session_id: str) -> None:
    """Keep the session alive, unless something that the worker said has ended it."""
    with contextlib.suppress(GRPCError, StreamTerminatedError):
        while True:
            await dispatcher.Heartbeat(api.HeartbeatRequest(session_id=session_id), timeout=TIMEOUT)
            await asyncio.sleep(1)


@contextmanager
def stolen_worker(name: str, managers: int = 1) -> Iterator[StolenWorker]:
    """Make the swarm, and hand its worker to the test. At the end the swarm must be well."""
    with network(name) as net:
        held = [net.add(f"m{number}") for number in range(1, managers + 1)]
        secret = make_swarm(held[0])
        for other in held[1:]:
            join(other, held[0], token(held[0], "manager"))
        worker = net.add("w")
        join(worker, held[0], secret)
        where = "--constraint", f"node.hostname=={held[0].hostname}"
        create(held[0], "others", 1, *where)
        create(held[0], "of-worker", 1, "--constraint", "node.hostname==w")
        wait_running(held[0], "others", {held[0].hostname: 1})
        wait_running(held[0], "of-worker", {"w": 1})
        assert worker.stop() == 0
        loaded = SecurityConfig.load(worker.data_root / "swarm" / "certificates", time.time())
        assert loaded is not None
        (others,), (own,) = tasks(held[0], "others"), tasks(held[0], "of-worker")
        yield StolenWorker(held, worker, loaded, own["ID"], others, [manager.pid for manager in held])


def get(host: Host, path: str) -> tuple[int, str]:
    """Return the status and the body of an answer."""
    connection = UnixConnection(host.socket, timeout=30)
    try:
        connection.request("GET", path)
        answer: http.client.HTTPResponse = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def memory_bytes(pid: int) -> int:
    """Return how many bytes of memory a process has of its own."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no such process")


def etcd_of(host: Host) -> int:
    """Return the process id of a manager's etcd."""
    folder = str(host.data_root / "swarm" / "etcd")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"etcd") and folder.encode() in words:
                return int(entry.name)
    raise AssertionError("no etcd runs")


def disk_bytes(host: Host) -> int:
    """Return how many bytes a manager has on disk: its data, and its log."""
    data = sum(_size(path) for path in (host.data_root / "swarm").rglob("*"))
    return data + host.log_file.stat().st_size


def _size(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
