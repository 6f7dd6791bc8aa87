"""A worker's certificate in the wrong hands: it speaks for that worker and for nobody else."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from google.protobuf.empty_pb2 import Empty
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from shoal.api import v1 as api
from shoal.api.gen.ca_grpc import NodeCAStub
from shoal.api.gen.dispatcher_grpc import DispatcherStub
from shoal.ca.csr import new_key
from shoal.ca.identity import identity_of, read_chain
from shoal.ca.security import SecurityConfig, joining_context
from shoal.manager.port.authorization import AUTHORIZATION, FORWARDED_CN, FORWARDED_MARK, FORWARDED_ORG, FORWARDED_OU
from tests.cluster.swarms import create, join, make_swarm, node_id, nodes, tasks, token, wait_running
from tests.cluster.test_failover import leader_of, wait_statuses, write
from tests.harness.hosts import Host, eventually, run
from tests.harness.inside import play
from tests.harness.network import Network, network

pytestmark = pytest.mark.root

TIMEOUT = 10.0
NO_MANAGER = "Permission denied: remote certificate not part of OUs: [swarm-manager]"
Answer = tuple[Status, str]
FOR_NODES = [path for path, rule in AUTHORIZATION.items() if rule.units]
FOR_MANAGERS = [path for path in FOR_NODES if "swarm-worker" not in AUTHORIZATION[path].units]
# How grpclib's client reports its server's answer about an unknown method.
NOT_SERVED = (Status.UNKNOWN, "Missing content-type header")
# Methods that this release serves in addition to those that workers may call. The rest of the table belongs to services
# that are not there yet.
SERVED = ("Control", "Managers", "Health", "Logs", "Placement", "RaftMembership", "CA", "Views")


@dataclass
class Stolen:
    """Two managers, and two workers with a task each. The test has the certificates of the workers."""

    net: Network
    managers: list[Host]
    a: Host
    b: Host
    of_a: SecurityConfig
    of_b: SecurityConfig


@pytest.fixture(scope="module")
def stolen() -> Iterator[Stolen]:
    with network("stolen") as net:
        managers = [net.add("m1"), net.add("m2")]
        a, b = net.add("a"), net.add("b")
        secret = make_swarm(managers[0])
        join(managers[1], managers[0], token(managers[0], "manager"))
        join(a, managers[0], secret)
        join(b, managers[0], secret)
        wait_statuses(managers[0], ["Leader", "Reachable", "", ""])
        for name in ("a", "b"):
            create(managers[0], f"of-{name}", 1, "--constraint", f"node.hostname=={name}")
            wait_running(managers[0], f"of-{name}", {name: 1})
        yield Stolen(net, managers, a, b, *(_identity(host) for host in (a, b)))
        assert nodes(managers[0])["b"] == "Ready"
        assert write(managers[1], "after-all")
        for host in managers:
            assert "Traceback" not in host.log()


def _identity(host: Host) -> SecurityConfig:
    loaded = SecurityConfig.load(host.data_root / "swarm" / "certificates", time.time())
    assert loaded is not None
    assert not loaded.is_manager
    return loaded


@asynccontextmanager
async def channel(host: Host, context: ssl.SSLContext, name: str = "swarm-manager") -> AsyncIterator[Channel]:
    opened = Channel(host.address, 2377, ssl=context, config=Configuration(ssl_target_name_override=name))
    try:
        yield opened
    finally:
        opened.close()


def walk(at: Host, by: Host, context: ssl.SSLContext, paths: Iterable[str], metadata: Any = None) -> dict[str, Answer]:
    """Call methods with an empty request, which all of them understand. Returns their answers."""

    async def story() -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        async with channel(at, context) as opened:
            for path in paths:
                method = UnaryUnaryMethod(opened, path, Empty, Empty)
                try:
                    await method(Empty(), timeout=TIMEOUT, metadata=metadata)
                except GRPCError as error:
                    found[path] = error.status, error.message or ""
                else:
                    found[path] = Status.OK, ""
        return found

    return play(by, story)


@pytest.mark.parametrize("which", [0, 1], ids=["leader", "follower"])
def test_a_worker_may_call_nothing_that_is_for_managers(stolen: Stolen, which: int) -> None:
    at = sorted(stolen.managers, key=lambda host: host is not leader_of(stolen.managers, host))[which]
    answers = walk(at, stolen.a, stolen.of_a.client_context(), FOR_MANAGERS)
    for path, (status, text) in answers.items():
        assert (status is Status.PERMISSION_DENIED and NO_MANAGER in text) or (status, text) == NOT_SERVED, (path, text)
    refused = {path.split("/")[1].rpartition(".")[2] for path, told in answers.items() if NO_MANAGER in told[1]}
    assert refused == set(SERVED)


@pytest.mark.parametrize("which", [0, 1], ids=["leader", "follower"])
def test_a_worker_that_claims_to_forward_a_managers_call_is_refused(stolen: Stolen, which: int) -> None:
    claim = [
        (FORWARDED_MARK, "true"),
        (FORWARDED_CN, node_id(stolen.managers[0])),
        (FORWARDED_ORG, stolen.of_a.cluster_id),
        (FORWARDED_OU, "swarm-manager"),
    ]
    answers = walk(stolen.managers[which], stolen.a, stolen.of_a.client_context(), FOR_NODES, claim)
    for path, (status, text) in answers.items():
        assert status is Status.PERMISSION_DENIED or (status, text) == NOT_SERVED, (path, text)


def test_a_stranger_may_call_what_joining_needs_alone(stolen: Stolen) -> None:
    context = joining_context(stolen.of_a.root_pem)
    answers = walk(stolen.managers[0], stolen.a, context, AUTHORIZATION)
    invalid = (Status.INVALID_ARGUMENT, "InvalidArgument")
    assert {path: answers.pop(path) for path in set(AUTHORIZATION) - set(FOR_NODES)} == {
        "/docker.swarmkit.v1.CA/GetRootCACertificate": (Status.OK, ""),
        "/docker.swarmkit.v1.NodeCA/IssueNodeCertificate": invalid,
        "/docker.swarmkit.v1.NodeCA/NodeCertificateStatus": invalid,
    }
    for path, (status, text) in answers.items():
        assert status is Status.PERMISSION_DENIED or (status, text) == NOT_SERVED, (path, text)


def test_a_worker_reaches_no_etcd(stolen: Stolen) -> None:
    async def story(at: Host) -> bytes:
        reader, writer = await asyncio.open_connection(
            at.address, 2377, ssl=stolen.of_a.peer_context(), server_hostname="swarm-manager"
        )
        try:
            writer.write(b"GET /members HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(TIMEOUT):
                return await reader.read()
        except (ConnectionError, ssl.SSLError):
            return b""
        finally:
            writer.transport.abort()

    for at in stolen.managers:
        assert play(stolen.a, lambda at=at: story(at)) == b""  # type: ignore[misc]
        eventually(lambda at=at: "a connection to this manager's etcd was refused" in at.log(), "it is logged")  # type: ignore[misc]
        listening = run(*at.inside("ss", "-Hltn")).stdout.splitlines()
        # The network process has gossip's port.
        assert sorted(line.split()[3].rpartition(":")[2] for line in listening) == ["2377", "7946"]


def named_request(common_name: str, organization: str) -> bytes:
    """Return a request for a manager's certificate with that name."""
    names = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "swarm-manager"),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(new_key(), hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def test_a_request_in_another_nodes_name_gets_a_certificate_in_the_askers_own(stolen: Stolen) -> None:
    manager = stolen.managers[0]
    csr = named_request(node_id(manager), stolen.of_a.cluster_id)
    asked = api.IssueNodeCertificateRequest(csr=csr, role=api.MANAGER)
    joining = api.IssueNodeCertificateRequest(csr=csr, role=api.MANAGER, token=token(manager))

    async def story(context: ssl.SSLContext, name: str, request: api.IssueNodeCertificateRequest) -> tuple[str, bytes]:
        async with channel(manager, context, name) as opened:
            stub = NodeCAStub(opened)
            given = await stub.IssueNodeCertificate(request, timeout=TIMEOUT)
            while True:
                status = api.NodeCertificateStatusRequest(node_id=given.node_id)
                reply = await stub.NodeCertificateStatus(status, timeout=TIMEOUT)
                if reply.certificate.csr == csr:
                    return given.node_id, reply.certificate.certificate

    before = run(*manager.inside("cat", str(manager.data_root / "swarm/certificates/swarm-node.crt"))).stdout
    given_id, pem = play(stolen.a, lambda: story(stolen.of_a.client_context(), "swarm-manager", asked))
    identity = identity_of(read_chain(pem)[0])
    assert given_id == identity.node_id == stolen.of_a.node_id
    assert identity.role == api.WORKER
    fresh_id, pem = play(stolen.a, lambda: story(joining_context(stolen.of_a.root_pem), "swarm-ca", joining))
    identity = identity_of(read_chain(pem)[0])
    assert fresh_id == identity.node_id
    assert fresh_id not in (node_id(manager), stolen.of_a.node_id, stolen.of_b.node_id)
    assert identity.role == api.WORKER
    manager.docker("node", "rm", "--force", fresh_id)
    assert run(*manager.inside("cat", str(manager.data_root / "swarm/certificates/swarm-node.crt"))).stdout == before
    assert nodes(manager)["b"] == "Ready"


def test_a_worker_hears_and_tells_of_its_own_tasks_alone(stolen: Stolen) -> None:
    manager = leader_of(stolen.managers, stolen.managers[0])
    stolen.a.stop()  # it would hold a session of its own
    (of_a,), (of_b,) = tasks(manager, "of-a"), tasks(manager, "of-b")

    async def story() -> dict[str, Any]:
        seen: dict[str, Any] = {}
        async with (
            channel(manager, stolen.of_a.client_context()) as as_a,
            channel(manager, stolen.of_b.client_context()) as as_b,
            DispatcherStub(as_a).Session.open() as session,
        ):
            await session.send_message(api.SessionRequest(description=api.NodeDescription(hostname="a")), end=True)
            registered = await session.recv_message()
            assert registered is not None
            mine = registered.session_id
            async with DispatcherStub(as_a).Assignments.open() as stream:
                await stream.send_message(api.AssignmentsRequest(session_id=mine), end=True)
                first = await stream.recv_message()
                assert first is not None
                seen["assigned"] = [
                    change.assignment.task.id for change in first.changes if change.assignment.HasField("task")
                ]
                await stream.cancel()
            lie = api.UpdateTaskStatusRequest(session_id=mine)
            lie.updates.add(task_id=of_b["ID"], status=api.TaskStatus(state=api.FAILED, err="a lie"))
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "status of another's task": lambda: DispatcherStub(as_a).UpdateTaskStatus(lie, timeout=TIMEOUT),
                "another's session": lambda: DispatcherStub(as_b).Heartbeat(
                    api.HeartbeatRequest(session_id=mine), timeout=TIMEOUT
                ),
                "no session": lambda: DispatcherStub(as_a).Heartbeat(
                    api.HeartbeatRequest(session_id="none"), timeout=TIMEOUT
                ),
                "status in another's session": lambda: DispatcherStub(as_b).UpdateTaskStatus(lie, timeout=TIMEOUT),
            }
            for name, call in calls.items():
                try:
                    seen[name] = await call()
                except GRPCError as error:
                    seen[name] = (error.status, error.message)
            for name, request in (("another's assignments", mine), ("assignments of none", "none")):
                async with DispatcherStub(as_b).Assignments.open(timeout=TIMEOUT) as stream:
                    await stream.send_message(api.AssignmentsRequest(session_id=request), end=True)
                    try:
                        seen[name] = await stream.recv_message()
                    except GRPCError as error:
                        seen[name] = (error.status, error.message)
            seen["own"] = await DispatcherStub(as_a).Heartbeat(api.HeartbeatRequest(session_id=mine), timeout=TIMEOUT)
            await session.cancel()
        return seen

    seen = play(stolen.a, story)
    invalid = (Status.INVALID_ARGUMENT, "session invalid")
    assert seen.pop("own").period.ToTimedelta().total_seconds() > 0
    assert seen == {
        "assigned": [of_a["ID"]],
        "status of another's task": (Status.PERMISSION_DENIED, "cannot update a task not assigned this node"),
        "another's session": invalid,
        "no session": invalid,
        "status in another's session": invalid,
        "another's assignments": invalid,
        "assignments of none": invalid,
    }
    (now,) = tasks(manager, "of-b")
    assert (now["ID"], now["Status"]) == (of_b["ID"], of_b["Status"])
    assert json.loads(manager.curl("/nodes/" + stolen.of_b.node_id))["Status"]["State"] == "ready"
    stolen.a.start()
    eventually(lambda: nodes(manager)["a"] == "Ready", "the true one is back", show=stolen.a.log)
    wait_running(manager, "of-a", {"a": 1})
