"""`script/bench fail-over`: Shoal and Docker Swarm in one run, when hosts join and when hosts are lost.

Each side is three managers in network namespaces, at default settings, and a host that joins and leaves. Both are up
during the whole run and are measured in turns.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from benchmarks import swarms
from benchmarks.report import Row, heading, say, settle, table
from benchmarks.swarms import Swarm

PROGRAMS = ("dockerd", "etcd")


class Bench:
    """Runs each measure on every side and keeps the results."""

    def __init__(self, sides: list[Swarm], patience: float) -> None:
        self.sides = sides
        self.patience = patience
        self.rows: list[Row] = []

    def measure(self, whats: tuple[str, ...], runs: int, once: Callable[[Swarm], tuple[float, ...]]) -> None:
        """Run `once` this many times on each side, in turns. It returns a figure for each of `whats`."""
        values: list[dict[str, list[float]]] = [{side.name: [] for side in self.sides} for _ in whats]
        for number in range(runs):
            for side in self.sides:
                settle(self.patience)
                for what, into, value in zip(whats, values, once(side), strict=True):
                    into[side.name].append(value)
                    say(f"  {what}, {side.name}, run {number + 1} of {runs}: {value:.3f} s")
        self.rows += [(what, "s", into) for what, into in zip(whats, values, strict=True)]


def join_again(role: str) -> Callable[[Swarm], tuple[float, float]]:
    """Return a measure in which a host joins and then leaves."""

    def once(side: Swarm) -> tuple[float, float]:
        took = side.join(side.joiner, role)
        side.leave(side.joiner, role)
        return took

    return once


def measure_joins(bench: Bench, quick: bool) -> None:
    """Measure joins of managers and workers. This makes the managers that the other measures need."""
    managers = iter([manager for n in (1, 2) for manager in (side.managers[n] for side in bench.sides)])
    bench.measure(
        ("2nd, 3rd manager joins: the call", "until it is Ready and Reachable"),
        2,
        lambda side: side.join(next(managers), "manager"),
    )
    bench.measure(("worker joins: the call", "until it is Ready"), 3 if quick else 7, join_again("worker"))
    if not quick:
        bench.measure(("4th manager joins: the call", "until it is there"), 3, join_again("manager"))


def measure_losses(bench: Bench, quick: bool) -> None:
    """Measure a killed leader, and a manager that is cut off."""
    bench.measure(("leader killed, next accepted write",), 3 if quick else 7, lambda side: (side.fail_over(),))
    bench.measure(
        ("manager's link cut: its node is Down", "its tasks run elsewhere"), 2 if quick else 5, lambda side: side.lose()
    )


def main() -> int:
    """Measure both sides and print the table."""
    parser = argparse.ArgumentParser(prog="script/bench fail-over", description=main.__doc__)
    parser.add_argument("--only", choices=("shoal", "docker"), help="one side alone")
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--joins", action="store_true", help="joins alone")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    before = os.getloadavg()[0]
    try:
        with contextlib.ExitStack() as closing:
            sides: list[Swarm] = []
            # Docker comes first, so that the ratio says how many times as long it takes.
            for kind, make in (("docker", swarms.docker), ("shoal", swarms.shoal)):
                if arguments.only in (None, kind):
                    say(f"starting {kind}'s hosts")
                    sides.append(closing.enter_context(make()))
            bench = Bench(sides, 2.0 if arguments.quick else 10.0)
            measure_joins(bench, arguments.quick)
            if not arguments.joins:
                measure_losses(bench, arguments.quick)
            print(heading(before, PROGRAMS))
            print(table(bench.rows, [side.name for side in sides]))
    except KeyboardInterrupt:
        say("interrupted: everything was taken down")
        return 130
    return 0


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main())
