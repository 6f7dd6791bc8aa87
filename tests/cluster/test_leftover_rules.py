"""Packet rules that are left of a Docker Engine, in either kind of iptables, and of a shoald that is gone.

They swallow what is published here later (known fault 30). An engine that runs keeps its own, and everybody else
theirs.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.swarms import IMAGE, make_swarm
from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import Host, eventually, run
from tests.harness.images import busybox_rootfs
from tests.harness.network import Network, network

pytestmark = pytest.mark.root

OURS = "echo shoal > /www/index.html; exec httpd -f -p 80 -h /www"
# What Swarm's mesh writes (moby libnetwork/service_linux.go). A kernel without IPVS does not let dockerd get there.
MESH = """\
*nat
:DOCKER-INGRESS - [0:0]
-I PREROUTING -m addrtype --dst-type LOCAL -j DOCKER-INGRESS
-I OUTPUT -m addrtype --dst-type LOCAL -j DOCKER-INGRESS
-A DOCKER-INGRESS -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.19.0.2:8080
-A DOCKER-INGRESS -j RETURN
COMMIT
*filter
:DOCKER-INGRESS - [0:0]
-I FORWARD -j DOCKER-INGRESS
-A DOCKER-INGRESS -p tcp -m tcp --dport 8080 -j ACCEPT
-A DOCKER-INGRESS -j RETURN
COMMIT
"""
USERS = """\
*nat
-A PREROUTING -p tcp -m tcp --dport 99 -j DNAT --to-destination 10.9.9.9:99
COMMIT
*filter
-I DOCKER-USER -s 198.51.100.7/32 -j DROP
-A INPUT -s 198.51.100.8/32 -j DROP
COMMIT
"""


class Site:
    """A host with a dockerd beside shoald, and one that asks it."""

    def __init__(self, net: Network, kind: str, engine: DockerEngine, programs: Path) -> None:
        self.kind = kind
        self._programs = programs
        self.host, self.client = net.add("one", start=False), net.add("client", start=False)
        self.engine = engine
        run("ip", "netns", "delete", engine.namespace)
        engine.namespace, engine.address = self.host.namespace, self.host.address

    def start_engine(self) -> None:
        """Start dockerd, with this kind of iptables, and a container of its own at port 8081."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", str(self._programs), prepend=":")
            self.engine.start()
        (self.engine.folder / "image.tar").write_bytes(busybox_rootfs())
        self.engine.docker("import", str(self.engine.folder / "image.tar"), IMAGE)
        self.engine.docker(
            "run", "-d", "--stop-timeout", "1", "-p", "8081:80", IMAGE, "httpd", "-f", "-p", "80", "-h", "/www"
        )
        eventually(
            lambda: self.page(8081) == "hello from shoal", "the engine's own container answers", show=self.engine.log
        )

    def rules(self) -> str:
        """Return the rules in iptables of this kind, without counters and comments."""
        lines = run(*self.host.inside(f"iptables-{self.kind}-save")).stdout.splitlines()
        return "\n".join(line.partition(" [")[0] for line in lines if not line.startswith("#"))

    def restore(self, text: str) -> None:
        run(*self.host.inside(f"iptables-{self.kind}-restore", "--noflush"), input=text)

    def page(self, port: int) -> str:
        command = ("curl", "-s", "-m", "2", f"http://{self.host.address}:{port}/")
        return run(*self.client.inside(*command), check=False).stdout.strip()

    def dockers(self) -> list[str]:
        """Return what there is of Docker's."""
        kept = ("-A DOCKER-USER", "-A FORWARD -j DOCKER-USER", ":DOCKER-USER")
        lines = [line for line in self.rules().splitlines() if not line.startswith(kept)]
        return [line for line in lines if "DOCKER" in line or "docker0" in line or line == ":FORWARD DROP"]


@pytest.fixture(params=["nft", "legacy"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    for name in ("iptables", "ip6tables"):
        (tmp_path / name).symlink_to(f"/usr/sbin/{name}-{request.param}")
    engine = DockerEngine("engine")
    try:
        with network("leftrules") as net:
            found = Site(net, request.param, engine, tmp_path)
            yield found
            found.host.docker("swarm", "leave", "--force", check=False)
    finally:
        engine.close()


def serve(site: Site, port: int, mode: str = "ingress") -> None:
    """Publish a port, and wait until it leads to us."""
    publish = f"mode={mode},target=80,published={port}"
    site.host.docker(
        "service",
        "create",
        "-d",
        "--no-resolve-image",
        "--stop-grace-period",
        "0s",
        "-p",
        publish,
        IMAGE,
        "sh",
        "-c",
        OURS,
    )
    eventually(lambda: site.page(port) == "shoal", f"port {port} leads here", show=site.host.log)


def test_rules_of_an_engine_stay_while_it_runs_and_go_with_it_and_nobody_elses_do(site: Site) -> None:
    host, engine = site.host, site.engine
    # dockerd turns it on, and then lets nothing through that it does not know.
    run(*host.inside("sysctl", "-qw", "net.ipv4.ip_forward=0"))
    site.start_engine()
    site.restore(USERS)
    site.restore(MESH)
    before = site.rules()
    assert ":FORWARD DROP" in before

    # An engine that runs.
    host.start()
    assert site.rules() == before
    assert site.page(8081) == "hello from shoal"
    assert host.stop() == 0

    # One that was killed before we start.
    engine.stop()
    assert len(site.dockers()) > 20, "it has left its rules"
    host.start()
    assert site.dockers() == []
    assert "packet rules that a Docker Engine left were removed" in host.log()
    now = site.rules().splitlines()
    for line in (line for line in USERS.splitlines() if line.startswith("-")):
        assert line.replace("-I", "-A") in now, "it is a user's"
    assert "-A FORWARD -j DOCKER-USER" in now
    make_swarm(host, "--advertise-addr", host.address)
    serve(site, 8080)
    serve(site, 8081, "host")
    # The way out of a container.
    (netns, *_) = (host.exec_root / "netns").iterdir()
    run("nsenter", f"--net={netns}", "--", "busybox", "ping", "-c", "1", "-W", "3", site.client.address)


@pytest.mark.parametrize("site", ["nft"], indirect=True)
def test_rules_of_an_engine_that_dies_while_we_run_go(site: Site) -> None:
    """Of two chains at one place the one that was made last comes first: the mesh's is older here."""
    host, engine = site.host, site.engine
    host.start()
    make_swarm(host, "--advertise-addr", host.address)
    serve(site, 8080)
    site.start_engine()
    site.restore(USERS)
    assert site.page(8080) == "shoal"
    engine.stop()
    eventually(lambda: not site.dockers(), "its rules are gone", patience=90, show=host.log)
    assert "-A DOCKER-USER -s 198.51.100.7/32 -j DROP" in site.rules()
    serve(site, 8081)


def test_rules_of_a_shoald_that_is_gone_go() -> None:
    with network("leftshoal") as net:
        first, client = net.add("first"), net.add("client", start=False)
        make_swarm(first)
        first.docker(
            "service", "create", "-d", "--no-resolve-image", "--name", "web",
            "-p", "8080:80", IMAGE, "sh", "-c", OURS,
        )  # fmt: skip
        tag, inside = first.tag(), first.inside

        def page() -> str:
            command = ("curl", "-s", "-m", "2", f"http://{first.address}:8080/")
            return run(*client.inside(*command), check=False).stdout.strip()

        eventually(lambda: page() == "shoal", "the mesh leads to it", show=first.log)
        assert first.process is not None
        first.process.kill()
        first.process.wait()
        first._end_processes()
        for mount in sorted(first._mounts(), reverse=True):
            run("umount", "-l", mount, check=False)
        for folder in (first.data_root, first.exec_root):
            shutil.rmtree(folder, ignore_errors=True)
        eventually(lambda: "master" not in run(*inside("ip", "-o", "link")).stdout, "no container is left")
        left = run(*inside("nft", "list", "tables")).stdout
        assert f"table ip shoal_{tag}_mesh" in left
        run(*inside("nft", "add", "table", "ip", "shoal_mine"))
        second = Host("second", namespace=False)
        second.namespace, second.address = first.namespace, first.address
        try:
            second.start()
            tables = run(*inside("nft", "list", "tables")).stdout
            assert tag not in tables
            assert "table ip shoal_mine" in tables
            assert f"vxi{tag}" not in run(*inside("ip", "-o", "link")).stdout
            assert "40000" not in run(*inside("ip", "rule")).stdout
            assert "packet rules that a shoald that is gone left were removed" in second.log()
            assert second.stop() == 0
        finally:
            second.namespace = ""
            second.close()
