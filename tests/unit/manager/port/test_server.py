"""The real server on loopback, with real TLS, and peers of every kind."""

import asyncio
import contextlib
import gc
import os
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from hpack.hpack import encode_integer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.api.gen.ca_grpc import CAStub, NodeCAStub
from shoal.api.gen.dispatcher_grpc import DispatcherBase, DispatcherStub
from shoal.api.gen.health_grpc import HealthStub
from shoal.ca.csr import make_csr, new_key
from shoal.ca.security import SecurityConfig, joining_context, unverified_context
from shoal.ca.tokens import new_token, parse_token, root_digest
from shoal.errors import InvariantBroken
from shoal.manager.certificates.issuing import Signer
from shoal.manager.certificates.server import CAServer, NodeCAServer
from shoal.manager.port.authorization import Subject
from shoal.manager.port.health import HealthServer
from shoal.manager.port.server import Limits, ManagerServer, current_caller, listen
from shoal.store.store import Store
from tests.unit.ca.swarms import Swarm
from tests.unit.manager.stores import MemoryStore

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


class Sessions(DispatcherBase):
    """A dispatcher that records who called, and holds sessions until they end."""

    def __init__(self) -> None:
        self.held = 0

    async def Heartbeat(self, stream: Any) -> None:  # noqa: N802
        await stream.recv_message()
        await stream.send_message(api.HeartbeatResponse())

    async def Session(self, stream: Any) -> None:  # noqa: N802
        await stream.recv_message()
        caller = current_caller()
        await stream.send_message(api.SessionMessage(session_id=f"{caller.node_id} {caller.address.split(':')[0]}"))
        self.held += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.held -= 1

    async def UpdateTaskStatus(self, stream: Any) -> None:  # noqa: N802
        request = await stream.recv_message()
        assert len(request.updates) >= 0
        await stream.send_message(api.UpdateTaskStatusResponse())

    UpdateVolumeStatus = Tasks = Assignments = Heartbeat


@dataclass
class World:
    """A swarm with one manager that serves on loopback."""

    swarm: Swarm
    security: SecurityConfig
    store: MemoryStore
    server: ManagerServer
    port: int
    removed: set[str]
    unfit: set[str] = field(default_factory=set)
    sessions: Sessions = field(default_factory=Sessions)

    @asynccontextmanager
    async def channel(self, context: ssl.SSLContext, name: str = "swarm-manager") -> AsyncIterator[Channel]:
        config = Configuration(ssl_target_name_override=name)
        channel = Channel("127.0.0.1", self.port, ssl=context, config=config)
        try:
            yield channel
        finally:
            channel.close()

    @asynccontextmanager
    async def raw(self, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Any, asyncio.StreamWriter]]:
        name = {"server_hostname": "swarm-manager"} if context is not None else {}
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, **name)  # type: ignore[arg-type]
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def wait(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - there is nothing to wait on but the server's own numbers
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(folder: Path, limits: Limits | None = None) -> AsyncIterator[World]:
    swarm = Swarm(folder, now=time.time())
    security = swarm.manager()
    pem = swarm.root.certs_pem
    tokens = api.JoinTokens(worker=new_token(pem), manager=new_token(pem))
    root_ca = api.RootCA(ca_cert=pem, ca_key=swarm.root.key_pem, join_tokens=tokens)
    store = MemoryStore([api.Cluster(id=swarm.cluster_id, root_ca=root_ca)])
    removed: set[str] = set()
    sessions = Sessions()
    held = cast(Store, store)
    services = [
        CAServer(held, swarm.cluster_id),
        NodeCAServer(held, swarm.cluster_id, caller=current_caller),
        HealthServer(lambda: True),
        sessions,
    ]
    unfit: set[str] = set()

    def standing(subject: Subject) -> str:
        return f"{subject.common_name} was demoted" if subject.common_name in unfit else ""

    server = ManagerServer(security, services, is_removed=removed.__contains__, standing=standing, limits=limits)
    listener = listen("127.0.0.1", 0)
    world = World(swarm, security, store, server, listener.getsockname()[1], removed, unfit, sessions)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.run(listener))
        yield world
        serving.cancel()
    assert server.connections == server.handshakes == world.sessions.held == 0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path) as made:
        yield made


async def refusal(call: Awaitable[Any]) -> tuple[Status, str | None]:
    with pytest.raises(GRPCError) as caught:
        await call
    return caught.value.status, caught.value.message


def check() -> api.HealthCheckRequest:
    return api.HealthCheckRequest()


async def test_a_joiner_goes_from_a_token_to_a_session(world: World) -> None:
    cluster = world.store.view().clusters.get(world.swarm.cluster_id)
    assert cluster is not None
    token = cluster.root_ca.join_tokens.worker
    async with world.channel(unverified_context()) as channel:
        root = (await CAStub(channel).GetRootCACertificate(api.GetRootCACertificateRequest())).certificate
    assert root_digest(root) == parse_token(token).digest
    key = new_key()
    async with world.channel(joining_context(root), "swarm-ca") as channel:
        stub = NodeCAStub(channel)
        answer = await stub.IssueNodeCertificate(api.IssueNodeCertificateRequest(csr=make_csr(key), token=token))
        plan = Signer(world.swarm.cluster_id).decide(world.store.view(), time.time(), None)
        await world.store.update(lambda transaction: transaction.apply(plan.changes))
        status = await stub.NodeCertificateStatus(api.NodeCertificateStatusRequest(node_id=answer.node_id))
    joined = SecurityConfig.create(
        world.swarm.folder / "joined",
        root_pem=root,
        chain_pem=status.certificate.certificate,
        key=key,
        now=time.time(),
    )
    async with world.channel(joined.client_context()) as channel, DispatcherStub(channel).Session.open() as session:
        await session.send_message(api.SessionRequest(), end=True)
        message = await session.recv_message()
        assert message is not None
        assert message.session_id == f"{answer.node_id} 127.0.0.1"
        await session.cancel()


PEER = "Permission denied: unauthorized peer role: rpc error: code = PermissionDenied desc = "


async def test_a_worker_may_not_call_what_managers_call(world: World) -> None:
    node = world.swarm.node("worker")
    async with world.channel(node.client_context()) as channel:
        for call in (
            HealthStub(channel).Check(check()),
            CAStub(channel).GetUnlockKey(api.GetUnlockKeyRequest()),
        ):
            assert await refusal(call) == (
                Status.PERMISSION_DENIED,
                PEER + "Permission denied: remote certificate not part of OUs: [swarm-manager]",
            )
        await DispatcherStub(channel).Heartbeat(api.HeartbeatRequest())
        world.removed.add("worker")
        assert await refusal(DispatcherStub(channel).Heartbeat(api.HeartbeatRequest())) == (
            Status.PERMISSION_DENIED,
            PEER + "Permission denied: node worker was removed from swarm",
        )


@pytest.mark.parametrize("how", ["removed", "demoted"])
async def test_what_is_being_answered_ends_with_the_standing_of_who_asked(world: World, how: str) -> None:
    async with (
        world.channel(world.swarm.manager("m2").client_context()) as channel,
        world.channel(world.swarm.manager("m3").client_context()) as other,
        DispatcherStub(channel).Session.open() as session,
        DispatcherStub(other).Session.open() as lasting,
    ):
        for opened in (session, lasting):
            await opened.send_message(api.SessionRequest(), end=True)
            assert await opened.recv_message() is not None
        world.server.end_unfit()
        world.server.end_unfit(["m2"])
        assert world.sessions.held == 2
        if how == "removed":
            world.removed.add("m2")
        else:
            world.unfit.add("m2")
        world.server.end_unfit(["m3"])  # the session is unchanged
        assert world.sessions.held == 2
        world.server.end_unfit(["m2", "m3"])
        await wait(lambda: world.sessions.held == 1)
        with pytest.raises((StreamTerminatedError, ConnectionError)):
            await session.recv_message()
        status, text = await refusal(HealthStub(channel).Check(check()))
        assert status is Status.PERMISSION_DENIED
        assert text is not None
        assert ("node m2 was removed" if how == "removed" else "m2 was demoted") in text
        await HealthStub(other).Check(check())
        await lasting.cancel()


async def test_a_manager_may_call_what_managers_call(world: World) -> None:
    async with world.channel(world.swarm.manager("m2").client_context()) as channel:
        await HealthStub(channel).Check(check())


async def test_without_a_certificate_only_joining_is_open(world: World) -> None:
    async with world.channel(joining_context(world.swarm.root.certs_pem)) as channel:
        for call in (
            DispatcherStub(channel).Heartbeat(api.HeartbeatRequest()),
            HealthStub(channel).Check(check()),
        ):
            assert await refusal(call) == (Status.PERMISSION_DENIED, PEER + "no client certificates in request")
        await CAStub(channel).GetRootCACertificate(api.GetRootCACertificateRequest())


async def test_a_certificate_of_another_cluster_under_our_root_is_refused(world: World) -> None:
    other = Swarm(world.swarm.folder / "other", now=time.time(), cluster_id="o" * 25)
    other.root = world.swarm.root
    async with world.channel(other.manager().client_context()) as channel:
        status, text = await refusal(HealthStub(channel).Check(check()))
    assert status is Status.PERMISSION_DENIED
    assert text == f"{PEER}Permission denied: remote certificate not part of organization: {world.swarm.cluster_id}"


async def test_a_certificate_of_another_root_does_not_get_in(world: World) -> None:
    context = Swarm(world.swarm.folder / "foreign", now=time.time()).manager().client_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with world.channel(context) as channel:
        with pytest.raises((ConnectionError, ssl.SSLError, StreamTerminatedError)):
            await CAStub(channel).GetRootCACertificate(api.GetRootCACertificateRequest())
    await wait(lambda: world.server.handshakes == 0)


async def test_a_forwarded_joiner_is_not_taken_for_the_manager_that_forwards(world: World) -> None:
    headers = [("forwarded_cert", "true"), ("redirect", "10.0.0.3:2377")]
    asked = api.IssueNodeCertificateRequest(csr=make_csr(new_key()), token="wrong")
    async with world.channel(world.swarm.manager("m2").client_context()) as channel:
        call = NodeCAStub(channel).IssueNodeCertificate(asked, metadata=headers)
        assert (await refusal(call))[0] is Status.INVALID_ARGUMENT
        assert await refusal(HealthStub(channel).Check(check(), metadata=headers)) == (
            Status.PERMISSION_DENIED,
            "Permission denied: missing information in forwarded request",
        )


async def test_openssl_sees_the_chain_and_http_2(world: World) -> None:
    folder = world.swarm.folder / "manager"
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{world.port}", "-servername", "swarm-manager"]
    command += ["-CAfile", str(folder / "swarm-root-ca.crt"), "-verify_hostname", "swarm-manager", "-alpn", "h2"]
    command += ["-showcerts", "-verify_return_error"]
    done = await asyncio.to_thread(subprocess.run, command, input=b"", capture_output=True, timeout=20, check=False)
    text = done.stdout.decode("latin-1")
    assert "Verify return code: 0 (ok)" in text, done.stderr.decode()
    assert "ALPN protocol: h2" in text
    assert "swarm-ca" in text
    # How OpenSSL shows that the session has its own key: 3.0, 3.2, 3.5.
    assert any(words in text for words in ("Server Temp Key: ", "Peer Temp Key: ", "Negotiated TLS1.3 group: X25519"))


async def test_a_message_beyond_4_mib_is_refused_and_the_connection_lives(world: World) -> None:
    update = api.UpdateTaskStatusRequest.TaskStatusUpdate(task_id="x" * (4 * 1024 * 1024))
    async with world.channel(world.swarm.node("worker").client_context()) as channel:
        stub = DispatcherStub(channel)
        status, text = await refusal(stub.UpdateTaskStatus(api.UpdateTaskStatusRequest(updates=[update])))
        assert status is Status.RESOURCE_EXHAUSTED
        assert text is not None
        assert text.startswith("grpc: received message larger than max (4194")
        update.task_id = "x" * (3 * 1024 * 1024)
        await stub.UpdateTaskStatus(api.UpdateTaskStatusRequest(updates=[update]))


async def test_a_renewed_certificate_is_shown_to_the_next_peer(world: World) -> None:
    key = new_key()
    chain = world.swarm.root.issue(make_csr(key), "manager", api.MANAGER, world.swarm.cluster_id, now=world.swarm.now)
    await world.security.renew(chain, key, world.swarm.now)
    async with world.raw(joining_context(world.swarm.root.certs_pem)) as (_, writer):
        seen = writer.get_extra_info("ssl_object").getpeercert(True)
    assert seen == ssl.PEM_cert_to_DER_cert(chain.decode())


async def test_a_peer_that_goes_leaves_nothing(world: World) -> None:
    async with world.channel(world.swarm.node("worker").client_context()) as channel:
        session = DispatcherStub(channel).Session.open()
        async with session:
            await session.send_message(api.SessionRequest(), end=True)
            await session.recv_message()
            assert (world.server.connections, world.sessions.held) == (1, 1)
            await session.cancel()
    await wait(lambda: world.server.connections == world.sessions.held == 0)


async def test_the_end_of_the_server_ends_every_call(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.channel(world.swarm.node("w").client_context()) as channel:
        session = DispatcherStub(channel).Session.open()
        await session.__aenter__()
        await session.send_message(api.SessionRequest(), end=True)
        await session.recv_message()
    with pytest.raises(Exception):  # noqa: B017, PT011 - however grpclib tells that the connection went
        await session.recv_message()


def frame(kind: int, payload: bytes, stream: int = 1, flags: int = 4) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header(name: bytes, value: bytes) -> bytes:
    return b"\0" + encode_integer(len(name), 7) + name + encode_integer(len(value), 7) + value


ODD = {
    "no preface": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no method": PREFACE + SETTINGS + frame(1, header(b"te", b"trailers")),
    "no path": PREFACE + SETTINGS + frame(1, header(b":method", b"POST")),
    "not ascii": PREFACE + SETTINGS + frame(1, header(b":method", b"\xff\xfe")),
    "bad hpack": PREFACE + SETTINGS + frame(1, b"\xff" * 40),
    "huge frame": PREFACE + SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "data for no stream": PREFACE + SETTINGS + frame(0, b"x" * 10, 7, 0),
    "push": PREFACE + SETTINGS + frame(5, b"\0\0\0\x02", 1),
    "reset of no stream": PREFACE + SETTINGS + frame(3, b"\0\0\0\0", 9, 0),
    "window overflow": PREFACE + SETTINGS + frame(8, b"\x7f\xff\xff\xff", 0, 0) * 2,
    "goaway": PREFACE + SETTINGS + frame(7, b"\0" * 8, 0, 0),
    "unknown frame": PREFACE + SETTINGS + frame(0xAA, b"x" * 10, 0, 0),
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("tls", [True, False])
async def test_a_peer_that_breaks_the_protocol_breaks_nothing_else(
    world: World, data: bytes, tls: bool, caplog: pytest.LogCaptureFixture
) -> None:
    context = joining_context(world.swarm.root.certs_pem) if tls else None
    async with world.raw(context) as (_, writer):
        writer.write(data)
        await writer.drain()
        if tls:
            await wait(lambda: world.server.accepted == 1)
    await wait(lambda: world.server.connections == world.server.handshakes == 0)
    async with world.channel(world.swarm.node("worker").client_context()) as channel:
        await DispatcherStub(channel).Heartbeat(api.HeartbeatRequest())
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


async def test_a_worker_that_breaks_the_protocol_leaves_a_line_and_no_traceback(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.raw(world.swarm.node("worker").client_context()) as (reader, writer):
        writer.write(PREFACE + SETTINGS + frame(1, CALL + header(b"x", "é".encode()), 1))
        assert await goodbye(reader)
    lines = [record for record in caplog.records if "broke the protocol" in record.getMessage()]
    assert [record.levelname for record in lines] == ["WARNING"]
    assert [record for record in caplog.records if record.exc_info] == []


CALL = b"".join(
    header(name, value)
    for name, value in {
        b":method": b"POST",
        b":scheme": b"https",
        b":path": b"/docker.swarmkit.v1.CA/GetRootCACertificate",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }.items()
)


def streams(count: int) -> range:
    return range(1, 2 * count, 2)


CALM = b"\0\0\0\x0b"  # HTTP/2's error ENHANCE_YOUR_CALM
FLOODS = {
    "calls given up": b"".join(frame(1, CALL, number) + frame(3, b"\0\0\0\x08", number, 0) for number in streams(30)),
    "calls": b"".join(frame(1, CALL, number) + frame(8, b"\x7f\xff\xff\xff", number, 0) for number in streams(150)),
    "frames without content": frame(4, b"", 0, 0) * 250,
    "bytes of headers": frame(1, CALL, 1, 0) + frame(9, b"\0" * 15_000, 1, 0) * 2,
}
OTHERS = {
    "pings": frame(6, b"12345678", 0, 0) * 250,
    "priorities": frame(2, b"\0\0\0\0\1", 1, 0) * 250,
    "windows": frame(8, b"\0\0\0\1", 0, 0) * 250,
    "unknown": frame(0xAA, b"", 0, 0) * 250,
    "empty data": frame(1, CALL, 1) + frame(0, b"", 1, 0) * 250,
}


async def goodbye(reader: asyncio.StreamReader) -> bytes:
    """Return all that the other side sends until it closes."""
    said = b""
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                said += data
    return said


async def until(reader: asyncio.StreamReader, mark: bytes) -> None:
    """Read until a certain thing has come."""
    last = b""
    while mark not in last:
        data = await reader.read(65536)
        assert data, "the server closed the connection"
        last = last[-len(mark) :] + data


@pytest.mark.parametrize("excess", FLOODS)
async def test_a_stranger_that_sends_too_much_is_told_to_calm_down(
    world: World, excess: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with world.raw(joining_context(world.swarm.root.certs_pem)) as (reader, writer):
        writer.write(PREFACE + SETTINGS + FLOODS[excess])
        said = await goodbye(reader)
    assert CALM + f"too many {excess}".encode() in said
    assert f"a stranger at 127.0.0.1 was sent away: too many {excess}" in caplog.text
    await wait(lambda: world.server.connections == 0)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("kind", OTHERS)
async def test_frames_of_each_kind_count(world: World, kind: str) -> None:
    async with world.raw(joining_context(world.swarm.root.certs_pem)) as (reader, writer):
        writer.write(PREFACE + SETTINGS + OTHERS[kind])
        assert CALM + b"too many frames without content" in await goodbye(reader)


async def test_a_node_may_send_what_a_stranger_may_not(world: World) -> None:
    async with world.raw(world.swarm.node("worker").client_context()) as (reader, writer):
        for flood in (FLOODS["calls given up"], FLOODS["frames without content"], OTHERS["pings"]):
            writer.write(PREFACE + SETTINGS + flood if flood is FLOODS["calls given up"] else flood)
        writer.write(frame(6, b"thelast1", 0, 0))
        async with asyncio.timeout(60):
            await until(reader, b"thelast1")


@contextlib.asynccontextmanager
async def _without_collections() -> AsyncIterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def test_a_flood_leaves_the_loop_free(world: World) -> None:
    """While a worker's flood is read, the loop goes on, and another node's calls are answered."""
    flood = frame(6, b"12345678", 0, 0) * 15_000
    async with (
        _without_collections(),
        world.channel(world.swarm.node("other").client_context()) as channel,
        world.raw(world.swarm.node("worker").client_context()) as (reader, writer),
    ):
        stub = DispatcherStub(channel)
        await stub.Heartbeat(api.HeartbeatRequest())
        writer.write(PREFACE + SETTINGS + flood + frame(6, b"thelast1", 0, 0))
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(until(reader, b"thelast1"))
            beats, longest = 0, 0.0
            begun = before = time.thread_time()
            while not reading.done():
                beat = group.create_task(stub.Heartbeat(api.HeartbeatRequest()))
                while not beat.done():
                    await asyncio.sleep(0)
                    before, last = time.thread_time(), before
                    longest = max(longest, before - last)
                beats += 1
    assert beats >= 3  # if it were read at once, the first call would be answered after it
    # Measured in processor time and by comparison, so that neither a slow machine nor other programs change the result.
    assert longest < (before - begun) / 10


async def test_a_worker_has_a_few_connections(world: World) -> None:
    node = world.swarm.node("worker").client_context()
    async with contextlib.AsyncExitStack() as held:
        links = [await held.enter_async_context(world.raw(node)) for _ in range(Limits().connections_per_worker + 2)]
        for reader, _ in links[:2]:
            await goodbye(reader)  # the oldest gave way
        await wait(lambda: world.server.connections == Limits().connections_per_worker)
        async with world.channel(world.swarm.node("other").client_context()) as channel:
            await DispatcherStub(channel).Heartbeat(api.HeartbeatRequest())


async def test_strangers_messages_are_small(world: World) -> None:
    asked = api.IssueNodeCertificateRequest(csr=b"x" * 70_000, token="t")
    async with world.channel(joining_context(world.swarm.root.certs_pem)) as channel:
        status, text = await refusal(NodeCAStub(channel).IssueNodeCertificate(asked))
    assert (status, (text or "")[:40]) == (Status.RESOURCE_EXHAUSTED, "grpc: received message larger than max (")


ISSUE, STATUS, ROOT, BEAT = (
    f"/docker.swarmkit.v1.{name}".encode()
    for name in (
        "NodeCA/IssueNodeCertificate",
        "NodeCA/NodeCertificateStatus",
        "CA/GetRootCACertificate",
        "Dispatcher/Heartbeat",
    )
)
BODIES = {
    "none": None,
    "half a prefix": b"\0\0",
    "a prefix alone": b"\0\0\0\0\x09",
    "less than said": b"\0\0\0\0\x09abc",
    "no message of ours": b"\0\0\0\0\x04\xff\xff\xff\xff",
    "not text": b"\0\0\0\0\x04\x12\x02\xff\xfe",
    "two messages": b"\0\0\0\0\0" * 2,
    "compressed": b"\1\0\0\0\0",
    "too long": b"\0\xff\xff\xff\xff",
}
HEADERS = {
    "timeout of ages": {b"grpc-timeout": b"99999999H"},
    "timeout of nothing": {b"grpc-timeout": b"0n"},
    "no timeout": {b"grpc-timeout": b"soon"},
    "timeout beyond all numbers": {b"grpc-timeout": b"9" * 400 + b"H"},
    "timeout beyond all clocks": {b"grpc-timeout": b"9" * 300 + b"H"},
    "timeout of thousands of digits": {b"grpc-timeout": b"9" * 5000 + b"H"},
    "bad bytes": {b"x-bin": b"%%%"},
    "half a byte": {b"x-bin": b"a"},
    "nothing": {b"x": b""},
    "what cannot be sent on": {b"x": b"a\x7f"},
    "other method": {b":method": b"GET"},
    "other type": {b"content-type": b"text/plain"},
    "other kind of it": {b"content-type": b"application/grpc+json"},
    "odd names": {b"X Y": b"\x7f", b"": b""},
    "reserved name": {b"grpc-": b"x", b"grpc-status": b"0"},
    "forwarded": {b"forwarded_cert": b"true", b"forwarded_cert_ou": b"swarm-manager"},
    "no such call": {b":path": b"/docker.swarmkit.v1.CA/Nothing"},
}


def broken_call(number: int, path: bytes, changed: dict[bytes, bytes], body: bytes | None) -> bytes:
    names = {b":method": b"POST", b":scheme": b"https", b":path": path, b"te": b"trailers"}
    names |= {b"content-type": b"application/grpc"} | changed
    block = b"".join(header(name, value) for name, value in names.items())
    if body is None:
        return frame(1, block, number, 5)
    return frame(1, block, number) + frame(0, body, number, 1)


@pytest.mark.parametrize("gives_up", [False, True])
async def test_broken_calls_of_a_stranger_leave_no_traceback(
    world: World, gives_up: bool, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[tuple[bytes, dict[bytes, bytes], bytes | None]] = [
        (path, {}, body) for path in (ISSUE, STATUS, ROOT, BEAT) for body in BODIES.values()
    ]
    calls += [(path, changed, b"\0\0\0\0\0") for path in (ISSUE, ROOT, BEAT) for changed in HEADERS.values()]
    for start in range(0, len(calls), 10):
        async with world.raw(joining_context(world.swarm.root.certs_pem)) as (reader, writer):
            writer.write(PREFACE + SETTINGS)
            for number, (path, changed, body) in zip(streams(10), calls[start : start + 10], strict=False):
                writer.write(broken_call(number, path, changed, body))
                if gives_up:
                    writer.write(frame(3, b"\0\0\0\x08", number, 0))
            writer.write(frame(6, b"thelast1", 0, 0))
            async with asyncio.timeout(60):
                await until(reader, b"thelast1")
            await asyncio.sleep(0.05)
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


async def test_an_unknown_frame_is_ignored(world: World) -> None:
    async with world.raw(joining_context(world.swarm.root.certs_pem)) as (reader, writer):
        writer.write(ODD["unknown frame"] + frame(6, b"pingpong", 0, 0))
        async with asyncio.timeout(60):
            seen = b""
            while b"pingpong" not in seen:
                data = await reader.read(4096)
                assert data, "the server closed the connection"
                seen += data


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(blocks=st.lists(st.binary(max_size=200), max_size=4), tls=st.booleans(), preface=st.booleans())
def test_garbage_neither_stops_the_server_nor_leaks(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[bytes], tls: bool, preface: bool
) -> None:
    async def send() -> None:
        async with running(tmp_path_factory.mktemp("swarm")) as world:
            context = joining_context(world.swarm.root.certs_pem) if tls else None
            async with world.raw(context) as (_, writer):
                writer.write((PREFACE + SETTINGS if preface else b"") + b"".join(blocks))
                await asyncio.sleep(0)
            await wait(lambda: world.server.connections == world.server.handshakes == 0)
            async with world.channel(joining_context(world.swarm.root.certs_pem)) as channel:
                await CAStub(channel).GetRootCACertificate(api.GetRootCACertificateRequest())

    asyncio.run(send())


async def test_half_open_peers_are_bounded_in_number_and_time(tmp_path: Path) -> None:
    async with running(tmp_path, Limits(handshakes=3, handshake_timeout=2.0)) as world:
        silent = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(3)]
        await wait(lambda: world.server.handshakes == 3)
        await wait(lambda: world.server.handshakes == 0)
        for reader, writer in silent:
            with _closed():
                assert await reader.read(10) == b""
            writer.transport.abort()


async def test_half_open_peers_keep_nobody_out(tmp_path: Path) -> None:
    async with running(tmp_path, Limits(handshakes=3, handshake_timeout=60)) as world:
        silent = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(3)]
        await wait(lambda: world.server.handshakes == 3)
        async with world.channel(world.swarm.node("worker").client_context()) as channel:
            await DispatcherStub(channel).Heartbeat(api.HeartbeatRequest())
        with _closed():
            assert await silent[0][0].read(10) == b""  # the oldest gave way
        assert world.server.handshakes == 2
        more = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(100)]
        await wait(lambda: world.server.handshakes == 3)
        for _, writer in (*silent, *more):
            writer.transport.abort()
        await wait(lambda: world.server.handshakes == 0)


class _closed:  # noqa: N801
    """Check that a refused peer sees an end or a reset."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        return kind is not None and issubclass(kind, ConnectionResetError)


async def test_strangers_are_bounded_and_keep_nobody_out(tmp_path: Path) -> None:
    async with running(tmp_path, Limits(strangers=2)) as world:
        context = joining_context(world.swarm.root.certs_pem)
        async with world.raw(context), world.raw(context):
            await wait(lambda: world.server.connections == 2)
            async with world.raw(context):
                await wait(lambda: world.server.accepted == 3 and world.server.connections == 2)
                async with world.channel(context) as channel:
                    await CAStub(channel).GetRootCACertificate(api.GetRootCACertificateRequest())
            async with world.channel(world.swarm.node("worker").client_context()) as channel:
                await DispatcherStub(channel).Heartbeat(api.HeartbeatRequest())
        await wait(lambda: world.server.connections == 0)
        async with world.raw(context):
            await wait(lambda: world.server.connections == 1)


async def test_a_stranger_that_does_nothing_is_sent_away_and_a_node_is_not(tmp_path: Path) -> None:
    async with running(tmp_path, Limits(idle_timeout=0.1)) as world:
        node = world.swarm.node("worker").client_context()
        async with world.raw(node), world.raw(joining_context(world.swarm.root.certs_pem)) as (reader, _):
            async with asyncio.timeout(60):
                while await reader.read(4096):
                    pass
            await wait(lambda: world.server.connections == 1)


async def test_many_connections_leave_no_descriptor_behind(world: World) -> None:
    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    context = joining_context(world.swarm.root.certs_pem)
    for _ in range(20):
        async with world.raw(), world.raw(context):
            pass
    await wait(
        lambda: world.server.connections == world.server.handshakes == 0 and descriptors() < before + 5
    )  # libuv opens a spare one


async def test_an_address_in_use_is_named() -> None:
    taken = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    with pytest.raises(OSError, match=rf"listen tcp 127\.0\.0\.1:{port}: bind: address already in use"):
        listen("127.0.0.1", port)
    taken.close()
    listen("::", 0).close()


def test_a_service_that_nobody_has_judged_stops_the_start(tmp_path: Path) -> None:
    class Unjudged:
        def __mapping__(self) -> dict[str, Any]:
            return {"/docker.swarmkit.v1.Control/DeleteEverything": None}

    with pytest.raises(InvariantBroken, match="DeleteEverything"):
        ManagerServer(Swarm(tmp_path).manager(), [Unjudged()], is_removed=lambda _: False)


def test_limits_are_checked_when_they_are_made() -> None:
    with pytest.raises(ValueError, match="strangers"):
        Limits(strangers=0)


def test_a_process_that_may_open_few_files_takes_fewer_peers() -> None:
    assert Limits.within(1_048_576) == Limits()
    few = Limits.within(1024)
    assert (few.connections, few.strangers, few.handshakes) == (512, 128, 128)


@pytest.mark.parametrize(
    "story",
    [
        test_a_joiner_goes_from_a_token_to_a_session,
        test_a_worker_may_not_call_what_managers_call,
        test_without_a_certificate_only_joining_is_open,
        test_a_certificate_of_another_root_does_not_get_in,
        test_a_message_beyond_4_mib_is_refused_and_the_connection_lives,
        test_a_renewed_certificate_is_shown_to_the_next_peer,
        test_a_peer_that_goes_leaves_nothing,
        test_an_unknown_frame_is_ignored,
        test_many_connections_leave_no_descriptor_behind,
        test_a_node_may_send_what_a_stranger_may_not,
        test_a_flood_leaves_the_loop_free,
        test_a_worker_has_a_few_connections,
    ],
)
def test_the_daemons_own_loop_does_the_same(story: Callable[[World], Awaitable[None]], tmp_path: Path) -> None:
    """If it is installed, the daemon uses uvloop, whose TLS transports are different."""
    uvloop = pytest.importorskip("uvloop")

    async def play() -> None:
        async with running(tmp_path) as world:
            await story(world)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())


@pytest.mark.parametrize(
    "story", [test_half_open_peers_keep_nobody_out, test_strangers_are_bounded_and_keep_nobody_out]
)
def test_the_daemons_own_loop_bounds_peers_too(
    story: Callable[[Path], Coroutine[Any, Any, None]], tmp_path: Path
) -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story(tmp_path))


@pytest.mark.parametrize("data", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("tls", [True, False])
def test_the_daemons_own_loop_survives_peers_that_break_the_protocol(
    data: bytes, tls: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def play() -> None:
        async with running(tmp_path) as world:
            await test_a_peer_that_breaks_the_protocol_breaks_nothing_else(world, data, tls, caplog)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())
