"""`script/bench start`: how long a daemon takes from the start of its process to its first answer, beside dockerd.

Each daemon starts with empty folders, in a network namespace, and is ended afterwards, so it finds nothing of an
earlier one. It measures the time until `GET /_ping` is answered, and the CPU time of the daemon's processes until then.
"""

import argparse
import contextlib
import os
import shutil
import signal
import sys
from types import FrameType

from benchmarks.report import heading, say, settle, table
from benchmarks.sides import DOCKERD, DockerSwarm, Shoal, Side

TIMES = 15
QUICK = 5


def measure(kinds: list[type[Side]], times: int) -> list[tuple[str, str, dict[str, list[float]]]]:
    """Start each side this many times, in turns, and return the rows of the table."""
    took: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    cpu: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    for number in range(times + 1):
        for kind in kinds:
            settle()
            side = kind()
            with contextlib.closing(side):
                cost = side.cost()
                say(f"{number}: {kind.name} answers after {side.start_seconds:.3f} s, {cost.cpu_seconds:.2f} s of CPU")
            if number:  # the first start read the files from the disk
                took[kind.name].append(side.start_seconds)
                cpu[kind.name].append(cost.cpu_seconds)
    return [
        (f"start to the first answer, median of {times}", "s", took),
        ("the quickest of them", "s", {name: [min(values)] for name, values in took.items()}),
        ("CPU until then", "s", cpu),
    ]


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="script/bench start", description=main.__doc__)
    parser.add_argument("--only", choices=("shoal", "docker"), help="one side alone")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} times instead of {TIMES}")
    parser.add_argument("--times", type=int, help="how many times")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    kinds: list[type[Side]] = [Shoal]
    if arguments.only == "docker":
        kinds = [DockerSwarm]
    elif arguments.only is None and shutil.which(DOCKERD):
        kinds = [Shoal, DockerSwarm]
    before = os.getloadavg()[0]
    try:
        rows = measure(kinds, arguments.times or (QUICK if arguments.quick else TIMES))
    except KeyboardInterrupt:
        say("interrupted: taking everything down")
        return 130
    print(heading(before, ("dockerd", "crun", "conmon")))
    print(table(rows, [kind.name for kind in kinds]))
    return 0


def _interrupt(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main())
