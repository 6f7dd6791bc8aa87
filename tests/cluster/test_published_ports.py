"""Published ports on a swarm of three hosts and a client outside, driven by Docker's own command: who answers where,
whose address a task sees, and what is left of it when services and nodes change, and processes are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.cluster.swarms import IMAGE, join, make_swarm, wait_running
from tests.cluster.test_overlay_networks import containers, processes
from tests.harness.hosts import Host, eventually, patient, run
from tests.harness.network import network

pytestmark = pytest.mark.root

# `/` is who answers; `/cgi-bin/who` also whom it sees.
SERVE = """
mkdir -p /web/cgi-bin; hostname > /web/index.html
printf '#!/bin/sh\\necho; echo $(hostname) ${REMOTE_ADDR%%:*}\\n' > /web/cgi-bin/who; chmod +x /web/cgi-bin/who
exec httpd -f -p 0.0.0.0:80 -h /web
"""
# One that takes its time to end, and says so when it is asked meanwhile.
# A task counts as running once its server listens: a connection that comes before is refused.
WELL = ("--health-cmd", "wget -q -O /dev/null http://127.0.0.1/", "--health-interval", "300ms")
SERVE_LONG = """
mkdir -p /web/cgi-bin; hostname > /web/index.html
printf '#!/bin/sh\\necho; echo $(hostname)$(cat /stopping)\\n' > /web/cgi-bin/state; chmod +x /web/cgi-bin/state
touch /stopping
trap 'echo -stopping > /stopping; sleep 1; exit 0' TERM
httpd -f -p 0.0.0.0:80 -h /web &
while true; do wait; done
"""
# A datagram is answered by a process in the task's network.
SERVE_UDP = """
import socket, sys
one = socket.socket(type=socket.SOCK_DGRAM)
one.bind(("", 53))
print("up", flush=True)
while True:
    data, asker = one.recvfrom(100)
    one.sendto(f"{sys.argv[1]} {asker[0]}".encode(), asker)
"""
ASK_UDP = """
import socket, sys
one = socket.socket(type=socket.SOCK_DGRAM)
one.settimeout(3)
one.sendto(b"?", (sys.argv[1], int(sys.argv[2])))
print(one.recv(100).decode())
"""
LOAD = """
import collections, json, select, socket, sys, time
answers, errors = collections.Counter(), []
print("up", flush=True)
at = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    at += 1
    with socket.socket() as one:
        one.settimeout(10)
        address = sys.argv[3 + at % (len(sys.argv) - 3)]
        try:
            one.connect((address, int(sys.argv[1])))
            one.sendall(f"GET {sys.argv[2]} HTTP/1.0\\r\\n\\r\\n".encode())
            text = b""
            while part := one.recv(4096):
                text += part
            answers[text.split()[-1].decode() if text else "nothing"] += 1
            if not text:
                errors.append(f"{time.time():.3f} {address}: an empty answer")
        except OSError as error:
            errors.append(f"{time.time():.3f} {address}: {error}")
    time.sleep(0.001)
print(json.dumps([answers, errors]))
"""


class Load:
    """Asks port 8080 of one address after the other out of the client's network, from entering to leaving."""

    def __init__(self, client: Host, addresses: Sequence[str], path: str = "/") -> None:
        self._command = client.inside(sys.executable, "-c", LOAD, "8080", path, *addresses)
        self.answers: Counter[str] = Counter()
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "up\n"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        output, _ = self._process.communicate(timeout=60)
        answers, self.errors = json.loads(output)
        self.answers = Counter(answers)


@dataclass
class Swarm:
    first: Host
    second: Host
    third: Host
    client: Host
    servers: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def hosts(self) -> tuple[Host, Host, Host]:
        return self.first, self.second, self.third

    @property
    def addresses(self) -> list[str]:
        return [host.address for host in self.hosts]

    def log(self) -> str:
        return "\n".join(f"--- {host.name}\n{host.log()[-4000:]}" for host in self.hosts)

    def answers(self, times: int = 6, port: int = 8080, path: str = "/cgi-bin/who") -> dict[str, Counter[str]]:
        """Return what the client is told on each node."""
        return {host.name: ask(self.client, host.address, port, times, path) for host in self.hosts}

    def wait_served(self, *by: str, port: int = 8080) -> None:
        """Wait until each node leads to all of these containers and to no others."""

        def led() -> bool:
            found = self.answers(2 * len(by), port, "/index.html")
            return all(set(answers) == set(by) for answers in found.values())

        eventually(led, f"every node leads to {by}", every=0.1, show=lambda: f"{self.answers(4)}\n{self.log()}")


def ask(
    host: Host, address: str, port: int, times: int, path: str, netns: Path | None = None, patience: float = 5.0
) -> Counter[str]:
    """Return the answers to so many requests out of a host's network, or a container's."""
    script = (
        f"for i in $(seq {times}); do curl -s -m {patience:g} http://{address}:{port}{path} || echo failed $?; done"
    )
    command = ("sh", "-c", script)
    shown = run(*(("nsenter", f"--net={netns}", *command) if netns else host.inside(*command))).stdout
    return Counter(shown.splitlines())


@pytest.fixture(scope="module")
def shared() -> Iterator[Swarm]:
    with network("ports") as net:
        first, second, third = (net.add(name) for name in ("first", "second", "third"))
        client = net.add("client", start=False)
        token = make_swarm(first)
        join(second, first, token)
        join(third, first, token)
        # A daemon that is killed and started again on a slow machine is none that is gone.
        first.docker("swarm", "update", "--dispatcher-heartbeat", "1m")
        yield Swarm(first, second, third, client)
        for host in (second, third):
            host.docker("swarm", "leave")
        first.docker("swarm", "leave", "--force")
        for host in (first, second, third):
            eventually(lambda host=host: not processes(host), "its network process is gone", show=host.log)  # type: ignore[misc]
            assert mesh_of(host) == [], host.name


@pytest.fixture
def swarm(shared: Swarm) -> Iterator[Swarm]:
    yield shared
    for server in shared.servers:
        server.kill()
        server.communicate()
    shared.servers.clear()
    for host in shared.hosts:
        shared.first.docker("node", "update", "--availability", "active", node(shared, host))
    if services := shared.first.docker("service", "ls", "-q").stdout.split():
        shared.first.docker("service", "rm", *services)
    for host in shared.hosts:
        eventually(lambda host=host: not host.docker("ps", "-aq").stdout, "its containers are gone", show=host.log)  # type: ignore[misc]


def node(swarm: Swarm, host: Host) -> str:
    listed = swarm.first.docker("node", "ls", "--format", "{{.Hostname}} {{.ID}}").stdout.split()
    return dict(zip(listed[::2], listed[1::2], strict=True))[host.name]


def mesh_of(host: Host) -> list[str]:
    """Return what there is of the mesh on a host: device, tables, rules of routing."""
    found = [line for line in run(*host.inside("ip", "-o", "link")).stdout.splitlines() if " vxi" in line]
    found += [line for line in run(*host.inside("nft", "list", "tables")).stdout.splitlines() if "_mesh" in line]
    return found + run(*host.inside("ip", "rule")).stdout.splitlines()[3:]


def create(swarm: Swarm, *flags: str, replicas: int = 2, command: str = SERVE) -> None:
    swarm.first.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "web", "--replicas", str(replicas), "--publish",
        "8080:80", "--stop-signal", "KILL", "--update-monitor", "100ms", *flags, IMAGE, "sh", "-c", command,
    )  # fmt: skip


def on_two(swarm: Swarm, *flags: str) -> tuple[str, str]:
    """Run a service on the first and the second host; its containers."""
    create(swarm, *flags, "--constraint", "node.hostname!=third", "--replicas-max-per-node", "1")
    wait_running(swarm.first, "web", {"first": 1, "second": 1})
    (one,), (two,) = containers(swarm.first, "web"), containers(swarm.second, "web")
    swarm.wait_served(one, two)
    return one, two


def serving(swarm: Swarm, service: str = "web") -> set[str]:
    return {container for host in swarm.hosts for container in containers(host, service)}


def netns_of(host: Host, container: str) -> Path:
    (found,) = [path for path in (host.exec_root / "netns").iterdir() if path.name.startswith(container)]
    return found


def wait_updated(swarm: Swarm, before: set[str], service: str = "web") -> None:
    def state() -> str:
        return swarm.first.docker("service", "inspect", "-f", "{{.UpdateStatus.State}}", service).stdout.strip()

    eventually(
        lambda: (
            len(serving(swarm, service)) == len(before)
            and not serving(swarm, service) & before
            and state() == "completed"
        ),
        "the update is done",
        every=0.2,
        patience=60,
        show=swarm.log,
    )


def test_every_node_answers_and_the_task_sees_the_client(swarm: Swarm) -> None:
    """Also a node without a task (known fault 25); the node itself, and a task that is among those that answer (32)."""
    one, two = on_two(swarm)
    client = swarm.client.address
    for name, answers in swarm.answers().items():
        assert answers == {f"{one} {client}": 3, f"{two} {client}": 3}, name
    for host in swarm.hosts:
        for address in ("127.0.0.1", host.address):
            assert ask(host, address, 8080, 4, "/index.html") == {one: 2, two: 2}, f"{host.name} {address}"
    for host, container in ((swarm.first, one), (swarm.second, two)):
        for address in swarm.addresses:
            found = ask(host, address, 8080, 4, "/index.html", netns_of(host, container))
            assert found == {one: 2, two: 2}, f"{container} by {address}"
    shown = swarm.first.docker("service", "ls", "--format", "{{.Name}} {{.Ports}}").stdout
    assert shown.strip() == "web *:8080->80/tcp"


def test_datagrams_as_well(swarm: Swarm) -> None:
    create(swarm, "--publish", "5353:53/udp", "--constraint", "node.hostname==second", replicas=1)
    wait_running(swarm.first, "web", {"second": 1})
    (container,) = containers(swarm.second, "web")
    swarm.wait_served(container)
    server = subprocess.Popen(
        ["nsenter", f"--net={netns_of(swarm.second, container)}", sys.executable, "-c", SERVE_UDP, container],
        stdout=subprocess.PIPE,
        text=True,
    )
    swarm.servers.append(server)
    assert server.stdout
    assert server.stdout.readline() == "up\n"
    for host in swarm.hosts:
        answer = run(*swarm.client.inside(sys.executable, "-c", ASK_UDP, host.address, "5353")).stdout
        assert answer.split() == [container, swarm.client.address], host.name
        answer = run(*host.inside(sys.executable, "-c", ASK_UDP, "127.0.0.1", "5353")).stdout
        assert answer.split()[0] == container, host.name


def test_a_service_can_have_dockers_way(swarm: Swarm) -> None:
    """The task sees the node that the client came by: its address on ingress."""
    on_two(swarm, "--label", "shoal.ingress.source-ip=false")
    seen = {name: {line.split()[1] for line in answers} for name, answers in swarm.answers().items()}
    assert all(len(addresses) == 1 for addresses in seen.values()), seen
    own = [address for addresses in seen.values() for address in addresses]
    assert len(set(own)) == 3, seen
    assert all(address.startswith("10.0.0.") for address in own), seen


def test_nothing_else_is_open(swarm: Swarm) -> None:
    """Known fault 33; and a task has no interface on ingress."""
    one, _ = on_two(swarm)
    links = swarm.first.docker("exec", one, "ip", "-o", "-4", "address").stdout
    assert len(links.splitlines()) == 2, links
    assert "10.0.0." not in links
    assert one in swarm.first.docker("exec", one, "cat", "/etc/hosts").stdout
    for address in swarm.addresses:
        assert set(ask(swarm.client, address, 80, 1, "/")) == {"failed 7"}


def test_planned_changes_lose_no_request(swarm: Swarm) -> None:
    """Updates of both kinds, more and fewer tasks, a drained node: by every node."""
    create(swarm, *WELL, "--update-order", "start-first", "--update-delay", "0s", "--update-parallelism", "1")
    eventually(lambda: len(serving(swarm)) == 2, "they run", show=swarm.log)
    swarm.wait_served(*serving(swarm))
    with Load(swarm.client, swarm.addresses) as load:
        before = serving(swarm)
        swarm.first.docker("service", "update", "-d", "--force", "web")
        wait_updated(swarm, before)
        before = serving(swarm)
        swarm.first.docker("service", "update", "-d", "--force", "--update-order", "stop-first", "web")
        wait_updated(swarm, before)
        swarm.first.docker("service", "scale", "-d", "web=4")
        eventually(lambda: len(serving(swarm)) == 4, "there are four", show=swarm.log)
        swarm.first.docker("service", "scale", "-d", "web=2")
        eventually(lambda: len(serving(swarm)) == 2, "there are two", show=swarm.log)
        (drained, *_) = [host for host in swarm.hosts if containers(host, "web")]
        swarm.first.docker("node", "update", "--availability", "drain", node(swarm, drained))
        eventually(
            lambda: len(serving(swarm)) == 2 and not containers(drained, "web"), "the node is empty", show=swarm.log
        )
        swarm.wait_served(*serving(swarm))
    assert load.errors[:5] == []
    assert sum(load.answers.values()) > 100


def test_an_only_task_makes_way_for_the_next_and_no_request_is_lost(swarm: Swarm) -> None:
    """Start-first: a node that hears of the end of the one before it has heard of the other waits for that. Nor does
    any lead to one that has got its stop signal (known fault 24)."""
    make_way(swarm)


# Of the gossip that comes to a host, every fifth packet is lost.
LOSSY = (
    "add table inet lossy; add chain inet lossy in { type filter hook input priority -300; }; "
    "add rule inet lossy in udp dport 7946 numgen random mod 5 == 0 counter drop"
)


def test_an_only_task_makes_way_where_gossip_loses_packets(swarm: Swarm) -> None:
    """The word of the one that comes is with all nodes before the other goes, however often it must be said."""
    for host in swarm.hosts:
        run(*host.inside("nft", LOSSY))
    try:
        make_way(swarm)
        lost = [run(*host.inside("nft", "list", "table", "inet", "lossy")).stdout for host in swarm.hosts]
        assert all("packets 0 " not in text for text in lost), lost
    finally:
        for host in swarm.hosts:
            run(*host.inside("nft", "delete", "table", "inet", "lossy"))


def make_way(swarm: Swarm) -> None:
    """Replace the only task of a service, start-first, three times under load."""
    create(swarm, *WELL, "--update-order", "start-first", "--stop-signal", "TERM", replicas=1, command=SERVE_LONG)
    eventually(lambda: len(serving(swarm)) == 1, "it runs", show=swarm.log)
    swarm.wait_served(*serving(swarm))
    with Load(swarm.client, swarm.addresses, "/cgi-bin/state") as load:
        for _ in range(3):
            before = serving(swarm)
            swarm.first.docker("service", "update", "-d", "--force", "web")
            wait_updated(swarm, before)
    assert load.errors[:5] == []
    assert len(load.answers) == 4
    assert not [answer for answer in load.answers if "stopping" in answer]


def test_what_keeps_it_up_can_be_killed(swarm: Swarm) -> None:
    """Network process and daemon of each node, under load. The port is open all the while."""
    one, two = on_two(swarm)
    for host in swarm.hosts:
        kept = host.exec_root / "network" / "others.json"
        others = [container.encode().hex() for container in (one, two) if container not in containers(host, "web")]
        eventually(
            lambda kept=kept, others=others: all(one in kept.read_text() for one in others),  # type: ignore[misc]
            f"{host.name} has kept what others wrote",
        )
    with Load(swarm.client, swarm.addresses) as load:
        for host in swarm.hosts:
            (process,) = processes(host)
            os.kill(process, signal.SIGKILL)
            eventually(lambda host=host, process=process: processes(host) not in ([], [process]), "another is there")  # type: ignore[misc]
        for host in (swarm.second, swarm.third):
            host.stop(signal.SIGKILL)
            host.start()
        swarm.wait_served(one, two)
    assert load.errors[:5] == []
    assert load.answers.keys() == {one, two}


def test_a_killed_task_is_left_out_soon(swarm: Swarm) -> None:
    one, two = on_two(swarm, "--restart-delay", "10s")
    pid = swarm.second.docker("inspect", "-f", "{{.State.Pid}}", two).stdout.strip()
    os.kill(int(pid), signal.SIGKILL)
    swarm.wait_served(one)


def test_ports_are_added_and_removed_while_it_runs(swarm: Swarm) -> None:
    """Known fault 26: once it is gone another program can have the port, and the rules are those of before."""
    on_two(swarm)
    swarm.first.docker("service", "update", "-d", "--publish-add", "8081:80", "web")
    eventually(lambda: all("failed 7" not in each for each in swarm.answers(2, 8081).values()), "it is open")
    swarm.first.docker("service", "update", "-d", "--publish-rm", "80", "web")
    wait_closed(swarm, 8080)
    wait_closed(swarm, 8081)
    eventually(lambda: all(mesh_of(host) == [] for host in swarm.hosts), "nothing of the mesh is left", show=swarm.log)


def wait_closed(swarm: Swarm, port: int) -> None:
    bind = f"import socket; socket.socket().bind(('', {port}))"
    for host in swarm.hosts:
        eventually(
            lambda host=host: set(ask(swarm.client, host.address, port, 1, "/")) == {"failed 7"},  # type: ignore[misc]
            f"{host.name}: {port} is closed",
            every=0.1,
            show=swarm.log,
        )
        eventually(
            lambda host=host: not run(*host.inside(sys.executable, "-c", bind), check=False).returncode,  # type: ignore[misc]
            f"{host.name}: {port} is free",
            every=0.1,
            show=swarm.log,
        )


def test_what_others_flush_comes_back_and_a_users_drop_holds(swarm: Swarm) -> None:
    """Known faults 29 and 31."""
    one, two = on_two(swarm)
    for host in swarm.hosts:
        run(*host.inside("nft", "flush", "ruleset"))
    began = time.monotonic()
    swarm.wait_served(one, two)
    assert time.monotonic() - began < patient(15)
    user = (
        "add table ip mine; add chain ip mine pre { type filter hook prerouting priority mangle; }; "
        f"add rule ip mine pre tcp dport 8080 ip saddr {swarm.client.address} drop"
    )
    run(*swarm.third.inside("nft", user))
    try:
        swarm.first.docker("service", "update", "-d", "--force", "web")
        wait_updated(swarm, {one, two})
        assert set(ask(swarm.client, swarm.third.address, 8080, 1, "/", patience=1.0)) == {"failed 28"}
        assert "failed" not in str(ask(swarm.client, swarm.first.address, 8080, 2, "/"))
    finally:
        run(*swarm.third.inside("nft", "delete table ip mine"))


def test_a_port_is_taken_from_nobody(swarm: Swarm) -> None:
    """Known faults 27 and 28: its own program keeps it on that node, and it is said on the task."""
    command = swarm.first.inside(sys.executable, "-m", "http.server", "8080")

    def listens() -> bool:
        # Started again while the port is not free yet: it was published in the test before.
        if not swarm.servers or swarm.servers[-1].poll() is not None:
            swarm.servers.append(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
            )
        return "failed 7" not in ask(swarm.client, swarm.first.address, 8080, 1, "/")

    eventually(listens, "it listens", every=0.2)
    foreign = swarm.servers[-1]
    create(swarm, "--constraint", "node.hostname==first", replicas=1)
    wait_running(swarm.first, "web", {"first": 1})
    (container,) = containers(swarm.first, "web")
    eventually(lambda: ask(swarm.client, swarm.second.address, 8080, 1, "/") == {container: 1}, "others answer")
    assert "Directory listing" in str(ask(swarm.client, swarm.first.address, 8080, 1, "/"))
    shown = swarm.first.docker("service", "ps", "--no-trunc", "--format", "{{.Error}}", "web").stdout
    assert "port 8080/tcp is in use on this node, and not published there" in shown
    foreign.kill()
    swarm.wait_served(container)
    eventually(
        lambda: not swarm.first.docker("service", "ps", "--format", "{{.Error}}", "web").stdout.strip(), "it is unsaid"
    )


def test_an_ingress_of_ones_own(swarm: Swarm) -> None:
    """The last test here: the swarm keeps it."""
    swarm.first.docker("network", "rm", "ingress", input="y\n")
    refused = swarm.first.docker("service", "create", "-d", "--publish", "8080:80", IMAGE, check=False).stderr
    assert "service needs ingress network, but no ingress network is present" in refused
    option = "com.docker.network.driver.mtu=1200"
    swarm.first.docker(
        "network", "create", "-d", "overlay", "--ingress", "--subnet", "10.11.0.0/16", "--opt", option, "mine"
    )
    one, two = on_two(swarm)
    for name, answers in swarm.answers(4).items():
        assert answers == {f"{each} {swarm.client.address}": 2 for each in (one, two)}, name
    for host in swarm.hosts:
        assert "mtu 1150 " in mesh_of(host)[0]
