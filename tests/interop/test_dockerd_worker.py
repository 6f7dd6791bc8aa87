"""An unmodified Docker Engine as a worker of our swarm, beside a worker of our own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.cluster.swarms import IMAGE, containers, create, join, make_swarm, nodes, running, token, wait_running
from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import Host, eventually
from tests.harness.network import Network, network
from tests.interop.conftest import import_image

STOP = ("--stop-grace-period", "1s")  # the programs in the containers ignore SIGTERM


@dataclass
class Mixed:
    net: Network
    manager: Host
    worker: Host
    engine: DockerEngine
    secret: str
    engine_id: str


@pytest.fixture(scope="module")
def made() -> Iterator[Mixed]:
    with network("mixed") as net:
        manager, worker, engine = net.add("m"), net.add("shoal"), net.add_docker("docker")
        import_image(engine)
        secret = make_swarm(manager)
        manager.docker("node", "update", "--availability", "drain", "m")
        join(worker, manager, secret)
        engine.docker("swarm", "join", "--token", secret, f"{manager.address}:2377")
        engine_id = engine.docker("info", "--format", "{{.Swarm.NodeID}}").stdout.strip()
        yield Mixed(net, manager, worker, engine, secret, engine_id)


@pytest.fixture
def mixed(made: Mixed) -> Iterator[Mixed]:
    yield made
    services = made.manager.docker("service", "ls", "-q").stdout.split()
    if services:
        made.manager.docker("service", "rm", *services)
    for host in (made.worker, made.engine):
        eventually(partial(lambda host: containers(host) == 0, host), f"no containers on {host.name}", show=host.log)


def test_engine_is_a_node(mixed: Mixed) -> None:
    assert nodes(mixed.manager) == {"m": "Ready", "shoal": "Ready", "docker": "Ready"}
    version = mixed.engine.docker("version", "--format", "{{.Server.Version}}").stdout.strip()
    node = json.loads(mixed.manager.docker("node", "inspect", "docker").stdout)[0]
    assert node["Description"]["Engine"]["EngineVersion"] == version
    assert node["Status"] == {"State": "ready", "Addr": mixed.engine.address}
    swarm = json.loads(mixed.engine.curl("/info"))["Swarm"]
    assert swarm["LocalNodeState"] == "active"
    assert swarm["Error"] == ""
    assert [manager["Addr"] for manager in swarm["RemoteManagers"]] == [f"{mixed.manager.address}:2377"]


def test_services_spread_over_both_kinds(mixed: Mixed) -> None:
    create(mixed.manager, "both", 6, *STOP)
    wait_running(mixed.manager, "both", {"shoal": 3, "docker": 3})
    assert containers(mixed.engine) == containers(mixed.worker) == 3
    mixed.manager.docker("service", "scale", "-d", "both=2")
    wait_running(mixed.manager, "both", {"shoal": 1, "docker": 1})
    eventually(lambda: containers(mixed.engine) == 1, "the others are gone")


def test_logs_of_both_are_read_on_the_manager(mixed: Mixed) -> None:
    mixed.manager.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "talk", "--replicas", "2", *STOP,
        "--env", "WHERE={{.Node.Hostname}}", IMAGE, "sh", "-c", "echo out $WHERE; echo err $WHERE >&2; sleep 1d",
    )  # fmt: skip
    wait_running(mixed.manager, "talk", {"shoal": 1, "docker": 1})
    expected = {f"{stream} {name}" for stream in ("out", "err") for name in ("shoal", "docker")}

    def lines() -> set[str]:
        done = mixed.manager.docker("service", "logs", "--raw", "talk")
        return {*done.stdout.splitlines(), *done.stderr.splitlines()}

    eventually(lambda: lines() == expected, "each task's lines are there")
    task = mixed.manager.docker(
        "service", "ps", "-q", "--filter", "node=docker", "--filter", "desired-state=running", "talk"
    ).stdout.strip()
    assert mixed.manager.docker("service", "logs", "--raw", task).stdout.splitlines() == ["out docker"]


def test_update_reaches_both(mixed: Mixed) -> None:
    create(mixed.manager, "fresh", 2, *STOP)
    wait_running(mixed.manager, "fresh", {"shoal": 1, "docker": 1})
    mixed.manager.docker("service", "update", "-d", "--no-resolve-image", "--env-add", "NEW=1", "fresh")

    def all_new() -> bool:
        done = mixed.engine.docker("ps", "-q")
        ids = done.stdout.split()
        return len(ids) == 1 and "NEW=1" in mixed.engine.docker("inspect", "-f", "{{.Config.Env}}", ids[0]).stdout

    eventually(all_new, "the engine runs the new task")
    wait_running(mixed.manager, "fresh", {"shoal": 1, "docker": 1})


def test_failing_task_is_told_with_its_exit_code(mixed: Mixed) -> None:
    mixed.manager.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "bad", "--restart-condition", "none",
        "--constraint", "node.hostname==docker", IMAGE, "sh", "-c", "exit 3",
    )  # fmt: skip
    shown = "{{.CurrentState}} {{.Error}}"

    def failed() -> bool:
        text = mixed.manager.docker("service", "ps", "--no-trunc", "--format", shown, "bad").stdout
        return text.startswith("Failed") and "task: non-zero exit (3)" in text

    eventually(failed, "its failure is told")


def test_engine_gets_the_secrets_and_configs_of_its_tasks(mixed: Mixed) -> None:
    # Two secrets, because an Engine keeps the owner and mode of one that is mounted twice only once.
    for kind, name, data in (
        ("secret", "a-secret", "hidden"), ("secret", "my-secret", "hidden"), ("config", "a-config", "shown"),
    ):  # fmt: skip
        mixed.manager.docker(kind, "create", name, "-", input=data)
    text = '{{.Service.Name}} {{secret "a-secret"}} {{env "WORD"}}'
    mixed.manager.docker("config", "create", "--template-driver", "golang", "made", "-", input=text)
    create(
        mixed.manager, "files", 2, *STOP, "--env", "WORD=w", "--secret", "a-secret",
        "--secret", "source=my-secret,target=/etc/mine,uid=65534,gid=50,mode=0400",
        "--config", "source=a-config,target=/srv/conf", "--config", "source=made,target=/made",
    )  # fmt: skip
    wait_running(mixed.manager, "files", {"shoal": 1, "docker": 1})
    script = (
        "cat /run/secrets/a-secret /etc/mine /srv/conf /made; echo; stat -c '%u %g %a' /etc/mine /run/secrets/a-secret"
    )
    for host in (mixed.worker, mixed.engine):
        (container,) = host.docker("ps", "-q").stdout.split()
        said = host.docker("exec", container, "sh", "-c", script).stdout.splitlines()
        assert said == ["hiddenhiddenshownfiles hidden w", "65534 50 400", "0 0 444"], host.name
    refused = mixed.manager.docker("secret", "rm", "a-secret", check=False)
    assert "secret 'a-secret' is in use by the following service: files" in refused.stderr
    mixed.manager.docker("service", "rm", "files")
    mixed.manager.docker("secret", "rm", "a-secret", "my-secret")
    mixed.manager.docker("config", "rm", "a-config", "made")


def test_drain_moves_tasks_away_from_the_engine(mixed: Mixed) -> None:
    create(mixed.manager, "moved", 4, *STOP)
    wait_running(mixed.manager, "moved", {"shoal": 2, "docker": 2})
    mixed.manager.docker("node", "update", "--availability", "drain", "docker")
    wait_running(mixed.manager, "moved", {"shoal": 4})
    eventually(lambda: containers(mixed.engine) == 0, "a drained engine runs nothing")
    mixed.manager.docker("node", "update", "--availability", "active", "docker")
    mixed.manager.docker("service", "scale", "-d", "moved=6")
    wait_running(mixed.manager, "moved", {"shoal": 4, "docker": 2})


def test_engine_that_is_cut_off_is_replaced_and_gives_way(mixed: Mixed) -> None:
    create(mixed.manager, "kept", 2, *STOP)
    wait_running(mixed.manager, "kept", {"shoal": 1, "docker": 1})
    mixed.net.cut(mixed.engine)
    eventually(lambda: nodes(mixed.manager)["docker"] == "Down", "the silent engine is down")
    wait_running(mixed.manager, "kept", {"shoal": 2})
    mixed.net.heal(mixed.engine)
    eventually(lambda: nodes(mixed.manager)["docker"] == "Ready", "it is back", patience=60)
    eventually(lambda: containers(mixed.engine) == 0, "its stale task is shut down")


def test_engine_leaves_is_removed_and_joins_again(mixed: Mixed) -> None:
    mixed.engine.docker("swarm", "leave")
    eventually(lambda: nodes(mixed.manager)["docker"] == "Down", "it is gone")
    mixed.manager.docker("node", "rm", "docker")
    mixed.engine.docker("swarm", "join", "--token", mixed.secret, f"{mixed.manager.address}:2377")
    assert nodes(mixed.manager)["docker"] == "Ready"
    create(mixed.manager, "again", 2, *STOP)
    wait_running(mixed.manager, "again", {"shoal": 1, "docker": 1})
    node_id = mixed.engine.docker("info", "--format", "{{.Swarm.NodeID}}").stdout.strip()
    mixed.manager.docker("node", "rm", "--force", node_id)
    assert set(nodes(mixed.manager)) == {"m", "shoal"}
    eventually(lambda: running(mixed.manager, "again") == {"shoal": 2}, "its task is replaced")
    mixed.engine.docker("swarm", "leave")
    mixed.engine.docker("swarm", "join", "--token", mixed.secret, f"{mixed.manager.address}:2377")
    assert nodes(mixed.manager)["docker"] == "Ready"


def test_engine_is_refused_with_a_wrong_token(mixed: Mixed) -> None:
    mixed.engine.docker("swarm", "leave")
    wrong = mixed.secret[:-25] + "0" * 25
    done = mixed.engine.docker("swarm", "join", "--token", wrong, f"{mixed.manager.address}:2377", check=False)
    assert "A valid join token is necessary to join this cluster" in done.stderr
    mixed.engine.docker("swarm", "join", "--token", mixed.secret, f"{mixed.manager.address}:2377")


def test_engine_cannot_be_a_manager(mixed: Mixed) -> None:
    shown = ("info", "--format", "{{.Swarm.NodeID}}")
    node_id = mixed.engine.docker(*shown).stdout.strip()
    done = mixed.manager.docker("node", "promote", node_id, check=False)
    version = mixed.engine.docker("version", "--format", "{{.Server.Version}}").stdout.strip()
    assert f"node docker runs Docker Engine {version}, which" in done.stderr
    assert "which cannot be a manager of a Shoal swarm: promote a node that runs shoald" in done.stderr
    mixed.engine.docker("swarm", "leave")
    secret = token(mixed.manager, "manager")
    done = mixed.engine.docker("swarm", "join", "--token", secret, f"{mixed.manager.address}:2377", check=False)
    assert "a Docker Engine cannot be a manager of a Shoal swarm: leave, and join with the token" in done.stderr
    mixed.engine.docker("swarm", "leave", "--force", check=False)
    for line in mixed.manager.docker("node", "ls", "--format", "{{.ID}} {{.Status}}").stdout.splitlines():
        gone, status = line.split()
        if status == "Unknown":  # left by the attempt: a node that never came with its certificate
            mixed.manager.docker("node", "rm", gone)
    mixed.engine.docker("swarm", "join", "--token", mixed.secret, f"{mixed.manager.address}:2377")
    assert mixed.engine.docker(*shown).stdout.strip() != node_id


def test_root_rotation_reaches_the_engine(mixed: Mixed) -> None:
    create(mixed.manager, "through", 2, *STOP)
    wait_running(mixed.manager, "through", {"shoal": 1, "docker": 1})
    before = mixed.engine.docker("ps", "-q").stdout
    old = mixed.manager.docker("swarm", "ca").stdout
    # A rotation waits for every node, also for nodes that have left and may not be down yet.
    there = [
        host.docker("info", "--format", "{{.Swarm.NodeID}}").stdout.strip()
        for host in (mixed.manager, mixed.worker, mixed.engine)
    ]
    for node in mixed.manager.docker("node", "ls", "-q").stdout.split():
        if node not in there:
            mixed.manager.docker("node", "rm", "--force", node)
    mixed.manager.docker("swarm", "ca", "--rotate", "--quiet")
    new = mixed.manager.docker("swarm", "ca").stdout
    assert new != old
    shown = "{{.Description.TLSInfo.TrustRoot}}"
    node_id = mixed.engine.docker("info", "--format", "{{.Swarm.NodeID}}").stdout.strip()
    eventually(
        lambda: mixed.manager.docker("node", "inspect", node_id, "--format", shown).stdout.strip() == new.strip(),
        "the engine trusts the new root",
        patience=60,
    )
    assert mixed.engine.docker("ps", "-q").stdout == before
    mixed.secret = token(mixed.manager)
    mixed.manager.docker("service", "scale", "-d", "through=4")
    wait_running(mixed.manager, "through", {"shoal": 2, "docker": 2})
