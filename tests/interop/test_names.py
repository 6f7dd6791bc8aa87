"""Names in sandboxes, asked by the resolvers that containers use; and Docker's resolver compared with ours."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shoal.network.names.resolvconf import resolv_conf
from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import eventually, run
from tests.harness.name_server import NameServerProgram, Setup
from tests.harness.names_twin import addresses, netns
from tests.harness.resolvers import GLIBC, MANY, Dug, dig, dnsmasq, musl_program, resolve
from tests.interop.conftest import import_image

HOST, ASKER, INNER, FLOOD = (f"shoal-names-{name}-{os.getpid()}" for name in ("host", "asker", "inner", "flood"))
RESOLVER = "10.77.0.2"  # the host's resolver, and an address in the asker's own subnet
LIAR = "10.77.0.3"
VIP, ONE, TWO, THREE, FOUR = "10.0.1.9", "10.0.1.3", "10.0.1.4", "10.0.1.5", "10.0.1.6"
SIX = "fd00:1::3"
# A machine that is busy with other tests sends a flood slowly.
LIMITS = {"rate": 400.0, "outside_rate": 50.0}
WEB = {"service_id": "s", "service_name": "web", "vip": VIP}
RECORDS: list[tuple[str, dict[str, Any]]] = [
    ("front", {"name": "web.1.x", "address": ONE, "aliases": ["shop"], **WEB}),
    ("front", {"name": "web.2.x", "address": TWO, **WEB}),
    ("front", {"name": "rr.1.x", "address": THREE, "service_id": "r", "service_name": "rr"}),
    ("front", {"name": "rr.2.x", "address": FOUR, "service_id": "r", "service_name": "rr"}),
    ("front", {"name": "six", "address": SIX}),
    ("back", {"name": "hidden", "address": "10.0.2.3"}),
    *[
        ("front", {"name": f"m.{n}", "address": f"10.1.0.{n}", "service_id": "m", "service_name": "crowd"})
        for n in range(250)
    ],
]


def path(namespace: str) -> str:
    return f"/run/netns/{namespace}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("names")
    (made / "host.conf").write_text(f"nameserver 127.0.0.53\nnameserver {RESOLVER}\nsearch test\n")
    (made / "asker.conf").write_text(resolv_conf((made / "host.conf").read_text()))
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[NameServerProgram]:
    """Yield a host with a resolver only on its loopback, and three sandboxes."""
    try:
        for name in (HOST, ASKER, INNER, FLOOD):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        for name, address in ((HOST, f"{RESOLVER}/32"), (HOST, f"{LIAR}/32"), (ASKER, f"{RESOLVER}/24")):
            run("ip", "-n", name, "address", "add", address, "dev", "lo")
        networks = {ASKER: ["front"], INNER: ["back"], FLOOD: ["front"]}
        sandboxes = {name: (path(name), on) for name, on in networks.items()}
        setup = Setup(
            str(folder / "host.conf"), {"front": False, "back": True}, sandboxes, list(RECORDS), limits=LIMITS
        )
        with dnsmasq(HOST, folder, ["127.0.0.53", RESOLVER]), NameServerProgram(HOST, setup, folder) as made:
            yield made
    finally:
        for name in (HOST, ASKER, INNER, FLOOD):
            run("ip", "netns", "delete", name, check=False)


@pytest.mark.parametrize(
    ("words", "status", "records"),
    [
        (("web",), "NOERROR", {("A", VIP)}),
        (("SHOP",), "NOERROR", {("A", VIP)}),
        (("tasks.web",), "NOERROR", {("A", ONE), ("A", TWO)}),
        (("rr.front",), "NOERROR", {("A", THREE), ("A", FOUR)}),
        (("web", "AAAA"), "NOERROR", set()),
        (("web", "MX"), "NOERROR", set()),
        (("six", "AAAA"), "NOERROR", {("AAAA", SIX)}),
        (("-x", TWO), "NOERROR", {("PTR", "web.2.x.front.")}),
        (("-x", SIX), "NOERROR", {("PTR", "six.front.")}),
        (("hidden",), "NXDOMAIN", set()),
        (("nobody.test",), "NXDOMAIN", set()),
        (("outside.test",), "NOERROR", {("A", "192.0.2.7")}),
        (("text.test", "TXT"), "NOERROR", {("TXT", '"hello"')}),
        (("-x", "192.0.2.9"), "NOERROR", {("PTR", "nine.test.")}),
        (("outside.test", "+edns=0", "+cookie"), "NOERROR", {("A", "192.0.2.7")}),
    ],
)
@pytest.mark.parametrize("how", ["+notcp", "+tcp"])
def test_dig_finds_names_inside_and_outside(
    server: NameServerProgram, words: tuple[str, ...], status: str, records: set[tuple[str, str]], how: str
) -> None:
    """Names outside are asked by the host's loopback, although the resolver's other address is in the asker's own
    subnet (known fault 20).
    """
    found = dig(path(ASKER), *words, how)
    assert (found.status, set(found.records)) == (status, records)
    assert found.tcp == (how == "+tcp")


def test_an_internal_network_leads_nowhere_outside(server: NameServerProgram) -> None:
    assert dig(path(INNER), "hidden").records == {("A", "10.0.2.3")}
    assert dig(path(INNER), "web").status == "SERVFAIL"
    assert dig(path(INNER), "outside.test").status == "SERVFAIL"


def test_a_long_answer_is_cut_off_by_udp_and_whole_by_tcp(server: NameServerProgram) -> None:
    small = dig(path(ASKER), "tasks.crowd", "+noedns", "+ignore")
    assert "tc" in small.flags
    assert 20 < len(small.records) < 40
    assert not small.edns
    larger = dig(path(ASKER), "crowd", "+bufsize=1232", "+ignore")
    assert "tc" in larger.flags
    assert len(larger.records) == 74
    assert larger.edns
    for words in (["+bufsize=1232"], ["+noedns"], ["+bufsize=4096"]):  # dig asks again by TCP if it must
        found = dig(path(ASKER), "crowd", *words)
        assert len(found.records) == 250
        assert found.tcp == ("+bufsize=4096" not in words)
        assert found.ttls == {"600"}


def test_a_long_answer_from_outside_is_passed_on(server: NameServerProgram) -> None:
    many = {("A", one) for one in MANY}
    assert "tc" in dig(path(ASKER), "many.test", "+noedns", "+ignore").flags
    assert dig(path(ASKER), "many.test").records == many
    assert dig(path(ASKER), "many.test", "+bufsize=4096").records == many


def test_libcs_resolve_names(server: NameServerProgram, folder: Path) -> None:
    conf = folder / "asker.conf"
    musl = str(musl_program(folder))
    # The system's own Python, because one that was built elsewhere may have another libc.
    for command in ((musl,), ("/usr/bin/python3", "-c", GLIBC)):

        def found(name: str, command: tuple[str, ...] = command) -> set[str]:
            done = resolve(path(ASKER), conf, *command, name)
            return set() if done.returncode else set(done.stdout.split())

        assert found("web") == {VIP}
        assert found("tasks.web") == {ONE, TWO}
        assert found("rr") == {THREE, FOUR}
        assert found("six") == {SIX}
        assert found("outside.test") == {"192.0.2.7"}
        # By the host's search list, after the name itself. musl uses no search list for a name with as many dots as
        # `ndots`.
        assert found("outside") == (set() if command == (musl,) else {"192.0.2.7"})
        assert found("nobody.test") == set()


def test_busyboxs_nslookup_resolves_names(server: NameServerProgram, folder: Path) -> None:
    conf = folder / "plain.conf"  # it appends the search list to all names of one label, whatever `ndots` says
    conf.write_text("nameserver 127.0.0.11\noptions ndots:0\n")

    def found(*words: str) -> str:
        return resolve(path(ASKER), conf, "/bin/busybox", "nslookup", *words).stdout

    assert VIP in found("web")
    assert THREE in found("rr.1.x")
    assert "192.0.2.7" in found("outside.test")
    assert "NXDOMAIN" in found("nobody.test")
    assert "web.2.x.front" in found(TWO)


def test_a_record_that_comes_and_goes_is_answered_from_then_on(server: NameServerProgram) -> None:
    new = {"name": "new.1.x", "address": "10.0.1.77", "service_id": "n", "service_name": "new", "vip": "10.0.1.70"}
    assert dig(path(ASKER), "new").status == "NXDOMAIN"
    server.change("front", "new", new)
    assert dig(path(ASKER), "new").records == {("A", "10.0.1.70")}
    server.change("front", "new", {**new, "vip": None})
    assert dig(path(ASKER), "new").records == {("A", "10.0.1.77")}
    server.change("front", "new", None)
    assert dig(path(ASKER), "new").status == "NXDOMAIN"


LIAR_PROGRAM = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
stranger.bind((sys.argv[1], 0))
print("ready", flush=True)
while True:
    asked, address = server.recvfrom(4096)
    end = asked.index(b"\\0", 12) + 5
    def reply(last, number=asked[:2], question=asked[12:end]):
        head = number + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0"
        return head + question + b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4\\xc0\\0\\2" + bytes([last])
    stranger.sendto(reply(66), address)
    for guess in range(10):
        server.sendto(reply(66, bytes([asked[0] ^ 1, guess])), address)
    server.sendto(reply(66, question=b"\\4evil\\4test\\0\\0\\1\\0\\1"), address)
    server.sendto(b"", address)
    server.sendto(reply(1), address)
"""


def test_forged_answers_are_not_believed(server: NameServerProgram, folder: Path) -> None:
    liar = subprocess.Popen(
        ["nsenter", f"--net={path(HOST)}", sys.executable, "-c", LIAR_PROGRAM, LIAR], stdout=subprocess.PIPE, text=True
    )
    conf = folder / "host.conf"
    before = conf.read_text()
    try:
        assert liar.stdout
        assert liar.stdout.readline() == "ready\n"
        conf.write_text(f"nameserver {LIAR}\n")
        assert dig(path(ASKER), "true.test", "+noedns").records == {("A", "192.0.2.1")}
    finally:
        conf.write_text(before)
        liar.kill()
        liar.communicate()


FLOOD_PROGRAM = """
import socket, sys
flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
flood.setblocking(False)
flood.connect(("127.0.0.11", 53))
number = 0
print("ready", flush=True)
while True:
    number += 1
    name = b"\\3web\\0" if number % 2 else b"\\7outside\\4test\\0"
    try:
        flood.send(number.to_bytes(4, "big")[2:] + b"\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + name + b"\\0\\1\\0\\1")
        flood.recv(4096)
    except OSError:
        pass
"""


def test_a_container_that_floods_is_limited_and_the_others_are_not(server: NameServerProgram) -> None:
    flood = subprocess.Popen(
        ["nsenter", f"--net={path(FLOOD)}", sys.executable, "-c", FLOOD_PROGRAM], stdout=subprocess.PIPE, text=True
    )
    try:
        assert flood.stdout
        assert flood.stdout.readline() == "ready\n"
        eventually(lambda: server.counts()["refused"] > 20, "the flood is refused questions outside")
        eventually(lambda: server.counts()["paused"] > 5, "the flood waits")
        for _ in range(10):
            assert dig(path(ASKER), "web").records == {("A", VIP)}
            assert dig(path(ASKER), "outside.test").records == {("A", "192.0.2.7")}
    finally:
        flood.kill()
        flood.communicate()


def test_port_53_is_the_containers_own(server: NameServerProgram) -> None:
    """If we bound the port directly, a container could not listen on it on all addresses."""
    script = "import socket\nfor kind in (1, 2): socket.socket(2, kind).bind(('0.0.0.0', 53))"
    run("nsenter", f"--net={path(ASKER)}", sys.executable, "-c", script)


# Names of the containers below, and unknown names; the last ones are asked outside.
QUESTIONS = [
    ("web",),
    ("WEB",),
    ("shop",),
    ("web.net1",),
    ("web.net2",),
    ("web.nowhere",),
    ("shop.net1",),
    ("both",),
    ("both.net2",),
    ("inner",),
    ("web", "AAAA"),
    ("shop", "MX"),
    ("web", "TXT"),
    ("web", "SRV"),
    ("web", "+edns=0", "+bufsize=4096"),
    ("web", "+norecurse"),
    ("web", "+tcp"),
    ("both", "+tcp"),
    ("nobody",),
    ("nobody", "AAAA"),
    ("tasks.web",),
    ("outside.test",),
    ("outside.test", "AAAA"),
    ("other.test",),
    ("nobody.test",),
    ("text.test", "TXT"),
    ("mail.test", "MX"),
    ("many.test", "+noedns", "+ignore"),
    ("many.test",),
    ("-x", "192.0.2.9"),
    ("-x", "192.0.2.10"),
]


NDOTS = [("nobody",), ("nobody", "AAAA"), ("nobody", "TXT"), ("web", "AAAA"), ("nobody.test",), ("outside.test",)]
INSIDE = [("inner",), ("both",), ("both.net2",), ("inner", "AAAA"), ("inner", "MX"), ("INNER.net2", "+tcp")]


def _alike(found: Dug) -> Dug:
    """Remove what is meant to differ."""
    # We follow RFC 6891, 6.1.1: a question with EDNS gets an answer with EDNS. Docker's own answers have none. 20.10
    # passes on that the last server refused a question. Later versions, and we, say that nobody had an answer.
    status = {"REFUSED": "SERVFAIL"}.get(found.status, found.status)
    # Such an answer of 26.1 does not say any more that it would ask others.
    flags = found.flags - {"ra"} if status == "SERVFAIL" else found.flags
    return replace(found, edns=False, status=status, flags=flags)


@pytest.fixture(scope="module")
def docker(folder: Path) -> Iterator[DockerEngine]:
    engine = DockerEngine("names")
    try:
        engine.start()
        import_image(engine)
        yield engine
    finally:
        engine.close()


def container(engine: DockerEngine, name: str, *flags: str) -> None:
    """Start a container that asks the host's resolver for names outside."""
    engine.docker("run", "-d", "--name", name, f"--dns={engine.address}", *flags, "bb:latest", "sleep", "600")


def test_docker_answers_the_same_questions_alike(docker: DockerEngine, folder: Path) -> None:
    """On one host: dockerd 20.10 with its resolver, and ours with the same containers and the same server outside."""
    docker.docker("network", "create", "net1")
    docker.docker("network", "create", "--internal", "net2")
    container(docker, "web", "--network=net1", "--network-alias=shop")
    container(docker, "shop2", "--network=net1", "--network-alias=shop")
    container(docker, "both", "--network=net1")
    docker.docker("network", "connect", "net2", "both")
    container(docker, "inner", "--network=net2")
    container(docker, "asker", "--network=net1")
    container(docker, "insider", "--network=net2")
    container(docker, "dotter", "--network=net1", "--dns-option=ndots:2")
    records = []
    for name, aliases in (("web", ["shop"]), ("shop2", ["shop"]), ("both", []), ("inner", [])):
        for network, address in addresses(docker, name).items():
            records.append((network, {"name": name, "address": address, "task_aliases": aliases}))
    twins = {name: f"shoal-twin-{name}-{os.getpid()}" for name in ("asker", "insider", "dotter")}
    on = {"asker": "net1", "insider": "net2", "dotter": "net1"}
    sandboxes = {name: (path(twins[name]), [network]) for name, network in on.items()}
    try:
        for name in twins.values():
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        setup = Setup("/nowhere", {"net1": False, "net2": True}, sandboxes, records, [docker.address], ndots=["dotter"])
        with dnsmasq(docker.namespace, folder, [docker.address]), NameServerProgram(docker.namespace, setup, folder):
            web = next(fields["address"] for network, fields in records if fields["name"] == "web")
            asked = [("asker", words) for words in [*QUESTIONS, ("-x", str(web))]]
            asked += [("insider", words) for words in INSIDE] + [("dotter", words) for words in NDOTS]
            theirs = {name: netns(docker, name) for name in twins}
            ours = {name: path(twin) for name, twin in twins.items()}
            different = []
            with ThreadPoolExecutor(8) as pool:  # some questions are answered only when a server has been waited for
                found = [[pool.submit(dig, of[name], *words) for of in (theirs, ours)] for name, words in asked]
            for (name, words), both in zip(asked, found, strict=True):
                one, other = (_alike(each.result()) for each in both)
                if words[0] == "many.test" and "+ignore" in words:  # any part of the whole
                    one, other = replace(one, records=frozenset()), replace(other, records=frozenset())
                if one != other:
                    different.append((name, *words, one, other))
            assert not different, "\n".join(map(str, different))
            # Docker up to 26.0 asked servers outside for containers that may not reach them (CVE-2024-29018).
            assert dig(path(twins["insider"]), "outside.test").status == "SERVFAIL"
            written = docker.docker("exec", "dotter", "cat", "/etc/resolv.conf").stdout
            assert [line for line in written.splitlines() if line.startswith("options")] == ["options ndots:2"]
    finally:
        for name in twins.values():
            run("ip", "netns", "delete", name, check=False)
