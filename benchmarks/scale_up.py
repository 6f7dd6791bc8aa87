"""`script/bench scale-up`: Shoal beside Docker Swarm, one host each, on one machine in one run.

Prints a table with both sides and their ratio, and the steps of one of Shoal's tasks with their times.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.report import Row, busy, heading, say, settle, table
from benchmarks.sides import IMAGE, DockerSwarm, Shoal, Side
from benchmarks.stages import stages
from tests.harness.api import service_spec
from tests.harness.hosts import eventually

COMMAND = ["sleep", "1000000"]
PATIENCE = 180.0
REST_SECONDS = 20.0
MIB = 1024 * 1024


class Bench:
    """Runs each measure on every side and keeps the results."""

    def __init__(self, sides: list[Side]) -> None:
        self.sides = sides
        self.rows: list[Row] = []
        self._number = 0

    def measure(self, what: str, unit: str, runs: int, once: Callable[[Side], float]) -> None:
        """Run `once` this many times on each side, in turns, so that other work on the machine disturbs both."""
        values: dict[str, list[float]] = {side.name: [] for side in self.sides}
        for number in range(runs):
            for side in self.sides:
                settle()
                value = once(side)
                values[side.name].append(value)
                say(f"  {what}, {side.name}, run {number + 1} of {runs}: {value:.3f} {unit}")
        self.rows.append((what, unit, values))

    def name(self) -> str:
        """Return a new service name."""
        self._number += 1
        return f"s{self._number}"

    def create(self, side: Side, replicas: int, **update: Any) -> str:
        """Create a service and return its name."""
        name = self.name()
        spec = service_spec(name, IMAGE, COMMAND, replicas, container={"StopSignal": "SIGKILL"})
        side.client.call("POST", "/services/create", {**spec, **update})
        return name

    def wait(self, side: Side, name: str, count: int, fits: Callable[[dict[str, Any]], bool] = lambda _: True) -> Any:
        """Wait for this many running tasks."""

        def look() -> Any:
            found = [task for task in side.client.tasks(name) if task["Status"]["State"] == "running" and fits(task)]
            return found if len(found) >= count else None

        # Listing more tasks takes more time, which must not be what is measured.
        return eventually(look, f"{count} tasks of {name} run on {side.name}", PATIENCE, 0.003 if count <= 10 else 0.05)

    def remove(self, side: Side, name: str) -> None:
        """Remove a service, and wait until its containers are gone."""
        side.client.call("DELETE", f"/services/{name}")
        label = f"com.docker.swarm.service.name={name}"
        eventually(lambda: not _containers(side, label), f"{name} is gone from {side.name}", PATIENCE)

    # The measures.

    def scale_up(self, replicas: int) -> Callable[[Side], float]:
        """Return a measure: the time from the request to this many running tasks."""

        def once(side: Side) -> float:
            began = time.monotonic()
            name = self.create(side, replicas)
            self.wait(side, name, replicas)
            took = time.monotonic() - began
            self.remove(side, name)
            return took

        return once

    def cpu_of_tasks(self, replicas: int) -> Callable[[Side], float]:
        """Return a measure: the CPU time of the whole machine for each task, in milliseconds."""

        def once(side: Side) -> float:
            before = busy()
            name = self.create(side, replicas)
            self.wait(side, name, replicas)
            used = busy() - before
            self.remove(side, name)
            return used / replicas * 1000

        return once

    def scale_down(self, side: Side) -> float:
        """Measure the time from the removal of a service of 50 tasks until none of its containers is left."""
        name = self.create(side, 50)
        self.wait(side, name, 50)
        began = time.monotonic()
        self.remove(side, name)
        return time.monotonic() - began

    def restart(self, side: Side) -> float:
        """Measure the time from the death of a task's process until its successor runs."""
        name = self.create(side, 1)
        (task,) = self.wait(side, name, 1)
        time.sleep(1)  # a task that dies right after its start is another case
        began = time.monotonic()
        side.kill_container(task["Status"]["ContainerStatus"]["ContainerID"])
        self.wait(side, name, 1, lambda other: bool(other["ID"] != task["ID"]))
        took = time.monotonic() - began
        self.remove(side, name)
        return took

    def update(self, side: Side) -> float:
        """Measure the time from an update of 10 replicas, two at a time, until all tasks are new."""
        name = self.create(side, 10, UpdateConfig={"Parallelism": 2, "Delay": 0})
        self.wait(side, name, 10)
        service = side.client.get(f"/services/{name}")
        service["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] = ["NEW=1"]
        began = time.monotonic()
        side.client.call("POST", f"/services/{name}/update?version={service['Version']['Index']}", service["Spec"])
        self.wait(side, name, 10, lambda task: bool(task["Spec"]["ContainerSpec"].get("Env")))
        took = time.monotonic() - began
        self.remove(side, name)
        return took

    def rest(self) -> None:
        """Measure memory and CPU of each side at rest with 50 tasks."""
        memory: dict[str, list[float]] = {}
        cpu: dict[str, list[float]] = {}
        for side in self.sides:
            name = self.create(side, 50)
            self.wait(side, name, 50)
            time.sleep(5)
            settle()
            before = side.cost()
            time.sleep(REST_SECONDS)
            after = side.cost()
            memory[side.name] = [sum(after.pss_bytes.values()) / MIB]
            cpu[side.name] = [after.cpu_seconds - before.cpu_seconds]
            parts = ", ".join(f"{part} {size / MIB:.0f}" for part, size in sorted(after.pss_bytes.items()))
            say(f"  at rest with 50 tasks, {side.name}: {memory[side.name][0]:.0f} MiB ({parts})")
            self.remove(side, name)
        self.rows.append(("memory (PSS) at rest with 50 tasks", "MiB", memory))
        self.rows.append((f"CPU in {REST_SECONDS:.0f} s at rest with 50 tasks", "s", cpu))

    def api(self) -> None:
        """Measure the latencies of single calls, while there are 200 services."""
        create: dict[str, list[float]] = {}
        listing: dict[str, list[float]] = {}
        one: dict[str, list[float]] = {}
        ping: dict[str, list[float]] = {}
        for side in self.sides:
            settle()
            names: list[str] = []
            create[side.name] = [1000 * _timed(lambda: names.append(self.create(side, 0))) for _ in range(200)][100:]  # noqa: B023
            listing[side.name] = [1000 * _timed(lambda: side.client.get("/services")) for _ in range(100)]  # noqa: B023
            one[side.name] = [
                1000 * _timed(lambda: side.client.get(f"/services/{name}"))  # noqa: B023
                for name in names[:100]
            ]
            ping[side.name] = [1000 * _timed(lambda: side.client.call("GET", "/_ping")) for _ in range(100)]  # noqa: B023
            for name in names:
                side.client.call("DELETE", f"/services/{name}")
        self.rows.append(("POST /services/create", "ms", create))
        self.rows.append(("GET /services, 200 of them", "ms", listing))
        self.rows.append(("GET /services/{id}", "ms", one))
        self.rows.append(("GET /_ping", "ms", ping))


def _containers(side: Side, label: str) -> list[Any]:
    query = json.dumps({"label": [label]}).replace('"', "%22").replace(" ", "")
    found: list[Any] = side.client.call("GET", f"/containers/json?all=1&filters={query}")
    return found


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_all(bench: Bench, quick: bool) -> None:
    """Run every measure; `quick`: once or twice."""
    times = 1 if quick else 3
    bench.measure("1 task, request to RUNNING", "s", 2 if quick else 7, bench.scale_up(1))
    bench.measure("10 tasks", "s", times, bench.scale_up(10))
    bench.measure("100 tasks", "s", 1 if quick else 2, bench.scale_up(100))
    bench.measure("CPU a task, of 100", "ms", 1, bench.cpu_of_tasks(100))
    bench.measure("50 tasks to none", "s", 1 if quick else 2, bench.scale_down)
    bench.measure("killed task running again, delay 0", "s", 2 if quick else 5, bench.restart)
    bench.measure("rolling update, 10 replicas by 2", "s", times, bench.update)
    bench.api()
    bench.rest()


def main() -> int:
    """Measure both sides and print the table."""
    parser = argparse.ArgumentParser(prog="script/bench scale-up", description=main.__doc__)
    parser.add_argument("--only", choices=("shoal", "docker"), help="one side alone")
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--root", type=Path, help="the / of another Debian, whose dockerd is the peer")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    sides: list[Side] = []
    before = os.getloadavg()[0]
    try:
        # Docker comes first, so that the ratio says how many times as long it takes.
        kinds: dict[str, Callable[[], Side]] = {"docker": partial(DockerSwarm, arguments.root), "shoal": Shoal}
        for name, start in kinds.items():
            if arguments.only in (None, name):
                say(f"starting {name}")
                sides.append(start())
                sides[-1].prepare()
        bench = Bench(sides)
        measure_all(bench, arguments.quick)
        print(heading(before, ("dockerd", "runc", "crun", "conmon", "etcd")))
        for side in sides:
            version = side.client.get("/version")
            print(f"{side.name}: engine {version['Version']}, kernel {version['KernelVersion']}")
        print(table(bench.rows, [side.name for side in sides]))
        for side in sides:
            if isinstance(side, Shoal):
                print(f"\nWhere the time of one task goes (milliseconds after the request):\n{stages(bench, side)}")
    except KeyboardInterrupt:
        say("interrupted: taking everything down")
        return 130
    finally:
        with contextlib.ExitStack() as closing:
            for side in sides:
                closing.callback(side.close)
    return 0


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main())
