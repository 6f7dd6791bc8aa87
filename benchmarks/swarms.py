"""Swarms of several hosts for a benchmark: three managers and a host that joins, all of one kind, on one network."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Any

from benchmarks.sides import IMAGE
from tests.harness import images
from tests.harness.api import ApiError, Client, service_spec
from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import Host, eventually
from tests.harness.network import Network

COMMAND = ["sleep", "1000000"]
PATIENCE = 180.0
MANAGERS = 3

AnyHost = Host | DockerEngine
Lost = (ApiError, OSError, HTTPException)


class Swarm:
    """Three managers and one more host. A context manager; leaving it removes everything."""

    def __init__(self, name: str, add: Callable[[Network, str], AnyHost]) -> None:
        self.name = name
        self._network = Network("bench" + name[:1].lower())
        self._add = add
        self._number = 0
        self.managers: list[AnyHost] = []

    def __enter__(self) -> "Swarm":
        with contextlib.ExitStack() as closing:
            closing.enter_context(self._network)
            hosts = [self._add(self._network, f"{self.name[:1].lower()}{n + 1}") for n in range(MANAGERS + 1)]
            rootfs = images.busybox_rootfs()
            for host in hosts:
                with client(host) as api:
                    api.import_image(rootfs, "bench")
            self.managers, self.joiner = hosts[:MANAGERS], hosts[MANAGERS]
            first = self.managers[0]
            with client(first) as api:
                api.call("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": first.address})
                self.tokens = api.get("/swarm")["JoinTokens"]
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._closing.__exit__(*error)

    # The parts of the measures.

    def join(self, host: AnyHost, role: str) -> tuple[float, float]:
        """Let a host join. Returns after how many seconds the call returned, and after how many the leader had the node
        ready and reachable.
        """
        leader = self.leader()
        asked = {"RemoteAddrs": [f"{leader.address}:2377"], "JoinToken": self.tokens[role.capitalize()]}
        with client(host) as api, client(leader) as ask:
            began = time.monotonic()
            api.call("POST", "/swarm/join", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": host.address, **asked})
            returned = time.monotonic() - began

            def there() -> bool:
                for node in ask.get("/nodes"):
                    if node["Description"].get("Hostname") == host.name and node["Status"]["State"] == "ready":
                        standing = (node.get("ManagerStatus") or {}).get("Reachability", "")
                        return role == "worker" or standing == "reachable"
                return False

            eventually(there, f"{host.name} is there", PATIENCE, 0.003)
            return returned, time.monotonic() - began

    def leave(self, host: AnyHost, role: str) -> None:
        """Undo a join."""
        leader = self.leader()
        with client(leader) as ask, client(host) as api:
            node = next(each for each in ask.get("/nodes") if each["Description"].get("Hostname") == host.name)
            if role == "manager":
                self._demote(ask, node["ID"])
                eventually(lambda: not api.get("/info")["Swarm"]["ControlAvailable"], "it is a worker", PATIENCE, 0.1)
            api.call("POST", "/swarm/leave?force=1")

            def gone() -> bool:
                with contextlib.suppress(ApiError):
                    ask.call("DELETE", f"/nodes/{node['ID']}?force=1")
                return all(each["ID"] != node["ID"] for each in ask.get("/nodes"))

            eventually(gone, f"{host.name} is removed", PATIENCE, 0.1)

    def _demote(self, ask: Client, node_id: str) -> None:
        def accepted() -> bool:
            node = ask.get(f"/nodes/{node_id}")
            spec = {**node["Spec"], "Role": "worker"}
            try:
                ask.call("POST", f"/nodes/{node_id}/update?version={node['Version']['Index']}", spec)
            except ApiError:
                return False  # the address has changed in between
            return True

        eventually(accepted, "the demotion is accepted", PATIENCE, 0.1)

    def leader(self) -> AnyHost:
        """Return the manager that leads."""

        def find() -> list[AnyHost]:
            for manager in self.managers:
                with contextlib.suppress(*Lost), client(manager) as api:
                    names = [
                        node["Description"]["Hostname"]
                        for node in api.get("/nodes")
                        if (node.get("ManagerStatus") or {}).get("Leader")
                    ]
                    return [host for host in self.managers if [host.name] == names]
            return []

        return eventually(find, "there is a leader", PATIENCE, 0.1)[0]

    def wait_well(self) -> None:
        """Wait until each manager reports that every manager is ready and reachable."""

        def well() -> bool:
            for manager in self.managers:
                with client(manager) as api:
                    nodes = api.get("/nodes")
                standings = [(node.get("ManagerStatus") or {}).get("Reachability") for node in nodes]
                states = [node["Status"]["State"] for node in nodes]
                if standings.count("reachable") < MANAGERS or states.count("ready") < MANAGERS:
                    return False
            return True

        eventually(lambda: _tried(well), f"{self.name} is well", PATIENCE, 0.2)

    def create(self, replicas: int, through: AnyHost) -> str:
        """Create a service with Swarm's default restart policy, and return its name."""
        self._number += 1
        name = f"s{self._number}"
        spec = _spec(name, replicas)
        del spec["TaskTemplate"]["RestartPolicy"]
        with client(through) as api:
            api.call("POST", "/services/create", spec)
        return name

    # The measures.

    def fail_over(self) -> float:
        """Measure the time from SIGKILL of the leader to the next write that another manager accepts."""
        self.wait_well()
        leader = self.leader()
        found: list[float] = []

        def write(host: AnyHost, name: str) -> None:
            for attempt in range(10_000):
                if found or time.monotonic() - began > PATIENCE:
                    return
                try:
                    with client(host) as api:
                        api.call("POST", "/services/create", _spec(f"{name}-{attempt}", 0))
                    found.append(time.monotonic() - began)
                except Lost:
                    time.sleep(0.02)

        self._number += 1
        _kill(leader)
        began = time.monotonic()
        writers = [
            threading.Thread(target=write, args=(host, f"w{self._number}-{host.name}"))
            for host in self.managers
            if host is not leader
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert found, f"{self.name}: no write was accepted in {PATIENCE} s"
        leader.start()
        self.wait_well()
        return min(found)

    def lose(self) -> tuple[float, float]:
        """Measure the times from cutting a manager's link until its node is down, and until its tasks run elsewhere."""
        self.wait_well()
        leader = self.leader()
        lost = next(host for host in reversed(self.managers) if host is not leader)
        name = self.create(2 * MANAGERS, leader)
        with client(leader) as api:
            node_id = next(node["ID"] for node in api.get("/nodes") if node["Description"]["Hostname"] == lost.name)

            def running() -> list[str]:
                return [
                    task["NodeID"]
                    for task in api.tasks(name)
                    if task["Status"]["State"] == "running" and task["DesiredState"] == "running"
                ]

            eventually(lambda: len(running()) == 2 * MANAGERS, "they run", PATIENCE, 0.1)
            assert node_id in running()
            # So that the moment between two heartbeats is not always the same.
            time.sleep(1 + (self._number * 1.7) % 5)
            self._network.cut(lost)
            began = time.monotonic()
            eventually(lambda: api.get(f"/nodes/{node_id}")["Status"]["State"] == "down", "it is down", PATIENCE, 0.05)
            down = time.monotonic() - began
            elsewhere = lambda: len([node for node in running() if node != node_id]) == 2 * MANAGERS  # noqa: E731
            eventually(elsewhere, "its tasks run elsewhere", PATIENCE, 0.05)
            moved = time.monotonic() - began
            api.call("DELETE", f"/services/{name}")
        self._network.heal(lost)  # the host comes back while the other side is measured
        return down, moved


@contextlib.contextmanager
def client(host: AnyHost) -> Iterator[Client]:
    """Yield a client of a host's API."""
    with contextlib.closing(Client(host.socket)) as made:
        yield made


def shoal() -> Swarm:
    """Return a swarm of shoalds."""
    return Swarm("Shoal", lambda network, name: network.add(name))


def docker() -> Swarm:
    """Return a swarm of dockerds."""
    return Swarm("Docker Swarm", lambda network, name: network.add_docker(name))


def _spec(name: str, replicas: int) -> dict[str, Any]:
    return service_spec(name, IMAGE, COMMAND, replicas, container={"StopSignal": "SIGKILL"})


def _kill(host: AnyHost) -> None:
    assert host.process is not None
    if isinstance(host, DockerEngine):
        host.stop()  # by SIGKILL
    else:
        host.process.kill()
        host.process.wait()


def _tried(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except Lost:
        return False
