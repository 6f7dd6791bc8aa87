"""`script/demo` plays to its end, and leaves nothing, however it is ended."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.hosts import REPOSITORY, docker_program, run
from tests.interop.stage import Stage

IN_VENV = Path(sys.prefix) == REPOSITORY / ".venv"


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
    ("step", "containers", "how"),
    [
        ("start shoald", 0, signal.SIGINT),
        ("make a swarm of one", 0, signal.SIGTERM),
        ("build a small image", 0, signal.SIGHUP),
        ("deploy a web service", 1, signal.SIGQUIT),
        ("scale it to 20", 5, signal.SIGINT),
        ("scale it to 20", 12, signal.SIGTERM),
        ("kill a container", 20, signal.SIGHUP),
        ("remove the service", 0, signal.SIGQUIT),
        ("leave the swarm", 0, signal.SIGINT),
    ],
)
def test_interrupt_leaves_nothing(stage: Stage, step: str, containers: int, how: signal.Signals) -> None:
    process = stage.begin()
    stage.reaches(process, step, containers)
    stage.see_tags()
    os.killpg(process.pid, how)
    assert stage.end(process) == 130, stage.said()
    assert f"{how.name}: taking everything down" in stage.said()
    assert "Traceback" not in stage.said()
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
    for tag in stage.see_tags():
        for family in ("ip6", "inet", "netdev"):
            run(*stage.inside("nft", "add", "table", family, f"shoal_{tag}_more"))
    assert stage.play() == 0, stage.said()
    assert "clear away" in stage.said()
    stage.is_empty()


def test_kept_swarm_stays_until_it_is_taken_down(stage: Stage) -> None:
    assert stage.play("--keep") == 0, stage.said()
    (line,) = [line for line in stage.said().splitlines() if line.startswith("  docker -H ")]
    words = line.split()
    assert " 20/20 " in run(docker_program(), *words[1:]).stdout
    # Another demo does not touch it.
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
