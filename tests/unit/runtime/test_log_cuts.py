"""A thread notices cuts as they happen, and ends when it is told."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from shoal.runtime.log_cuts import LogCuts
from shoal.runtime.types import Container, ContainerConfig, Phase
from tests.unit.runtime.test_log_files import Conmon, read


def container(path: Path, **options: str) -> Container:
    path.parent.mkdir(exist_ok=True)
    config = ContainerConfig(name="c", image="i", log_driver="json-file", log_options=options)
    return Container(str(path), config, "i", Phase.RUNNING, 0.0, log_path=str(path))


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_every_cut_is_kept_until_the_container_ends(tmp_path: Path) -> None:
    cuts = LogCuts()
    options = {"max-size": "1k", "max-file": "4"}
    bounded, other = container(tmp_path / "a/output.log", **options), container(tmp_path / "b/output.log", **options)
    conmons = []
    for one in (bounded, other):
        cuts.begin(one)
        conmons.append(Conmon(Path(one.log_path)))
    for number in range(1, 7):
        for one, conmon in zip((bounded, other), conmons, strict=True):
            conmon.write(2)
            conmon.cut()
            until(Path(f"{one.log_path}.{number}").exists)
    conmons[0].write()
    assert read(Path(bounded.log_path)) == list(range(7, 14))
    conmons[0].cut()
    cuts.end(bounded)
    conmons[0].write()
    assert read(Path(bounded.log_path)) == list(range(9, 15))
    cuts.close()
    assert "shoal-log-cuts" not in names()


def test_what_needs_nobody_has_no_thread(tmp_path: Path) -> None:
    cuts = LogCuts()
    cuts.begin(container(tmp_path / "a/output.log"))
    cuts.begin(container(tmp_path / "b/output.log", **{"max-size": "1k"}))
    assert "shoal-log-cuts" not in names()
    cuts.close()


def test_a_running_container_is_looked_after_again(tmp_path: Path) -> None:
    one = container(tmp_path / "a/output.log", **{"max-size": "1k", "max-file": "3"})
    before = LogCuts()
    before.begin(one)
    conmon = Conmon(Path(one.log_path))
    before.close()
    conmon.write(2)
    conmon.cut()
    conmon.write(2)
    after = LogCuts()
    after.adopt(one)
    assert Path(f"{one.log_path}.1").exists()
    conmon.cut()
    until(lambda: Path(f"{one.log_path}.2").exists())
    assert read(Path(one.log_path)) == [1, 2, 3, 4]
    after.close()
