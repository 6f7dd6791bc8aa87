"""What strangers send to the API's socket and to the manager's port does no harm, and is limited."""

import contextlib
import ctypes
import http.client
import json
import random
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.api import Client
from tests.harness.hosts import Host, eventually, host
from tests.interop.conftest import import_image
from tests.interop.connections import connect, sockets
from tests.interop.services import create, only


def memory_mb(on: Host) -> float:
    text = Path(f"/proc/{on.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024


def rubbish(rng: random.Random) -> Iterator[bytes]:
    """Return bytes that no client sends."""
    yield b""
    yield b"\0" * 4096
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    yield b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000
    yield b"GET /" + b"a" * 1_000_000
    yield b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\n\r\n"
    yield b"GET /_ping HTTP/9.9\r\nHost: d\r\n\r\n"
    yield b"POST /services/create HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    yield b"POST /services/create HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield b"POST /services/create HTTP/1.1\r\nHost: d\r\nContent-Length: 99999999999\r\n\r\n{"
    yield b'POST /swarm/init HTTP/1.1\r\nHost: d\r\nContent-Length: 100000\r\n\r\n{"' + b"[" * 99_998
    yield b"GET /containers/%2e%2e%2f%2e%2e%2fetc%2fpasswd/json HTTP/1.1\r\nHost: d\r\n\r\n"
    yield b"GET /containers/\xff\xfe/json HTTP/1.1\r\nHost: d\r\n\r\n"
    yield b"GET /events?since=9e999&until=nan HTTP/1.1\r\nHost: d\r\n\r\n"
    yield (
        b"POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + b"\xff" * 5000
    )
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    for _ in range(200):
        yield rng.randbytes(rng.randrange(1, 3000))
    for _ in range(100):
        request = bytearray(b"POST /v1.41/containers/create?name=x HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}")
        for _ in range(rng.randrange(1, 6)):
            request[rng.randrange(len(request))] = rng.randrange(256)
        yield bytes(request)


def shout(connection: socket.socket, data: bytes) -> None:
    """Send and close the connection. The other side may close it first."""
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    except OSError:
        pass
    finally:
        connection.close()


@pytest.fixture
def harried() -> Iterator[Host]:
    """Yield a manager for strangers to attack. At the end it must be well."""
    with host("harried") as made:
        made.docker("swarm", "init", "--advertise-addr", "10.99.0.1")
        import_image(made)
        create(made, "web")
        before, small, pid = only(made, "web"), memory_mb(made), made.pid
        yield made
        assert made.pid == pid
        assert only(made, "web") == before
        assert made.docker("service", "scale", "web=2").returncode == 0
        assert memory_mb(made) - small < 60
        assert "Traceback" not in made.log()
        made.docker("swarm", "leave", "--force")
        assert made.stop() == 0


def test_rubbish_on_the_unix_socket_hurts_nobody(harried: Host) -> None:
    rng = random.Random(2377)
    for data in rubbish(rng):
        shout(connect(harried), data)
        assert harried.answers()


def manager_connection(on: Host, tls: bool) -> socket.socket:
    """Return a connection to port 2377, from inside the host's network."""
    made = in_network(on)
    if not tls:
        return made
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(made)


def in_network(on: Host) -> socket.socket:
    # A socket stays in the network in which its thread was when the socket was made.
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{on.namespace}") as there, open("/proc/thread-self/ns/net") as here:
        assert libc.setns(there.fileno(), 0) == 0
        try:
            made = socket.create_connection(("10.99.0.1", 2377), timeout=10)
        finally:
            assert libc.setns(here.fileno(), 0) == 0
    return made


def test_rubbish_on_the_managers_port_hurts_nobody(harried: Host) -> None:
    rng = random.Random(2378)
    for number, data in enumerate(rubbish(rng)):
        shout(manager_connection(harried, tls=False), data)
        if number % 4 == 0:
            try:
                connection = manager_connection(harried, tls=True)
            except (ssl.SSLError, OSError) as error:
                raise AssertionError(f"a stranger's handshake is to be accepted: {error}") from error
            preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" if number % 8 else b""
            shout(connection, preface + data)
    assert harried.docker("node", "ls", "-q").stdout


def test_idle_connections_cost_little_and_close(harried: Host) -> None:
    before = len(sockets(harried))
    with contextlib.ExitStack() as held:
        for _ in range(200):
            held.enter_context(connect(harried))
        eventually(lambda: len(sockets(harried)) >= 200, "they are accepted", show=harried.log)
        assert harried.docker("service", "ls", "-q").stdout
    eventually(lambda: len(sockets(harried)) <= before + 2, "they are gone", show=harried.log)
    with contextlib.ExitStack() as held:
        for _ in range(200):
            held.enter_context(manager_connection(harried, tls=False))
        assert harried.docker("node", "ls", "-q").stdout
    eventually(lambda: len(sockets(harried)) <= before + 2, "they are gone too", show=harried.log)


def test_kept_connection_serves_many_requests_and_odd_ones(bare: Host) -> None:
    client = Client(bare.socket)
    for _ in range(500):
        assert client.call("GET", "/_ping") == b"OK"
    client.close()
    connection = connect(bare)
    connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n" * 50)
    answers = b""
    while answers.count(b"HTTP/1.1 200") < 50:
        answers += connection.recv(65536)
    connection.close()
    plain = http.client.HTTPConnection("d")
    plain.sock = connect(bare)
    plain.request("PATCH", "/containers/json")
    answer = plain.getresponse()
    assert answer.status == 404
    assert json.loads(answer.read())["message"]
    plain.close()
