"""A worker sends anything at all. The leader goes on, shows everything, and changes nothing of other nodes.

The leader's own parts work over a store in memory, in virtual time, and are called over gRPC as by a worker. Every case
ends with the same check: is everything up, shown and bounded, and the rest of the swarm unchanged?
tests/attackers/test_worker_bodies.py does the same with a real daemon.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from grpclib.client import Channel, Stream
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.testing import ChannelFor
from h2.exceptions import ProtocolError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.api import times
from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherStub
from shoal.api.states import AGENT, may_move
from shoal.daemon import metrics
from shoal.engine import swarm_events
from shoal.engine.codec.cluster import CLUSTER
from shoal.engine.codec.node import NODE
from shoal.engine.codec.service import SERVICE
from shoal.engine.codec.task import TASK
from shoal.engine.replies import json_bytes
from shoal.manager.certificates.server import CAServer, NodeCAServer
from shoal.manager.deciders import all_deciders
from shoal.manager.deciding.cascade import Cascade
from shoal.manager.dispatcher.node_states import MAX_DESCRIPTION_BYTES
from shoal.manager.dispatcher.server import Dispatcher
from shoal.manager.dispatcher.statuses import MAX_TEXT
from shoal.manager.logs.server import LogBrokerServer, Logs
from shoal.manager.port.authorization import Caller
from shoal.manager.port.guard import as_caller, current_caller, guarded
from shoal.manager.port.health import HealthServer
from shoal.manager.views.server import ViewsServer
from shoal.store.changes import Event, copy
from shoal.store.memory import Transaction
from tests.harness.hostile_calls import METHODS, Call, calls
from tests.unit.ca.swarms import CLUSTER_ID
from tests.unit.engine.fakes import FakeNode, backend
from tests.unit.manager.certificates.test_issuing import CSR, TOKENS, cluster
from tests.unit.manager.probes import Hosts
from tests.unit.manager.stores import MemoryStore

pytestmark = pytest.mark.looptime

NOW = 1_700_000_000.0
BOUND_BYTES = 2 * MAX_DESCRIPTION_BYTES  # the largest size of any object that a worker has changed
CODECS: dict[type, Any] = {api.Node: NODE, api.Task: TASK, api.Service: SERVICE, api.Cluster: CLUSTER}
PATIENCE = 2.0  # the time for an answer, in virtual seconds

KNOWN = {
    "task_id": st.sampled_from(["mine", "starting", "ended", "other"]),
    "node_id": st.sampled_from(["n1", "n1", "n2"]),
    "subscription_id": st.sampled_from(["s1", "s2"]),
    "service_id": st.sampled_from(["web", "db"]),
    "token": st.sampled_from(["", TOKENS.worker, TOKENS.manager]),
    "csr": st.just(CSR),
}


STATES = {"mine": api.RUNNING, "starting": api.ASSIGNED, "ended": api.COMPLETE, "other": api.RUNNING}


def task(task_id: str, node_id: str, service_id: str = "web", slot: int = 1) -> api.Task:
    made = api.Task(id=task_id, service_id=service_id, node_id=node_id, desired_state=api.RUNNING, slot=slot)
    made.spec.container.image = "image"
    made.spec.resources.reservations.memory_bytes = 1 << 20
    made.spec.placement.constraints.append("node.hostname!=nowhere")
    made.status.state = STATES[task_id]
    made.status.timestamp.CopyFrom(times.timestamp(NOW - 100))
    made.spec_version.index = 1
    return made


def service(name: str, replicas: int) -> api.Service:
    made = api.Service(id=name)
    made.spec.annotations.name = name
    made.spec.task.container.image = "image"
    made.spec.replicated.replicas = replicas
    made.spec_version.index = 1
    return made


def node(node_id: str, role: int = api.WORKER) -> api.Node:
    made = api.Node(id=node_id, role=role)  # type: ignore[arg-type]
    made.spec.membership = api.NodeSpec.ACCEPTED
    made.status.state = api.NodeStatus.READY
    made.description.hostname = node_id
    made.description.resources.memory_bytes = 1 << 30
    made.certificate.status.state = api.IssuanceStatus.ISSUED
    return made


class Swarm:
    """A leader with two workers. The calls come from n1."""

    def __init__(self) -> None:
        self.store = MemoryStore(
            [
                cluster(), node("n1"), node("n2"), service("web", 3), service("db", 1),
                task("mine", "n1"), task("starting", "n1", slot=2),
                task("ended", "n1", slot=3), task("other", "n2", "db"),
            ]
        )  # fmt: skip
        store: Any = self.store
        self.dispatcher = Dispatcher(
            store,
            node_id="m1",
            managers=lambda: [api.Peer(node_id="m1", addr="10.0.0.1:2377")],
            caller=current_caller,
            clock=lambda: NOW,
            rng=Random(1),
            probe=Hosts(),
        )
        ids = iter(f"s{number}" for number in range(1, 9))
        self.logs = Logs(store, fresh_id=lambda: next(ids))
        self.services: list[Any] = [
            self.dispatcher,
            LogBrokerServer(self.logs, caller=current_caller),
            ViewsServer(store, self.dispatcher.ask, caller=current_caller),
            NodeCAServer(store, CLUSTER_ID, caller=current_caller),
            CAServer(store, CLUSTER_ID),
            HealthServer(raft=lambda: True),
        ]
        self.read_lines = 0

    @asynccontextmanager
    async def leads(self) -> AsyncIterator[Channel]:
        caller = Caller("n1", api.WORKER, CLUSTER_ID, "192.0.2.7:4242")
        async with asyncio.TaskGroup() as group:
            children = [
                group.create_task(self.dispatcher.run()),
                group.create_task(self.logs.run()),
            ]
            await asyncio.sleep(0.1)
            children += [group.create_task(self._read(["web"])), group.create_task(self._read(["web", "db"]))]
            async with ChannelFor(guarded(self.services, as_caller(caller))) as channel:
                assert isinstance(channel, Channel)
                yield channel
            for child in children:
                assert not child.done(), child
                child.cancel()

    async def _read(self, services: list[str]) -> None:
        request = api.SubscribeLogsRequest(
            selector={"service_ids": services}, options=api.LogSubscriptionOptions(follow=True)
        )
        async for message in self.logs.subscribe_logs(request):
            for line in message.messages:
                self.read_lines += 1
                assert line.context.node_id == "n1"
                assert line.context.task_id in ("mine", "starting", "ended")
                assert line.context.service_id == "web"
                times.rfc3339(line.timestamp)

    def check(self) -> None:
        """Check the one invariant, as far as a leader in memory can show it."""
        view = self.store.view()
        for kind, codec in CODECS.items():
            obj: Any
            for obj in view.table(kind).all():
                json.loads(json_bytes(codec.encode(obj)))
                if kind in swarm_events.KINDS:
                    swarm_events.event("update", obj, obj, 1)
                assert obj.ByteSize() < BOUND_BYTES
        for each in view.tasks.all():
            assert may_move(STATES[each.id], each.status.state, AGENT)
            assert times.is_valid(each.status.timestamp)
            assert len(each.status.err) <= MAX_TEXT
        other = view.tasks.get("other")
        assert other is not None
        assert other.status.state == api.RUNNING
        second = view.nodes.get("n2")
        assert second is not None
        assert second.description == node("n2").description
        assert {each.id for each in view.services.all()} == {"web", "db"}
        cascade = Cascade(all_deciders(CLUSTER_ID, Random(1), members=dict, random_bytes=bytes))
        for _ in range(3):
            Cascade.run(cascade, Transaction(view), NOW)
            cascade.tell([Event("update", obj, copy(obj)) for obj in view.nodes.all()])
            cascade.tell([Event("update", obj, copy(obj)) for obj in view.tasks.all()])

    async def metrics(self) -> str:
        return await metrics.render(backend(node=FakeNode(store_view=self.store.view)))


async def make(channel: Channel, call: Call, session_id: str) -> None:
    """Make one call, and read the answers of a short time."""
    method = call.method
    try:
        async with asyncio.timeout(PATIENCE):
            stream: Stream[Any, Any]
            async with channel.request(method.path, method.cardinality, method.request, method.reply) as stream:
                sent = call.with_session(session_id)
                for number, message in enumerate(sent, 1):
                    await stream.send_message(message, end=number == len(sent))
                while await stream.recv_message() is not None:
                    pass
    except (TimeoutError, GRPCError, StreamTerminatedError, ProtocolError, ConnectionError):
        pass  # it may be refused, or go on without an end


@asynccontextmanager
async def session(channel: Channel) -> AsyncIterator[str]:
    """Hold the node's session. Another call of the node may end it."""
    with contextlib.suppress(GRPCError, StreamTerminatedError, ProtocolError):
        async with DispatcherStub(channel).Session.open() as stream:
            await stream.send_message(api.SessionRequest(description=node("n1").description), end=True)
            registered = await stream.recv_message()
            assert registered is not None
            yield registered.session_id
            await stream.cancel()


def test_every_method_that_a_worker_may_call_is_served() -> None:
    assert {path.rpartition("/")[2] for path in METHODS} == {
        "Session", "Heartbeat", "UpdateTaskStatus", "UpdateVolumeStatus", "Tasks", "Assignments",
        "ListenSubscriptions", "PublishLogs", "IssueNodeCertificate", "NodeCertificateStatus",
        "GetRootCACertificate", "Answer",
    }  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(told=st.lists(calls(KNOWN), min_size=1, max_size=6))
async def test_whatever_a_worker_says_the_swarm_goes_on(told: list[Call], caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    swarm = Swarm()
    with caplog.at_level(logging.ERROR):
        async with swarm.leads() as channel:
            async with session(channel) as session_id, asyncio.TaskGroup() as group:
                for call in told:
                    group.create_task(make(channel, call, session_id))
            swarm.check()
            assert "swarm_manager_tasks_total" in await swarm.metrics()
    assert not caplog.records, caplog.text
