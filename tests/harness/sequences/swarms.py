"""A swarm to play in: hosts of one kind, and a watcher that reads its state again and again for all that wait."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

from tests.harness.api import ApiError, Client
from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import Host, docker_program, eventually, patient, run
from tests.harness.network import Network
from tests.harness.sequences.state import Snapshot
from tests.interop.conftest import import_image

IMAGES = ("bb:latest", "bb:2", "bb:3")
# Both are called with one version of the API, so that they show and accept the same fields.
VERSION = "1.41"
EVERY = 0.1
PATIENCE = 90.0


class Watcher:
    """The state that a manager shows, read every tenth of a second by one thread."""

    def __init__(self, manager: Host | DockerEngine) -> None:
        self._manager = manager
        self._changed = threading.Condition()
        self._latest = Snapshot([], [], [])
        self._asked_at = 0.0
        self._names: dict[str, str] = {}
        self._over = False
        self._thread = threading.Thread(target=self._watch, name=f"watch {manager.name}", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over:
            client = Client(self._manager.socket, f"v{VERSION}", timeout=20)
            # A manager may be too busy for a moment. Then those that wait see nothing new until it answers again.
            with contextlib.suppress(OSError, HTTPException, ApiError):
                while not self._over:
                    began = time.monotonic()
                    self._ask(client)
                    # A manager that needs long for its answers is busy with what it is asked for.
                    time.sleep(max(EVERY, time.monotonic() - began))
            client.close()
            time.sleep(EVERY)

    def _ask(self, client: Client) -> None:
        asked_at = time.monotonic()
        services = client.get("/services")
        # Services are read first, and their names are kept, so the name of each task's service is known.
        self._names |= {service["ID"]: service["Spec"]["Name"] for service in services}
        tasks = client.get("/tasks")
        if unknown := {task["ServiceID"] for task in tasks} - self._names.keys():
            services = client.get("/services")
            self._names |= {service["ID"]: service["Spec"]["Name"] for service in services}
            tasks = [task for task in tasks if task["ServiceID"] not in unknown - self._names.keys()]
        nodes = client.get("/nodes")
        with self._changed:
            self._latest = Snapshot(services, tasks, nodes, dict(self._names))
            self._asked_at = asked_at
            self._changed.notify_all()

    def wait(self, holds: Callable[[Snapshot], bool], seconds: float = PATIENCE) -> tuple[bool, Snapshot]:
        """Return whether a condition became true in time, and the last snapshot. Only snapshots that are read from now
        on count.
        """
        now = time.monotonic()
        end = now + patient(seconds)
        with self._changed:
            while time.monotonic() < end:
                if self._asked_at >= now and holds(self._latest):
                    return True, self._latest
                self._changed.wait(1)
            return False, self._latest

    def close(self) -> None:
        self._over = True
        self._thread.join(30)


class Swarm:
    """Hosts of one kind in a swarm, the first of them its manager."""

    def __init__(self, kind: str, hosts: Sequence[Host | DockerEngine]) -> None:
        self.kind = kind
        self.hosts = hosts
        self.manager = hosts[0]
        self.hostnames = {f"node{number}": host.name for number, host in enumerate(hosts, 1)}
        self.engine = self.manager.docker("version", "--format", "{{.Server.Version}}").stdout.strip()
        self._prepare()
        self.watcher = Watcher(self.manager)

    def _prepare(self) -> None:
        self.manager.docker("swarm", "init", "--advertise-addr", self.manager.address)
        token = self.manager.docker("swarm", "join-token", "-q", "worker").stdout.strip()
        for host in self.hosts:
            import_image(host, IMAGES[0])
            for image in IMAGES[1:]:
                host.docker("tag", IMAGES[0], image)
            if host is not self.manager:
                host.docker("swarm", "join", "--token", token, f"{self.manager.address}:2377")
        everyone = set(self.hostnames.values())
        eventually(
            lambda: set(self.manager.docker("node", "ls", "--format", "{{.Hostname}}").stdout.split()) == everyone,
            "all nodes are there",
        )

    def docker(self, *arguments: str) -> tuple[int, str, str]:
        """Run Docker's command against the manager. Returns its exit code and its output."""
        done = run(
            docker_program(), "-H", f"unix://{self.manager.socket}", *arguments,
            check=False, env={**os.environ, "DOCKER_API_VERSION": VERSION},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def restore(self) -> None:
        """Undo the changes of sequences to nodes and to the swarm."""
        for node in self.watcher.wait(lambda _: True)[1].nodes:
            removed = [word for label in node["Spec"].get("Labels") or {} for word in ("--label-rm", label)]
            self.docker("node", "update", "--availability", "active", *removed, node["ID"])
        self.docker("swarm", "update", "--task-history-limit", "5")

    def close(self) -> None:
        self.watcher.close()


@contextlib.contextmanager
def swarm(kind: str, nodes: int) -> Iterator[Swarm]:
    """Yield a swarm of "docker" or "shoal" on a network of its own, and leave nothing of it afterwards."""
    with Network(f"{kind}{nodes}") as net:
        names = [f"{kind}-of-{nodes}-{number}" for number in range(1, nodes + 1)]
        add: Callable[..., Host | DockerEngine] = net.add_docker if kind == "docker" else net.add
        hosts = [add(name, start=False) for name in names]
        with ThreadPoolExecutor(nodes) as pool:
            for _ in pool.map(lambda host: host.start(), hosts):
                pass
        made = Swarm(kind, hosts)
        try:
            yield made
        finally:
            made.close()
