"""A leader with its dispatcher over gRPC in memory, and nodes that hold sessions with it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from grpclib.client import Channel
from grpclib.exceptions import GRPCError
from grpclib.testing import ChannelFor
from h2.exceptions import StreamClosedError

from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherStub
from shoal.manager.dispatcher.server import Dispatcher
from shoal.manager.port.authorization import Caller
from shoal.manager.port.guard import as_caller, current_caller, guarded
from shoal.store.changes import Object
from tests.unit.manager.probes import Hosts
from tests.unit.manager.stores import MemoryStore

DESCRIPTION = api.NodeDescription(hostname="host-1")


def task(task_id: str, state: int = api.ASSIGNED, node_id: str = "n1") -> api.Task:
    return api.Task(id=task_id, node_id=node_id, desired_state=api.RUNNING, status={"state": state})


def cluster() -> api.Cluster:
    made = api.Cluster(id="c1")
    made.spec.annotations.name = "default"
    made.root_ca.ca_cert = b"root"
    made.network_bootstrap_keys.add(subsystem="networking:gossip", key=b"k")
    return made


class Leader:
    """A leader with its dispatcher, and channels of nodes to it."""

    def __init__(self, *objects: Object, nodes: Iterable[api.Node] = (api.Node(id="n1"), api.Node(id="n2"))) -> None:
        self.store = MemoryStore([cluster(), *nodes, *objects])
        self.hosts = Hosts()
        self.reachable: set[str] = set()
        self.dispatcher = Dispatcher(
            self.store,  # type: ignore[arg-type]
            node_id="m1",
            managers=lambda: [api.Peer(node_id="m1", addr="10.0.0.1:2377")],
            caller=current_caller,
            clock=lambda: 1000.0,
            rng=Random(1),
            is_reachable=self.reachable.__contains__,
            probe=self.hosts,
        )

    @asynccontextmanager
    async def leads(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            child = group.create_task(self.dispatcher.run())
            for _ in range(10):
                await asyncio.sleep(0)
            yield
            child.cancel()

    @asynccontextmanager
    async def node(self, node_id: str = "n1", address: str = "192.0.2.7") -> AsyncIterator[DispatcherStub]:
        caller = Caller(node_id, api.WORKER, "c1", f"{address}:4242")
        async with ChannelFor(guarded([self.dispatcher], as_caller(caller))) as channel:
            assert isinstance(channel, Channel)
            yield DispatcherStub(channel)

    def status(self, node_id: str = "n1") -> tuple[str, str]:
        node = self.store.view().nodes.get(node_id)
        assert node is not None
        return api.NodeStatus.State.Name(node.status.state), node.status.message

    def state(self, task_id: str) -> str:
        found = self.store.view().tasks.get(task_id)
        assert found is not None
        return api.TaskState.Name(found.status.state)


@asynccontextmanager
async def session(stub: DispatcherStub, old: str = "") -> AsyncIterator[tuple[str, Any]]:
    """Hold a session. Yields its id, and a stream from which more messages can be read."""
    over = False
    try:
        async with stub.Session.open() as stream:
            await stream.send_message(api.SessionRequest(description=DESCRIPTION, session_id=old), end=True)
            first = await stream.recv_message()
            if first is None:
                await stream.recv_trailing_metadata()
            assert first is not None
            yield first.session_id, stream
            over = True
            await stream.cancel()
    except (StreamClosedError, GRPCError):
        if not over:  # otherwise the dispatcher ended it first
            raise


async def ended(stream: Any) -> None:
    """Read a stream to its end. Raises the error with which the dispatcher ends it."""
    while await stream.recv_message() is not None:
        pass
    await stream.recv_trailing_metadata()
