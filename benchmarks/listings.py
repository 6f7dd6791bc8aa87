"""`script/bench listings`: do managers keep their leader while it is as busy as possible?

Three managers in network namespaces; the leader has 1,000 agents with 10,000 tasks, and clients that list all tasks
without a pause. It counts elections, and measures how late the loop of the process that carries etcd's bytes was, and
shoald's own. A loop that was late although its thread had no CPU waited for the machine, which all programs share here.
"""

import argparse
import os
import platform
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import watched_daemon
from benchmarks.agents import IMAGE, SERVICES, Agents, allow_files, say
from tests.harness.api import Client, service_spec
from tests.harness.hosts import Host, eventually
from tests.harness.network import Network

MANAGERS = ("m1", "m2", "m3")
CLIENTS = 4
LEADS = "this manager leads the swarm"
LEADS_NO_MORE = "this manager does not lead the swarm any more"
LATE = (0.02, 0.05, 0.1, 0.25, 0.5)
PATIENCE = 240.0


@dataclass
class Lateness:
    """How late one loop was: how often by how much, in all and by its own work, and how late at most."""

    late: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, since: float) -> "Lateness":
        """Return the lateness that a watch has written since a time."""
        found = cls()
        for line in path.read_text().splitlines() if path.exists() else ():
            at, late, cpu = map(float, line.split())
            if at >= since:
                found.late.append(late)
                found.own.append(min(late, cpu))
        return found

    def row(self, name: str) -> str:
        """Return it as a row of the table."""
        counts = " | ".join(str(sum(late > limit for late in self.late)) for limit in LATE)
        longest, own = max(self.late, default=0.0), max(self.own, default=0.0)
        return f"| {name} | {counts} | {1000 * longest:.0f} ms | {1000 * own:.0f} ms |"


class Clients:
    """Clients that list all tasks, one call after the other."""

    def __init__(self, host: Host, tasks: int) -> None:
        self._host, self._tasks = host, tasks
        self._stop = threading.Event()
        self.took: list[float] = []
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._list, daemon=True) for _ in range(CLIENTS)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop, once each client has its answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _list(self) -> None:
        client = Client(self._host.socket)
        while not self._stop.is_set():
            began = time.perf_counter()
            client._connection.request("GET", "/v1.44/tasks")
            found = client._connection.getresponse().read().count(b'"DesiredState"')  # reading it all is dear here
            self.took.append(time.perf_counter() - began)
            if found < self._tasks:
                self.failures.append(f"{found} tasks")


def leads(hosts: list[Host]) -> tuple[int, int]:
    """Return how often managers took the lead, and how often they lost it."""
    logs = [host.log_file.read_text() for host in hosts]
    return sum(log.count(LEADS) for log in logs), sum(log.count(LEADS_NO_MORE) for log in logs)


def start(net: Network) -> list[Host]:
    """Make a swarm of three managers that run no tasks themselves."""
    hosts = [net.add(name, start=False) for name in MANAGERS]
    for host in hosts:
        host.environment[watched_daemon.FILE] = str(host.folder / "stalls")
        host.program = "benchmarks.watched_daemon"
        host.start()
    first = hosts[0]
    api = Client(first.socket)
    api.call("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": first.address})
    token = api.get("/swarm")["JoinTokens"]["Manager"]
    for host in hosts[1:]:
        join = {
            "ListenAddr": "0.0.0.0:2377",
            "AdvertiseAddr": host.address,
            "RemoteAddrs": [f"{first.address}:2377"],
            "JoinToken": token,
        }
        Client(host.socket).call("POST", "/swarm/join", join)

    def drained() -> bool:
        nodes = api.get("/nodes")
        for node in nodes:
            if node["Spec"]["Availability"] != "drain":
                spec = {**node["Spec"], "Availability": "drain"}
                try:
                    api.call("POST", f"/nodes/{node['ID']}/update?version={node['Version']['Index']}", spec)
                except Exception as error:  # noqa: BLE001 - written meanwhile: it is tried again
                    say(f"  {error}")
                    return False
        there = [node["ManagerStatus"]["Reachability"] for node in nodes if "ManagerStatus" in node]
        return there == ["reachable"] * len(MANAGERS)

    eventually(drained, "three managers are reachable, and run nothing", patience=PATIENCE)
    return hosts


def fill(leader: Host, agents: Agents, size: int, tasks: int) -> None:
    """Let the agents join and their tasks run."""
    agents.wait("agents join", lambda now: now.get("joined") == size)
    agents.begin()
    agents.wait("agents are registered", lambda now: now["registered"] == size)
    say(f"  {size} agents are registered")
    api = Client(leader.socket)
    for number in range(SERVICES):
        api.call("POST", "/services/create", service_spec(f"b-{number}", IMAGE, ["true"], tasks // SERVICES))
    agents.wait("tasks run", lambda now: now["running"] == tasks)
    say(f"  {tasks} tasks run")


def measure(hosts: list[Host], tasks: int, seconds: float) -> list[str]:
    """Let clients list for a while, and return the table."""
    clients = Clients(hosts[0], tasks)
    os.kill(hosts[0].pid, signal.SIGUSR1)  # watch its loop from here on
    began, before = time.time(), leads(hosts)
    clients.start()
    while time.time() < began + seconds:
        time.sleep(1)
        if leads(hosts) != before:
            say(f"  an election after {time.time() - began:.0f} s")
            before = leads(hosts)
    clients.stop()
    won, lost = leads(hosts)
    took = sorted(clients.took)
    head = [
        f"{len(took)} lists in {seconds:.0f} s, median {took[len(took) // 2]:.2f} s; "
        f"{len(clients.failures)} too short; leads begun: {won} in all (1 is the first), lost: {lost}",
        "",
        "| loop | " + " | ".join(f"> {1000 * limit:.0f} ms" for limit in LATE) + " | at most | of it on its CPU |",
        "| --- |" + " ---: |" * (len(LATE) + 2),
    ]
    rows = [Lateness.read(hosts[0].folder / "stalls", began).row("shoald, the leader's")]
    for host in hosts:
        path = Path(f"{host.folder / 'stalls'}{watched_daemon.TUNNELS}")
        rows.append(Lateness.read(path, began).row(f"etcd's bytes, {'leader' if host is hosts[0] else host.name}"))
    return head + rows


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="script/bench listings", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="200 agents with 2,000 tasks, a minute")
    parser.add_argument("--seconds", type=float, default=600.0, help="for how long clients list")
    arguments = parser.parse_args()
    size, tasks = (200, 2_000) if arguments.quick else (1_000, 10_000)
    seconds = min(arguments.seconds, 60.0) if arguments.quick else arguments.seconds
    allow_files(size)
    with Network("listings") as net:
        hosts = start(net)
        leader = hosts[0]
        token = Client(leader.socket).get("/swarm")["JoinTokens"]["Worker"]
        agents = Agents(leader, {"agents": size, "address": f"{leader.address}:2377", "token": token})
        try:
            fill(leader, agents, size, tasks)
            lines = measure(hosts, tasks, seconds)
        finally:
            agents.close()
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Linux {platform.release()}, load {os.getloadavg()}")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
