import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.cli.main import run
from shoal.cli.task import ordered
from tests.unit.cli.daemons import daemon
from tests.unit.cli.tasks import DIGEST, manager
from tests.unit.engine.fakes import FakeNode

Captured = pytest.CaptureFixture[str]
SINCE = "2023-11-14 22:13:20 UTC"


@pytest.fixture
def url() -> Iterator[str]:
    path = Path(tempfile.mkdtemp(prefix="shoal-cli-"))
    with daemon(path, manager()) as found:
        yield found
    shutil.rmtree(path)


def shoal(url: str, *arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        run(["-H", url, "task", "ls", *arguments])
    return end.value.code


def test_tasks_of_all_services_are_listed_by_their_names(url: str, capsys: Captured) -> None:
    assert shoal(url) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "ID   NAME         IMAGE       NODE     DESIRED STATE   STATE     SINCE                     ERROR",
        f"t3   gone-id.m2   busybox:1   m2       running         running   {SINCE}",
        f"t2   web.2        busybox:1   host-1   running         running   {SINCE}",
        f"t1   web.10       busybox:1   host-1   running         failed    {SINCE}   task: non-zero exit (1), agai…",
    ]


def test_tasks_of_one_place_are_in_order_the_newest_first() -> None:
    tasks = [
        {"ID": name, "ServiceID": "s", "Slot": slot, "CreatedAt": f"2023-11-14T22:13:2{second}Z"}
        for name, slot, second in (("a", 10, 1), ("b", 2, 1), ("c", 2, "1.55"), ("d", 2, "1.5"))
    ]
    assert [each["ID"] for each in ordered(tasks, {"s": "web"})] == ["c", "d", "b", "a"]


def test_filters_ids_and_nothing_shortened(url: str, capsys: Captured) -> None:
    assert shoal(url, "-q", "-f", "service=web", "--filter", "desired-state=running") == 0
    assert capsys.readouterr().out == "t2\nt1\n"
    assert shoal(url, "--no-trunc", "-f", "id=t2") == 0
    assert f"busybox:1@{DIGEST}" in capsys.readouterr().out
    assert shoal(url, "-f", "t2") == 1
    assert capsys.readouterr().err == "shoal: t2 is no filter: give NAME=VALUE\n"


def test_json_is_a_list_of_all_that_is_known(url: str, capsys: Captured) -> None:
    assert shoal(url, "--format", "json", "-f", "id=t1") == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "ID": "t1",
            "Name": "web.10",
            "Image": f"busybox:1@{DIGEST}",
            "Node": "host-1",
            "DesiredState": "running",
            "State": "failed",
            "Since": "2023-11-14T22:13:20.5Z",
            "Error": "task: non-zero exit (1), again and again",
        }
    ]


def test_a_host_that_is_no_manager_says_so(tmp_path: Path, capsys: Captured) -> None:
    folder = Path(tempfile.mkdtemp(prefix="shoal-cli-"))
    with daemon(folder, FakeNode()) as found:
        assert shoal(found) == 1
    shutil.rmtree(folder)
    assert capsys.readouterr().err.startswith("shoal: This node is not a swarm manager. Use ")
