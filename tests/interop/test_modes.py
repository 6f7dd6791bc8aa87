"""Docker's own command with services of every mode: create, ls, ps, scale, update, rollback, nodes that leave and come
back.
"""

import json
from typing import Any

import pytest

from tests.harness.hosts import Host, eventually
from tests.interop.conftest import IMAGE
from tests.interop.services import create, create_detached, running, tasks
from tests.interop.test_docker_cli import rows


def replicas(host: Host, service: str) -> str:
    """Return how many tasks of a service there are, as `service ls` shows it."""
    return host.docker("service", "ls", "--filter", f"name={service}", "--format", "{{.Replicas}}").stdout.strip()


def inspect(host: Host, service: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(host.docker("service", "inspect", service).stdout)
    return found[0]


def states(host: Host, service: str) -> list[str]:
    return [task["Status"]["State"] for task in tasks(host, service)]


@pytest.fixture
def node(swarm: Host) -> Any:
    """Yield the id of the only node, and make it active again afterwards."""
    found = swarm.docker("node", "ls", "-q").stdout.strip()
    yield found
    swarm.docker("node", "update", "--availability", "active", found)


def test_global_service_has_a_task_on_the_node(swarm: Host, node: str) -> None:
    out = create(swarm, "each", "--mode", "global")
    assert "overall progress: 1 out of 1 tasks" in out
    assert "converged" in out
    _, row = rows(swarm.docker("service", "ls").stdout)
    assert row[1:5] == ["each", "global", "1/1", IMAGE]
    _, shown = rows(swarm.docker("service", "ps", "each").stdout)
    assert shown[1] == f"each.{node}"
    (task,) = tasks(swarm, "each")
    assert (task.get("Slot"), task["NodeID"]) == (None, node)
    assert inspect(swarm, "each")["Spec"]["Mode"] == {"Global": {}}
    (name,) = swarm.docker("ps", "--format", "{{.Names}}").stdout.split()
    assert name == f"each.{node}.{task['ID']}"


def test_scale_of_what_has_no_replicas_is_refused(swarm: Host) -> None:
    create(swarm, "each", "--mode", "global")
    create_detached(swarm, "once", "--mode", "global-job", command=("true",))
    for service in ("each", "once"):
        done = swarm.docker("service", "scale", f"{service}=2", check=False)
        assert done.returncode == 1
        assert "scale can only be used with replicated or replicated-job mode" in done.stderr
    done = swarm.docker("service", "update", "--replicas", "2", "each", check=False)
    assert "replicas can only be used with replicated" in done.stderr


def test_global_service_is_updated_and_rolled_back(swarm: Host) -> None:
    create(swarm, "each", "--mode", "global")
    (before,) = running(swarm, "each")
    out = swarm.docker("service", "update", "--env-add", "A=1", "--update-monitor", "1s", "each").stdout
    assert "converged" in out
    assert inspect(swarm, "each")["UpdateStatus"]["State"] == "completed"
    (after,) = running(swarm, "each")
    assert after != before
    swarm.docker("service", "rollback", "each")
    # The command watches for as long as an update is monitored, also for a rollback.
    eventually(
        lambda: inspect(swarm, "each")["UpdateStatus"]["State"] == "rollback_completed", "it is over", show=swarm.log
    )
    assert inspect(swarm, "each")["UpdateStatus"]["Message"] == "rollback completed"
    assert "Env" not in inspect(swarm, "each")["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert len(running(swarm, "each")) == 1


def test_global_service_leaves_a_drained_node_and_comes_back(swarm: Host, node: str) -> None:
    create(swarm, "each", "--mode", "global")
    swarm.docker("node", "update", "--availability", "drain", node)
    eventually(lambda: states(swarm, "each") == ["shutdown"], "the task is shut down", show=swarm.log)
    assert replicas(swarm, "each") == "0/0"
    swarm.docker("node", "update", "--availability", "active", node)
    eventually(lambda: states(swarm, "each") == ["shutdown", "running"], "another runs", show=swarm.log)


def test_paused_node_keeps_what_it_has_and_is_brought_up_to_date_later(swarm: Host, node: str) -> None:
    create(swarm, "each", "--mode", "global")
    (before,) = running(swarm, "each")
    swarm.docker("node", "update", "--availability", "pause", node)
    swarm.docker("service", "update", "--detach", "--env-add", "A=1", "each")
    assert running(swarm, "each") == [before]
    swarm.docker("node", "update", "--availability", "active", node)
    eventually(lambda: running(swarm, "each") not in ([before], []), "the task is replaced", show=swarm.log)
    assert "UpdateStatus" not in inspect(swarm, "each")


def test_constraint_decides_where_a_global_service_is(swarm: Host, node: str) -> None:
    create_detached(swarm, "each", "--mode", "global", "--constraint", "node.labels.disk==ssd")
    assert tasks(swarm, "each") == []
    swarm.docker("node", "update", "--label-add", "disk=ssd", node)
    eventually(lambda: states(swarm, "each") == ["running"], "it is there", show=swarm.log)
    swarm.docker("node", "update", "--label-rm", "disk", node)
    eventually(lambda: states(swarm, "each") == ["rejected"], "it is evicted", show=swarm.log)
    (task,) = tasks(swarm, "each")
    assert task["Status"]["Err"] == "assigned node no longer meets constraints"
    assert task["DesiredState"] == "shutdown"


def test_replicated_job_runs_to_its_end_and_again(swarm: Host) -> None:
    flags = ("--mode", "replicated-job", "--replicas", "3", "--max-concurrent", "2")
    out = swarm.docker("service", "create", "--name", "batch", *flags, IMAGE, "true").stdout
    assert "job complete" in out
    _, row = rows(swarm.docker("service", "ls").stdout)
    assert row[1:4] == ["batch", "replicated job", "0/2 (3/3 completed)"]
    assert states(swarm, "batch") == ["complete"] * 3
    assert {task["DesiredState"] for task in tasks(swarm, "batch")} == {"complete"}
    assert sorted(task.get("Slot", 0) for task in tasks(swarm, "batch")) == [0, 1, 2]
    shown = inspect(swarm, "batch")
    assert shown["Spec"]["Mode"] == {"ReplicatedJob": {"MaxConcurrent": 2, "TotalCompletions": 3}}
    first = shown["JobStatus"]
    # The iteration is left out if it is 0, as in Docker.
    assert first["JobIteration"].get("Index", 0) == 0

    swarm.docker("service", "update", "--detach", "--force", "batch")
    eventually(lambda: replicas(swarm, "batch") == "0/2 (3/3 completed)", "it ran again", show=swarm.log)
    again = inspect(swarm, "batch")["JobStatus"]
    assert again["JobIteration"]["Index"] == 1
    assert again["LastExecution"] > first["LastExecution"]
    runs = [task["JobIteration"].get("Index", 0) for task in tasks(swarm, "batch")]
    assert sorted(runs) == [0, 0, 0, 1, 1, 1]


def test_update_of_a_job_shows_its_progress_to_the_end_and_its_logs_are_of_every_run(swarm: Host) -> None:
    flags = ("--mode", "replicated-job", "--replicas", "2", "--env", "RUN=one")
    said = ("sh", "-c", "echo this is run $RUN")
    swarm.docker("service", "create", "--quiet", "--name", "batch", *flags, IMAGE, *said)
    out = swarm.docker("service", "update", "--env-add", "RUN=two", "batch").stdout
    # How many it sees running depends on the moments at which it looks.
    assert "out of 2 tasks" in out
    assert "job complete" in out
    out = swarm.docker("service", "rollback", "batch").stdout
    assert "job complete" in out
    shown = inspect(swarm, "batch")
    assert shown["JobStatus"]["JobIteration"]["Index"] == 2
    assert shown["UpdateStatus"]["Message"] == "manually requested rollback"
    lines = swarm.docker("service", "logs", "--raw", "batch").stdout.splitlines()
    assert sorted(lines) == ["this is run one"] * 4 + ["this is run two"] * 2


def test_update_config_of_a_job_is_refused(swarm: Host) -> None:
    for mode in ("replicated-job", "global-job"):
        done = swarm.docker(
            "service", "create", "--mode", mode, "--update-parallelism", "2", IMAGE, "true", check=False
        )
        assert done.returncode == 1
        assert "update and rollback configuration is not supported for jobs" in done.stderr


def test_start_first_update_of_a_global_service_waits_for_health(swarm: Host) -> None:
    """moby/swarmkit#2308: there the old task was ended although the new one never became healthy."""
    healthy = ("--health-cmd", "test -e /tmp/well", "--health-interval", "200ms", "--health-retries", "50")
    well = ("sh", "-c", "touch /tmp/well; sleep 1000000")
    create(swarm, "each", "--mode", "global", "--update-order", "start-first", *healthy, command=well)
    (before,) = running(swarm, "each")
    swarm.docker("service", "update", "--detach", "--args", "sleep 1000000", "each")
    eventually(lambda: "starting" in states(swarm, "each"), "the new task waits for its health", show=swarm.log)
    assert before in running(swarm, "each")
    (new,) = [container for container in running(swarm, "each") if container != before]
    swarm.docker("exec", new, "touch", "/tmp/well")
    eventually(lambda: running(swarm, "each") == [new], "the old task is gone", show=swarm.log)


def test_replicated_job_is_scaled_by_its_completions(swarm: Host) -> None:
    create_detached(swarm, "batch", "--mode", "replicated-job", "--replicas", "1", command=("true",))
    eventually(lambda: states(swarm, "batch") == ["complete"], "it is done", show=swarm.log)
    swarm.docker("service", "scale", "--detach", "batch=2")
    eventually(lambda: "(2/2 completed)" in replicas(swarm, "batch"), "both are done", show=swarm.log)


def test_failed_task_of_a_job_is_tried_as_often_as_it_may_be(swarm: Host) -> None:
    flags = ("--mode", "replicated-job", "--restart-max-attempts", "2", "--restart-delay", "50ms")
    create_detached(swarm, "batch", *flags, command=("false",))
    eventually(lambda: states(swarm, "batch") == ["failed"] * 3, "it is given up", show=swarm.log)
    assert replicas(swarm, "batch") == "0/1 (0/1 completed)"


def test_job_that_runs_is_removed_with_its_tasks(swarm: Host) -> None:
    """moby/swarmkit#3112: there the tasks of a removed job stayed."""
    create_detached(swarm, "long", "--mode", "replicated-job", "--replicas", "2")
    create_detached(swarm, "wide", "--mode", "global-job")
    eventually(lambda: len(running(swarm, "long") + running(swarm, "wide")) == 3, "all run", show=swarm.log)
    swarm.docker("service", "rm", "long", "wide")
    eventually(lambda: json.loads(swarm.curl("/tasks")) == [], "all tasks are gone", show=swarm.log)
    assert swarm.docker("ps", "-q").stdout == ""


def test_global_job_runs_once_on_the_node_and_again_when_told_to(swarm: Host, node: str) -> None:
    out = swarm.docker("service", "create", "--name", "once", "--mode", "global-job", IMAGE, "true").stdout
    assert "job complete" in out
    _, row = rows(swarm.docker("service", "ls").stdout)
    assert row[1:4] == ["once", "global job", "0/0 (1/1 completed)"], tasks(swarm, "once")
    (task,) = tasks(swarm, "once")
    for availability in ("drain", "active"):
        swarm.docker("node", "update", "--availability", availability, node)
    swarm.docker("service", "update", "--detach", "--force", "once")
    eventually(
        lambda: [each["ID"] for each in tasks(swarm, "once")] != [task["ID"]] and states(swarm, "once") == ["complete"],
        "it ran again, and the first run is gone",
        show=swarm.log,
    )
    assert inspect(swarm, "once")["Spec"]["Mode"] == {"GlobalJob": {}}


def test_jobs_have_no_update_config_and_modes_do_not_change(swarm: Host) -> None:
    create_detached(swarm, "once", "--mode", "global-job", command=("true",))
    service = inspect(swarm, "once")
    path = f"/services/once/update?version={service['Version']['Index']}"

    def refused(**changes: object) -> tuple[str, str]:
        body = json.dumps({**service["Spec"], **changes})
        out = swarm.curl(path, "-d", body, "-H", "Content-Type: application/json", "-w", "\n%{http_code}")
        shown, _, status = out.rpartition("\n")
        return status, json.loads(shown)["message"]

    rpc = "rpc error: code = {} desc = {}".format
    assert refused(UpdateConfig={"Parallelism": 1}) == (
        "400",
        rpc("InvalidArgument", "Jobs may not have an update config"),
    )
    assert refused(Mode={"Global": {}}) == ("501", rpc("Unimplemented", "service mode change is not allowed"))
