"""`script/demo --nodes 3+2`: managers and workers as network namespaces of this machine. The leader is killed.

The real `docker` command shows the state of the swarm, if it is installed. Otherwise tables made from the same answers
of the API do.
"""

import argparse
import contextlib
import http.client
import re
import shutil
import signal
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.harness import images
from tests.harness.api import ApiError, Client, service_spec
from tests.harness.demo_stage import NAME, ManyHosts, Story
from tests.harness.hosts import Host, docker_program, eventually, run
from tests.harness.network import Network

IMAGE = "shoal-demo:latest"
WEB = ["httpd", "-f", "-p", "80", "-h", "/www"]
MOST_MANAGERS = 7  # the most that Docker recommends
MOST_HOSTS = 20  # some 60 MiB each: a shoald, and an etcd on a manager
QUORUM_TO_LOSE = 3  # with fewer managers there is no quorum after one is killed
HEARTBEATS = "its node is given three heartbeats of 5 s"
PATIENCE = 60.0

Lost = (ApiError, OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Nodes:
    """The numbers of managers and workers."""

    managers: int
    workers: int

    @classmethod
    def parse(cls, text: str) -> "Nodes":
        """Read a text such as `3+2`. Raises ArgumentTypeError if it is malformed."""
        match = re.fullmatch(r"(\d{1,3})\+(\d{1,3})", text)
        if match is None:
            raise argparse.ArgumentTypeError(f"{text!r} is not MANAGERS+WORKERS, as in 3+2")
        found = cls(int(match[1]), int(match[2]))
        if not found.managers:
            raise argparse.ArgumentTypeError("a swarm needs at least one manager, as in 1+2")
        if found.managers > MOST_MANAGERS:
            raise argparse.ArgumentTypeError(
                f"{found.managers} managers are too many: each has to agree to each write; at most {MOST_MANAGERS}"
            )
        if found.managers + found.workers > MOST_HOSTS:
            raise argparse.ArgumentTypeError(
                f"{found.managers + found.workers} hosts are too many for one machine: at most {MOST_HOSTS}"
            )
        return found

    def names(self) -> list[str]:
        """Return the hosts' names: managers, then workers."""
        return [f"m{n + 1}" for n in range(self.managers)] + [f"w{n + 1}" for n in range(self.workers)]


class ManyDemo:
    """The hosts of the demo and its steps."""

    def __init__(self, nodes: Nodes) -> None:
        self.remains = ManyHosts.begin()
        self.nodes = nodes
        self.network = Network(NAME, folder=self.remains.folder)
        self.hosts: list[Host] = []
        self.pages: dict[Host, str] = {}
        self.has_docker = shutil.which(docker_program()) is not None

    @property
    def managers(self) -> list[Host]:
        """Return the hosts that are managers."""
        return self.hosts[: self.nodes.managers]

    def tell(self, story: Story, keep: bool) -> None:
        """Play the demo."""
        self._assemble(story)
        first = self.managers[0]
        self._show_nodes(story, first)
        self._deploy(story, first)
        leader = self._leader(first)
        if self.nodes.managers >= QUORUM_TO_LOSE:
            self._fail_over(story, leader, next(host for host in self.managers if host is not leader))
        else:
            self._lose_quorum(story, leader)
        if not keep:
            self._leave(story)

    def go_on(self) -> str:
        """Return how to use what was kept."""
        lines = [f"  docker -H unix://{host.socket} {self._example(host)}" for host in self.hosts]
        return "\n".join(["The swarm is up. Go on with, on each host:", *lines])

    def _example(self, host: Host) -> str:
        return "node ls" if host in self.managers else "ps"

    # The acts.

    def _assemble(self, story: Story) -> None:
        names = self.nodes.names()
        with story.step(f"wire up {_count(len(names), 'host')}, start shoald on each"):
            self.network.make()
            self.hosts = [self.network.add(name, start=False) for name in names]
            for host in self.hosts:
                host.start(wait=False)
            for host in self.hosts:
                eventually(host.answers, f"shoald on {host.name} answers", show=host.log)
        with story.step("build a small image from busybox, give it to each host"):
            rootfs = images.busybox_rootfs()
            for host in self.hosts:
                with _client(host) as client:
                    client.import_image(rootfs, "shoal-demo")
        first = self.managers[0]
        with story.step(f"make a swarm on {first.name}"), _client(first) as client:
            client.call("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": first.address})
            tokens = client.get("/swarm")["JoinTokens"]
        for host in self.hosts[1:]:
            role = "manager" if host in self.managers else "worker"
            with story.step(f"{host.name} joins as a {role}"), _client(host) as client:
                asked = {"RemoteAddrs": [f"{first.address}:2377"], "JoinToken": tokens[role.capitalize()]}
                try:
                    client.call("POST", "/swarm/join", {"ListenAddr": "0.0.0.0:2377", **asked})
                except ApiError as error:
                    if "will continue in the background" not in str(error):  # as it does on a slow machine
                        raise
                eventually(partial(_is_active, client), f"{host.name} is in the swarm", show=host.log)
        with story.step("all of them are ready"):
            self._wait_well(first)

    def _deploy(self, story: Story, first: Host) -> None:
        count = 2 * len(self.hosts)
        with story.step(f"deploy a web service, {count} replicas"), _client(first) as client:
            client.call("POST", "/services/create", service_spec("web", IMAGE, WEB, count))
            self._wait_spread(first, count, self.hosts)
        self._show_tasks(story, first)
        with story.step("ask a task on every host over HTTP"):
            answers = self._ask_all()
        story.show("\n".join(answers))

    def _fail_over(self, story: Story, leader: Host, other: Host) -> None:
        rest = [host for host in self.hosts if host is not leader]
        with story.step(f"kill the leader, {leader.name} (SIGKILL): {other.name} accepts the next write"):
            leader.stop(signal.SIGKILL)
            self._write(other)
        with story.step("every manager that is left names another leader"):
            eventually(
                lambda: all(self._names_leader(host, leader) for host in self.managers if host is not leader),
                "they agree",
                PATIENCE,
                show=other.log,
            )
        self._show_nodes(story, other)
        with story.step(f"the tasks of {leader.name} run elsewhere ({HEARTBEATS})"):
            self._wait_spread(other, 2 * len(self.hosts), rest, lambda text: story.progress(text), lost=leader)
        self._show_tasks(story, other)
        with story.step(f"start {leader.name} again: it is a manager as before, and ends what was replaced"):
            leader.start()
            self._wait_well(other)
            eventually(lambda: not self._runs(leader), "its old containers have ended", PATIENCE, show=leader.log)
        self._show_nodes(story, leader)

    def _lose_quorum(self, story: Story, leader: Host) -> None:
        with story.step(f"kill the leader, {leader.name} (SIGKILL): a majority of the managers is gone"):
            leader.stop(signal.SIGKILL)
        for other in (host for host in self.managers if host is not leader):
            with story.step(f"a write on {other.name} is refused"):
                refusal = self._refusal(other)
            story.show(refusal)
        with story.step("ask a task on every host over HTTP: containers run on"):
            answers = self._ask_all()
        story.show("\n".join(answers))
        with story.step(f"start {leader.name} again: writes are accepted"):
            leader.start()
            self._write(leader)
        with story.step("all of them are ready"):
            self._wait_well(leader)
        self._show_nodes(story, leader)

    def _leave(self, story: Story) -> None:
        with story.step("remove the services"):
            # A manager that has just come back may cause another election. Then this call is repeated.
            eventually(lambda: _tried(lambda: _no_services(self.managers[0])), "no service is left", PATIENCE)
            eventually(lambda: not any(map(self._runs, self.hosts)), "no container runs", PATIENCE)
        with story.step("leave the swarm, stop shoald on each host"):
            for host in reversed(self.hosts):
                with _client(host) as client:
                    client.call("POST", "/swarm/leave?force=1")
                host.stop()

    # What they ask.

    def _wait_well(self, through: Host) -> None:
        def well() -> bool:
            found = _nodes(through)
            managing = [node for node in found if _standing(node) in {"Leader", "Reachable"}]
            return (
                len(found) == len(self.hosts)
                and all(node["Status"]["State"] == "ready" for node in found)
                and len(managing) == self.nodes.managers
            )

        eventually(well, "every node is ready, every manager reachable", PATIENCE, show=through.log)

    def _wait_spread(
        self, through: Host, count: int, hosts: list[Host], tell: Any = lambda text: None, lost: Host | None = None
    ) -> None:
        names = {host.name for host in hosts}

        def spread() -> bool:
            found = _nodes(through)
            by_id = {node["ID"]: node["Description"]["Hostname"] for node in found}
            with _client(through) as client:
                tasks = client.tasks("web")
            running = [by_id.get(task.get("NodeID", "")) for task in tasks if _is_running(task)]
            there = len([name for name in running if name in names])
            for node in found:
                if lost is not None and by_id[node["ID"]] == lost.name:
                    state = node["Status"]["State"].capitalize()
                    tell(f"{lost.name} is {state}, {there} of {count} tasks run on the others")
            if there == count and lost is None and set(running) != names:
                # A host of a slow machine was taken for down, and its tasks were made elsewhere. It is back since,
                # but tasks that run stay where they are.
                if all(node["Status"]["State"] == "ready" for node in found):
                    _replace_tasks(through)
                return False
            return there == count

        eventually(lambda: _tried(spread), f"{count} tasks run on {', '.join(sorted(names))}", PATIENCE, 0.05)

    def _ask_all(self) -> list[str]:
        for host in self.hosts:
            if host not in self.pages:  # read once, because its daemon may be dead later
                self.pages[host] = _page(host)
        return [
            f"on {host.name}: {eventually(partial(_ask, host, url), f'web answers on {host.name}')}"
            for host, url in self.pages.items()
        ]

    def _runs(self, host: Host) -> list[Any]:
        with _client(host) as client:
            found: list[Any] = client.get("/containers/json")
        return found

    def _leader(self, through: Host) -> Host:
        (name,) = [node["Description"]["Hostname"] for node in _nodes(through) if _standing(node) == "Leader"]
        return next(host for host in self.hosts if host.name == name)

    def _names_leader(self, host: Host, but: Host) -> bool:
        standings = {node["Description"]["Hostname"]: _standing(node) for node in _nodes(host)}
        return standings.get(but.name) == "Unreachable" and "Leader" in standings.values()

    def _write(self, through: Host) -> None:
        def accepted() -> bool:
            with _client(through) as client:
                client.call("POST", "/services/create", service_spec("written", IMAGE, ["sleep", "1d"], 1))
            return True

        eventually(lambda: _tried(accepted), "a write is accepted", PATIENCE, show=through.log)

    def _refusal(self, through: Host) -> str:
        try:
            with _client(through) as client:
                client.call("POST", "/services/create", service_spec("refused", IMAGE, ["sleep", "1d"], 1))
        except ApiError as error:
            return str(error)
        raise AssertionError("a write was accepted without a majority of the managers")

    # What they show.

    def _show_nodes(self, story: Story, through: Host) -> None:
        if self.has_docker:
            story.show(f"$ docker -H {through.name} node ls\n{through.docker('node', 'ls').stdout}")
            return
        rows = [
            [
                node["Description"]["Hostname"],
                node["Status"]["State"].capitalize(),
                node["Spec"]["Availability"].capitalize(),
                _standing(node),
            ]
            for node in _nodes(through)
        ]
        story.show(_table(["HOSTNAME", "STATUS", "AVAILABILITY", "MANAGER STATUS"], sorted(rows)))

    def _show_tasks(self, story: Story, through: Host) -> None:
        columns = "table {{.Name}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}"
        flags = ("--filter", "desired-state=running", "--format", columns)
        if self.has_docker:
            shown = through.docker("service", "ps", "web", *flags).stdout
            story.show(f"$ docker -H {through.name} service ps web\n{shown}")
            return
        by_id = {node["ID"]: node["Description"]["Hostname"] for node in _nodes(through)}
        with _client(through) as client:
            rows = [
                [f"web.{task['Slot']}", by_id.get(task["NodeID"], ""), task["Status"]["State"].capitalize()]
                for task in sorted(client.tasks("web"), key=lambda task: int(task["Slot"]))
                if _is_running(task)
            ]
        story.show(_table(["NAME", "NODE", "CURRENT STATE"], rows))


@contextlib.contextmanager
def _client(host: Host) -> Any:
    with contextlib.closing(Client(host.socket)) as client:
        yield client


def _is_active(client: Client) -> bool:
    return str(client.get("/info")["Swarm"]["LocalNodeState"]) == "active"


def _nodes(through: Host) -> list[dict[str, Any]]:
    try:
        with _client(through) as client:
            found: list[dict[str, Any]] = client.get("/nodes")
    except Lost:
        return []  # there is no leader for the moment
    return found


def _replace_tasks(through: Host) -> None:
    """Do what `docker service update --force web` does, unless that goes on."""
    with _client(through) as client:
        now = client.get("/services/web")
        if (now.get("UpdateStatus") or {}).get("State") == "updating":
            return
        template = now["Spec"]["TaskTemplate"]
        template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1
        client.call("POST", f"/services/{now['ID']}/update?version={now['Version']['Index']}", now["Spec"])


def _no_services(through: Host) -> bool:
    with _client(through) as client:
        for service in client.get("/services"):
            client.call("DELETE", f"/services/{service['ID']}")
        return not client.get("/services")


def _tried(look: Any) -> bool:
    try:
        return bool(look())
    except Lost:
        return False


def _standing(node: dict[str, Any]) -> str:
    status = node.get("ManagerStatus") or {}
    return "Leader" if status.get("Leader") else str(status.get("Reachability", "")).capitalize()


def _is_running(task: dict[str, Any]) -> bool:
    return bool(task["Status"]["State"] == "running" and task["DesiredState"] == "running")


def _page(host: Host) -> str:
    """Return the address of a web task on a host, as that host reaches it."""
    with _client(host) as client:
        for container in client.get("/containers/json"):
            if "httpd" in container["Command"]:
                return f"http://{container['NetworkSettings']['Networks']['bridge']['IPAddress']}/cgi-bin/hello"
    raise AssertionError(f"no task of the web service runs on {host.name}")


def _ask(host: Host, url: str) -> str:
    """Return a web task's answer, or an empty text if it does not answer yet."""
    ask = (str(images.BUSYBOX), "timeout", "5", "wget", "-q", "-O", "-", url)
    return run(*host.inside(*ask), check=False).stdout.strip()


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    return "\n".join("   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in [head, *rows])  # fmt: skip


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
