"""Which signals a container gets, and when it is killed. Its process is a real one."""

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shoal.errors import Conflict, ShoalError
from shoal.runtime import stopping
from shoal.runtime.life import Life
from shoal.runtime.stopping import Stopping
from shoal.runtime.types import Phase
from tests.unit.runtime.part_fakes import ID, actions, running, tools

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 1 & wait; done"


@contextmanager
def process(script: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a shell that has started and printed something."""
    child = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"ready\n"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


async def end(life: Life, child: "subprocess.Popen[bytes]") -> None:
    """Record its end, as `watching` does."""
    code = await asyncio.to_thread(child.wait)
    life.running = None
    life.change(phase=Phase.EXITED, exit_code=128 - code)


async def test_what_ends_by_itself_is_not_killed(tmp_path: Path) -> None:
    with process("echo ready; exec sleep 60") as child:
        async with tools(tmp_path) as given, asyncio.TaskGroup() as group:
            life = running(child)
            group.create_task(end(life, child))
            await Stopping(given).stop(life, None)
            assert child.returncode == -signal.SIGTERM
            assert actions(given) == ["kill 15", "stop"]
            await Stopping(given).stop(life, None)
            assert actions(given) == ["kill 15", "stop"], "it has ended: there is nothing to stop"


async def test_what_does_not_end_is_killed_and_thawed(tmp_path: Path) -> None:
    with process(STUBBORN) as child:
        async with tools(tmp_path) as given, asyncio.TaskGroup() as group:
            life = running(child)
            group.create_task(end(life, child))
            await Stopping(given).stop(life, 0)
            assert child.returncode == -signal.SIGKILL
            assert actions(given) == ["kill 15", "kill 9", "stop"]
            assert given.site.cgroups.thawed == [ID]  # type: ignore[attr-defined]


async def test_a_kill_that_the_kernel_keeps_waiting_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "KILL_TIMEOUT", 0.0)
    with process(STUBBORN) as child:
        async with tools(tmp_path) as given:
            with pytest.raises(ShoalError, match="tried to kill container, but did not receive an exit event"):
                await Stopping(given).kill_and_wait(running(child))


async def test_a_signal_reaches_only_what_runs(tmp_path: Path) -> None:
    with process("trap 'exit 7' USR1; echo ready; while :; do sleep 1 & wait; done") as child:
        async with tools(tmp_path) as given:
            life = running(child)
            await Stopping(given).kill(life, "web", "USR1")
            assert await asyncio.to_thread(child.wait) == 7
            assert actions(given) == ["kill 10"]
            with pytest.raises(Conflict, match=f"cannot kill container: web: container {ID} is not running"):
                await Stopping(given).kill(life, "web", "KILL")
