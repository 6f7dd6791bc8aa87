"""Functions that many tests of a swarm of several hosts need."""

from dataclasses import dataclass
from typing import Any

from tests.harness.api import Client
from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import Host, eventually
from tests.interop.conftest import import_image

IMAGE = "bb:latest"


@dataclass
class Pair:
    """A manager, and a worker."""

    first: Host
    second: Host

    @property
    def hosts(self) -> tuple[Host, Host]:
        return self.first, self.second


def make_swarm(manager: Host, *flags: str) -> str:
    """Make a swarm of one. Returns the token for workers."""
    import_image(manager)
    manager.docker("swarm", "init", *flags)
    return token(manager)


def notice_soon(manager: Host | DockerEngine) -> None:
    """Make the swarm take a node for gone after 3 s of silence. On a busy machine 3 s are short."""
    manager.docker("swarm", "update", "--dispatcher-heartbeat", "1s")


def token(manager: Host, role: str = "worker") -> str:
    return manager.docker("swarm", "join-token", "-q", role).stdout.strip()


def join(host: Host, manager: Host, secret: str, *flags: str) -> str:
    """Let a host join, with the image. Returns its node's id."""
    import_image(host)
    host.docker("swarm", "join", "--token", secret, *flags, f"{manager.address}:2377")
    return node_id(host)


def node_id(host: Host) -> str:
    return host.docker("info", "--format", "{{.Swarm.NodeID}}").stdout.strip()


def nodes(manager: Host | DockerEngine) -> dict[str, str]:
    """Return the state of every node by its hostname."""
    lines = manager.docker("node", "ls", "--format", "{{.Hostname}}|{{.Status}}").stdout.splitlines()
    return dict(line.split("|", 1) for line in lines)


def get(on: Host | DockerEngine, path: str, **filters: list[str]) -> Any:
    """Ask the API without a program: what is looked at again and again shall leave the processors to the swarm."""
    client = Client(on.socket)
    try:
        return client.get(path, **filters)
    finally:
        client.close()


def tasks(manager: Host | DockerEngine, service: str) -> list[dict[str, Any]]:
    """Return a service's tasks as the API tells them."""
    found: list[dict[str, Any]] = get(manager, "/tasks", service=[service])
    return found


def running(manager: Host | DockerEngine, service: str) -> dict[str, int]:
    """Return how many tasks of a service run on which node, by hostname, of those that are meant to."""
    names = {node["ID"]: node["Description"].get("Hostname", "") for node in get(manager, "/nodes")}
    found: dict[str, int] = {}
    for task in tasks(manager, service):
        if task["Status"]["State"] == "running" and task["DesiredState"] == "running":
            name = names.get(task.get("NodeID", ""), "gone")
            found[name] = found.get(name, 0) + 1
    return found


def containers(host: Host | DockerEngine) -> int:
    """Return how many containers run on a host."""
    return len(get(host, "/containers/json"))


def create(manager: Host | DockerEngine, name: str, replicas: int, *flags: str) -> None:
    """Create a service whose containers end at once when they are stopped, and whose tasks are replaced at once."""
    manager.docker(
        "service", "create", "-d", "--no-resolve-image", "--name", name, "--replicas", str(replicas),
        "--stop-signal", "KILL", "--restart-delay", "0s", *flags, IMAGE, "sleep", "1d",
    )  # fmt: skip


def wait_running(manager: Host | DockerEngine, service: str, expected: dict[str, int], patience: float = 30.0) -> None:
    eventually(
        lambda: running(manager, service) == expected,
        f"{service} runs as {expected}",
        patience=patience,
        every=0.1,
        show=lambda: manager.docker("service", "ps", service).stdout,
    )
