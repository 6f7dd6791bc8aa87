"""`script/demo --nodes` plays a swarm of several hosts to its end, and leaves nothing, however it is ended."""

import os
import re
import signal

import pytest

from tests.harness.hosts import docker_program, run
from tests.interop.stage import DEMO, Stage

pytestmark = pytest.mark.root


def test_leader_is_killed_and_everything_goes_on(stage: Stage) -> None:
    process = stage.begin("--nodes", "3+2")
    stage.reaches(process, "ask a task on every host", containers=10)
    assert stage.end(process) == 0, stage.said()
    said = stage.said()
    for name in ("m1", "m2", "m3", "w1", "w2"):
        assert f"    on {name}: hello from " in said
    before, after = said.split("kill the leader, m1 (SIGKILL): m2 accepts the next write ...")[:2]
    assert re.search(r"m1 +Ready +Active +Leader", before)
    assert re.search(r"m1 +\w+ +Active +Unreachable", after)
    assert re.search(r"m[23] +\w+ +Active +Leader", after)
    assert "m1 is Down, 10 of 10 tasks run on the others" in after
    elsewhere, back = after.split("start m1 again")[:2]
    assert not re.search(r"web\.\d+ +m1", elsewhere), "the tasks of the dead node were replaced"
    assert re.search(r"m1 +Ready +Active +Reachable", back)
    assert said.rstrip().endswith("Nothing is left behind.")
    stage.is_empty()


@pytest.mark.parametrize(
    ("step", "containers"),
    [("build a small image", 0), ("joins as a manager", 0), ("deploy a web", 2), ("is refused", 6)],
)
def test_interrupt_leaves_nothing(stage: Stage, step: str, containers: int) -> None:
    process = stage.begin("--nodes", "2+1")
    stage.reaches(process, step, containers)
    stage.see_tags()
    os.killpg(process.pid, signal.SIGINT)
    assert stage.end(process) == 130, stage.said()
    assert "SIGINT: taking everything down" in stage.said()
    assert "Traceback" not in stage.said()
    stage.is_empty()


def test_next_demo_clears_away_what_a_killed_one_left(stage: Stage) -> None:
    process = stage.begin("--nodes", "1+1")
    stage.reaches(process, "deploy a web", containers=2)
    process.kill()
    process.wait()
    stage.see_tags()
    assert any(line.startswith("namespace ") for line in stage.left())
    assert stage.play("--nodes", "1+0", DOCKER="/nonexistent/docker") == 0, stage.said()
    said = stage.said()
    assert "clear away" in said
    assert re.search(r"HOSTNAME +STATUS +AVAILABILITY +MANAGER STATUS\n +m1 +Ready +Active +Leader\n", said), said
    assert "start m1 again: writes are accepted" in said, "one manager alone is killed as well"
    stage.is_empty()


def test_kept_swarm_stays_until_it_is_taken_down(stage: Stage) -> None:
    assert stage.play("--nodes", "1+1", "--keep") == 0, stage.said()
    lines = [line.split() for line in stage.said().splitlines() if line.startswith("  docker -H ")]
    assert [line[3:] for line in lines] == [["node", "ls"], ["ps"]]
    assert run(docker_program(), *lines[0][1:]).stdout.count(" Ready ") == 2
    assert run(docker_program(), *lines[1][1:]).stdout.count("httpd") == 2
    stage.see_tags()
    assert "script/demo --down" in stage.said()
    assert stage.play("--down") == 0, stage.said()
    stage.is_empty()


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ("3", "'3' is not MANAGERS+WORKERS, as in 3+2"),
        ("3+x", "'3+x' is not MANAGERS+WORKERS, as in 3+2"),
        ("-1+2", "is not MANAGERS+WORKERS, as in 3+2"),
        ("0+2", "a swarm needs at least one manager, as in 1+2"),
        ("9+0", "9 managers are too many: each has to agree to each write; at most 7"),
        ("3+99", "102 hosts are too many for one machine: at most 20"),
    ],
)
def test_what_cannot_be_is_refused(nodes: str, text: str) -> None:
    done = run(*DEMO, f"--nodes={nodes}", check=False)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr
