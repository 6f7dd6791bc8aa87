"""Hostile clients and containers: garbage, floods, readers that never read. The daemon stays well and small."""

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import faults
from tests.cluster.faults import call, create, end, remove, settled
from tests.harness.api import ApiError
from tests.harness.hosts import Host, eventually, run

pytestmark = pytest.mark.root

# How much the daemon may grow while it is flooded. In Docker, too, the kernel keeps what a reader has not read.
GROWTH_LIMIT = 64 << 20
QUICK = 2.0  # seconds in which a call must be answered during an attack, on a busy machine


@pytest.fixture(scope="module")
def module_swarm() -> Iterator[Host]:
    with faults.swarm("input") as made:
        yield made
        end(made)


@pytest.fixture
def swarm(module_swarm: Host) -> Iterator[Host]:
    """Yield the module's swarm. Afterwards it must be as before: not more file descriptors, and no traceback in its
    log.
    """
    settled(module_swarm, {})
    before = _descriptors(module_swarm)
    yield module_swarm
    faults.remove_all(module_swarm)
    faults.nothing_remains(module_swarm)
    eventually(
        lambda: _descriptors(module_swarm) <= before + 4, "descriptors are closed", show=lambda: _shown(module_swarm)
    )
    log = module_swarm.log_file.read_text(errors="replace")
    assert "Traceback" not in log, log[-8000:]


def _descriptors(on: Host) -> int:
    return len(os.listdir(f"/proc/{on.pid}/fd"))


def _shown(on: Host) -> str:
    return run("ls", "-l", f"/proc/{on.pid}/fd").stdout


def _memory(on: Host) -> int:
    for line in Path(f"/proc/{on.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no such process")


def _is_well(on: Host) -> None:
    """Check that the daemon answers soon. A single slow answer may be this machine's doing."""

    def answers_soon() -> bool:
        begun = time.monotonic()
        call(on, "GET", "/services")
        return time.monotonic() - begun < QUICK

    eventually(answers_soon, f"it answers within {QUICK:g} s", show=on.log)


def _connect(on: Host) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(30)
    made.connect(str(on.socket))
    return made


def _raw(on: Host, data: bytes) -> bytes:
    """Send bytes. Return all that comes back, until the connection ends or nothing comes for a moment."""
    with _connect(on) as link:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            link.sendall(data)
            link.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := link.recv(65536):
                answer += chunk
        return answer


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff" * 5000,
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\n\r\n",
        b"POST /services/create HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: d\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: d\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: d\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"GET /%00%ff%2e%2e/%2e%2e HTTP/1.1\r\nHost: d\r\n\r\n",
        b"GET /v1.41/containers/json?filters=%7B HTTP/1.1\r\nHost: d\r\n\r\n",
    ],
    ids=lambda data: repr(data[:40]),
)
def test_garbage_is_refused(swarm: Host, data: bytes) -> None:
    answer = _raw(swarm, data)
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 301")), answer[:200]
    assert b"Traceback" not in answer
    _is_well(swarm)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("[" * 100_000, 400),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, 400),
        ('{"Name":' + "9" * 100_000 + "}", 400),
        ('{"Name":"x","TaskTemplate":{"ContainerSpec":{"Env":[' + '"A=1",' * 200_000 + '"B=2"]}}}', 400),
        ('{"Name":"\\ud800"}', 400),
        ('{"Name":null,"Mode":[]}', 400),
        ('{"a":1e999999}', 400),
    ],
    ids=["open", "deep", "number", "long", "surrogate", "types", "infinite"],
)
def test_hostile_json_is_a_bad_request(swarm: Host, text: str, status: int) -> None:
    with pytest.raises(ApiError) as told:
        call(swarm, "POST", "/services/create", text.encode())
    assert told.value.status == status
    assert "Traceback" not in str(told.value)
    _is_well(swarm)


def test_a_hundred_megabytes_of_json_are_refused_and_not_kept(swarm: Host) -> None:
    before = _memory(swarm)
    head = b"POST /services/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    body = b'{"Name":"' + b"a" * (100 << 20) + b'"}'
    answer = _raw(swarm, head % len(body) + body)
    assert answer.startswith(b"HTTP/1.1 413"), answer[:200]
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    answer = _raw(
        swarm, head.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") + chunk * 100 + b"0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413"), answer[:200]
    _is_well(swarm)
    assert _memory(swarm) - before < GROWTH_LIMIT


def test_connections_that_never_finish_their_headers_keep_nobody_out(swarm: Host) -> None:
    links = [_connect(swarm) for _ in range(200)]
    try:
        for link in links:
            link.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nX-Slow: ")
        for link in links:
            link.sendall(b"a")
        _is_well(swarm)
        create(swarm, "web", 2)
        settled(swarm, {"web": 2})
    finally:
        for link in links:
            link.close()


def test_followers_of_events_that_never_read_cost_little(swarm: Host) -> None:
    before = _memory(swarm)
    links = [_connect(swarm) for _ in range(500)]
    try:
        for link in links:
            link.sendall(b"GET /v1.41/events HTTP/1.1\r\nHost: d\r\n\r\n")
        for link in links[:5]:
            assert link.recv(15).startswith(b"HTTP/1.1 200")
        for turn in range(3):
            create(swarm, f"web{turn}", 10)
            settled(swarm, {f"web{turn}": 10})
            remove(swarm, f"web{turn}")
        faults.nothing_remains(swarm)
        _is_well(swarm)
        assert _memory(swarm) - before < 2 * GROWTH_LIMIT
    finally:
        for link in links:
            link.close()


def test_a_flood_of_execs_whose_clients_go_away(swarm: Host) -> None:
    create(swarm, "web", 1)
    settled(swarm, {"web": 1})
    (container,) = faults.live_cgroups(swarm)
    before = _memory(swarm)
    for turn in range(60):
        body = {
            "Cmd": ["sh", "-c", "yes | head -c 100000"],
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": turn % 2 == 0,
        }
        made = call(swarm, "POST", f"/containers/{container}/exec", body)["Id"]
        link = _connect(swarm)
        start = json.dumps({"Detach": False, "Tty": turn % 2 == 0}).encode()
        link.sendall(
            f"POST /v1.41/exec/{made}/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(start)}\r\n\r\n".encode()
            + start
        )
        if turn % 3 == 0:
            link.recv(100)
        link.close()
    _is_well(swarm)
    eventually(lambda: len(faults.pids_of(swarm, container)) == 1, "no exec is left", show=swarm.log)
    # The daemon hears that a process has ended a moment later.
    looked_at = f"/containers/{container}/json"
    eventually(lambda: not call(swarm, "GET", looked_at)["ExecIDs"], "every exec is forgotten", show=swarm.log)
    assert _memory(swarm) - before < GROWTH_LIMIT


def test_logs_of_a_container_that_writes_without_end_and_a_reader_that_is_slow(swarm: Host) -> None:
    create(swarm, "loud", 1, command=["sh", "-c", "exec yes 'a line of output that is neither long nor short' 2>&1"])
    eventually(lambda: len(faults.live_cgroups(swarm)) == 1, "it runs", show=swarm.log)
    (container,) = faults.live_cgroups(swarm)
    log = swarm.data_root / "containers" / container / "output.log"
    before = _memory(swarm)
    links = [_connect(swarm) for _ in range(4)]
    try:
        for link, path in zip(
            links, (f"containers/{container}", f"containers/{container}", "services/loud", "services/loud"), strict=True
        ):
            link.sendall(f"GET /v1.41/{path}/logs?stdout=1&stderr=1&follow=1 HTTP/1.1\r\nHost: d\r\n\r\n".encode())
            assert link.recv(15).startswith(b"HTTP/1.1 200")
        eventually(lambda: log.stat().st_size > 200 << 20, "it has written much", patience=60)
        for link in links[::2]:
            link.recv(4096)
        _is_well(swarm)
        assert _memory(swarm) - before < GROWTH_LIMIT
    finally:
        for link in links:
            link.close()
        remove(swarm, "loud")
    faults.nothing_remains(swarm)


def test_lines_of_a_megabyte_and_terminal_escapes_come_as_they_are(swarm: Host) -> None:
    escapes = "printf '\\033]0;owned\\007\\033[2J\\r\\000\\377'"
    script = f"head -c 3145728 /dev/zero | tr '\\0' x; echo; {escapes}; echo; sleep 1000000"
    create(swarm, "long", 1, command=["sh", "-c", script])
    settled(swarm, {"long": 1})
    (container,) = faults.live_cgroups(swarm)

    def said() -> bytes:
        return subprocess.run(
            ["docker", "-H", f"unix://{swarm.socket}", "logs", container], capture_output=True, check=True
        ).stdout

    wanted = b"x" * 3145728 + b"\n" + b"\x1b]0;owned\x07\x1b[2J\r\x00\xff\n"
    found = eventually(lambda: (out := said()) and out.endswith(b"\xff\n") and out, "it has said all")
    assert found == wanted
    stamped = subprocess.run(
        ["docker", "-H", f"unix://{swarm.socket}", "service", "logs", "--raw", "--tail", "1", "long"],
        capture_output=True,
        check=True,
    ).stdout
    assert stamped == b"\x1b]0;owned\x07\x1b[2J\r\x00\xff\n"
    # Besides the lines `docker service logs` only shows the names.
    _is_well(swarm)


class _Stranger:
    """A stranger that has connections to port 2377, from inside the host's network."""

    def __init__(self, on: Host, words: str, count: int) -> None:
        script = (
            "import socket, sys, ssl\n"
            f"words = {words}\n"
            "links = []\n"
            f"for _ in range({count}):\n"
            "    s = socket.create_connection(('127.0.0.1', 2377), 10)\n"
            "    s.sendall(words)\n"
            "    links.append(s)\n"
            "print('ready', flush=True)\n"
            "sys.stdin.read()\n"
        )
        self.process = subprocess.Popen(
            on.inside("/usr/bin/python3", "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize(
    "words",
    ["b''", "b'GET / HTTP/1.1\\r\\n\\r\\n'", "bytes(range(256)) * 400", "bytes.fromhex('16030100ff010000fb0303')"],
    ids=["idle", "http", "garbage", "half a hello"],
)  # fmt: skip
def test_strangers_on_the_port_of_managers_keep_no_node_out(swarm: Host, words: str) -> None:
    before = _memory(swarm)
    stranger = _Stranger(swarm, words, 200)
    try:
        _is_well(swarm)
        create(swarm, "web", 2)
        settled(swarm, {"web": 2})
        # A node that comes back meanwhile still gets its session.
        (state,) = {node["Status"]["State"] for node in call(swarm, "GET", "/nodes")}
        assert state == "ready"
        assert _memory(swarm) - before < GROWTH_LIMIT
    finally:
        stranger.close()


def test_a_stranger_with_tls_and_no_certificate_is_told_nothing(swarm: Host) -> None:
    words = "b''"
    stranger = _Stranger(swarm, words, 1)
    stranger.close()
    script = (
        "import socket, ssl\n"
        "c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE\n"
        "c.set_alpn_protocols(['h2'])\n"
        "for _ in range(30):\n"
        "    s = c.wrap_socket(socket.create_connection(('127.0.0.1', 2377), 10))\n"
        "    s.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + bytes(9) + b'\\xff' * 100000)\n"
        "    try:\n"
        "        while s.recv(65536): pass\n"
        "    except OSError: pass\n"
    )
    run(*swarm.inside("/usr/bin/python3", "-c", script), timeout=60)
    _is_well(swarm)
