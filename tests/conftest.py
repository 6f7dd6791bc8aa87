"""Prepares every test, and checks after the last one that nothing is left."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import hypothesis
import pytest

from tests.harness.hosts import ORDINARY_PATIENCE, PATIENCE, eventually, patient
from tests.harness.network import LIVE

# When pytest-asyncio asks for the present event loop, Python 3.11 makes one that nobody closes. That gives a warning,
# and so an error, in whatever test runs when it is collected. Setting the loop to None keeps it from being made.
asyncio.set_event_loop(None)

# How long an example takes decides no test.
hypothesis.settings.register_profile(
    "shoal", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("shoal")


# What takes longest where processes share a run, the longest first.
LONGEST = (
    "interop/test_sequences.py",
    "cluster/test_faults_swarm.py",
    "interop/test_demo.py",
    "cluster/test_faults_kill.py",
    "interop/test_demo_many.py",
    "cluster/test_published_ports.py",
    "cluster/test_overlay_networks.py",
    "cluster/test_managers.py",
    "cluster/test_failover.py",
    "cluster/test_runtime_containers.py",
    "cluster/test_backup.py",
    "interop/test_names.py",
)
# What computes, where the rest waits for daemons most of the time.
COMPUTING = ("unit", "simulation")


def in_turn(modules: Sequence[str]) -> list[str]:
    """Return in which order processes that share a run take modules, named by their paths below this folder.

    What takes long begins early, or one process would still be at it when the others have nothing left. Those that only
    compute are spread among those that wait, so that the processors have work all the time, and never too much.
    """
    long = [module for module in LONGEST if module in modules]
    rest = [module for module in modules if module not in LONGEST]
    waiting = long + [module for module in rest if not module.startswith(COMPUTING)]
    computing = [module for module in rest if module.startswith(COMPUTING)]
    at = {module: number / len(part) for part in (waiting, computing) for number, module in enumerate(part)}
    return sorted(modules, key=lambda module: at[module])


def _module(item: pytest.Item) -> str:
    return str(item.path.relative_to(Path(__file__).parent))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put modules in turn where processes share a run; give each test the time that a slow machine needs."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        turn = {module: number for number, module in enumerate(in_turn(list(dict.fromkeys(map(_module, items)))))}
        items.sort(key=lambda item: turn[_module(item)])
    if PATIENCE == ORDINARY_PATIENCE:
        return
    for item in items:
        marked = item.get_closest_marker("timeout")
        seconds = marked.args[0] if marked else float(item.config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(patient(seconds)))


def pytest_configure(config: pytest.Config) -> None:
    """Give each process of a parallel run a folder of its own, so that each finds what it left itself."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        return
    folder = Path(tempfile.gettempdir()) / worker
    folder.mkdir(mode=0o711, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    if folder.parent.name.startswith("shoal."):
        config.option.basetemp = str(folder / "p")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [(f"log of {name}", log) for network in LIVE for name, log in network.logs()]
    return report


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of the test's own, with a short name, because the paths of sockets in it may have only 107
    characters.
    """
    return tmp_path_factory.mktemp("t")


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Fail if a run leaves anything. This needs a folder of the run's own, which only `script/test` provides."""
    before = _things()
    yield
    eventually(lambda: not _things() - before, f"nothing is left of this run: {sorted(_things() - before)}", patience=5)


def _things() -> set[str]:
    found = {f"namespace {path.name}" for path in Path("/run/netns").glob(f"shoal-*-{os.getpid()}")}
    folder = Path(tempfile.gettempdir())
    if not (folder.name.startswith("shoal.") or folder.parent.name.startswith("shoal.")):
        return found
    # `p` is pytest's own folder. Its name is short, because sockets are in it.
    found |= {f"file {path}" for path in folder.iterdir() if path.name != "p"}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{folder}/" in (process / "cmdline").read_text(errors="replace"):
                found.add(f"process {process.name}")
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return found | {f"mount {mount}" for mount in mounts if mount.startswith(f"{folder}/")}
