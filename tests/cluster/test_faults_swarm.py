"""A swarm of three managers and two workers lives through faults while clients use it. Then all must be right.

Everything random comes from a seed, which a failure prints. SHOAL_FAULT_SEED repeats it (as far as real processes
allow), SHOAL_FAULT_ROUNDS sets the number of rounds.
"""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import faults
from tests.cluster.clients import User, ask, attempt, clock, found
from tests.harness.hosts import Host, eventually
from tests.harness.known import Known, problems, settle
from tests.harness.network import Network, network

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]

SEED = int(os.environ.get("SHOAL_FAULT_SEED") or random.randrange(1 << 32))
ROUNDS = int(os.environ.get("SHOAL_FAULT_ROUNDS", "10"))
CHECK_EVERY = 5  # rounds: for a check all must come to rest
CLIENTS = 3
PATIENCE = 60.0  # seconds until the swarm must be at rest after the last fault, on a machine with other work
HEARTBEAT = 1_000_000_000  # nanoseconds; so a silent node is down after 3 s, within a round

KINDS = (
    *("kill", "kill leader", "kill etcd", "kill host", "kill worker", "stop"),
    *("pause", "pause leader", "pause etcd", "pause worker"),
    *("cut", "cut leader", "cut worker", "cut majority"),
    *("stop all", "kill all"),
)


class Swarm:
    """Three managers and two workers, and the faults that happen to them."""

    def __init__(self, net: Network, rng: random.Random) -> None:
        self._net, self._rng = net, rng
        self.managers = [net.add(f"m{number}") for number in (1, 2, 3)]
        self.workers = [net.add(f"w{number}") for number in (1, 2)]
        self.hosts = [*self.managers, *self.workers]
        self.told: list[str] = []
        self.counts: Counter[str] = Counter()
        self.faults = 0
        self._ids: dict[str, Host] = {}
        self._ending: set[str] = set()
        self._cut_off: set[str] = set()
        self._deck: list[str] = []
        self._make()

    def _make(self) -> None:
        first = self.managers[0]
        place = {"ListenAddr": "0.0.0.0:2377"}
        ask(first, "POST", "/swarm/init", {**place, "Spec": {"Dispatcher": {"HeartbeatPeriod": HEARTBEAT}}})
        tokens = ask(first, "GET", "/swarm")["JoinTokens"]
        for host in self.hosts[1:]:
            token = tokens["Manager" if host in self.managers else "Worker"]
            ask(host, "POST", "/swarm/join", {**place, "RemoteAddrs": [f"{first.address}:2377"], "JoinToken": token})
        for host in self.hosts:
            faults.import_image(host)
            self._ids[ask(host, "GET", "/info")["Swarm"]["NodeID"]] = host

    def tell(self, what: str) -> None:
        """Record what happens now."""
        self.told.append(f"{clock()} == {what}")

    # Faults.

    def fault(self) -> None:
        """Make one fault. Every kind comes once before any kind comes again."""
        if not self._deck:
            self._deck = self._rng.sample(KINDS, len(KINDS))
        kind = self._deck.pop()
        self.faults += 1
        what, _, whom = kind.partition(" ")
        victims = self._victims(whom)
        self.tell(f"{kind}: {' '.join(host.name for host in victims)}")
        act = {"kill": self._kill, "stop": self._stop, "pause": self._pause, "cut": self._cut}[what]
        for host in victims:
            self.counts[what] += act(host, whom)

    def _victims(self, whom: str) -> list[Host]:
        if whom == "all":
            return self.hosts
        if whom == "majority":
            return self._rng.sample(self.managers, 2)
        if whom == "leader":
            return [self._leader()]
        return [self._rng.choice(self.workers if whom == "worker" else self.managers)]

    def _leader(self) -> Host:
        """Return the manager that leads, or any manager if none can say."""
        for host in self.managers:
            if host.name in self._cut_off:
                continue
            for node in attempt(partial(ask, host, "GET", "/nodes", timeout=1.0), []):
                if node.get("ManagerStatus", {}).get("Leader"):
                    return self._ids[node["ID"]]
        return self._rng.choice(self.managers)

    def _kill(self, host: Host, whom: str) -> bool:
        if whom == "etcd":
            return faults.kill(faults.programs(host, "etcd")) > 0
        if whom == "host":  # all processes except containers, which conmon holds
            return faults.kill(sorted({*host.processes()} - {*faults.programs(host, "conmon")})) > 0
        assert host.process is not None
        running = host.process.poll() is None
        host.process.kill()
        return running

    def _stop(self, host: Host, _: str) -> bool:
        assert host.process is not None
        running = host.process.poll() is None
        host.resume()  # a paused process does not hear of it
        host.process.send_signal(signal.SIGTERM)
        self._ending.add(host.name)
        return running

    def _pause(self, host: Host, whom: str) -> bool:
        if whom != "etcd":
            host.pause()
            return True
        found = faults.programs(host, "etcd")
        for pid in found:
            os.kill(pid, signal.SIGSTOP)
        return bool(found)

    def _cut(self, host: Host, _: str) -> bool:
        self._net.cut(host)
        self._cut_off.add(host.name)
        return True

    def heal(self) -> None:
        """Undo every fault."""
        for host in self.hosts:
            host.resume()
            self._net.heal(host)
        self._cut_off.clear()
        ended = []
        for host in self.hosts:
            assert host.process is not None
            if host.name in self._ending:
                host.process.wait(30)
            if host.process.poll() is not None:
                ended.append(host)
        self._ending.clear()
        self.tell(f"heal, start {' '.join(host.name for host in ended)}")
        for host in ended:
            host.start(wait=False)
        for host in ended:
            eventually(host.answers, f"{host.name}: shoald answers", show=host.log)

    # What must hold.

    def services(self, on: Host) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ask(on, "GET", "/services")
        return found

    def unrest(self) -> list[str]:
        """Return what is not yet as it should be after the faults."""
        found = self._of_managers()
        if found:
            return found
        services = {service["ID"]: service for service in self.services(self.managers[0])}
        tasks = ask(self.managers[0], "GET", "/tasks")
        meant = [task for task in tasks if task["DesiredState"] == "running"]
        found = [f"task {task['ID']} has no service" for task in tasks if task["ServiceID"] not in services]
        for service_id, service in services.items():
            found += _of_service(service, [task for task in meant if task["ServiceID"] == service_id])
        for node_id, host in self._ids.items():
            told = {
                task["Status"].get("ContainerStatus", {}).get("ContainerID")
                for task in meant
                if task.get("NodeID") == node_id
            }
            alive = faults.live_cgroups(host)
            if told != alive:
                found.append(f"{host.name}: too many run: {alive - told}; too few: {told - alive}")
        return found

    def _of_managers(self) -> list[str]:
        found, seen = [], []
        for host in self.managers:
            nodes = ask(host, "GET", "/nodes")
            roles = Counter(_role(node) for node in nodes)
            if roles != Counter({"leader": 1, "reachable": 2, "worker": 2}):
                found.append(f"{host.name} says of nodes: {roles}")
            services = self.services(host)
            seen.append({service["ID"]: service["Version"]["Index"] for service in services})
        if not seen[0] == seen[1] == seen[2]:
            found.append(f"managers do not agree on services: {seen}")
        return found

    def wait_rest(self) -> None:
        """Wait until the swarm runs exactly what it should."""
        last: list[str] = []

        def look() -> bool:
            last[:] = attempt(self.unrest, ["a manager does not answer"])
            return not last

        eventually(look, "the swarm is at rest", PATIENCE, every=0.1, show=lambda: "\n".join(last))


def _role(node: dict[str, Any]) -> str:
    if node["Status"]["State"] != "ready":
        return str(node["Status"]["State"])
    status = node.get("ManagerStatus")
    if status is None:
        return "worker"
    return "leader" if status.get("Leader") else str(status["Reachability"])


def _of_service(service: dict[str, Any], tasks: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong with the tasks of a service that should run: one in each slot, with the present spec."""
    spec, name = service["Spec"], service["Spec"]["Name"]
    slots = sorted(task["Slot"] for task in tasks)
    found = []
    if len(slots) != spec["Mode"]["Replicated"]["Replicas"] or len(set(slots)) != len(slots):
        found.append(f"{name} has the slots {slots}, wants {spec['Mode']['Replicated']['Replicas']}")
    states = {f"{task['ID']}: {task['Status']}" for task in tasks if task["Status"]["State"] != "running"}
    if states:
        found.append(f"{name} has tasks that do not run: {states}")
    env = spec["TaskTemplate"]["ContainerSpec"].get("Env")
    if any(task["Spec"]["ContainerSpec"].get("Env") != env for task in tasks):
        found.append(f"{name} has tasks of an older spec")
    return found


@pytest.fixture
def net() -> Iterator[Network]:
    with network("faults") as made:
        yield made


class Story:
    """Rounds of faults, while clients use the swarm."""

    def __init__(self, net: Network, seed: int) -> None:
        self.rng = random.Random(seed)
        self.swarm = Swarm(net, self.rng)
        self.clients = [
            User(number, self.swarm.managers, random.Random(self.rng.random())) for number in range(CLIENTS)
        ]

    def round(self) -> None:
        """Make a few faults, one after another or at once. Then heal all of them, and wait until writes are accepted
        again.
        """
        for _ in range(self.rng.choice((1, 1, 2, 2, 3))):
            self.swarm.fault()
            time.sleep(self.rng.random() * 1.5)  # at whatever point clients and managers are
        time.sleep(self.rng.choice((0, 0, 1, 4)))  # after 4 s nodes are taken for dead
        self.swarm.heal()
        done = self.writes()
        eventually(lambda: self.writes() > done, "writes are accepted again", PATIENCE)

    def writes(self) -> int:
        """Return how many writes were acknowledged so far."""
        return sum(client.done for client in self.clients)

    def check(self) -> None:
        """Stop the clients, and check that all is right."""
        self.stop()
        self.swarm.tell("check")
        self.swarm.wait_rest()
        for host in self.swarm.managers:
            services = found(self.swarm.services(host))
            wrong = problems(self.known(), services)
            assert not wrong, "\n".join(wrong)
        settle(self.known(), services)

    def known(self) -> list[Known]:
        """Return what all clients know."""
        return [one for client in self.clients for one in client.known.values()]

    def stop(self) -> None:
        for client in self.clients:
            client.stop()

    def end(self) -> None:
        """Remove every service. Check that nothing of any container is left, and that no daemon logged a defect."""
        swarm = self.swarm
        for service in swarm.services(swarm.managers[0]):
            ask(swarm.managers[0], "DELETE", f"/services/{service['ID']}")
        swarm.wait_rest()
        for host in swarm.hosts:
            faults.nothing_remains(host)
            assert "Traceback" not in host.log_file.read_text(), host.name

    def transcript(self) -> str:
        """Return all that happened, in order."""
        told = [*self.swarm.told, *(line for client in self.clients for line in client.told)]
        return "\n".join(sorted(told))


def test_acknowledged_writes_outlive_faults_and_slots_run_once(net: Network) -> None:
    sys.stdout.write(f"SHOAL_FAULT_SEED={SEED} SHOAL_FAULT_ROUNDS={ROUNDS}\n")
    story = Story(net, SEED)
    try:
        for number in range(ROUNDS):
            if number % CHECK_EVERY == 0:
                for client in story.clients:
                    client.start()
            story.round()
            if number % CHECK_EVERY == CHECK_EVERY - 1 or number == ROUNDS - 1:
                story.check()
        story.end()
    except BaseException as error:
        story.swarm.heal()
        error.add_note(f"SHOAL_FAULT_SEED={SEED} SHOAL_FAULT_ROUNDS={ROUNDS}\n{story.transcript()}")
        raise
    finally:
        story.stop()
        if path := os.environ.get("SHOAL_FAULT_TRANSCRIPT"):
            Path(path).write_text(story.transcript())
    sys.stdout.write(f"{story.writes()} writes acknowledged; faults: {dict(story.swarm.counts)}\n")
    if len(KINDS) <= story.swarm.faults:
        assert all(story.swarm.counts[kind] for kind in ("kill", "stop", "pause", "cut"))
    assert story.writes() >= ROUNDS
