"""Prints a benchmark's progress to standard error, and a table with the ratio to standard output."""

import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Sequence

from tests.harness.hosts import run

Row = tuple[str, str, dict[str, list[float]]]


def say(text: str) -> None:
    """Print what happens now, to standard error. Results go to standard output."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def busy() -> float:
    """Return the CPU seconds that the whole machine has used so far."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:]]
    user, nice, system, _, _, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def settle(patience: float = 10.0) -> None:
    """Wait until the machine does little (three samples under a tenth of a core), for a limited time."""
    calm = 0
    end = time.monotonic() + patience
    while calm < 3 and time.monotonic() < end:
        before = busy()
        time.sleep(0.1)
        calm = calm + 1 if busy() - before < 0.02 else 0


def heading(load_before: float, programs: Sequence[str]) -> str:
    """Return a line that says when and where this was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {sys.version.split()[0]}; load before {load_before:.1f}, after {os.getloadavg()[0]:.1f}"
    )
    return f"{machine}\n{'; '.join(map(_version, programs))}\n"


def table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return all rows: medians, and how many times as much the first side takes."""
    width = max([44, *(len(what) for what, _, _ in rows)])
    head = f"{'what':<{width}}" + "".join(f"{name:>16}" for name in names) + (f"{'ratio':>9}" if len(names) > 1 else "")
    lines = [head, "-" * len(head)]
    for what, unit, values in rows:
        medians = [statistics.median(values[name]) for name in names]
        cells = "".join(f"{f'{median:.3g} {unit}':>16}" for median in medians)
        ratio = f"{medians[0] / medians[1]:>8.1f}x" if len(medians) > 1 and medians[1] else ""
        lines.append(f"{what:<{width}}{cells}{ratio}")
    return "\n".join(lines)


def _version(program: str) -> str:
    path = shutil.which(program)
    lines = run(path, "--version", check=False).stdout.splitlines() if path else []
    return lines[0].strip() if lines else f"no {program}"
