"""Sessions over mutual TLS with a real manager's server, and the choice of the next manager."""

import asyncio
import time
from pathlib import Path
from random import Random

import pytest

from shoal.agent.agent import Agent, AgentConfig
from shoal.agent.remotes import Remotes
from shoal.agent.session import SessionEnded
from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherBase
from shoal.manager.dispatcher.server import Dispatcher
from shoal.manager.forwarding.services import TermService
from shoal.manager.port.server import ManagerServer, current_caller, listen
from shoal.paths import Paths
from tests.unit.agent.fakes import NODE, FakeRuntime, task
from tests.unit.agent.test_agent import Broker, until
from tests.unit.ca.swarms import Swarm
from tests.unit.manager.probes import no_host
from tests.unit.manager.stores import MemoryStore


async def test_a_node_works_over_mutual_tls_as_who_its_certificate_says(tmp_path: Path) -> None:
    swarm = Swarm(tmp_path / "ca", now=time.time())
    manager, worker = swarm.manager(), swarm.node("node-1")
    cluster = api.Cluster(id=swarm.cluster_id, spec={"annotations": {"name": "default"}})
    store = MemoryStore([api.Node(id="node-1"), cluster, task()])
    sock = listen("127.0.0.1", 0)
    address = f"127.0.0.1:{sock.getsockname()[1]}"
    dispatcher = Dispatcher(
        store,  # type: ignore[arg-type]
        node_id="manager",
        managers=lambda: [api.Peer(node_id="manager", addr=address)],
        caller=current_caller,
        clock=time.time,
        rng=Random(1),
        probe=no_host,
    )
    named: list[dict[str, int]] = []
    agent = Agent(
        Paths(tmp_path / "data", tmp_path / "run"),
        worker,
        FakeRuntime(),
        Remotes({address: 10, "127.0.0.1:1": 10}),
        AgentConfig(lambda: NODE, on_managers=named.append),
        rng=Random(2),
        clock=time.time,
    )
    async with asyncio.TaskGroup() as group:
        children = [
            group.create_task(dispatcher.run()),
            group.create_task(ManagerServer(manager, [dispatcher, Broker()], is_removed=lambda _: False).run(sock)),
            group.create_task(agent.run()),
        ]

        def is_running() -> bool:
            found = store.view().tasks.get("t1")
            return found is not None and found.status.state == api.RUNNING

        await until(is_running)
        node = store.view().nodes.get("node-1")
        assert node is not None
        assert (node.status.state, node.status.addr) == (api.NodeStatus.READY, "127.0.0.1")
        assert agent.node is not None
        assert agent.manager == address
        assert list(named[0]) == [address]
        for child in children:
            child.cancel()


async def test_a_join_with_a_manager_of_another_swarm_ends_the_agent(tmp_path: Path) -> None:
    ours, theirs = Swarm(tmp_path / "ours", now=time.time()), Swarm(tmp_path / "theirs", now=time.time())
    sock = listen("127.0.0.1", 0)
    address = f"127.0.0.1:{sock.getsockname()[1]}"
    server = ManagerServer(theirs.manager(), [Broker()], is_removed=lambda _: False)
    agent = Agent(
        Paths(tmp_path / "data", tmp_path / "run"),
        ours.node("node-1"),
        FakeRuntime(),
        Remotes({address: 10}),
        AgentConfig(lambda: NODE, joining=True),
        rng=Random(2),
        clock=time.time,
    )
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.run(sock))
        with pytest.raises(ExceptionGroup) as caught:
            await agent.run()
        serving.cancel()
    assert caught.group_contains(SessionEnded, match="certificate verify failed")


async def test_a_node_whose_certificate_is_refused_is_told_why(tmp_path: Path) -> None:
    swarm = Swarm(tmp_path / "ca", now=time.time())
    sock = listen("127.0.0.1", 0)
    address = f"127.0.0.1:{sock.getsockname()[1]}"
    services = [TermService(DispatcherBase, lambda: None), Broker()]
    server = ManagerServer(swarm.manager(), services, is_removed=lambda node_id: node_id == "node-1")
    told: list[str] = []
    agent = Agent(
        Paths(tmp_path / "data", tmp_path / "run"),
        swarm.node("node-1"),
        FakeRuntime(),
        Remotes({address: 10}),
        AgentConfig(lambda: NODE, on_refused=told.append),
        rng=Random(2),
        clock=time.time,
    )
    async with asyncio.TaskGroup() as group:
        children = [group.create_task(server.run(sock)), group.create_task(agent.run())]
        await until(lambda: bool(told))
        for child in children:
            child.cancel()
    assert "node node-1 was removed from swarm" in told[0]
