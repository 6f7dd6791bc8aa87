"""`script/demo` plays to its end, and leaves nothing however it is ended."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.hosts import CGROUPS, REPOSITORY, docker_program, eventually, run

DEMO = [sys.executable, "-m", "tests.harness.demo"]
IN_VENV = Path(sys.prefix) == REPOSITORY / ".venv"


class Stage:
    """Where demos play: a folder for temporary files and a network namespace, so that all that is left is theirs."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="shoal-stage-"))
        self.namespace = self.folder.name
        self.processes: list[subprocess.Popen[bytes]] = []
        self.tags: set[str] = set()
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--", *command]

    def begin(self, *flags: str) -> subprocess.Popen[bytes]:
        """Start a demo as a terminal would, in a process group of its own."""
        log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        with log:
            process = subprocess.Popen(
                self.inside(*DEMO, *flags),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=REPOSITORY,
                env={**os.environ, "TMPDIR": str(self.folder), "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self.processes.append(process)
        return process

    def play(self, *flags: str) -> int:
        return self.end(self.begin(*flags))

    def end(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the demo does not end\n{self.said()}") from None

    def said(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()

    def reaches(self, process: subprocess.Popen[bytes], step: str, containers: int = 0) -> None:
        """Wait until a demo is in a step and has made so many containers."""

        def there() -> bool:
            assert process.poll() is None, self.said()
            return step in self.said() and len(self.containers()) >= containers

        eventually(there, f"{containers} containers in the step {step!r}", every=0.005, show=self.said)

    def containers(self) -> list[Path]:
        return [path for tag in self.see_tags() for path in CGROUPS.glob(f"pids/shoal-{tag}/*") if path.is_dir()] or [
            path for tag in self.tags for path in CGROUPS.glob(f"shoal-{tag}/*") if path.is_dir()
        ]

    def see_tags(self) -> set[str]:
        """The names that the demos so far gave to what they made outside their folders."""
        for path in self.folder.glob("*/data/engine-id"):
            with contextlib.suppress(OSError):
                self.tags.add(path.read_text().strip().replace("-", "")[:8])
        return self.tags

    def left(self) -> list[str]:
        """What is there of this stage's demos: in its folder, in its network, anywhere among mounts and processes."""
        found = [f"file {path}" for path in self.folder.iterdir()]
        links = run("ip", "-n", self.namespace, "-o", "link").stdout.splitlines()
        found += [f"link {line}" for line in links if not line.startswith("1: lo:")]
        found += [f"nft {line}" for line in run(*self.inside("nft", "list", "tables")).stdout.splitlines()]
        for tag in self.tags:
            found += [f"cgroup {path}" for depth in ("*", "*/*") for path in CGROUPS.glob(f"{depth}{tag}*")]
        own = str(self.folder)
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if own in (process / "cmdline").read_text(errors="replace"):
                    found.append(f"process {process.name}")
                if own in (process / "mountinfo").read_text():
                    found.append(f"mount in the namespace of {process.name}")
        return found

    def is_empty(self) -> None:
        # The kernel takes network namespaces down in its own time, and the links into them.
        eventually(lambda: not self.left(), "nothing is left", patience=10, show=lambda: "\n".join(self.left()))

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        run(*self.inside(*DEMO, "--down"), check=False, cwd=REPOSITORY, env={**os.environ, "TMPDIR": str(self.folder)})
        run("ip", "netns", "delete", self.namespace, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder.parent / f"{self.folder.name}.log").unlink(missing_ok=True)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    try:
        yield made
    finally:
        made.close()


def test_plays_to_its_end_and_leaves_nothing(stage: Stage) -> None:
    process = stage.begin()
    stage.reaches(process, "scale it to 20", containers=4)
    assert stage.end(process) == 0, stage.said()
    said = stage.said()
    assert "it says: hello from" in said
    for step in ("deploy a web service, 3 replicas", "scale it to 20", "kill a container, see it come back"):
        assert said.count(step) == 2, "as it happens, and in the table"
    assert said.rstrip().endswith("Nothing is left behind.")
    stage.is_empty()


@pytest.mark.skipif(not IN_VENV, reason="script/demo runs from the clone's own .venv")
def test_script_installs_nothing_where_everything_is_there() -> None:
    done = run("script/demo", "--help", cwd=REPOSITORY)
    assert done.stdout.startswith("usage: script/demo"), done.stdout


@pytest.mark.parametrize(
    ("step", "containers"),
    [
        ("start shoald", 0),
        ("make a swarm of one", 0),
        ("build a small image", 0),
        ("deploy a web service", 1),
        ("scale it to 20", 5),
        ("scale it to 20", 12),
        ("kill a container", 20),
        ("remove the service", 0),
        ("leave the swarm", 0),
    ],
)
def test_interrupt_leaves_nothing(stage: Stage, step: str, containers: int) -> None:
    process = stage.begin()
    stage.reaches(process, step, containers)
    stage.see_tags()
    os.killpg(process.pid, signal.SIGINT)
    assert stage.end(process) == 130, stage.said()
    assert "SIGINT: taking everything down" in stage.said()
    assert "Traceback" not in stage.said()
    stage.is_empty()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=lambda how: how.name)
def test_other_signals_leave_nothing_either(stage: Stage, how: signal.Signals) -> None:
    process = stage.begin()
    stage.reaches(process, "scale it to 20", containers=3)
    os.killpg(process.pid, how)
    assert stage.end(process) == 130, stage.said()
    stage.is_empty()


def test_impatient_interrupts_do_not_stop_the_cleaning_up(stage: Stage) -> None:
    process = stage.begin()
    stage.reaches(process, "kill a container", containers=20)
    while process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    assert process.returncode == 130, stage.said()
    stage.is_empty()


@pytest.mark.parametrize(("step", "containers"), [("make a swarm of one", 0), ("scale it to 20", 10)])
def test_next_demo_clears_away_what_a_killed_one_left(stage: Stage, step: str, containers: int) -> None:
    process = stage.begin()
    stage.reaches(process, step, containers)
    process.kill()
    process.wait()
    assert stage.left() != []
    stage.see_tags()
    assert stage.play() == 0, stage.said()
    assert "clear away" in stage.said()
    stage.is_empty()


def test_kept_swarm_stays_until_it_is_taken_down(stage: Stage) -> None:
    assert stage.play("--keep") == 0, stage.said()
    (line,) = [line for line in stage.said().splitlines() if line.startswith("  docker -H ")]
    words = line.split()
    assert " 20/20 " in run(docker_program(), *words[1:]).stdout
    # Another demo leaves it alone.
    assert stage.play() == 0, stage.said()
    assert " 20/20 " in run(docker_program(), *words[1:]).stdout
    stage.see_tags()
    assert "script/demo --down" in stage.said()
    assert stage.play("--down") == 0, stage.said()
    stage.is_empty()


def test_failure_is_told_and_leaves_nothing(stage: Stage) -> None:
    process = stage.begin()
    stage.reaches(process, "scale it to 20", containers=3)
    (pid,) = [int(path.read_text()) for path in stage.folder.glob("*/shoald.pid")]
    os.kill(pid, signal.SIGKILL)
    assert stage.end(process) == 1
    assert "the end of shoald's log" in stage.said()
    assert "Traceback" not in stage.said()
    stage.is_empty()
