"""Docker's own command against single containers: raw streams, waits, signals, filters, prunes."""

import hashlib
import json
import os
import re
import signal
import subprocess

import pytest

from tests.harness.hosts import Host, docker_program, eventually
from tests.interop.conftest import IMAGE
from tests.interop.services import create, inspect, only


def popen(host: Host, *arguments: str, **options: object) -> "subprocess.Popen[bytes]":
    command = [docker_program(), "-H", f"unix://{host.socket}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]


def rows(host: Host, container: str) -> list[list[str]]:
    return [line.split() for line in host.docker("top", container).stdout.splitlines()[1:]]


def test_much_goes_through_an_exec_whole(swarm: Host) -> None:
    create(swarm, "web")
    container = only(swarm, "web")
    data = os.urandom(1 << 20) * 8
    with popen(swarm, "exec", "-i", container, "cat", stdin=subprocess.PIPE) as done:
        said, errors = done.communicate(data)
    assert (done.returncode, errors) == (0, b"")
    assert hashlib.sha256(said).digest() == hashlib.sha256(data).digest()


def test_command_that_leaves_its_input_unread_ends_in_order(swarm: Host) -> None:
    create(swarm, "web")
    with popen(swarm, "exec", "-i", only(swarm, "web"), "head", "-c", "5", stdin=subprocess.PIPE) as done:
        said, errors = done.communicate(b"0123456789" * 500_000)
    assert (done.returncode, said) == (0, b"01234")
    assert b"reset" not in errors


def test_interrupted_exec_leaves_its_command_and_no_session(swarm: Host) -> None:
    create(swarm, "web")
    container = only(swarm, "web")
    client = popen(swarm, "exec", container, "sleep", "54321")
    eventually(lambda: "54321" in swarm.docker("top", container).stdout, "the command runs")
    client.send_signal(signal.SIGKILL)
    client.communicate()
    # Docker leaves it running, too; a user who wants it gone must end it.
    (pid,) = [row[1] for row in rows(swarm, container) if "54321" in row]
    os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: "54321" not in swarm.docker("top", container).stdout, "the command has ended")
    eventually(lambda: inspect(swarm, container)["ExecIDs"] is None, "no exec is left")


def test_attach_shows_what_comes_and_ends_with_the_containers_code(swarm: Host) -> None:
    create(swarm, "talk", command=("sh", "-c", "i=0; while sleep 0.1; do i=$((i+1)); echo line $i; done"))
    container = only(swarm, "talk")
    client = popen(swarm, "attach", "--no-stdin", container)
    assert client.stdout is not None
    assert re.match(rb"line \d+\n", client.stdout.readline())
    swarm.docker("kill", container)
    _, errors = client.communicate(timeout=30)
    assert (client.returncode, errors) == (137, b"")


def test_wait_tells_the_exit_code(swarm: Host) -> None:
    create(swarm, "web")
    container = only(swarm, "web")
    client = popen(swarm, "wait", container)
    swarm.docker("kill", "-s", "KILL", container)
    said, _ = client.communicate(timeout=30)
    assert (client.returncode, said) == (0, b"137\n")


def test_stop_by_another_signal(swarm: Host) -> None:
    create(swarm, "web", command=("sh", "-c", "trap 'exit 42' USR1; echo ready; while sleep 0.05; do :; done"))
    container = only(swarm, "web")
    eventually(lambda: swarm.docker("logs", container).stdout == "ready\n", "it hears the signal")
    client = popen(swarm, "wait", container)
    # Older commands have no flag for it.
    swarm.curl(f"/containers/{container}/stop?signal=USR1&t=20", "-X", "POST")
    said, _ = client.communicate(timeout=30)
    assert said == b"42\n"


def test_logs_by_time_tail_and_details(swarm: Host) -> None:
    create(swarm, "talk", command=("sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.1; done; exec sleep 1000000"))
    container = only(swarm, "talk")
    eventually(lambda: "line 3" in swarm.docker("logs", container).stdout, "three lines")
    assert swarm.docker("logs", "--tail", "1", container).stdout == "line 3\n"
    stamp = swarm.docker("logs", "-t", "--tail", "1", container).stdout.split(" ")[0]
    assert swarm.docker("logs", "--since", stamp, container).stdout == "line 3\n"
    assert "line 3" not in swarm.docker("logs", "--until", "2001-01-01", container).stdout
    assert swarm.docker("logs", "--details", "--tail", "1", container).stdout == " line 3\n"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (("name=web",), True),
        (("name=nothing",), False),
        (("status=running",), True),
        (("status=exited",), False),
        ((f"ancestor={IMAGE}",), True),
        (("ancestor=nothing",), False),
        (("is-task=true",), True),
        (("network=bridge",), True),
        (("health=none",), True),
        (("label=com.docker.swarm.service.name=web", "status=running"), True),
    ],
)
def test_ps_filters(swarm: Host, filters: tuple[str, ...], found: bool) -> None:
    if not swarm.docker("service", "ls", "-q").stdout:
        create(swarm, "web")
    flags = [word for each in filters for word in ("--filter", each)]
    assert bool(swarm.docker("ps", "-q", *flags).stdout) is found


def test_names_of_filters_and_states_are_checked(swarm: Host) -> None:
    for wrong in ("colour=red", "status=gone", "exited=x"):
        done = swarm.docker("ps", "--filter", wrong, check=False)
        assert done.returncode == 1
        assert "invalid filter" in done.stderr


def test_prunes_leave_what_is_in_use(swarm: Host) -> None:
    create(swarm, "web", "--mount", "type=volume,source=kept,target=/data")
    swarm.docker("volume", "create", "unused")
    before = only(swarm, "web")
    # Older commands have no flag for all volumes, because they always remove all.
    everything = ("-X", "POST", "-G", "--data-urlencode", 'filters={"all": ["true"]}')
    assert json.loads(swarm.curl("/volumes/prune", *everything))["VolumesDeleted"] == ["unused"]
    assert "Total reclaimed space" in swarm.docker("system", "prune", "-a", "-f", "--volumes").stdout
    assert swarm.docker("volume", "ls", "-q").stdout == "kept\n"
    assert only(swarm, "web") == before
    assert swarm.docker("images", "-q", IMAGE).stdout


def test_images_by_reference_and_history(swarm: Host) -> None:
    swarm.docker("tag", IMAGE, "other/thing:2")
    try:
        assert swarm.docker("images", "--format", "{{.Repository}}:{{.Tag}}", "other/*").stdout == "other/thing:2\n"
        assert swarm.docker("images", "-q", "*/nothing").stdout == ""
        assert "Imported from -" in swarm.docker("history", "--no-trunc", IMAGE).stdout
    finally:
        swarm.docker("rmi", "other/thing:2")


def test_df_counts_what_is_there(swarm: Host) -> None:
    create(swarm, "web", "--replicas", "2")
    shown = swarm.docker("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}").stdout.splitlines()
    info = json.loads(swarm.docker("info", "--format", "{{json .}}").stdout)
    assert (info["Containers"], info["ContainersRunning"]) == (2, 2)
    assert "Containers 2 2" in shown
    assert f"Images {info['Images']} 1" in shown
