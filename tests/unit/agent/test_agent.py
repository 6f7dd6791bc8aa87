"""The agent with a real dispatcher, over real gRPC on loopback, and with a working runtime in memory."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from shoal.agent.agent import Agent, AgentConfig
from shoal.agent.executor import container_id
from shoal.agent.remotes import Remotes
from shoal.api import v1 as api
from shoal.api.gen.logbroker_grpc import LogBrokerBase
from shoal.errors import DamagedState, Unavailable
from shoal.manager.dispatcher.server import Dispatcher
from shoal.manager.port.authorization import Caller
from shoal.manager.port.guard import as_caller, current_caller, guarded
from shoal.network.wanted import Trouble
from shoal.paths import Paths
from shoal.runtime.types import Health, LogLine, Phase, SecretFile
from shoal.store.changes import copy
from tests.unit.agent.fakes import NODE, FakeRuntime, task
from tests.unit.manager.probes import no_host
from tests.unit.manager.stores import MemoryStore

NODE_ID = "node-1"


class Plain:
    """An identity without TLS, for loopback."""

    def client_context(self) -> None:
        return None


class Broker(LogBrokerBase):
    """A log broker with the subscriptions that a test puts into it."""

    def __init__(self) -> None:
        self.subscriptions: asyncio.Queue[api.SubscriptionMessage] = asyncio.Queue()
        self.published: list[api.PublishLogsMessage] = []
        self.broken = False
        self.is_missing = False

    async def ListenSubscriptions(self, stream: Any) -> None:  # noqa: N802
        await stream.recv_message()
        if self.is_missing:
            raise GRPCError(Status.UNIMPLEMENTED, "unknown service docker.swarmkit.v1.LogBroker")  # Go's words
        if self.broken:
            raise Unavailable("no logs today")
        while True:
            await stream.send_message(await self.subscriptions.get())

    async def PublishLogs(self, stream: Any) -> None:  # noqa: N802
        async for message in stream:
            self.published.append(message)
        await stream.send_message(api.PublishLogsResponse())

    def lines(self) -> list[bytes]:
        return [line.data for message in self.published for line in message.messages]


class Swarm:
    """A manager with its dispatcher on loopback."""

    def __init__(self, *tasks: api.Task) -> None:
        node = api.Node(id=NODE_ID)
        node.spec.membership = api.NodeSpec.ACCEPTED
        self.store = MemoryStore([node, api.Cluster(id="c1", spec={"annotations": {"name": "default"}}), *tasks])
        self.dispatcher = Dispatcher(
            self.store,  # type: ignore[arg-type]
            node_id="manager-1",
            managers=lambda: [api.Peer(node_id="manager-1", addr=self.address)],
            caller=current_caller,
            clock=time.time,
            rng=Random(1),
            probe=no_host,
        )
        self.address = ""
        self.broker = Broker()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        caller = Caller(NODE_ID, api.WORKER, "c1", "192.0.2.7:4242")
        server = Server(guarded([self.dispatcher, self.broker], as_caller(caller)))
        await server.start("127.0.0.1", 0)
        port = server._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self.address = f"127.0.0.1:{port}"
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(self.dispatcher.run())
                yield
                running.cancel()
        finally:
            server.close()
            await server.wait_closed()

    def task(self, task_id: str = "t1") -> api.Task:
        found = self.store.view().tasks.get(task_id)
        assert found is not None
        return found

    async def put(self, changed: api.Task) -> None:
        def write(transaction: object) -> None:
            if self.store.view().tasks.get(changed.id) is None:
                transaction.create(changed)  # type: ignore[attr-defined]
            else:
                transaction.update(changed)  # type: ignore[attr-defined]

        await self.store.update(write)

    async def desire(self, state: int, task_id: str = "t1") -> None:
        def write(transaction: object) -> None:  # an earlier report of the node may come first
            changed = copy(self.task(task_id))
            changed.desired_state = state  # type: ignore[assignment]
            transaction.update(changed)  # type: ignore[attr-defined]

        await self.store.update(write)

    async def wait(self, condition: Callable[[], bool]) -> None:
        with self.store.watch(api.Task, api.Node) as watch:
            async with asyncio.timeout(60):
                while not condition():
                    await watch.next()

    async def wait_state(self, state: int, task_id: str = "t1") -> api.TaskStatus:
        try:
            await self.wait(lambda: self.task(task_id).status.state == state)
        except TimeoutError:
            pytest.fail(f"the task stayed at {self.task(task_id).status}")
        return self.task(task_id).status


@asynccontextmanager
async def running(
    swarm: Swarm, runtime: FakeRuntime, folder: Path, config: AgentConfig | None = None
) -> AsyncIterator[Agent]:
    agent = Agent(
        Paths(folder / "data", folder / "run"),
        Plain(),  # type: ignore[arg-type]
        runtime,
        Remotes({swarm.address: 10}),
        config or AgentConfig(lambda: NODE),
        rng=Random(2),
        clock=time.time,
    )
    async with asyncio.TaskGroup() as group:
        child = group.create_task(agent.run())
        yield agent
        child.cancel()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the runtime of a test tells nobody of its changes
            await asyncio.sleep(0.005)


async def test_a_manager_that_serves_no_logs_keeps_its_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    swarm, runtime = Swarm(), FakeRuntime()
    swarm.broker.is_missing = True
    caplog.set_level("INFO", "shoal.agent")
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await until(lambda: "the manager serves no logs" in caplog.messages)
        await swarm.put(task())
        await swarm.wait_state(api.RUNNING)
    assert not [line for line in caplog.messages if "ended" in line]


async def test_a_task_is_taken_to_running_and_its_exit_is_reported(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task()), FakeRuntime()
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        status = await swarm.wait_state(api.RUNNING)
        assert (status.message, status.err, status.container.pid) == ("started", "", 4711)
        assert status.container.container_id == container_id("t1")
        assert status.applied_by == "manager-1"
        node = swarm.store.view().nodes.get(NODE_ID)
        assert node is not None
        assert (node.status.state, node.status.addr) == (api.NodeStatus.READY, "192.0.2.7")
        assert node.description == NODE
        runtime.containers.exit(container_id("t1"), 7)
        status = await swarm.wait_state(api.FAILED)
        assert (status.message, status.err) == ("started", "task: non-zero exit (7)")
        assert status.container.exit_code == 7


async def test_what_the_network_lacks_is_said_of_the_task_that_runs(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task()), FakeRuntime()
    words = "port 80/tcp is another's"
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await swarm.wait_state(api.RUNNING)
        await runtime.overlays.lack(Trouble("in", "e1", words, bearable=True), said={container_id("t1"): words})

        def told() -> str:
            (found,) = swarm.store.view().tasks.all()
            assert found.status.state == api.RUNNING
            return found.status.err

        await until(lambda: told() == words)
        await runtime.overlays.lack(said={})
        await until(lambda: told() == "")


async def test_a_task_that_ends_well_is_complete(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task()), FakeRuntime()
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await swarm.wait_state(api.RUNNING)
        runtime.containers.exit(container_id("t1"), 0)
        assert (await swarm.wait_state(api.COMPLETE)).message == "finished"


async def test_an_image_that_is_nowhere_rejects_the_task_with_the_registrys_words(tmp_path: Path) -> None:
    """Known fault 70: the reason was hidden."""
    swarm, runtime = Swarm(task(image="nowhere:latest")), FakeRuntime()
    runtime.images.words = "the registry's words"
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        status = await swarm.wait_state(api.REJECTED)
        assert (status.message, status.err) == ("preparing", "No such image: nowhere:latest (the registry's words)")
        assert runtime.images.pulls["nowhere:latest"] == 1


async def test_a_command_that_is_not_in_the_image_fails_the_task(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task(command=("missing",))), FakeRuntime()
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        status = await swarm.wait_state(api.FAILED)
        assert status.message == "starting"
        assert status.err == 'starting container failed: exec: "missing": executable file not found in $PATH'


async def test_a_task_that_cannot_be_run_here_is_rejected(tmp_path: Path) -> None:
    wrong = task()
    wrong.spec.container.env.append("A={{.Nope}}")
    swarm = Swarm(wrong)
    async with swarm.serve(), running(swarm, FakeRuntime(), tmp_path):
        status = await swarm.wait_state(api.REJECTED)
        assert status.message == "resolving controller failed"
        assert status.err.startswith('expanding env failed: expanding env "A={{.Nope}}": template: expansion:1')


def with_secret(task_id: str = "t1", *, desired: int = api.RUNNING) -> api.Task:
    made = task(task_id, desired=desired)
    target = api.FileTarget(name="key", uid="0", gid="0", mode=0o400)
    made.spec.container.secrets.add(secret_id="secret-1", secret_name="key", file=target)
    made.spec.container.configs.add(config_id="config-1", config_name="site", file=api.FileTarget(name="/site"))
    return made


def dependencies(template: bytes = b'{{secret "key"}}') -> list[api.Secret | api.Config]:
    secret = api.Secret(id="secret-1", spec={"annotations": {"name": "key"}, "data": b"canary"})
    config = api.Config(id="config-1", spec={"annotations": {"name": "site"}, "data": template})
    config.spec.templating.name = "golang"
    return [secret, config]


async def test_a_task_is_started_with_its_secrets_which_are_in_no_file_of_the_agent(tmp_path: Path) -> None:
    swarm, runtime = Swarm(with_secret()), FakeRuntime()
    for each in dependencies():
        await swarm.store.update(lambda tx, each=each: tx.create(each))  # type: ignore[misc]
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await swarm.wait_state(api.RUNNING)
    assert runtime.containers.files["web.1.t1"] == (
        SecretFile("/run/secrets/key", b"canary", mode=0o400),
        SecretFile("/site", b"canary", mode=0),
    )
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not any(b"canary" in data for data in written)


async def test_a_template_that_fails_rejects_the_task_before_its_image_is_pulled(tmp_path: Path) -> None:
    made = with_secret()
    made.spec.container.image = "nowhere:latest"
    swarm, runtime = Swarm(made), FakeRuntime()
    for each in dependencies(b"{{.Nope}}"):
        await swarm.store.update(lambda tx, each=each: tx.create(each))  # type: ignore[misc]
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        status = await swarm.wait_state(api.REJECTED)
    assert status.message == "preparing"
    assert status.err.startswith("unable to get config from config store: failed to expand templated config config-1: ")
    assert not runtime.images.pulls


async def test_a_secret_that_is_not_assigned_rejects_the_task(tmp_path: Path) -> None:
    swarm, runtime = Swarm(with_secret()), FakeRuntime()
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        status = await swarm.wait_state(api.REJECTED)
    assert status.err == "unable to get secret from secret store: secret secret-1 not found"


async def test_after_a_restart_a_task_waits_for_a_manager_to_tell_its_secrets_again(tmp_path: Path) -> None:
    swarm, runtime = Swarm(with_secret(desired=api.READY)), FakeRuntime()
    for each in dependencies():
        await swarm.store.update(lambda tx, each=each: tx.create(each))  # type: ignore[misc]
    async with swarm.serve():
        async with running(swarm, runtime, tmp_path):
            await swarm.wait_state(api.READY)
        # It was told to run, and its daemon ended at once.
        with sqlite3.connect(tmp_path / "data/swarm/worker/tasks.db") as record:
            record.execute("update tasks set data = ?", (with_secret().SerializeToString(),))
        record.close()
        address, swarm.address = swarm.address, "127.0.0.1:1"
        async with running(swarm, runtime, tmp_path) as agent:
            await until(lambda: "waiting for a manager" in status_here(agent))
            assert runtime.containers.log == ["create web.1.t1"]
        swarm.address = address
        async with running(swarm, runtime, tmp_path):
            await swarm.desire(api.RUNNING)
            await swarm.wait_state(api.RUNNING)
    assert runtime.containers.files["web.1.t1"][0].data == b"canary"


def status_here(agent: Agent) -> str:
    """Return what the agent says of its only task."""
    tasks = agent._tasks
    return "".join(loop.status.err for loop in tasks._tasks.values()) if tasks is not None else ""


async def test_a_task_with_a_health_check_starts_until_it_is_well_and_fails_when_it_no_longer_is(
    tmp_path: Path,
) -> None:
    swarm, runtime = Swarm(task(healthy=True)), FakeRuntime()
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await swarm.wait_state(api.STARTING)
        await until(lambda: any(c.phase is Phase.RUNNING for c in runtime.containers.list()))
        assert swarm.task().status.state == api.STARTING
        runtime.containers.set_health(container_id("t1"), Health.HEALTHY)
        await swarm.wait_state(api.RUNNING)
        runtime.containers.set_health(container_id("t1"), Health.UNHEALTHY)
        status = await swarm.wait_state(api.FAILED)
        assert status.err == "task: non-zero exit (143): dockerexec: unhealthy container"


async def test_a_task_is_shut_down_and_its_container_stays_until_the_task_is_deleted(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task()), FakeRuntime()
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await swarm.wait_state(api.RUNNING)
        await swarm.desire(api.SHUTDOWN)
        status = await swarm.wait_state(api.SHUTDOWN)
        assert (status.message, status.container.exit_code) == ("shutdown", 143)
        assert len(runtime.containers.list()) == 1
        await swarm.store.update(lambda tx: tx.remove(api.Task, "t1"))
        await until(lambda: not runtime.containers.list())
        assert runtime.containers.log == ["create web.1.t1", "start web.1.t1", "stop web.1.t1", "remove web.1.t1"]


async def test_a_task_desired_ready_waits_until_it_may_start(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task(desired=api.READY)), FakeRuntime()
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await swarm.wait_state(api.READY)
        assert runtime.containers.log == ["create web.1.t1"]
        await swarm.desire(api.RUNNING)
        await swarm.wait_state(api.RUNNING)


async def test_a_restarted_agent_finds_its_containers_and_tells_of_exits_it_missed(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task("t1"), task("t2")), FakeRuntime()
    async with swarm.serve():
        async with running(swarm, runtime, tmp_path):
            await swarm.wait_state(api.RUNNING, "t1")
            await swarm.wait_state(api.RUNNING, "t2")
        done = list(runtime.containers.log)
        runtime.containers.exit(container_id("t2"), 3)
        async with running(swarm, runtime, tmp_path):
            assert (await swarm.wait_state(api.FAILED, "t2")).err == "task: non-zero exit (3)"
            assert swarm.task("t1").status.state == api.RUNNING
        assert runtime.containers.log == done


async def test_containers_of_tasks_that_were_deleted_while_the_agent_was_away_go(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task("t1")), FakeRuntime()
    async with swarm.serve():
        async with running(swarm, runtime, tmp_path):
            await swarm.wait_state(api.RUNNING)
        await swarm.store.update(lambda tx: tx.remove(api.Task, "t1"))
        (tmp_path / "data/swarm/worker/tasks.db").unlink()
        async with running(swarm, runtime, tmp_path):
            await until(lambda: not runtime.containers.list())


async def test_a_new_leader_hears_every_status_and_containers_run_on(tmp_path: Path) -> None:
    """Known fault 73: a status that was lost with its session stayed lost."""
    swarm, runtime = Swarm(task()), FakeRuntime()
    async with swarm.serve(), running(swarm, runtime, tmp_path) as agent:
        await swarm.wait_state(api.RUNNING)
        first = agent.manager
        lost = copy(swarm.task())
        lost.status.state = api.ASSIGNED
        await swarm.put(lost)
        swarm.dispatcher._running = False  # as when another manager leads
        swarm.dispatcher._streams.wake_all()
        await until(lambda: agent.manager != first or agent.manager == "")
        swarm.dispatcher._running = True
        await swarm.wait_state(api.RUNNING)
        assert runtime.containers.log == ["create web.1.t1", "start web.1.t1"]


async def test_a_changed_description_registers_the_node_anew(tmp_path: Path) -> None:
    swarm = Swarm()
    described = [NODE]

    def present() -> api.Node:
        return swarm.store.view().nodes.get(NODE_ID) or api.Node()

    async with swarm.serve(), running(swarm, FakeRuntime(), tmp_path, AgentConfig(lambda: described[0])) as agent:
        await swarm.wait(lambda: present().status.state == api.NodeStatus.READY)
        changed = copy(NODE)
        changed.engine.labels["disk"] = "ssd"
        described[0] = changed
        agent.identity_changed()
        await swarm.wait(lambda: present().description == changed)


async def test_a_burst_of_tasks_runs_in_parallel_but_not_all_at_once(tmp_path: Path) -> None:
    swarm, runtime = Swarm(*(task(f"t{n}", image="app:latest") for n in range(100))), FakeRuntime()
    runtime.images.registry.add("app:latest")
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await swarm.wait(lambda: all(t.status.state == api.RUNNING for t in swarm.store.view().tasks.all()))
    assert 1 < runtime.containers.most_busy <= 64
    assert runtime.images.pulls["app:latest"] == 1
    assert len(swarm.store.commits) < 100  # statuses are sent together


async def test_a_damaged_file_of_tasks_is_named_and_left(tmp_path: Path) -> None:
    path = tmp_path / "data/swarm/worker/tasks.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database, and longer than a page header" * 100)
    before = path.read_bytes()
    swarm = Swarm()
    async with swarm.serve():
        with pytest.raises(ExceptionGroup) as caught:
            async with running(swarm, FakeRuntime(), tmp_path):
                await asyncio.sleep(3600)
    assert caught.group_contains(DamagedState, match=str(path))
    assert path.read_bytes() == before


async def test_leaving_removes_every_container(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task("t1"), task("t2")), FakeRuntime()
    async with swarm.serve(), running(swarm, runtime, tmp_path) as agent:
        await swarm.wait_state(api.RUNNING, "t1")
        await swarm.wait_state(api.RUNNING, "t2")
        await agent.leave()
        assert not runtime.containers.list()
    with sqlite3.connect(tmp_path / "data/swarm/worker/tasks.db") as database:
        assert database.execute("select count(*) from tasks").fetchone() == (0,)
    database.close()


async def test_what_a_session_still_says_while_the_node_leaves_makes_no_container(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task("t1")), FakeRuntime()
    said = api.AssignmentsMessage(type=api.AssignmentsMessage.COMPLETE)
    for task_id in ("t1", "t2"):
        said.changes.add(action=api.AssignmentChange.UPDATE, assignment=api.Assignment(task=task(task_id)))
    async with swarm.serve(), running(swarm, runtime, tmp_path) as agent:
        await swarm.wait_state(api.RUNNING, "t1")
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.leave())
            await asyncio.sleep(0)
            assert agent._tasks is not None
            agent._tasks.apply(said)
        assert agent._tasks.assigned() == []
        assert not runtime.containers.list()


async def test_a_task_that_came_back_while_it_was_removed_is_not_begun_when_the_node_leaves(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task("t1")), FakeRuntime()
    runtime.containers.gate = asyncio.Event()
    empty = api.AssignmentsMessage(type=api.AssignmentsMessage.COMPLETE)
    back = api.AssignmentsMessage(type=api.AssignmentsMessage.INCREMENTAL)
    back.changes.add(action=api.AssignmentChange.UPDATE, assignment=api.Assignment(task=task("t1")))
    async with swarm.serve(), running(swarm, runtime, tmp_path) as agent:
        await until(lambda: runtime.containers.busy == 1)
        assert agent._tasks is not None
        agent._tasks.apply(empty)
        agent._tasks.apply(back)
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.leave())
            await asyncio.sleep(0)
            runtime.containers.gate.set()
        assert agent._tasks.assigned() == []


class Counted(ThreadPoolExecutor):
    """Counts what it was given to do."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.given = 0

    def submit(self, *args: Any, **settings: Any) -> Future[Any]:
        self.given += 1
        return super().submit(*args, **settings)


async def test_what_is_about_to_be_written_when_the_agent_stops_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy host: the thread has not begun to write a batch when the one who waits for it is cancelled."""
    executors: list[Counted] = []

    def counted(*args: Any, **settings: Any) -> Counted:
        executors.append(Counted(*args, **settings))
        return executors[0]

    monkeypatch.setattr("shoal.agent.agent.ThreadPoolExecutor", counted)
    swarm = Swarm()
    async with swarm.serve(), running(swarm, FakeRuntime(), tmp_path) as agent:
        await until(lambda: agent.node is not None)
        (executor,) = executors
        before = executor.given

        def hold_until_stopped() -> None:
            while executor.given < before + 3:  # this, the batch, and what follows it at the end
                time.sleep(0.001)

        executor.submit(hold_until_stopped)
        await swarm.put(task("t1"))
        await until(lambda: executor.given == before + 2)
    with sqlite3.connect(tmp_path / "data/swarm/worker/tasks.db") as database:
        assert database.execute("select id from tasks").fetchall() == [("t1",)]
    database.close()


async def test_logs_are_published_to_those_who_subscribe(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task("t1"), task("t2")), FakeRuntime()
    lines = [LogLine(n, "stdout", b"line %d\n" % n) for n in range(5)]
    runtime.containers.lines = {container_id("t1"): lines}
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await swarm.wait_state(api.RUNNING, "t1")
        await swarm.wait_state(api.RUNNING, "t2")
        once = api.SubscriptionMessage(id="sub-1", selector={"service_ids": ["s1"]}, options={"tail": -3})
        swarm.broker.subscriptions.put_nowait(once)
        await until(lambda: any(message.close for message in swarm.broker.published))
        assert swarm.broker.lines() == [b"line 3\n", b"line 4\n"]
        first = swarm.broker.published[0]
        assert first.subscription_id == "sub-1"
        assert first.messages[0].context == api.LogContext(service_id="s1", node_id=NODE_ID, task_id="t1")
        assert first.messages[0].stream == api.LOG_STREAM_STDOUT


async def test_following_logs_takes_in_tasks_that_come_later_until_it_is_closed(tmp_path: Path) -> None:
    swarm, runtime = Swarm(), FakeRuntime()
    runtime.containers.lines = {container_id("t1"): [LogLine(1, "stderr", b"here\n")]}
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        follow = api.SubscriptionMessage(id="sub-1", selector={"service_ids": ["s1"]}, options={"follow": True})
        swarm.broker.subscriptions.put_nowait(follow)
        await swarm.put(task("t1"))
        await until(lambda: swarm.broker.lines() == [b"here\n"])
        follow.close = True
        swarm.broker.subscriptions.put_nowait(follow)
        await until(lambda: not any("sub-1" in child.get_name() for child in asyncio.all_tasks()))
        await swarm.wait_state(api.RUNNING)


async def test_an_agent_whose_sessions_fail_can_still_be_stopped(tmp_path: Path) -> None:
    # When children of a group fail while it is being cancelled, they hide the cancellation (Python 3.11).
    for turn in range(20):
        swarm = Swarm(task())
        swarm.broker.broken = True
        folder = tmp_path / str(turn)
        async with swarm.serve(), asyncio.timeout(60), running(swarm, FakeRuntime(), folder) as agent:
            await until(lambda agent=agent: agent.node is not None)  # type: ignore[misc]
            for _ in range(turn):
                await asyncio.sleep(0)


async def test_a_task_removed_while_its_container_is_made_leaves_none_behind(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task()), FakeRuntime()
    runtime.containers.gate = asyncio.Event()
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await until(lambda: runtime.containers.busy == 1)
        await swarm.store.update(lambda tx: tx.remove(api.Task, "t1"))
        await until(lambda: any(child.get_name() == "remove t1" for child in asyncio.all_tasks()))
        runtime.containers.gate.set()
        await until(lambda: "remove web.1.t1" in runtime.containers.log)
        assert runtime.containers.log == ["create web.1.t1", "remove web.1.t1"]
        assert not runtime.containers.list()


async def test_a_task_shut_down_while_it_waits_for_its_health_ends_at_once(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task(healthy=True)), FakeRuntime()
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await until(lambda: any(c.phase is Phase.RUNNING for c in runtime.containers.list()))
        await swarm.desire(api.SHUTDOWN)
        assert (await swarm.wait_state(api.SHUTDOWN)).container.exit_code == 143


async def test_a_task_shut_down_while_its_image_is_pulled_ends_at_once(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task(image="slow:latest")), FakeRuntime()
    runtime.images.gate = asyncio.Event()
    async with swarm.serve(), running(swarm, runtime, tmp_path):
        await until(lambda: runtime.images.pulls["slow:latest"] == 1)
        await swarm.desire(api.SHUTDOWN)
        await swarm.wait_state(api.SHUTDOWN)


async def test_a_task_that_is_ended_and_then_removed_while_its_container_is_made_leaves_none(tmp_path: Path) -> None:
    swarm, runtime = Swarm(task()), FakeRuntime()
    gate = runtime.containers.gate = asyncio.Event()
    async with swarm.serve(), running(swarm, runtime, tmp_path) as agent:
        await until(lambda: runtime.containers.busy == 1)
        tasks = agent._tasks
        assert tasks is not None
        ended = copy(swarm.task())
        ended.desired_state = api.SHUTDOWN
        for changed, action in ((ended, api.AssignmentChange.UPDATE), (api.Task(id="t1"), api.AssignmentChange.REMOVE)):
            change = api.AssignmentChange(assignment=api.Assignment(task=changed), action=action)
            tasks.apply(api.AssignmentsMessage(type=api.AssignmentsMessage.INCREMENTAL, changes=[change]))
            for _ in range(5):
                await asyncio.sleep(0)
        gate.set()
        await until(lambda: runtime.containers.busy == 0 and not tasks._removing)
        assert runtime.containers.list() == []
