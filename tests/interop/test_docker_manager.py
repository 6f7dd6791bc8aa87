"""Our node as a worker of a Docker Engine's swarm."""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.cluster.swarms import IMAGE, containers, create, nodes, wait_running
from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import Host, eventually
from tests.harness.network import Network, network
from tests.interop.conftest import import_image

STOP = ("--stop-grace-period", "1s")
HERE = ("--constraint", "node.hostname==shoal")


@dataclass
class Theirs:
    net: Network
    engine: DockerEngine
    worker: Host
    secret: str


@pytest.fixture(scope="module")
def made() -> Iterator[Theirs]:
    with network("theirs") as net:
        engine, worker = net.add_docker("docker"), net.add("shoal")
        engine.docker("swarm", "init", "--advertise-addr", engine.address)
        secret = engine.docker("swarm", "join-token", "-q", "worker").stdout.strip()
        for host in (engine, worker):
            import_image(host)
        worker.docker("swarm", "join", "--token", secret, f"{engine.address}:2377")
        yield Theirs(net, engine, worker, secret)


@pytest.fixture
def theirs(made: Theirs) -> Iterator[Theirs]:
    yield made
    services = made.engine.docker("service", "ls", "-q").stdout.split()
    if services:
        made.engine.docker("service", "rm", *services)
    for host in (made.worker, made.engine):
        eventually(partial(lambda host: containers(host) == 0, host), f"no containers on {host.name}", show=host.log)


def test_our_node_is_a_node_of_theirs(theirs: Theirs) -> None:
    assert nodes(theirs.engine) == {"docker": "Ready", "shoal": "Ready"}
    swarm = json.loads(theirs.worker.curl("/info"))["Swarm"]
    assert (swarm["LocalNodeState"], swarm["ControlAvailable"]) == ("active", False)
    assert [manager["Addr"] for manager in swarm["RemoteManagers"]] == [f"{theirs.engine.address}:2377"]
    refused = theirs.worker.docker("node", "ls", check=False)
    assert "Worker nodes can't be used to view or modify cluster state" in refused.stderr


def test_their_services_spread_over_both(theirs: Theirs) -> None:
    create(theirs.engine, "both", 4, *STOP)
    wait_running(theirs.engine, "both", {"docker": 2, "shoal": 2})
    assert containers(theirs.worker) == 2
    theirs.engine.docker("service", "scale", "-d", "both=6")
    wait_running(theirs.engine, "both", {"docker": 3, "shoal": 3})
    theirs.engine.docker("service", "update", "-d", "--no-resolve-image", "--env-add", "NEW=1", "both")

    def all_new() -> bool:
        ids = theirs.worker.docker("ps", "-q").stdout.split()
        shown = theirs.worker.docker("inspect", "-f", "{{.Config.Env}}", *ids).stdout.splitlines() if ids else []
        return len(shown) == 3 and all("NEW=1" in line for line in shown)

    eventually(all_new, "the update reaches our node", patience=60)


def test_logs_and_failures_are_told_there(theirs: Theirs) -> None:
    theirs.engine.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "talk", *STOP, *HERE,
        IMAGE, "sh", "-c", "echo out; echo err >&2; sleep 1d",
    )  # fmt: skip
    wait_running(theirs.engine, "talk", {"shoal": 1})

    def lines() -> tuple[str, str]:
        done = theirs.engine.docker("service", "logs", "--raw", "talk")
        return done.stdout.strip(), done.stderr.strip()

    eventually(lambda: lines() == ("out", "err"), "the lines are there")
    theirs.engine.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", "bad", "--restart-condition", "none", *HERE,
        IMAGE, "sh", "-c", "exit 3",
    )  # fmt: skip
    shown = "{{.CurrentState}} {{.Error}}"

    def failed() -> bool:
        text = theirs.engine.docker("service", "ps", "--no-trunc", "--format", shown, "bad").stdout
        return text.startswith("Failed") and "task: non-zero exit (3)" in text

    eventually(failed, "its failure is told")


def test_our_node_gets_the_secrets_and_configs_of_its_tasks(theirs: Theirs) -> None:
    text = '{{.Service.Name}} {{secret "key"}} {{env "WORD"}}'
    for words, data in (
        (("secret", "create", "key"), "hidden"),
        (("config", "create", "conf"), "shown"),
        (("config", "create", "--template-driver", "golang", "made"), text),
        (("config", "create", "--template-driver", "golang", "broken"), '{{secret "nope"}}'),
    ):
        theirs.engine.docker(*words, "-", input=data)
    create(
        theirs.engine, "files", 1, *STOP, *HERE, "--env", "WORD=w", "--secret", "source=key,target=key,mode=0400",
        "--config", "source=conf,target=/srv/conf,uid=65534", "--config", "source=made,target=/made",
    )  # fmt: skip
    wait_running(theirs.engine, "files", {"shoal": 1})
    (container,) = theirs.worker.docker("ps", "-q").stdout.split()
    script = "cat /run/secrets/key /srv/conf /made; echo; stat -c '%u %a' /run/secrets/key /srv/conf"
    said = theirs.worker.docker("exec", container, "sh", "-c", script).stdout.splitlines()
    assert said == ["hiddenshownfiles hidden w", "0 400", "65534 444"]
    theirs.worker.stop(signal.SIGKILL)
    theirs.worker.start()
    assert theirs.worker.docker("exec", container, "sh", "-c", script).stdout.splitlines() == said
    create(theirs.engine, "broken", 1, *STOP, *HERE, "--restart-condition", "none", "--config", "broken")
    failed = "failed to expand templated config"

    def error() -> str:
        return theirs.engine.docker("service", "ps", "--no-trunc", "--format", "{{.Error}}", "broken").stdout

    eventually(lambda: failed in error() and "secret target nope not found" in error(), "its failure is told")
    theirs.engine.docker("service", "rm", "files", "broken")
    theirs.engine.docker("secret", "rm", "key")
    theirs.engine.docker("config", "rm", "conf", "made", "broken")


def test_drain_leave_and_join_again(theirs: Theirs) -> None:
    create(theirs.engine, "moved", 2, *STOP)
    wait_running(theirs.engine, "moved", {"docker": 1, "shoal": 1})
    theirs.engine.docker("node", "update", "--availability", "drain", "shoal")
    eventually(lambda: containers(theirs.worker) == 0, "a drained node runs nothing")
    theirs.worker.docker("swarm", "leave")
    eventually(lambda: nodes(theirs.engine)["shoal"] == "Down", "it is gone")
    theirs.engine.docker("node", "rm", "shoal")
    theirs.worker.docker("swarm", "join", "--token", theirs.secret, f"{theirs.engine.address}:2377")
    assert nodes(theirs.engine)["shoal"] == "Ready"


def test_restart_of_our_daemon_is_no_news(theirs: Theirs) -> None:
    """The last one here, for with this period their manager gives no node up for three minutes."""
    # With the default of 5 s they replace its tasks when it does not register within 10 to 15 s after it was killed,
    # which is right. On a busy machine a daemon takes longer to start. They count by another period from the next
    # registration on.
    theirs.engine.docker("swarm", "update", "--dispatcher-heartbeat", "60s")
    theirs.worker.stop()
    theirs.worker.start()
    create(theirs.engine, "lasting", 1, *STOP, *HERE)
    wait_running(theirs.engine, "lasting", {"shoal": 1})
    before = theirs.worker.docker("ps", "-q").stdout
    theirs.worker.stop(signal.SIGKILL)
    theirs.worker.start()
    eventually(lambda: nodes(theirs.engine)["shoal"] == "Ready", "it is back")
    assert theirs.worker.docker("ps", "-q").stdout == before
    wait_running(theirs.engine, "lasting", {"shoal": 1})
    assert theirs.worker.docker("ps", "-q").stdout == before
