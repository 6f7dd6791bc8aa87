"""How an end is noticed, recorded and reported. conmon is a process that waits until its stdin is closed."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from shoal.network.types import Endpoint, Sandbox
from shoal.runtime.life import Life
from shoal.runtime.log_cuts import LogCuts
from shoal.runtime.logs import LogFiles
from shoal.runtime.tools import Tools
from shoal.runtime.types import Health, HealthConfig, Phase
from shoal.runtime.watching import Watching
from tests.unit.runtime.part_fakes import ID, actions, running, tools


class Network:
    """A network that records who left."""

    def __init__(self) -> None:
        self.left: list[str] = []

    async def disconnect(self, container_id: str) -> None:
        self.left.append(container_id)


@contextmanager
def conmon() -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a process that ends when its stdin is closed."""
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert child.stdin is not None
    try:
        yield child
    finally:
        child.stdin.close()
        child.wait()


def watching(given: Tools, network: Network) -> Watching:
    return Watching(given, cast(Any, network), LogCuts(), LogFiles())


def connected(child: "subprocess.Popen[bytes]") -> Life:
    life = running(child)
    life.change(sandbox=Sandbox("/n", (Endpoint("bridge", "b" * 64, "e1"),)))
    return life


def on_disk(given: Tools) -> dict[str, Any]:
    return dict(json.loads((given.site.folder(ID) / "state.json").read_bytes()))


async def test_an_end_is_on_disk_told_and_cleaned_up(tmp_path: Path) -> None:
    network = Network()
    with conmon() as child:
        async with tools(tmp_path) as given:
            life, watch = connected(child), watching(given, network)
            assert life.running is not None
            watch.begin(life, life.running)
            watch.follow(life)
            (given.site.bundle(ID) / "exit").write_text("3")
            assert child.stdin is not None
            child.stdin.close()
            ended = await life.wait_ended()
            assert (ended.phase, ended.exit_code, ended.pid, ended.health) == (Phase.EXITED, 3, 0, Health.NONE)
            assert (on_disk(given)["phase"], on_disk(given)["exit_code"]) == ("exited", 3)
            assert actions(given) == ["die"]
        assert network.left == [ID], "what must finish has, once the children are left"
        assert life.value.sandbox == Sandbox()


async def test_an_end_for_want_of_memory_is_told_before_it(tmp_path: Path) -> None:
    with conmon() as child:
        async with tools(tmp_path) as given:
            life = running(child)
            life.change(health_config=HealthConfig(("CMD", "x")), health=Health.HEALTHY)
            (given.site.bundle(ID) / "oom").touch()
            watching(given, Network()).follow(life)  # without a descriptor, because it ended before we looked
            assert life.value.oom_killed
            assert (life.value.exit_code, life.value.health) == (137, Health.UNHEALTHY), "conmon left no exit code"
            assert actions(given) == ["oom", "die"]


async def test_who_is_not_looked_at_any_more_goes_on(tmp_path: Path) -> None:
    network = Network()
    with conmon() as child:
        async with tools(tmp_path) as given:
            life, watch = connected(child), watching(given, network)
            assert life.running is not None
            watch.begin(life, life.running)
            watch.follow(life)
            watch.look_away(life)
            life.close()
        assert child.poll() is None
        assert (life.value.phase, network.left) == (Phase.RUNNING, [])


async def test_an_end_that_nobody_saw_is_told_and_cleaned_up(tmp_path: Path) -> None:
    network = Network()
    with conmon() as child:
        async with tools(tmp_path) as given:
            life = connected(child)
            life.change(phase=Phase.EXITED, exit_code=255, finished_at=9.0)
            watching(given, network).ended_unseen(life)
            assert on_disk(given)["exit_code"] == 255
            (event,) = given.events.since(0)
            assert (event.attributes["exitCode"], event.attributes["execDuration"]) == ("255", "7")
        assert network.left == [ID]
