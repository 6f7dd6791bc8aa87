"""`shoald` restarts while containers run: they go on, and everything works with them as before."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.hosts import Host, eventually, host
from tests.interop.conftest import import_image
from tests.interop.services import create, inspect, only, running, tasks, wait_for_manager


@pytest.fixture
def own() -> Iterator[Host]:
    """Yield a swarm of one for one test."""
    with host("again") as made:
        made.docker("swarm", "init")
        import_image(made)
        yield made
        made.docker("swarm", "leave", "--force")
        made.stop()
        assert not made.leftovers()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_containers_outlive_the_daemon(own: Host, how: signal.Signals) -> None:
    create(own, "web", "--replicas", "3", command=("sh", "-c", "echo before; exec sleep 1000000"))
    before = {container: inspect(own, container)["State"]["Pid"] for container in running(own, "web")}
    own.stop(how)
    own.start()
    # Containers are adopted before the API answers; the manager needs a moment more.
    assert {container: inspect(own, container)["State"]["Pid"] for container in before} == before
    wait_for_manager(own)
    eventually(lambda: len(running(own, "web")) == 3, "three containers run", show=own.log)
    assert {container: inspect(own, container)["State"]["Pid"] for container in running(own, "web")} == before
    container = next(iter(before))
    assert own.docker("exec", container, "echo", "works").stdout == "works\n"
    assert own.docker("logs", container).stdout == "before\n"
    eventually(lambda: own.docker("service", "ls", "--format", "{{.Replicas}}").stdout == "3/3\n", "3/3", show=own.log)
    # An exit after the adoption is noticed, with its code.
    own.docker("exec", container, "kill", "-KILL", "1", check=False)
    own.docker("kill", container, check=False)
    eventually(lambda: set(running(own, "web")) - set(before), "it was replaced", show=own.log)
    assert len([task for task in tasks(own, "web") if task["Status"]["State"] == "failed"]) == 1


def test_exit_while_the_daemon_was_away_is_reported_with_its_code(own: Host) -> None:
    create(
        own,
        "once",
        "--restart-condition",
        "none",
        command=("sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 7"),
    )
    container = only(own, "once")
    pid = inspect(own, container)["State"]["Pid"]
    own.stop(signal.SIGKILL)
    Path(f"/proc/{pid}/root/go").touch()
    eventually(lambda: not _alive(pid), "the process has ended")
    own.start()
    wait_for_manager(own)
    (task,) = eventually(
        lambda: [task for task in tasks(own, "once") if task["Status"]["State"] == "failed"], "failed", show=own.log
    )
    assert task["Status"]["ContainerStatus"]["ExitCode"] == 7
    assert "task: non-zero exit (7)" in task["Status"]["Err"]


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_services_run_again_after_the_host_went_down(own: Host) -> None:
    create(own, "web", "--replicas", "2", "--mount", "type=volume,source=kept,target=/kept")
    before = set(running(own, "web"))
    own.docker("exec", next(iter(before)), "touch", "/kept/x")
    own.go_down()
    own.start()
    eventually(lambda: len(set(running(own, "web")) - before) == 2, "two new containers run", show=own.log)
    assert {task["Status"]["ContainerStatus"]["ExitCode"] for task in tasks(own, "web") if _failed(task)} == {255}
    assert own.docker("exec", running(own, "web")[0], "ls", "/kept").stdout == "x\n"


def _failed(task: dict[str, Any]) -> bool:
    return bool(task["Status"]["State"] == "failed")


def test_two_daemons_on_one_host_do_not_meet() -> None:
    with host("left") as left, host("right") as right:
        for each in (left, right):
            each.docker("swarm", "init")
            import_image(each)
            create(each, "web", "--replicas", "2")
        assert left.tag() != right.tag()
        left.docker("swarm", "leave", "--force")
        left.stop()
        assert not left.leftovers()
        assert len(running(right, "web")) == 2
        right.docker("service", "scale", "web=3")
        right.docker("swarm", "leave", "--force")


def test_second_daemon_on_the_same_data_is_refused(own: Host) -> None:
    twin = Host("twin", namespace=False)
    try:
        twin.data_root = own.data_root
        twin.start(wait=False)
        assert twin.process is not None
        assert twin.process.wait(30) != 0
        assert "in use by another shoald" in twin.log()
    finally:
        twin.data_root = twin.folder / "data"
        twin.close()
