"""`shoald` as a program: its flags, its sockets, how it starts, ends and refuses."""

import grp
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.hosts import Host, docker_program, eventually, host, patient, run
from tests.interop.certificates import Authority
from tests.interop.conftest import import_image
from tests.interop.connections import connect, sockets
from tests.interop.services import create, create_detached, only, running, tasks

TCP = "tcp://127.0.0.1:2376"
METRICS = "127.0.0.1:9323"
SOON = patient(
    10.0
)  # seconds; it takes well under one if nothing else runs, and more than this if a call is waited for


class Secured:
    """A host with its API also on TCP, and the certificates of both sides."""

    def __init__(self, on: Host, authority: Authority) -> None:
        self.host = on
        self.authority = authority

    def docker(
        self, *arguments: str, certificate: tuple[Path, Path] | None = None, check: bool = True, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run Docker's CLI over TCP, with or without a client certificate."""
        flags = ["--tlsverify", f"--tlscacert={self.authority.certificate}"]
        if certificate is not None:
            flags += [f"--tlscert={certificate[0]}", f"--tlskey={certificate[1]}"]
        empty = {**os.environ, "DOCKER_CERT_PATH": "/nonexistent"}
        command = self.host.inside(docker_program(), "-H", TCP, *flags, *arguments)
        return run(*command, check=check, **{"env": empty, **options})

    def curl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call the API over TCP with curl."""
        return run(*self.host.inside("curl", "-sS", "-m", "10", *arguments), check=False)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    authority = Authority(tmp_path_factory.mktemp("tls") / "authority")
    certificate, key = authority.issue("daemon", "serverAuth")
    tls = ("--tlsverify", f"--tlscacert={authority.certificate}", f"--tlscert={certificate}", f"--tlskey={key}")
    labels = ("--label", "zone=red", "--label", "disk=ssd")
    with host("tls") as made:
        made.stop()
        made.start("-H", TCP, *tls, *labels, "--metrics-addr", METRICS, "-D")
        made.docker("swarm", "init", "--advertise-addr", "10.99.0.1")
        import_image(made)
        yield Secured(made, authority)
        made.docker("swarm", "leave", "--force")
        assert made.stop() == 0
        assert not made.leftovers()


@pytest.fixture(scope="module")
def client(secured: Secured) -> tuple[Path, Path]:
    """Return a client's certificate and key."""
    return secured.authority.issue("client", "clientAuth")


def test_docker_works_over_tls(secured: Secured, client: tuple[Path, Path]) -> None:
    assert "Shoal" in secured.docker("version", certificate=client).stdout
    create(secured.host, "tls")
    container = only(secured.host, "tls")
    assert secured.docker("service", "ps", "-q", "tls", certificate=client).stdout
    # A raw stream in both directions, of which the client ends its side first.
    done = secured.docker("exec", "-i", container, "cat", certificate=client, input="over tls\n" * 20_000)
    assert done.stdout == "over tls\n" * 20_000
    done = secured.docker("exec", container, "sh", "-c", "exit 3", certificate=client, check=False)
    assert done.returncode == 3
    secured.docker("service", "rm", "tls", certificate=client)


def test_environment_of_docker_names_the_certificates(
    secured: Secured, client: tuple[Path, Path], tmp_path: Path
) -> None:
    for name, file in {"ca.pem": secured.authority.certificate, "cert.pem": client[0], "key.pem": client[1]}.items():
        (tmp_path / name).write_bytes(file.read_bytes())
    env = {**os.environ, "DOCKER_HOST": TCP, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    assert run(*secured.host.inside(docker_program(), "info", "--format", "{{.Driver}}"), env=env).stdout


def test_shoal_saves_the_swarm_over_tls(secured: Secured, client: tuple[Path, Path], tmp_path: Path) -> None:
    def shoal(host: str, *flags: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "shoal.cli.main", "-H", host, *flags, "swarm", "backup", "-q")
        return run(*secured.host.inside(*command, str(tmp_path / "file")), check=False)

    ca = f"--tlscacert={secured.authority.certificate}"
    right = ("--tlsverify", ca, f"--tlscert={client[0]}", f"--tlskey={client[1]}")
    stranger = Authority(tmp_path / "stranger")
    foreign = stranger.issue("client", "clientAuth")
    for flags, text in (
        ((), "the connection to tcp://127.0.0.1:2376 "),
        (("--tlsverify", ca, f"--tlscert={foreign[0]}", f"--tlskey={foreign[1]}"), "the connection to tcp://"),
        ((*right, f"--tlscacert={stranger.certificate}"), "tcp://127.0.0.1:2376 is not to be believed: "),
    ):
        done = shoal(TCP, *flags)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert text in done.stderr
        assert not (tmp_path / "file").exists()
    assert shoal(TCP, *right).returncode == 0
    assert (tmp_path / "file").read_bytes().startswith(b"shoal backup 1")


def test_client_without_the_right_certificate_is_refused(secured: Secured, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger").issue("client", "clientAuth")
    server = secured.authority.issue("posing", "serverAuth")
    for certificate in (None, stranger, server):
        done = secured.docker("version", "--format", "{{.Server.Version}}", certificate=certificate, check=False)
        assert done.returncode == 1, certificate
        assert "error during connect" in done.stderr.lower(), done.stderr
    assert secured.curl("--cacert", str(secured.authority.certificate), "https://127.0.0.1:2376/_ping").returncode != 0
    assert secured.curl("http://127.0.0.1:2376/_ping").stdout == ""


def test_old_tls_is_refused(secured: Secured, client: tuple[Path, Path]) -> None:
    files = ("--cacert", str(secured.authority.certificate), "--cert", str(client[0]), "--key", str(client[1]))
    address = "https://127.0.0.1:2376/_ping"
    assert secured.curl(*files, "--tlsv1.2", "--tls-max", "1.2", address).stdout == "OK"
    assert secured.curl(*files, "--tlsv1.3", address).stdout == "OK"
    assert secured.curl(*files, "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "ALL@SECLEVEL=0", address).stdout == ""


def test_labels_show_and_constrain(secured: Secured) -> None:
    on = secured.host
    info = json.loads(on.docker("info", "--format", "{{json .Labels}}").stdout)
    assert sorted(info) == ["disk=ssd", "zone=red"]
    engine = json.loads(on.docker("node", "inspect", "self").stdout)[0]["Description"]["Engine"]
    assert engine["Labels"] == {"disk": "ssd", "zone": "red"}
    create(on, "here", "--constraint", "engine.labels.zone==red")
    create_detached(on, "nowhere", "--constraint", "engine.labels.zone==blue")
    assert running(on, "here")
    (task,) = eventually(
        lambda: [task for task in tasks(on, "nowhere") if task["Status"].get("Err")], "it says why", show=on.log
    )
    assert task["Status"]["State"] == "pending"
    assert "no suitable node" in task["Status"]["Err"]
    on.docker("service", "rm", "here", "nowhere")


def test_metrics_are_in_prometheus_text(secured: Secured) -> None:
    answer = secured.curl("-i", f"http://{METRICS}/metrics").stdout
    head, _, body = answer.partition("\n\n")
    assert re.search(r"(?i)^content-type: text/plain; version=0\.0\.4", head, re.MULTILINE)
    sample = re.compile(r'[a-z_]+(\{([a-z_]+="([^"\\\n]|\\.)*",?)*\})? [0-9.e+]+$')
    kinds: set[str] = set()
    for line in body.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            assert name not in kinds, f"{name} comes twice"
            kinds.add(name)
        elif not line.startswith("# HELP "):
            assert sample.match(line), line
            assert re.split(r"[ {]", line)[0] in kinds, line
    assert "swarm_node_manager 1" in body
    assert "shoal_network_process_up " in body
    assert 'swarm_manager_nodes{state="ready"} 1' in body
    assert "404" in secured.curl("-i", f"http://{METRICS}/").stdout.splitlines()[0]


def test_debug_logs_more(secured: Secured) -> None:
    assert secured.host.docker("info", "--format", "{{.Debug}}").stdout == "true\n"
    assert " DEBUG " in secured.host.log()


@pytest.mark.parametrize("version", ["1.24", "1.41", "1.43"])
def test_docker_speaks_older_apis(secured: Secured, version: str) -> None:
    on = secured.host
    create(on, "old")
    env = {**os.environ, "DOCKER_API_VERSION": version}
    for command in (
        ("version",),
        ("info",),
        ("ps", "-a"),
        ("images",),
        ("service", "ls"),
        ("service", "ps", "old"),
        ("service", "inspect", "--pretty", "old"),
        ("node", "ls"),
        ("network", "ls"),
        ("volume", "ls"),
        ("exec", only(on, "old"), "true"),
    ):
        done = on.docker(*command, env=env)
        assert "rror" not in done.stderr, command
    assert f"API version:       {version}" in on.docker("version", env=env).stdout.partition("Server")[0]
    on.docker("service", "rm", "old")


@pytest.mark.parametrize(("version", "words"), [("1.23", "too old"), ("1.99", "too new")])
def test_apis_that_we_do_not_speak_are_refused(secured: Secured, version: str, words: str) -> None:
    out = secured.host.curl(f"/v{version}/info", "-w", "\n%{http_code}")
    body, _, status = out.rpartition("\n")
    assert status == "400"
    assert f"client version {version} is {words}" in json.loads(body)["message"]


# --- starts that are refused


def shoald(*flags: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a daemon that must refuse to start."""
    roots = (f"--data-root={folder}/data", f"--exec-root={folder}/exec")
    command = [sys.executable, "-m", "shoal.daemon.main", *roots, *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder with a path short enough for a socket, and an empty configuration file in it."""
    with tempfile.TemporaryDirectory(prefix="shoal-t-") as name:
        (Path(name) / "empty.json").write_text("{}")
        yield Path(name)


def refusal(folder: Path, *flags: str, config: str = "") -> str:
    """Return the one line with which a daemon refuses to start."""
    file = folder / "daemon.json"
    file.write_text(config or "{}")
    done = shoald(f"--config-file={file}", *flags, folder=folder)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if not re.match(r"\d{4}-\d\d-\d\d .* (INFO|WARNING) ", line)]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("shoald: ")
    return lines[0]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-H", "tcp://127.0.0.1:2375"), "--tlsverify --tlscacert --tlscert --tlskey"),
        (("-H", "tcp://127.0.0.1:2376", "--tlsverify"), "--tlsverify --tlscacert --tlscert --tlskey"),
        (("-H", "http://127.0.0.1:1"), "unix:///path or tcp://address:port"),
        (("--label", "novalue"), "key=value"),
    ],
    ids=["tcp", "half-tls", "http", "label"],
)
def test_flags_that_are_refused(folder: Path, flags: tuple[str, ...], words: str) -> None:
    assert words in refusal(folder, *flags)
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("config", "flags", "words"),
    [
        ('{"hots": []}', (), "don't match any configuration option: hots"),
        ('{"debug": "yes"}', (), "debug has the wrong type"),
        ("{", (), "unable to configure shoald with file"),
        ("[]", (), "it is not a JSON object"),
        ('{"labels": ["a=b"]}', ("--label", "c=d"), "specified both as a flag and in the configuration file: labels"),
    ],
    ids=["key", "type", "json", "list", "both"],
)
def test_configuration_files_that_are_refused(folder: Path, config: str, flags: tuple[str, ...], words: str) -> None:
    line = refusal(folder, *flags, config=config)
    assert words in line
    assert not (folder / "data").exists()


def test_configuration_file_that_is_not_there_is_named(folder: Path) -> None:
    done = shoald("--config-file=/nonexistent.json", folder=folder)
    assert done.returncode == 1
    assert "/nonexistent.json" in done.stderr


def test_tls_files_that_do_not_fit_are_named(folder: Path) -> None:
    first, second = Authority(folder / "a"), Authority(folder / "b")
    certificate, _ = first.issue("daemon", "serverAuth")
    _, key = second.issue("daemon", "serverAuth")
    flags = ("-H", f"unix://{folder}/s", "-H", "tcp://127.0.0.1:0", "--tlsverify", f"--tlscacert={first.certificate}")
    assert "--tlscert" in refusal(folder, *flags, f"--tlscert={certificate}", f"--tlskey={key}")
    assert "--tlscert" in refusal(folder, *flags, f"--tlscert={certificate}", "--tlskey=/nonexistent")
    assert not (folder / "s").exists()


def test_damaged_engine_id_is_named_and_kept(folder: Path) -> None:
    (folder / "data").mkdir()
    file = folder / "data" / "engine-id"
    for text in ("", "rubbish\n", "\0" * 36):
        file.write_text(text)
        assert str(file) in refusal(folder, "-H", f"unix://{folder}/s")
        assert file.read_text() == text
    file.write_bytes(b"\xff\xfe")
    assert str(file) in refusal(folder, "-H", f"unix://{folder}/s")


def test_socket_and_ports_in_use_are_named(secured: Secured, folder: Path) -> None:
    line = refusal(folder, "-H", f"unix://{secured.host.socket}")
    assert "another daemon does" in line
    assert secured.host.docker("info", check=False).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in refusal(folder, "-H", f"unix://{folder}/s", "--metrics-addr", address)
    assert not (folder / "s").exists()


# --- sockets, files, ends


def test_socket_lets_in_its_group_alone(folder: Path) -> None:
    folder.chmod(0o755)
    path = folder / "group.sock"
    # Any group of the machine except root's.
    group = grp.getgrnam("staff")
    with host("group") as made:
        made.stop()
        made.start("-G", group.gr_name, "-H", f"unix://{path}")
        for each in (path, made.socket):
            found = each.stat()
            assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, group.gr_gid)
        curl = ("curl", "-sS", "--unix-socket", str(path), "http://d/_ping")
        nobody = ("setpriv", "--reuid=65534", "--regid=65534")
        assert run(*nobody, f"--groups={group.gr_gid}", *curl).stdout == "OK"
        assert run(*nobody, "--clear-groups", *curl, check=False).returncode != 0
        assert made.stop() == 0
        assert not path.exists()
        assert not made.socket.exists()


def test_group_docker_is_taken_where_there_is_one(bare: Host) -> None:
    found = bare.socket.stat()
    try:
        wanted = grp.getgrnam("docker").gr_gid
    except KeyError:
        wanted = 0
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, wanted)


def test_configuration_file_is_heard() -> None:
    with host("file", start=False) as made:
        content = {"labels": ["a=b"], "debug": True, "metrics-addr": METRICS, "log-level": "warn"}
        (made.folder / "daemon.json").write_text(json.dumps(content))
        made.start()
        info = json.loads(made.docker("info", "--format", "{{json .}}").stdout)
        assert info["Labels"] == ["a=b"]
        assert info["Debug"] is True
        assert "engine_daemon_engine_info" in run(*made.inside("curl", "-sS", f"http://{METRICS}/metrics")).stdout


def test_pidfile_holds_the_process_while_it_runs() -> None:
    with host("pid") as made:
        file = made.folder / "shoald.pid"
        assert file.read_text() == f"{made.pid}\n"
        made.stop(signal.SIGKILL)
        assert file.exists()
        made.start()
        assert file.read_text() == f"{made.pid}\n"
        assert made.stop() == 0
        assert not file.exists()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_ends_soon_whoever_listens(how: signal.Signals) -> None:
    with host("end") as made:
        made.docker("swarm", "init")
        import_image(made)
        create(made, "web")
        container = only(made, "web")
        docker = (docker_program(), "-H", f"unix://{made.socket}")
        waiting = [
            subprocess.Popen(
                [*docker, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            for command in (
                ("events",),
                ("service", "logs", "-f", "web"),
                ("logs", "-f", container),
                ("stats", container),
                ("wait", container),
                ("exec", "-i", container, "cat"),
            )
        ]
        idle = [connect(made) for _ in range(20)]
        eventually(lambda: len(sockets(made)) >= 26, "all of them are connected", show=made.log)
        begun = time.monotonic()
        assert made.stop(how) == 0
        assert time.monotonic() - begun < SOON
        for connection in idle:
            connection.close()
        for process in waiting:
            if "stats" in str(process.args):
                process.kill()  # from then on it shows dashes for numbers, and ignores SIGTERM
            process.communicate(timeout=10)
        assert "Traceback" not in made.log()
        made.start()
        assert only(made, "web") == container
        made.docker("swarm", "leave", "--force")
        made.stop()
        assert not made.leftovers()


@pytest.mark.parametrize("file", ["data/engine-id", "data/images", "exec/containers", "s"])
def test_end_in_the_middle_of_a_start_leaves_nothing(file: str) -> None:
    with host("early", start=False) as made:
        made.start(wait=False)
        eventually(lambda: (made.folder / file).exists(), "it is so far", every=0.001, show=made.log)
        assert made.stop() in {0, -signal.SIGTERM}
        assert "Traceback" not in made.log()
        assert not made.leftovers()
        made.start()
        assert made.stop() == 0
        assert not made.leftovers()
