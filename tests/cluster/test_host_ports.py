"""Ports that nodes publish themselves (mode=host), in a swarm of two hosts driven by Docker's own command: who reaches
them and is seen as whom, what is shown, whom a port is not taken from, and that requests outlive shoald."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.swarms import IMAGE, Pair, join, make_swarm, tasks, wait_running
from tests.harness.hosts import Host, eventually, run
from tests.harness.network import network

pytestmark = pytest.mark.root

# Answers each request with the address that it came from.
SEEN = 'mkdir -p /www/cgi-bin; printf "#!/bin/sh\\necho\\necho \\$REMOTE_ADDR\\n" > /www/cgi-bin/seen; '
SEEN += "chmod +x /www/cgi-bin/seen; exec httpd -f -p 80 -h /www"
# Answers each packet of UDP with the same; not in the image.
ECHO = "import socket;s=socket.socket(type=socket.SOCK_DGRAM);s.bind(('',53));print('up',flush=True)\n"
ECHO += "while True: s.sendto(*s.recvfrom(9))"
ASK_UDP = "import socket,sys;s=socket.socket(type=socket.SOCK_DGRAM);s.settimeout(1);"
ASK_UDP += "s.connect((sys.argv[1],int(sys.argv[2])));s.send(b'hello');print(s.recv(9).decode())"


@pytest.fixture(scope="module")
def swarm() -> Iterator[Pair]:
    with network("hostports") as net:
        first, second = net.add("first"), net.add("second")
        token = make_swarm(first)
        # A daemon that is started again is not taken for dead on a busy machine.
        first.docker("swarm", "update", "--dispatcher-heartbeat", "1m")
        join(second, first, token)
        yield Pair(first, second)
        second.docker("swarm", "leave")
        first.docker("swarm", "leave", "--force")
        for host in (first, second):
            assert host.stop() == 0
            wait_empty(host)


def wait_empty(host: Host) -> None:
    eventually(lambda: not host.leftovers(), "nothing is left", show=lambda: "\n".join(host.leftovers()))


@pytest.fixture(autouse=True)
def emptied(swarm: Pair) -> Iterator[None]:
    yield
    services = swarm.first.docker("service", "ls", "-q").stdout.split()
    if services:
        swarm.first.docker("service", "rm", *services)
    for host in swarm.hosts:
        eventually(lambda host=host: not host.docker("ps", "-aq").stdout, "its containers are gone", show=host.log)  # type: ignore[misc]
        assert not table(host), "rules are left"


def create(swarm: Pair, name: str, *flags: str, command: str = SEEN) -> None:
    swarm.first.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", name, "--restart-delay", "100ms",
        "--stop-signal", "KILL", *flags, IMAGE, "sh", "-c", command,
    )  # fmt: skip


def on(host: Host) -> tuple[str, ...]:
    return ("--constraint", f"node.hostname=={host.name}")


def published(port: int, target: int = 80, protocol: str = "tcp") -> tuple[str, ...]:
    return ("--publish", f"mode=host,target={target},published={port},protocol={protocol}")


def table(host: Host) -> str:
    """Return the rules of a host's ports, as nft lists them; empty where there are none."""
    return run(*host.inside("nft", "list", "table", "ip", f"shoal_{host.tag()}_ports"), check=False).stdout


def container(host: Host, service: str) -> str:
    (found,) = host.docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={service}").stdout.split()
    return found


def netns(host: Host, container: str) -> Path:
    (found,) = [path for path in (host.exec_root / "netns").iterdir() if path.name.startswith(container)]
    return found


def seen(asker: Host | Path, address: str, port: int) -> str:
    """Return as whom a task sees who asks: a host, or a container by its network. Empty where nobody answers."""
    command = ("curl", "-s", "-m", "3", f"http://{address}:{port}/cgi-bin/seen")
    there = asker.inside(*command) if isinstance(asker, Host) else ["nsenter", f"--net={asker}", *command]
    # busybox has one socket for both kinds of IP, and shows ::ffff:10.99.0.1.
    return run(*there, check=False).stdout.strip().strip("[]").rpartition(":")[2]


def port_status(swarm: Pair, service: str) -> list[dict[str, Any]]:
    (task,) = [one for one in tasks(swarm.first, service) if one["Status"]["State"] == "running"]
    found: list[dict[str, Any]] = task["Status"]["PortStatus"]["Ports"]
    return found


def wait_runs(manager: Host, service: str) -> None:
    def runs() -> bool:
        return any(one["Status"]["State"] == "running" for one in tasks(manager, service))

    eventually(runs, f"{service} runs somewhere", show=lambda: str(tasks(manager, service)))


def wait_error(swarm: Pair, service: str, words: str) -> None:
    def said() -> bool:
        return any(words in one["Status"].get("Err", "") for one in tasks(swarm.first, service))

    eventually(said, f"a task says: {words}", show=lambda: str(tasks(swarm.first, service)))


def connects(host: Host, address: str, port: int) -> bool:
    script = f"import socket;socket.create_connection(('{address}',{port}),3)"
    return run(*host.inside(sys.executable, "-c", script), check=False).returncode == 0


class Listener:
    """A program of a host's own that listens on a port."""

    def __init__(self, host: Host, port: int) -> None:
        script = (
            f"import socket,time;s=socket.create_server(('',{port}));s.listen();print('up',flush=True);time.sleep(99)"
        )
        self._process = subprocess.Popen(host.inside(sys.executable, "-c", script), stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.up = self._process.stdout.readline() == b"up\n"

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def can_listen(host: Host, port: int) -> bool:
    with Listener(host, port) as one:
        return one.up


def test_a_port_is_reached_from_everywhere_and_the_client_is_seen_as_itself(swarm: Pair) -> None:
    first, second = swarm.hosts
    create(swarm, "web", *on(second), *published(8080), "--publish", "mode=host,target=81")
    create(swarm, "other", *on(second))
    for service in ("web", "other"):
        wait_running(first, service, {"second": 1})
    web = container(second, "web")
    itself, other = netns(second, web), netns(second, container(second, "other"))
    eventually(lambda: seen(first, second.address, 8080), "it answers")
    assert seen(first, second.address, 8080) == first.address
    assert seen(second, second.address, 8080) == second.address
    gateway = json.loads(second.docker("inspect", web).stdout)[0]["NetworkSettings"]["Gateway"]
    for asker, address in (
        (second, "127.0.0.1"),
        (second, "127.1.2.3"),
        (other, second.address),
        (itself, second.address),
    ):
        assert seen(asker, address, 8080) == gateway
    assert not seen(first, first.address, 8080), "only the task's own node publishes it"

    status = port_status(swarm, "web")
    (chosen,) = [port["PublishedPort"] for port in status if port["TargetPort"] == 81]
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert low <= chosen <= high
    assert {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"} in status
    shown = second.docker("ps", "--format", "{{.Ports}}", "--filter", "publish=8080").stdout
    assert shown == f"0.0.0.0:8080->80/tcp, 0.0.0.0:{chosen}->81/tcp\n"
    assert second.docker("port", web, "81").stdout == f"0.0.0.0:{chosen}\n"
    assert "*:8080->80/tcp" in first.docker("service", "ps", "web", "--format", "{{.Ports}}").stdout
    # The host's socket is in no hands that run a foreign program.
    pid = json.loads(second.docker("inspect", web).stdout)[0]["State"]["Pid"]
    conmon = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert sockets(conmon)
    assert not sockets(conmon) & sockets(pid)


def sockets(pid: int) -> set[str]:
    """Return the sockets that a process has open."""
    found = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return {one for one in found if one.startswith("socket:")}


def test_requests_go_on_while_shoald_is_killed_and_the_port_is_nobody_elses(swarm: Pair) -> None:
    first, second = swarm.hosts
    create(swarm, "web", *on(second), *published(8080), "--publish", "mode=host,target=81")
    wait_running(first, "web", {"second": 1})
    before = port_status(swarm, "web")
    eventually(lambda: seen(first, second.address, 8080), "it answers")
    failed: list[tuple[str, str]] = []  # when, and what was said instead
    stage = "at first"
    answered = 0
    over = threading.Event()

    def ask() -> None:
        nonlocal answered
        while not over.is_set():
            said = seen(first, second.address, 8080)
            if said == first.address:
                answered += 1
            else:
                failed.append((stage, said))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for one in asking:
        one.start()
    try:
        stage = "killed"
        assert second.stop(signal.SIGKILL) != 0
        assert not can_listen(second, 8080)
        at_the_kill = answered
        eventually(lambda: answered > at_the_kill + 2, "it is answered without a daemon")
        stage = "started"
        second.start()
        at_the_start = answered
        eventually(lambda: answered > at_the_start + 2, "it is answered with the next daemon")
        assert not failed
        stage = "flushed"
        run(*second.inside("nft", "flush", "ruleset"))
        eventually(lambda: "dport map @ports" in table(second), "the rules are mended", patience=5)
    finally:
        over.set()
        for one in asking:
            one.join()
    # Without rules nobody answers, and then nobody else does.
    assert not any(said for _, said in failed), failed
    eventually(lambda: seen(first, second.address, 8080), "it answers after the flush")
    wait_running(first, "web", {"second": 1})
    assert port_status(swarm, "web") == before


def test_a_port_that_is_taken_is_said_and_never_taken_away(swarm: Pair) -> None:
    first, second = swarm.hosts
    with Listener(second, 8081) as program:
        assert program.up
        create(swarm, "web", *on(second), *published(8081))
        wait_error(
            swarm,
            "web",
            "starting container failed: failed to set up container networking: driver failed programming external "
            "connectivity on endpoint web.1.",
        )
        wait_error(swarm, "web", "failed to bind host port 0.0.0.0:8081/tcp: address already in use")
        assert connects(first, second.address, 8081), "who listens is reached"
    wait_running(first, "web", {"second": 1})  # known-faults 27: once it is free


def test_a_second_service_goes_to_the_other_node_and_a_third_waits(swarm: Pair) -> None:
    first, _ = swarm.hosts
    for name in ("one", "two"):  # known-faults 35
        create(swarm, name, *published(8082))
    places = {}
    for name in ("one", "two"):
        wait_runs(first, name)
        (places[name],) = {task["NodeID"] for task in tasks(first, name)}
    assert len(set(places.values())) == 2
    create(swarm, "three", *published(8082))
    wait_error(swarm, "three", "no suitable node (host-mode port already in use on 2 nodes)")
    create(swarm, "udp", *published(8082, protocol="udp"))  # another port
    wait_runs(first, "udp")
    first.docker("service", "rm", "one")
    wait_runs(first, "three")


@contextlib.contextmanager
def echo(inside: Path) -> Iterator[None]:
    command = ["nsenter", f"--net={inside}", sys.executable, "-c", ECHO]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"up\n"
            yield
        finally:
            process.kill()


def test_a_stop_frees_the_port_and_ends_flows_of_udp(swarm: Pair) -> None:
    first, second = swarm.hosts
    # One and the same flow throughout: a port of the client's own.
    ask = ASK_UDP.replace("s.settimeout", "s.bind(('',40053));s.settimeout")

    def answered(asker: Host = first, address: str = second.address) -> bool:
        done = run(*asker.inside(sys.executable, "-c", ask, address, "8083"), check=False)
        return "hello" in done.stdout

    assert not answered()  # and the kernel remembers where it led: to nobody
    create(swarm, "dns", *on(second), *published(8083, 53, "udp"), *published(8083))
    wait_running(first, "dns", {"second": 1})
    with echo(netns(second, container(second, "dns"))):
        eventually(answered, "it echoes")
        assert answered(second)
        assert answered(second, "127.0.0.1")
        first.docker("service", "rm", "dns")
        eventually(lambda: not table(second), "its rules are gone", show=second.log)
        assert can_listen(second, 8083), "known-faults 26"
        assert not answered()


def test_start_first_gives_way_where_the_old_task_has_the_port(swarm: Pair) -> None:
    first, second = swarm.hosts
    create(swarm, "web", *on(second), *published(8084), "--update-order", "start-first")
    wait_running(first, "web", {"second": 1})
    first.docker("service", "update", "-d", "--no-resolve-image", "--env-add", "a=b", "web")

    def update() -> dict[str, str]:
        found: dict[str, str] = json.loads(first.docker("service", "inspect", "web").stdout)[0]["UpdateStatus"]
        return found

    wait_error(swarm, "web", "host-mode port already in use on 1 node")
    eventually(lambda: "stop-first" in update()["Message"], "known-faults 36: it goes on, and says how", patience=20)
    wait_running(first, "web", {"second": 1})
    eventually(lambda: seen(first, second.address, 8084), "the new task answers")
    shown = [(one["Status"]["State"], bool(one["Status"]["PortStatus"].get("Ports"))) for one in tasks(first, "web")]
    assert sorted(shown) == [("running", True), ("shutdown", False)]


def test_a_users_own_drop_holds(swarm: Pair) -> None:
    first, second = swarm.hosts
    create(swarm, "web", *on(second), *published(8085))
    wait_running(first, "web", {"second": 1})
    eventually(lambda: seen(first, second.address, 8085), "it answers")
    rules = (
        "table ip mine { chain in { type filter hook prerouting priority -150; tcp dport 8085 ip saddr %s drop; }; }"
    )
    run(*second.inside("nft", rules % first.address))
    try:
        assert not seen(first, second.address, 8085)
        assert seen(second, second.address, 8085)
    finally:
        run(*second.inside("nft", "delete", "table", "ip", "mine"))
