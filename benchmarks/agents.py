"""`script/bench agents`: one real leader, and a thousand agents without containers.

The leader is a `shoald` with its etcd in a network namespace. The agents are one process in that namespace
(`agents_child`). It prints for each step how long it took, the CPU of each of the three, the leader's memory, and the
longest times for which the leader's event loop was busy with one thing: nothing else is served meanwhile. SwarmKit has
no such benchmark to compare with.
"""

import argparse
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import watched_daemon
from tests.harness.api import ApiError, Client, service_spec
from tests.harness.hosts import REPOSITORY, Host, eventually

IMAGE = "bench:latest"
PATIENCE = 900.0
REST_SECONDS = 20.0
SERVICES = 10
FILES_EACH, FILES_MORE = 2, 500  # file descriptors: one for a connection, and one more while it is made
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024


def say(text: str) -> None:
    """Print what happens now, to standard error. Results go to standard output."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of a step: seconds, CPU seconds of each process, memory afterwards, the longest times for which the
    loop was busy.
    """

    what: str
    seconds: float
    cpu: dict[str, float]
    rss: dict[str, int]
    stall: float
    stall_cpu: float


class Agents:
    """The process with the agents, and the last counts that it sent."""

    def __init__(self, host: Host, arguments: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            host.inside(sys.executable, "-m", "benchmarks.agents_child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        self.counts: dict[str, int] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._write(json.dumps(arguments))

    def begin(self) -> None:
        """Let the sessions begin."""
        self._write("")

    def wait(self, what: str, is_so: Callable[[dict[str, int]], bool]) -> None:
        """Wait until the counts have these values."""

        def look() -> bool:
            if self.process.poll() is not None:
                raise SystemExit("the process with the agents has ended")
            return is_so(self.counts)

        eventually(look, what, patience=PATIENCE, every=0.01, show=lambda: str(self.counts))

    def close(self) -> None:
        """End them all."""
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.counts = json.loads(line)

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()


class Bench:
    """The leader, the agents and the results."""

    def __init__(self, agents: int, tasks: int) -> None:
        self.size, self.tasks = agents, tasks
        self.rows: list[Row] = []
        self.host = Host("agents")
        self._stalls = self.host.folder / "stalls"
        self._agents: Agents | None = None

    def start(self) -> None:
        """Make a swarm of one whose leader runs no tasks itself."""
        self.host.environment[watched_daemon.FILE] = str(self._stalls)
        self.host.program = "benchmarks.watched_daemon"
        self.host.start()
        self.client = Client(self.host.socket)
        address = f"{self.host.address}:2377"
        self.client.call("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": self.host.address})
        eventually(self._drain, "the leader's own node is drained")
        token = self.client.get("/swarm")["JoinTokens"]["Worker"]
        self._etcd = next(pid for pid in self.host.processes() if _name(pid) == "etcd")
        self._watch_loop()
        self._agents = Agents(self.host, {"agents": self.size, "address": address, "token": token})

    def run(self) -> None:
        """Take every step."""
        agents, size, tasks = self._agents, self.size, self.tasks
        assert agents is not None
        self._measure(
            f"{size:,} agents have joined", lambda: agents.wait("agents join", lambda now: now.get("joined") == size)
        )

        def register() -> None:
            agents.begin()
            agents.wait("agents are registered", lambda now: now["registered"] == size)

        self._measure("all are Ready", register)
        nodes = sum(node["Status"]["State"] == "ready" for node in self.client.get("/nodes"))
        if nodes != size + 1:
            raise SystemExit(f"{nodes} nodes are Ready, and not {size + 1}")
        self._rest("without tasks")
        names = [f"bench-{number}" for number in range(SERVICES)]

        def create() -> None:
            for name in names:
                self.client.call("POST", "/services/create", service_spec(name, IMAGE, ["true"], tasks // SERVICES))
            agents.wait("tasks run", lambda now: now["running"] == tasks)

        self._measure(f"{tasks:,} tasks RUNNING", create)
        self._check_running(tasks)
        self._rest(f"with {tasks:,} tasks")

        def end() -> None:
            for service in self.client.get("/services"):
                spec = {**service["Spec"], "Mode": {"Replicated": {"Replicas": 0}}}
                self.client.call(
                    "POST", f"/services/{service['ID']}/update?version={service['Version']['Index']}", spec
                )
            agents.wait("tasks are gone", lambda now: now["tasks"] == 0)

        self._measure("scaled to 0, all tasks gone", end)
        self._check_running(0)
        say(f"agents at the end: {agents.counts}")

    def close(self) -> None:
        """Take everything down."""
        if self._agents is not None:
            self._agents.close()
        self.host.close()

    def table(self) -> str:
        """Return what was measured."""
        lines = [
            "| step | time | CPU shoald | etcd | agents | RSS shoald | etcd | loop away at most | of it on the CPU |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for row in self.rows:
            cpu = " | ".join(f"{row.cpu[name]:.2f} s" for name in ("shoald", "etcd", "agents"))
            rss = " | ".join(f"{row.rss[name] / MIB:.0f} MiB" for name in ("shoald", "etcd"))
            stall = f"{row.stall * 1000:.0f} ms | {row.stall_cpu * 1000:.0f} ms" if row.stall >= 0 else "- | -"
            lines.append(f"| {row.what} | {row.seconds:.1f} s | {cpu} | {rss} | {stall} |")
        return "\n".join(lines)

    def _drain(self) -> bool:
        [node] = self.client.get("/nodes")
        spec = {**node["Spec"], "Availability": "drain"}
        try:
            self.client.call("POST", f"/nodes/{node['ID']}/update?version={node['Version']['Index']}", spec)
        except ApiError as error:
            if "out of sequence" not in str(error):
                raise
            return False  # the manager may still be writing its own part
        return True

    def _check_running(self, tasks: int) -> None:
        """Ask the leader itself, once, outside the measured time."""
        services = self.client.get("/services?status=true")
        running = sum(service["ServiceStatus"]["RunningTasks"] for service in services)
        if running != tasks:
            raise SystemExit(f"the leader knows of {running} tasks that run, and not of {tasks}")

    def _rest(self, how: str) -> None:
        self._watch_loop()  # off
        time.sleep(2)
        self._measure(f"at rest {how}", lambda: time.sleep(REST_SECONDS), watched=False)
        self._watch_loop()

    def _measure(self, what: str, step: Callable[[], None], *, watched: bool = True) -> None:
        pids = self._pids()
        before = {name: _cpu(pid) for name, pid in pids.items()}
        seen = self._stalls.stat().st_size if self._stalls.exists() else 0
        began = time.perf_counter()
        step()
        seconds = time.perf_counter() - began
        cpu = {name: _cpu(pid) - before[name] for name, pid in pids.items()}
        rss = {name: _rss(pid) for name, pid in pids.items()}
        time.sleep(0.2)  # for the line about a stall at the very end
        stalls = [tuple(map(float, line.split()[1:])) for line in self._stall_lines(seen)]
        row = Row(
            what,
            seconds,
            cpu,
            rss,
            max((stall[0] for stall in stalls), default=0.0) if watched else -1.0,
            max((stall[1] for stall in stalls), default=0.0),
        )
        away = f"loop away {row.stall:.3f} s, {row.stall_cpu:.3f} s on the CPU" if watched else "loop not watched"
        say(f"  {what}: {seconds:.2f} s; CPU {_short(cpu)}; {away}")
        self.rows.append(row)

    def _stall_lines(self, since: int) -> list[str]:
        if not self._stalls.exists():
            return []
        with self._stalls.open() as file:
            file.seek(since)
            return file.read().splitlines()

    def _watch_loop(self) -> None:
        os.kill(self.host.pid, signal.SIGUSR1)

    def _pids(self) -> dict[str, int]:
        assert self._agents is not None
        return {"shoald": self.host.pid, "etcd": self._etcd, "agents": self._agents.process.pid}


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _rss(pid: int) -> int:
    match = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _short(cpu: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in cpu.items())


def allow_files(agents: int) -> None:
    """Raise the limit of open files, for the leader and for the agents."""
    needed = FILES_EACH * agents + FILES_MORE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SystemExit(
            f"{agents} agents need {needed} open files, and the limit is {hard}: raise it (ulimit -n {needed})"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _interrupt(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="script/bench agents", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="200 agents with 2,000 tasks")
    parser.add_argument("--agents", type=int, metavar="N", help="as many, 2,000 at most, with 10,000 tasks")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    agents, tasks = (200, 2_000) if arguments.quick else (arguments.agents or 1_000, 10_000)
    allow_files(agents)
    before = os.getloadavg()[0]
    bench = Bench(agents, tasks)
    try:
        bench.start()
        bench.run()
    except KeyboardInterrupt:
        say("interrupted: taking everything down")
        return 130
    except BaseException:
        say(bench.host.log())
        raise
    finally:
        bench.close()
    print(
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {sys.version.split()[0]}; load before {before:.1f}, after {os.getloadavg()[0]:.1f}\n"
    )
    print(bench.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
