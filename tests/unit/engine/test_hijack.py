"""Raw connections over real sockets, with both event loops: the daemon's and asyncio's."""

import asyncio
import json
import ssl
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shoal.engine import hijack, last_calls
from shoal.engine.backend import Backend
from shoal.errors import Conflict
from shoal.runtime.types import ExecConfig, LogLine
from tests.unit.engine.host_fakes import (
    UPGRADE,
    FakeContainers,
    FakeExecs,
    FakeProcess,
    Wire,
    container,
    host,
    served,
    served_with_tls,
)

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
RAW = "application/vnd.docker.raw-stream"

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=sorted(LOOPS))
def run(request: pytest.FixtureRequest) -> Run:
    async def within(work: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(60):
            await work
        # Nothing that was begun for a client is left behind.
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def run_it(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(within(work))

    return run_it


def with_exec(process: FakeProcess | None = None, **config: Any) -> tuple[Backend, str, FakeProcess]:
    """Return a host with one container, and in it an exec with all its stdio, not started yet."""
    rows = FakeContainers(container())
    execs = FakeExecs(rows, process or FakeProcess())
    wanted = {"attach_stdin": True, "attach_stdout": True, "attach_stderr": True, **config}
    exec_id = execs.create("web.1", ExecConfig(command=("cat",), **wanted))
    given = host(execs=execs, rows=rows)
    return given, exec_id, execs.process


async def start(wire: Wire, exec_id: str, *headers: str, api: str = "", **body: Any) -> str:
    wire.send("POST", f"{api}/exec/{exec_id}/start", json.dumps(body).encode(), *headers)
    return await wire.head()


def test_exec_still_gives_output_after_the_end_of_its_input(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        given, exec_id, process = with_exec()
        async with served(given, tmp_path) as connect:
            wire = await connect()
            head = await start(wire, exec_id, *UPGRADE, Detach=False, Tty=False)
            assert head.startswith("HTTP/1.1 101 UPGRADED\r\n")
            assert f"Content-Type: {MULTIPLEXED}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" in head
            wire.writer.write(b"hello")
            wire.writer.write_eof()
            await process.stdin_closed.wait()
            process.say(b"heard")
            process.say(b"late", "stderr")
            process.end()
            assert await wire.frames() == [(1, b"heard"), (2, b"late")]
            assert process.received == b"hello"
            await process.closed.wait()

    run(body())


def test_exec_without_upgrade_is_answered_with_200_and_frames(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        given, exec_id, _ = with_exec(FakeProcess(cat=True))
        async with served(given, tmp_path) as connect:
            wire = await connect()
            head = await start(wire, exec_id)
            assert head == f"HTTP/1.1 200 OK\r\nContent-Type: {RAW}\r\n\r\n"
            wire.writer.write(b"hello")
            assert await wire.reader.readexactly(13) == b"\x01\0\0\0\0\0\0\x05hello"
            wire.writer.write_eof()
            assert await wire.reader.read() == b""

    run(body())


@pytest.mark.parametrize(
    ("tty", "api", "media_type"), [(True, "", RAW), (False, "/v1.41", RAW), (False, "", MULTIPLEXED)]
)
def test_media_type_follows_terminal_and_version(
    run: Run, tmp_path: Path, tty: bool, api: str, media_type: str
) -> None:
    async def body() -> None:
        given, exec_id, process = with_exec(tty=tty)
        async with served(given, tmp_path) as connect:
            wire = await connect()
            head = await start(wire, exec_id, *UPGRADE, api=api, Tty=tty)
            assert f"Content-Type: {media_type}\r\n" in head
            process.say(b"x")
            process.end()
            assert await wire.reader.read() == (b"x" if tty else b"\x01\0\0\0\0\0\0\x01x")

    run(body())


def test_client_that_goes_away_ends_the_session_and_not_the_process(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        given, exec_id, process = with_exec()
        async with served(given, tmp_path) as connect:
            wire = await connect()
            await start(wire, exec_id, *UPGRADE)
            await wire.close()
            await process.closed.wait()

    run(body())


def test_client_that_goes_away_after_the_end_of_its_input_is_noticed(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        # Like `docker exec` without -i: it ends its input at once, and waits silently until ^C.
        given, exec_id, process = with_exec(attach_stdin=False)
        async with served(given, tmp_path) as connect:
            wire = await connect()
            await start(wire, exec_id, *UPGRADE)
            wire.writer.write_eof()
            process.say(b"x")
            assert await wire.reader.readexactly(9)
            assert not process.closed.is_set()
            await wire.close()
            await process.closed.wait()

    run(body())


def test_slow_client_holds_the_output_back(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        given, exec_id, process = with_exec(tty=True)
        pieces = 400
        taken = 0

        async def output() -> Any:
            nonlocal taken
            for _ in range(pieces):
                taken += 1
                yield "stdout", b"x" * 65536

        process.output = output  # type: ignore[method-assign]
        async with served(given, tmp_path) as connect:
            wire = await connect()
            await start(wire, exec_id, *UPGRADE, Tty=True)
            before = -1
            while before != taken:  # until no more is accepted, because nobody reads
                before = taken
                for _ in range(50):
                    await asyncio.sleep(0)
            assert taken < pieces // 4
            assert len(await wire.reader.read()) == pieces * 65536
            await process.closed.wait()

    run(body())


def test_process_that_does_not_read_holds_the_client_back(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        given, exec_id, process = with_exec()
        process.taking.clear()
        async with served(given, tmp_path) as connect:
            wire = await connect()
            await start(wire, exec_id, *UPGRADE)
            for _ in range(100):
                wire.writer.write(b"x" * 65536)
            for _ in range(200):
                await asyncio.sleep(0)
            assert wire.writer.transport.get_write_buffer_size() > 0
            process.taking.set()
            await wire.writer.drain()
            wire.writer.write_eof()
            await process.stdin_closed.wait()
            assert len(process.received) == 100 * 65536
            process.end()
            assert await wire.frames() == []

    run(body())


def test_output_is_whole_when_the_process_leaves_input_unread(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        # `cat big | docker exec -i c head -1`: if the connection were closed at once, the client would see a reset
        # instead of the end.
        given, exec_id, process = with_exec()
        process.taking.clear()
        async with served(given, tmp_path) as connect:
            wire = await connect()
            await start(wire, exec_id, *UPGRADE)
            wire.writer.write(b"x" * 65536 * 20)
            process.say(b"first line")
            process.end()
            assert await wire.frames() == [(1, b"first line")]
            await process.closed.wait()

    run(body())


def test_client_that_never_closes_is_closed_on(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        given, exec_id, process = with_exec()
        async with served(given, tmp_path) as connect:
            wire = await connect()
            await start(wire, exec_id, *UPGRADE)
            process.end()
            assert await wire.reader.read() == b""
            # The end came as a half close; the full close comes when the client's time is over.
            while not wire.writer.transport.is_closing():
                wire.writer.write(b"x")
                await asyncio.sleep(0)

    monkeypatch.setattr(hijack, "LINGER", 0.05)
    run(body())


def test_failure_of_the_start_is_told_in_the_output(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        given, exec_id, _ = with_exec()
        given.execs.fails = Conflict("exec has already run")  # type: ignore[attr-defined]
        async with served(given, tmp_path) as connect:
            wire = await connect()
            head = await start(wire, exec_id, *UPGRADE)
            assert head.startswith("HTTP/1.1 101 ")
            assert await wire.frames() == [(1, b"exec has already run\r\n")]

    run(body())


@pytest.mark.parametrize(
    ("config", "shown"), [({}, b"ab"), ({"attach_stderr": False}, b"a"), ({"attach_stdout": False}, b"b")]
)
def test_only_what_was_attached_is_sent(run: Run, tmp_path: Path, config: dict[str, Any], shown: bytes) -> None:
    async def body() -> None:
        given, exec_id, process = with_exec(**config)
        async with served(given, tmp_path) as connect:
            wire = await connect()
            await start(wire, exec_id, *UPGRADE)
            process.say(b"a")
            process.say(b"b", "stderr")
            process.end()
            assert b"".join(data for _, data in await wire.frames()) == shown

    run(body())


def test_detach_keys_end_the_session_of_a_terminal(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        given, exec_id, process = with_exec(tty=True)
        async with served(given, tmp_path) as connect:
            wire = await connect()
            await start(wire, exec_id, *UPGRADE, Tty=True)
            wire.writer.write(b"ls\x10")
            wire.writer.write(b"\x11after")
            assert await wire.reader.read() == b""
            assert process.received == b"ls"
            assert not process.stdin_closed.is_set()
            await process.closed.wait()

    run(body())


def test_attached_client_gets_the_log_then_what_comes(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        given = host(container())
        rows: Any = given.containers
        rows.lines = [LogLine(1, "stdout", b"old\n"), LogLine(2, "stderr", b"bad\n")]
        async with served(given, tmp_path) as connect:
            wire = await connect()
            wire.send("POST", "/containers/web.1/attach?stream=1&logs=1&stdout=1", b"", *UPGRADE)
            assert (await wire.head()).startswith("HTTP/1.1 101 ")
            wire.writer.write_eof()
            (process,) = rows.attached
            process.say(b"new\n")
            process.say(b"unwanted", "stderr")
            process.end()
            assert await wire.frames() == [(1, b"old\n"), (1, b"new\n")]
            await process.closed.wait()

    run(body())


def test_attached_client_whose_input_ends_leaves_the_process_its_input(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        given = host(container(open_stdin=True))
        rows: Any = given.containers
        async with served(given, tmp_path) as connect:
            wire = await connect()
            wire.send("POST", "/containers/web.1/attach?stream=1&stdin=1&stdout=1&stderr=1", b"", *UPGRADE)
            await wire.head()
            wire.writer.write(b"hi")
            assert await wire.reader.readexactly(10) == b"\x01\0\0\0\0\0\0\x02hi"
            wire.writer.write_eof()
            assert await wire.frames() == []
            (process,) = rows.attached
            assert not process.stdin_closed.is_set()
            await process.closed.wait()

    run(body())


def test_attaching_to_what_does_not_run_is_refused_before_the_connection_is_raw(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        given = host(container())
        await given.containers.change("web.1", phase="exited")  # type: ignore[attr-defined]
        async with served(given, tmp_path) as connect:
            wire = await connect()
            for path, status in (("/containers/web.1/attach?stream=1", 409), ("/containers/no/attach?stream=1", 404)):
                wire.send("POST", path, b"", "Upgrade: tcp")
                head = await wire.head()
                assert head.startswith(f"HTTP/1.1 {status} "), head
                await wire.close()
                wire = await connect()

    run(body())


def test_daemon_that_stops_does_not_wait_for_sessions(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_calls, "SHUTDOWN_TIMEOUT", 3600.0)

    async def body() -> None:
        given, exec_id, process = with_exec()
        async with served(given, tmp_path) as connect:
            wire = await connect()
            await start(wire, exec_id, *UPGRADE)
            async with asyncio.timeout(60):
                await connect.stop()
            assert process.closed.is_set()

    run(body())


class TlsClient:
    """A client that ends its half of a TLS connection and reads on, as Go's does; asyncio's own cannot."""

    def __init__(self, wire: Wire, context: ssl.SSLContext) -> None:
        self._wire = wire
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)

    async def _step(self, act: Callable[[], Any]) -> Any:
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                self._wire.writer.write(self._outgoing.read())
                data = await self._wire.reader.read(65536)
                self._incoming.write(data) if data else self._incoming.write_eof()
            finally:
                self._wire.writer.write(self._outgoing.read())

    async def shake_hands(self) -> None:
        await self._step(self._tls.do_handshake)

    async def write(self, data: bytes) -> None:
        await self._step(lambda: self._tls.write(data))

    def end(self) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._wire.writer.write(self._outgoing.read())

    async def until(self, end: bytes) -> bytes:
        found = b""
        while not found.endswith(end):
            data = await self._step(lambda: self._tls.read(65536))
            assert data, found
            found += data
        return found


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "docker")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.pem").write_bytes(secret + certificate)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "tls.pem")
    server.sslobject_class = hijack.HalfClosing
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return server, client


def test_half_a_close_over_tls_leaves_the_output(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        given, exec_id, process = with_exec()
        server, client_context = contexts(tmp_path)
        async with served_with_tls(given, server) as connect:
            wire = await connect()
            client = TlsClient(wire, client_context)
            await client.shake_hands()
            request = f"POST /exec/{exec_id}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
            await client.write(request.encode())
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            await client.write(b"hello")
            client.end()
            await process.stdin_closed.wait()
            assert process.received == b"hello"
            process.say(b"late")
            assert await client.until(b"late") == b"\x01\0\0\0\0\0\0\x04late"
            await wire.close()
            await process.closed.wait()

    run(body())


def test_plain_calls_over_tls_end_as_ever(run: Run, tmp_path: Path) -> None:
    async def body() -> None:
        server, client_context = contexts(tmp_path)
        async with served_with_tls(host(), server) as connect:
            wire = await connect()
            client = TlsClient(wire, client_context)
            await client.shake_hands()
            await client.write(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.until(b"OK")).startswith(b"HTTP/1.1 200 ")
            client.end()
            assert await wire.reader.read() is not None  # the server closes too

    run(body())
