"""Docker's own command with a swarm of one: exit codes, and output in Docker's format."""

import json
import os
import pty
import re
import select
import subprocess
import time

from tests.harness import images
from tests.harness.api import Client
from tests.harness.hosts import Host, docker_program, eventually
from tests.interop.conftest import IMAGE
from tests.interop.services import HTTPD, create, running

JSON = "{{json .}}"  # older commands have no other name for it


def rows(output: str) -> list[list[str]]:
    """Return the cells of a table, titles first. Columns are at least three spaces apart."""
    return [re.split(r"\s{3,}", line.strip()) for line in output.splitlines()]


def test_version_has_both_sides(bare: Host) -> None:
    shown = json.loads(bare.docker("version", "--format", JSON).stdout)
    assert shown["Server"]["ApiVersion"] == "1.50"
    assert "Shoal" in json.dumps(shown["Server"])
    assert "Server:" in bare.docker("version").stdout


def test_info_outside_a_swarm(bare: Host) -> None:
    out = bare.docker("info").stdout
    assert "Swarm: inactive" in out
    assert "Server Version:" in out


def test_commands_of_a_manager_are_refused_outside_a_swarm(bare: Host) -> None:
    done = bare.docker("node", "ls", check=False)
    assert done.returncode == 1
    assert "This node is not a swarm manager." in done.stderr
    done = bare.docker("swarm", "leave", check=False)
    assert "This node is not part of a swarm" in done.stderr


def test_init_prints_the_join_command_and_leave_ends_the_swarm(bare: Host) -> None:
    out = bare.docker("swarm", "init").stdout
    assert re.search(r"Swarm initialized: current node \([0-9a-z]{25}\) is now a manager\.", out)
    assert re.search(r"docker swarm join --token SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25} 10\.99\.0\.1:2377", out)
    again = bare.docker("swarm", "init", check=False)
    assert again.returncode == 1
    assert "This node is already part of a swarm" in again.stderr
    refused = bare.docker("swarm", "leave", check=False)
    assert "Removing the last manager erases all current state of the swarm" in refused.stderr
    assert "Node left the swarm." in bare.docker("swarm", "leave", "--force").stdout
    assert "Swarm: inactive" in bare.docker("info").stdout


def test_a_new_swarm_knows_its_first_node_by_name_at_once(bare: Host) -> None:
    client = Client(bare.socket)  # faster than the command, which would leave time for the event
    try:
        name = client.get("/info")["Name"]
        for _ in range(5):
            client.call("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377"})
            assert client.get(f"/nodes/{name}")["Status"]["State"] == "ready"
            client.call("POST", "/swarm/leave?force=1")
    finally:
        client.close()


def test_info_has_its_swarm_part(swarm: Host) -> None:
    out = swarm.docker("info").stdout
    for line in ("Swarm: active", "Is Manager: true", "Managers: 1", "Nodes: 1", "Node Address: 10.99.0.1"):
        assert line in out
    assert re.search(r"ClusterID: [0-9a-z]{25}", out)


def test_node_ls_and_inspect(swarm: Host) -> None:
    titles, row = rows(swarm.docker("node", "ls").stdout)
    assert titles == ["ID", "HOSTNAME", "STATUS", "AVAILABILITY", "MANAGER STATUS", "ENGINE VERSION"]
    assert row[0].endswith("*")
    assert row[2:5] == ["Ready", "Active", "Leader"]
    out = swarm.docker("node", "inspect", "self", "--pretty").stdout
    for line in ("State:", "Ready", "Raft Status:", "Reachable", "Leader:", "Yes", "TLS Info:", "BEGIN CERTIFICATE"):
        assert line in out


def test_service_create_shows_progress_to_its_end(swarm: Host) -> None:
    out = create(swarm, "web", "--replicas", "3", command=HTTPD)
    assert "overall progress: 3 out of 3 tasks" in out
    assert re.search(r"verify: Service (\S+ )?converged", out)  # Docker 28 names the service
    assert len(running(swarm, "web")) == 3


def test_service_ls_ps_and_inspect(swarm: Host) -> None:
    create(swarm, "web", "--replicas", "3", "--label", "tier=front", command=HTTPD)
    titles, row = rows(swarm.docker("service", "ls").stdout)
    assert titles[:5] == ["ID", "NAME", "MODE", "REPLICAS", "IMAGE"]
    assert row[1:5] == ["web", "replicated", "3/3", IMAGE]
    shown = rows(swarm.docker("service", "ps", "web").stdout)
    assert shown[0][:6] == ["ID", "NAME", "IMAGE", "NODE", "DESIRED STATE", "CURRENT STATE"]
    assert sorted(row[1] for row in shown[1:]) == ["web.1", "web.2", "web.3"]
    assert all(row[4] == "Running" and row[5].startswith("Running ") for row in shown[1:])
    pretty = swarm.docker("service", "inspect", "--pretty", "web").stdout
    for words in ("Name:", "web", "Replicated", "Replicas:", "tier=front", "Parallelism:", "Image:", IMAGE):
        assert words in pretty
    spec = json.loads(swarm.docker("service", "inspect", "web").stdout)[0]["Spec"]
    assert spec["Mode"] == {"Replicated": {"Replicas": 3}}
    assert spec["TaskTemplate"]["ContainerSpec"]["Args"] == list(HTTPD)


def test_scale_up_and_down(swarm: Host) -> None:
    create(swarm, "web", "--replicas", "3")
    out = swarm.docker("service", "scale", "web=20").stdout
    assert "web scaled to 20" in out
    assert "overall progress: 20 out of 20 tasks" in out
    assert len(running(swarm, "web")) == 20
    swarm.docker("service", "scale", "web=2")
    eventually(lambda: len(running(swarm, "web")) == 2, "two tasks are left")


def test_update_replaces_every_task(swarm: Host) -> None:
    create(swarm, "web", "--replicas", "2", "--update-delay", "0s", "--update-monitor", "1s")
    before = set(running(swarm, "web"))
    out = swarm.docker("service", "update", "--env-add", "A=1", "web").stdout
    assert "overall progress: 2 out of 2 tasks" in out
    after = set(running(swarm, "web"))
    assert len(after) == 2
    assert not before & after
    environment = swarm.docker("exec", after.pop(), "env").stdout
    assert "A=1" in environment.splitlines()
    status = json.loads(swarm.docker("service", "inspect", "web").stdout)[0]["UpdateStatus"]
    assert status["State"] == "completed"
    swarm.docker("service", "rollback", "web")
    environment = swarm.docker("exec", running(swarm, "web")[0], "env").stdout
    assert "A=1" not in environment.splitlines()


def test_killed_container_comes_back(swarm: Host) -> None:
    create(swarm, "web")
    (first,) = running(swarm, "web")
    swarm.docker("kill", first)
    (second,) = eventually(lambda: [new for new in running(swarm, "web") if new != first], "the task runs again")
    assert second != first
    shown = swarm.docker("service", "ps", "web", "--no-trunc").stdout
    assert "task: non-zero exit (137)" in shown


def test_service_logs_with_follow_tail_and_timestamps(swarm: Host) -> None:
    create(swarm, "talk", command=("sh", "-c", "for i in 1 2 3; do echo line $i; done; exec sleep 1000000"))
    out = eventually(
        lambda: (done := swarm.docker("service", "logs", "talk").stdout).count("line") == 3 and done, "three lines"
    )
    assert re.search(r"^talk\.1\.[0-9a-z]+@\S+\s+\| line 1$", out, re.MULTILINE)
    assert swarm.docker("service", "logs", "--raw", "--tail", "1", "talk").stdout == "line 3\n"
    stamped = swarm.docker("service", "logs", "--timestamps", "--raw", "talk").stdout
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line 1\n", stamped)
    (container,) = running(swarm, "talk")
    assert swarm.docker("logs", container).stdout == "line 1\nline 2\nline 3\n"
    follower = subprocess.Popen(
        [docker_program(), "-H", f"unix://{swarm.socket}", "service", "logs", "-f", "--raw", "talk"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert follower.stdout is not None
        assert [follower.stdout.readline() for _ in range(3)] == ["line 1\n", "line 2\n", "line 3\n"]
        swarm.docker("exec", container, "sh", "-c", "echo line 4 > /proc/1/fd/1")
        assert follower.stdout.readline() == "line 4\n"
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close() if follower.stdout else None
    details = swarm.docker("service", "logs", "--details", "--raw", "talk").stdout
    assert "line 1" in details


def test_ps_stats_top_and_inspect(swarm: Host) -> None:
    create(swarm, "web", "--limit-memory", "64M", command=HTTPD)
    (container,) = running(swarm, "web")
    titles = rows(swarm.docker("ps").stdout)[0]
    assert titles[:5] == ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS"]
    titles, row = rows(swarm.docker("stats", "--no-stream").stdout)
    assert titles[:3] == ["CONTAINER ID", "NAME", "CPU %"]
    assert "/ 64MiB" in " ".join(row)
    assert "httpd" in swarm.docker("top", container).stdout
    shown = json.loads(swarm.docker("inspect", container).stdout)[0]
    assert shown["State"]["Status"] == "running"
    assert shown["HostConfig"]["Memory"] == 64 * 1024 * 1024
    assert shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]


def test_exec_with_input_exit_code_and_terminal(swarm: Host) -> None:
    create(swarm, "web")
    (container,) = running(swarm, "web")
    assert swarm.docker("exec", "-i", container, "cat", input="through\n").stdout == "through\n"
    assert swarm.docker("exec", container, "sh", "-c", "exit 3", check=False).returncode == 3
    done = swarm.docker("exec", container, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    missing = swarm.docker("exec", container, "nosuch", check=False)
    assert missing.returncode in {126, 127}
    assert "executable file not found in $PATH" in missing.stderr + missing.stdout
    in_folder = swarm.docker(
        "exec", "-w", "/tmp", "-u", "nobody", "-e", "X=y", container, "sh", "-c", "pwd; id -u; echo $X"
    )
    assert in_folder.stdout == "/tmp\n65534\ny\n"
    assert type_into_terminal(swarm, container) == 5


def type_into_terminal(host: Host, container: str) -> int:
    """Run `docker exec -it` on a terminal and type into it. Returns its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        program = docker_program()
        os.execvp(program, [program, "-H", f"unix://{host.socket}", "exec", "-it", container, "sh"])
    seen = b""

    def read_until(words: bytes) -> None:
        nonlocal seen
        end = time.monotonic() + 30
        while words not in seen:
            assert time.monotonic() < end, seen
            if select.select([terminal], [], [], 1)[0]:
                seen += os.read(terminal, 4096)

    read_until(b"# ")
    os.write(terminal, b"tty && echo is-a-$((40+2))\n")
    read_until(b"is-a-42")
    assert b"/dev/pts/" in seen
    os.write(terminal, b"exit 5\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status)


def test_events_tell_of_containers_services_and_tasks(swarm: Host) -> None:
    since = str(int(time.time()) - 1)
    create(swarm, "web")
    swarm.docker("service", "rm", "web")
    eventually(lambda: not running(swarm, "web"), "the container is gone")

    def seen() -> list[dict[str, str]]:
        out = swarm.docker("events", "--since", since, "--until", str(int(time.time()) + 1), "--format", JSON).stdout
        return [json.loads(line) for line in out.splitlines()]

    listed = eventually(
        lambda: (found := seen()) and any(e["Action"] == "destroy" for e in found) and found, "destroyed"
    )
    kinds = {(event["Type"], event["Action"]) for event in listed}
    assert {("container", "create"), ("container", "start"), ("container", "die"), ("container", "destroy")} <= kinds


def test_live_events_have_services_and_tasks(swarm: Host) -> None:
    follower = subprocess.Popen(
        # Since a moment ago, because the volume below may be made before the command is connected.
        [docker_program(), "-H", f"unix://{swarm.socket}", "events", "--since", "10s", "--format", JSON],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        # The stream works once it has an event that we caused.
        assert follower.stdout is not None
        swarm.docker("volume", "create", "probe")
        while "probe" not in (line := follower.stdout.readline()):
            assert line, "the stream has ended"
        create(swarm, "web")
        seen: set[tuple[str, str]] = set()
        while not {("service", "create"), ("task", "create"), ("task", "update")} <= seen:
            event = json.loads(follower.stdout.readline())
            seen.add((event["Type"], event["Action"]))
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close() if follower.stdout else None
        swarm.docker("volume", "rm", "probe")


def test_images_load_import_tag_and_remove(swarm: Host) -> None:
    titles, *listed = rows(swarm.docker("images").stdout)
    assert titles[:3] == ["REPOSITORY", "TAG", "IMAGE ID"]
    assert ["bb", "latest"] in [row[:2] for row in listed]
    swarm.docker("tag", IMAGE, "other:1")
    assert "other:1" in swarm.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    out = swarm.docker("rmi", "other:1").stdout
    assert "Untagged: other:1" in out
    done = subprocess.run(
        [docker_program(), "-H", f"unix://{swarm.socket}", "import", "--change", 'CMD ["true"]', "-", "again:2"],
        input=images.busybox_rootfs(),
        capture_output=True,
        check=True,
    )
    assert re.fullmatch(rb"sha256:[0-9a-f]{64}\n", done.stdout)
    assert json.loads(swarm.docker("image", "inspect", "again:2").stdout)[0]["Config"]["Cmd"] == ["true"]
    swarm.docker("rmi", "again:2")


def test_volumes_df_and_networks(swarm: Host) -> None:
    assert swarm.docker("volume", "create", "--label", "a=b", "data").stdout == "data\n"
    create(
        swarm,
        "db",
        "--mount",
        "type=volume,source=data,target=/data",
        command=("sh", "-c", "echo kept > /data/x; exec sleep 1000000"),
    )
    eventually(lambda: running(swarm, "db"), "it runs")
    busy = swarm.docker("volume", "rm", "data", check=False)
    assert "volume is in use" in busy.stderr
    swarm.docker("service", "rm", "db")
    eventually(lambda: swarm.docker("volume", "rm", "data", check=False).returncode == 0, "the volume is free")
    titles = rows(swarm.docker("system", "df").stdout)[0]
    assert titles[:2] == ["TYPE", "TOTAL"]
    names = {row[1] for row in rows(swarm.docker("network", "ls").stdout)[1:]}
    assert {"bridge", "host", "none"} <= names


def test_service_rm_removes_every_container(swarm: Host) -> None:
    create(swarm, "web", "--replicas", "5")
    assert swarm.docker("service", "rm", "web").stdout == "web\n"
    eventually(lambda: not running(swarm, "web"), "all are gone")
    missing = swarm.docker("service", "inspect", "web", check=False)
    assert "no such service: web" in missing.stderr.lower()
