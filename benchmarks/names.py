"""`script/bench names`: questions for names a second, and the time of an answer, beside Docker's resolver.

One host, in a network namespace: dockerd with a user-defined network, and our name server with the same records. A
client in C asks 127.0.0.11 from a container's network namespace, or from several at once. The two sides take turns.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Row, heading, say, settle, table
from tests.harness.docker_engine import PROGRAM, DockerEngine
from tests.harness.hosts import run
from tests.harness.name_server import NameServerProgram, Setup
from tests.harness.names_twin import netns, process_id
from tests.interop.conftest import import_image

SIDES = ("Shoal", "Docker")
CONTAINERS = 4
ROUNDS, QUICK = 5, 2
SECONDS = 3.0


def cpu(process: int) -> float:
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(
    client: Path, places: Sequence[str], name: str, under_way: int, server: int
) -> tuple[float, float, float, float]:
    """Return questions a second of all clients, the largest median and 99th percentile, and the server's CPU, in µs."""
    before = cpu(server)
    command = [str(client), name, str(SECONDS), str(under_way)]
    running = [
        subprocess.Popen(["nsenter", f"--net={place}", *command], stdout=subprocess.PIPE, text=True) for place in places
    ]
    rate = median = slow = total = 0.0
    for one in running:
        text, _ = one.communicate()
        assert one.returncode == 0, text
        answers, took, lost, middle, late = map(float, text.split())
        assert not lost, text
        rate += answers / took
        total += answers
        median, slow = max(median, middle), max(slow, late)
    return rate, median, slow, (cpu(server) - before) / total * 1e6


def measure(client: Path, places: dict[str, list[str]], servers: dict[str, int], rounds: int) -> list[Row]:
    """Ask both sides in turns and return the rows of the table."""
    rows: list[Row] = []
    for what, name, count, under_way in (
        ("1 container, 1 under way", "web", 1, 1),
        ("1 container, 32 under way", "web", 1, 32),
        (f"{CONTAINERS} containers, 8 under way each", "web", CONTAINERS, 8),
        ("8 addresses, 1 container, 32 under way", "many", 1, 32),
    ):
        found: dict[str, list[tuple[float, ...]]] = {side: [] for side in SIDES}
        for _ in range(rounds):
            for side in SIDES:
                settle()
                found[side].append(ask(client, places[side][:count], name, under_way, servers[side]))
                say(f"{what}: {side} {found[side][-1][0]:.0f}/s, p99 {found[side][-1][2]:.0f} us")
        rows += [
            (f"{what}: questions a second", "/s", {side: [one[0] for one in found[side]] for side in SIDES}),
            (f"{what}: p50", "us", {side: [one[1] for one in found[side]] for side in SIDES}),
            (f"{what}: p99", "us", {side: [one[2] for one in found[side]] for side in SIDES}),
            (f"{what}: CPU a question", "us", {side: [one[3] for one in found[side]] for side in SIDES}),
        ]
    return rows


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="script/bench names", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} rounds instead of {ROUNDS}")
    rounds = QUICK if parser.parse_args().quick else ROUNDS
    load = os.getloadavg()[0]
    twins = [f"shoal-twin-{number}-{os.getpid()}" for number in range(CONTAINERS)]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client = folder / "client"
        run("gcc", "-O2", "-o", str(client), str(Path(__file__).with_name("names_client.c")))
        engine = DockerEngine("bench-names")
        stack.callback(engine.close)
        engine.start()
        import_image(engine)
        engine.docker("network", "create", "net")
        names = {"web": 1, "many": 8}
        for name, count in names.items():
            for number in range(count):
                engine.docker("run", "-d", "--network=net", f"--network-alias={name}", "bb:latest", "sleep", "3600")
                say(f"container {number + 1} of {name}")
        for number in range(CONTAINERS):
            engine.docker("run", "-d", "--network=net", f"--name=asker{number}", "bb:latest", "sleep", "3600")
        records = [
            ("net", {"name": f"{name}.{at}", "address": f"10.0.0.{at}", "task_aliases": [name]})
            for name, count in names.items()
            for at in range(count)
        ]
        for twin in twins:
            stack.callback(run, "ip", "netns", "delete", twin, check=False)
            run("ip", "netns", "add", twin)
            run("ip", "-n", twin, "link", "set", "lo", "up")
        sandboxes = {twin: (f"/run/netns/{twin}", ["net"]) for twin in twins}
        ours = stack.enter_context(
            NameServerProgram(engine.namespace, Setup("/nowhere", {"net": False}, sandboxes, records), folder)
        )
        places = {
            "Shoal": [f"/run/netns/{twin}" for twin in twins],
            "Docker": [netns(engine, f"asker{number}") for number in range(CONTAINERS)],
        }
        rows = measure(client, places, {"Shoal": ours.process.pid, "Docker": process_id(engine)}, rounds)
        print(heading(load, [PROGRAM]))
        print(table(rows, SIDES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
