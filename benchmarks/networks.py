"""`script/bench networks`: what a change of the networks costs a node.

First the network process alone, as its program, told what is wanted over its socket: attaching a container while more
and more networks are on the node; one service's task that goes out of service and comes back, with 200 tasks in 20
networks; what it uses at rest. Then a service's task on many networks less one on a single network, asked through the
API, beside dockerd (with `dnsrr`: its virtual IPs need IP_VS).
"""

import argparse
import asyncio
import contextlib
import functools
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.report import Row, heading, say, settle, table
from benchmarks.sides import DOCKERD, IMAGE, TICKS, DockerSwarm, Shoal, Side
from shoal.network import desired
from shoal.network.process import changes, connection
from shoal.network.process.connection import Connection
from shoal.network.process.messages import CHANGED, HELLO, REACHED, WANTED, Message
from shoal.network.wanted import (
    Endpoint,
    Gossip,
    Key,
    Overlay,
    Reached,
    Sandbox,
    Service,
    Subnet,
    Wanted,
    from_json,
    to_json,
)
from tests.harness.api import service_spec
from tests.harness.hosts import eventually
from tests.harness.overlay_hosts import OverlayHost, overlay_hosts

KEYS = tuple(Key("networking:gossip", f"{number:032x}", number) for number in (1, 2, 3))
MANY = 11  # networks of the service that is measured against one of a single network


def overlay(number: int) -> Overlay:
    return Overlay(f"net{number}", f"net{number}", (Subnet(f"10.{number}.0.0/16", f"10.{number}.0.1", 5000 + number),))


def sandbox(host: OverlayHost, number: int, networks: range) -> Sandbox:
    """Return a container with a namespace of its own; each ten make up a service."""
    endpoints = []
    for at, network in enumerate(networks):
        address = f"10.{network}.{1 + number // 200}.{10 + number % 200}"
        service = Service(f"service{number // 10}", f"web{number // 10}", f"10.{network}.200.{10 + number // 10}")
        mac = "02:42:" + bytes(map(int, address.split("."))).hex(":")
        name = f"{network:04x}{number:08x}".ljust(64, "0")
        endpoints.append(
            Endpoint(name, f"net{network}", f"{address}/16", mac, f"eth{at}", service, enabled=True, gateway=not at)
        )
    path = host.sandbox(f"c{number}")
    return Sandbox(f"{number:012x}".ljust(64, "0"), f"web.{number}", str(path), tuple(endpoints))


class Told:
    """The network process of a host, and what it was told last."""

    def __init__(self, host: OverlayHost, link: Connection, pid: int) -> None:
        self.host = host
        self._link = link
        self._pid = pid
        address = str(host.address)
        self.wanted = Wanted(1, Gossip(address, address, address, keys=KEYS))
        self._known: Wanted | None = None

    async def want(self, wanted: Wanted) -> float:
        """Have something made; return the milliseconds until it was."""
        wanted = replace(wanted, revision=self.wanted.revision + 1)
        text = changes.change(self._known, wanted) if self._known is not None else None
        message = Message(WANTED, to_json(wanted)) if text is None else Message(CHANGED, text)
        self.wanted = self._known = wanted
        began = time.perf_counter()
        await self._link.send(message)
        while True:
            answer = await self._link.receive()
            assert answer is not None
            if answer.kind == REACHED and (reached := from_json(Reached, answer.body)).revision == wanted.revision:
                break
        assert not reached.troubles, reached.troubles
        return (time.perf_counter() - began) * 1000

    async def add(self, number: int, networks: range) -> float:
        one = sandbox(self.host, number, networks)
        return await self.want(desired.with_sandbox(self.wanted, one, [overlay(network) for network in networks]))

    async def remove(self, number: int) -> None:
        one = next(one for one in self.wanted.sandboxes if one.container.startswith(f"{number:012x}"))
        await self.want(desired.without_sandbox(self.wanted, one.container))
        self.host.end(Path(one.netns))

    def cpu(self) -> float:
        """Return the CPU milliseconds of the process so far."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(") ")[2].split()
        return sum(int(field) for field in fields[11:13]) * 1000 / TICKS

    def pss(self) -> float:
        """Return its memory in MiB, shared pages counted by their share."""
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{self._pid}/smaps_rollup").read_text(), re.MULTILINE)
        assert found
        return int(found[1]) / 1024


@contextlib.contextmanager
def program(host: OverlayHost, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the network process in a host."""
    folder.mkdir(mode=0o700)
    command = [sys.executable, "-P", "-m", "shoal.network.process.program", f"--folder={folder}", "--tag=bench"]
    with (
        open(folder.parent / "log", "wb") as log,
        subprocess.Popen(["nsenter", f"--net=/run/netns/{host.name}", *command], stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


async def alone(host: OverlayHost, folder: Path, *, tasks: int, networks: int) -> list[Row]:
    """Return the rows of the process alone."""
    with program(host, folder) as process:
        while not (folder / "socket").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        link = await connection.connect(folder)
        hello = await link.receive()
        assert hello is not None
        assert hello.kind == HELLO
        told = Told(host, link, process.pid)
        rows: list[Row] = [("memory, in a swarm without networks", "MiB", {"shoal": [await _rest(told)]})]
        rows += await attaching(told)
        rows += await changing(told, tasks, networks, each=1)
        rows += await changing(told, tasks, networks, each=networks)
        await link.close()
    return rows


async def _rest(told: Told) -> float:
    await told.want(told.wanted)
    await asyncio.sleep(1)
    return told.pss()


async def attaching(told: Told) -> list[Row]:
    """Return how long a container's attachment to a network takes that is on the node."""
    rows: list[Row] = []
    there = 0
    for count in (1, 10, 50, 100):
        say(f"attaching to one of {count} networks")
        for network in range(there, count):
            await told.add(900 + network, range(network + 1, network + 2))
        there = count
        one, ten = [], []
        for number in range(12):
            one.append(await told.add(number, range(1, 2)))
            await told.remove(number)
            if count >= 10:
                ten.append(await told.add(number, range(1, 11)) / 10)
                await told.remove(number)
        rows.append((f"attaching to a network, {count} on the node", "ms", {"shoal": one[2:]}))
        if ten:
            rows.append((f"attaching to ten at once, {count} on the node, each", "ms", {"shoal": ten[2:]}))
    for network in range(there):
        await told.remove(900 + network)
    return rows


async def changing(told: Told, tasks: int, networks: int, each: int) -> list[Row]:
    """Return what one change of a service costs: one of its ten tasks goes out of service, and comes back."""
    say(f"{tasks} tasks in {networks} networks, each in {each}")
    wanted = told.wanted
    for number in range(tasks):
        first = 1 + (number // 10) % (networks - each + 1)
        on = range(first, first + each)
        wanted = desired.with_sandbox(wanted, sandbox(told.host, number, on), [overlay(network) for network in on])
    first_time = await told.want(wanted)
    await asyncio.sleep(2)  # others' entries, the memory of them: all is told
    name = f"{tasks} tasks in {networks} networks, each in {each}: "
    took, cpu = [], []
    for turn in range(12):
        container = told.wanted.sandboxes[tasks // 2].container
        before = told.cpu()
        took.append(await told.want(desired.with_enabled(told.wanted, container, enabled=bool(turn % 2))))
        cpu.append(told.cpu() - before)
    before, began = told.cpu(), time.perf_counter()
    await asyncio.sleep(12)
    rest = (told.cpu() - before) / (time.perf_counter() - began) / 10
    rows: list[Row] = [
        (name + "all at once", "s", {"shoal": [first_time / 1000]}),
        (name + "one change", "ms", {"shoal": took[2:]}),
        (name + "its CPU", "ms", {"shoal": [statistics.mean(cpu[2:])]}),
        (name + "CPU at rest", "%", {"shoal": [rest]}),
        (name + "memory", "MiB", {"shoal": [told.pss()]}),
    ]
    there = told.wanted.sandboxes
    await told.want(replace(told.wanted, sandboxes=(), overlays=()))
    for one in there:
        told.host.end(Path(one.netns))
    return rows


def beside(kinds: list[type[Side]], times: int) -> list[Row]:
    """Return what a network costs a task's start, by the API."""
    took: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        sides = [stack.enter_context(contextlib.closing(kind())) for kind in kinds]
        for side in sides:
            side.prepare()
            for number in range(MANY):
                body = {"Name": f"net{number}", "Driver": "overlay", "CheckDuplicate": True}
                side.client.call("POST", "/networks/create", body)
            took[side.name] = []
        for turn in range(times + 1):
            for side in sides:
                settle(2)
                few, many = (_start(side, f"s{turn}-{count}", count) for count in (1, MANY))
                say(f"{side.name}: a task on one network {few:.0f} ms, on {MANY} {many:.0f} ms")
                if turn:
                    took[side.name].append((many - few) / (MANY - 1))
    return [("a task's start: each further network", "ms", took)]


def _start(side: Side, name: str, networks: int) -> float:
    spec = service_spec(name, IMAGE, ["sleep", "3600"], 1, container={"StopSignal": "SIGKILL"})
    spec["TaskTemplate"]["Networks"] = [{"Target": f"net{number}"} for number in range(networks)]
    spec["EndpointSpec"] = {"Mode": "dnsrr"}
    began = time.perf_counter()
    side.client.call("POST", "/services/create", spec)
    eventually(functools.partial(_runs, side, name), f"{name} runs on {side.name}", 60, 0.003)
    took = (time.perf_counter() - began) * 1000
    side.client.call("DELETE", f"/services/{name}")
    eventually(lambda: not side.client.call("GET", "/containers/json?all=1"), f"{name} is gone from {side.name}", 60)
    return took


def _runs(side: Side, name: str) -> Any:
    return any(task["Status"]["State"] == "running" for task in side.client.tasks(name))


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench networks")
    parser.add_argument("--quick", action="store_true", help="fewer tasks, networks and turns")
    quick = parser.parse_args().quick
    load = os.getloadavg()[0]
    settle()
    with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder, overlay_hosts(1, Path(folder)) as (host,):
        tasks, networks = (40, 5) if quick else (200, 20)
        rows = asyncio.run(alone(host, Path(folder) / "network", tasks=tasks, networks=networks))
    kinds: list[type[Side]] = [Shoal, *([DockerSwarm] if shutil.which(DOCKERD) else [])]
    starts = beside(kinds, 3 if quick else 10)
    print(heading(load, ("dockerd",)))
    print(table(rows, ("shoal",)))
    print()
    print(table(starts, [kind.name for kind in kinds]))


if __name__ == "__main__":
    main()
