"""Every flag of `docker service create` whose effect a container shows, checked from inside the container."""

import json

from tests.harness.hosts import Host, eventually
from tests.interop.conftest import IMAGE
from tests.interop.services import RUN_FOREVER, create, create_detached, inspect, only, running, tasks


def inside(host: Host, container: str, *command: str) -> str:
    return host.docker("exec", container, *command).stdout


def test_environment_user_folder_hostname_and_labels(swarm: Host) -> None:
    create(
        swarm, "web", "--env", "A=1", "--env", "WHERE={{.Node.Hostname}}", "--workdir", "/tmp/work", "--user", "nobody",
        "--hostname", "{{.Service.Name}}-{{.Task.Slot}}", "--label", "on=service", "--container-label", "on=container",
        "--host", "db:10.1.2.3",
    )  # fmt: skip
    container = only(swarm, "web")
    shown = inspect(swarm, container)
    environment = inside(swarm, container, "env").splitlines()
    assert "A=1" in environment
    assert f"WHERE={swarm.docker('info', '--format', '{{.Name}}').stdout.strip()}" in environment
    assert inside(swarm, container, "pwd") == "/tmp/work\n"
    assert inside(swarm, container, "id", "-u") == "65534\n"
    assert inside(swarm, container, "hostname") == "web-1\n"
    assert "10.1.2.3\tdb" in inside(swarm, container, "cat", "/etc/hosts")
    labels = shown["Config"]["Labels"]
    assert labels["on"] == "container"
    assert labels["com.docker.swarm.service.name"] == "web"
    assert shown["Name"].startswith("/web.1.")


def test_entrypoint_and_arguments(swarm: Host) -> None:
    create(swarm, "web", "--entrypoint", "/bin/sh", command=("-c", "exec sleep 1000000"))
    assert "sleep 1000000" in inside(swarm, only(swarm, "web"), "ps")


def test_mounts_of_each_kind(swarm: Host) -> None:
    bound = swarm.folder / "bound"
    bound.mkdir(exist_ok=True)
    (bound / "x").write_text("from the host\n")
    create(
        swarm, "web",
        "--mount", f"type=bind,source={bound},target=/bound,readonly",
        "--mount", "type=volume,source=kept-{{.Task.Slot}},target=/kept",
        "--mount", "type=tmpfs,target=/scratch,tmpfs-size=1M,tmpfs-mode=0700",
    )  # fmt: skip
    container = only(swarm, "web")
    assert inside(swarm, container, "cat", "/bound/x") == "from the host\n"
    assert swarm.docker("exec", container, "touch", "/bound/y", check=False).returncode != 0
    inside(swarm, container, "touch", "/kept/z")
    assert "kept-1" in swarm.docker("volume", "ls", "-q").stdout.split()
    mounted = inside(swarm, container, "mount")
    assert "tmpfs on /scratch" in mounted
    assert "size=1024k" in mounted
    swarm.docker("service", "rm", "web")
    eventually(lambda: swarm.docker("volume", "rm", "kept-1", check=False).returncode == 0, "the volume is free")


def test_a_volume_that_cannot_be_mounted_fails_its_task(swarm: Host) -> None:
    options = "volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/no/such/folder"
    create_detached(
        swarm, "web", "--restart-condition", "none",
        "--mount", f"type=volume,source=broken,target=/not-in-the-image,{options}",
    )  # fmt: skip

    def told() -> str:
        shown = swarm.docker("service", "ps", "web", "--no-trunc", "--format", "{{.CurrentState}}: {{.Error}}").stdout
        return shown if "failed to mount local volume" in shown else ""

    assert eventually(told, "the reason is shown").startswith("Failed")
    swarm.docker("service", "rm", "web")
    eventually(lambda: swarm.docker("volume", "rm", "broken", check=False).returncode == 0, "the volume is free")


def test_missing_bind_source_is_named(swarm: Host) -> None:
    create_detached(swarm, "web", "--restart-condition", "none", "--mount", "type=bind,source=/nosuch,target=/x")
    (task,) = eventually(
        lambda: [task for task in tasks(swarm, "web") if task["Status"]["State"] == "rejected"],
        "rejected",
        show=swarm.log,
    )
    assert 'invalid mount config for type "bind": bind source path does not exist: /nosuch' in task["Status"]["Err"]


def test_limits_reach_the_cgroup(swarm: Host) -> None:
    create(
        swarm, "web", "--limit-memory", "64M", "--limit-cpu", "0.5", "--limit-pids", "50", "--reserve-memory", "16M",
        "--reserve-cpu", "0.1", "--ulimit", "nofile=512:1024",
    )  # fmt: skip
    container = only(swarm, "web")
    config = inspect(swarm, container)["HostConfig"]
    assert (config["Memory"], config["NanoCpus"], config["PidsLimit"]) == (64 << 20, 500_000_000, 50)
    assert inside(swarm, container, "sh", "-c", "ulimit -n; ulimit -Hn") == "512\n1024\n"
    limit = inside(
        swarm, container, "sh", "-c",
        "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true",
    )  # fmt: skip
    assert limit.split() == [str(64 << 20)]


def test_reservation_beyond_the_node_stays_pending_with_the_reason(swarm: Host) -> None:
    create_detached(swarm, "big", "--reserve-memory", "1000G")
    (task,) = eventually(lambda: [t for t in tasks(swarm, "big") if t["Status"].get("Err")], "a reason", show=swarm.log)
    assert task["Status"]["State"] == "pending"
    assert task["Status"]["Err"] == "no suitable node (insufficient resources on 1 node)"


def test_constraints_and_max_replicas(swarm: Host) -> None:
    create_detached(swarm, "nowhere", "--constraint", "node.labels.zone==mars")
    (task,) = eventually(lambda: [t for t in tasks(swarm, "nowhere") if t["Status"].get("Err")], "a reason")
    assert task["Status"]["Err"] == "no suitable node (scheduling constraints not satisfied on 1 node)"
    node = swarm.docker("node", "ls", "-q").stdout.strip()
    swarm.docker("node", "update", "--label-add", "zone=mars", node)
    eventually(lambda: running(swarm, "nowhere"), "it runs once the node fits", show=swarm.log)
    swarm.docker("node", "update", "--label-rm", "zone", node)
    create_detached(swarm, "few", "--replicas", "3", "--replicas-max-per-node", "2")
    eventually(lambda: len(running(swarm, "few")) == 2, "two run")
    reasons = {task["Status"].get("Err") for task in tasks(swarm, "few")}
    assert "no suitable node (max replicas per node limit exceed)" in reasons


def test_stop_signal_and_grace_period(swarm: Host) -> None:
    trap = ("sh", "-c", "trap 'echo got-usr1; exit 0' USR1; echo ready; while true; do sleep 0.05; done")
    create(swarm, "web", "--stop-signal", "USR1", "--stop-grace-period", "20s", command=trap)
    container = only(swarm, "web")
    eventually(lambda: swarm.docker("logs", container).stdout == "ready\n", "it hears its signal")
    swarm.docker("service", "scale", "--detach", "web=0")
    eventually(lambda: not running(swarm, "web"), "it ended by its signal")
    create(
        swarm,
        "deaf",
        "--stop-grace-period",
        "200ms",
        command=("sh", "-c", "trap '' TERM; echo ready; while true; do sleep 1; done"),
    )
    deaf = only(swarm, "deaf")
    eventually(lambda: swarm.docker("logs", deaf).stdout == "ready\n", "it is deaf")
    swarm.docker("service", "rm", "deaf")
    eventually(lambda: not running(swarm, "deaf"), "it was killed", patience=9)


def test_read_only_init_tty_and_sysctl(swarm: Host) -> None:
    create(swarm, "web", "--read-only", "--init", "--tty", "--sysctl", "net.core.somaxconn=99")
    container = only(swarm, "web")
    assert swarm.docker("exec", container, "touch", "/x", check=False).returncode != 0
    assert "sleep" not in inside(swarm, container, "cat", "/proc/1/comm")
    assert inside(swarm, container, "cat", "/proc/sys/net/core/somaxconn") == "99\n"
    assert inspect(swarm, container)["Config"]["Tty"] is True


def test_dns_settings(swarm: Host) -> None:
    create(swarm, "web", "--dns", "10.0.0.53", "--dns-search", "example.org", "--dns-option", "ndots:3")
    written = inside(swarm, only(swarm, "web"), "cat", "/etc/resolv.conf")
    assert "nameserver 10.0.0.53" in written
    assert "search example.org" in written
    assert "options ndots:3" in written


def test_health_holds_a_task_in_starting_and_fails_it(swarm: Host) -> None:
    create_detached(
        swarm, "web", "--health-cmd", "test -e /ok", "--health-interval", "100ms", "--health-retries", "3",
        "--health-start-period", "60s", "--restart-condition", "none",
    )  # fmt: skip
    container = eventually(lambda: running(swarm, "web"), "its process runs")[0]
    eventually(
        lambda: tasks(swarm, "web")[0]["Status"]["State"] == "starting", "it is held in starting", show=swarm.log
    )
    assert "(health: starting)" in swarm.docker("ps", "--format", "{{.Status}}").stdout
    inside(swarm, container, "touch", "/ok")
    eventually(lambda: tasks(swarm, "web")[0]["Status"]["State"] == "running", "healthy, so running", show=swarm.log)
    assert inspect(swarm, container)["State"]["Health"]["Status"] == "healthy"
    inside(swarm, container, "rm", "/ok")
    eventually(lambda: tasks(swarm, "web")[0]["Status"]["State"] == "failed", "unhealthy, so failed", show=swarm.log)
    assert "unhealthy container" in tasks(swarm, "web")[0]["Status"]["Err"]


def test_no_healthcheck_overrules(swarm: Host) -> None:
    create(swarm, "web", "--no-healthcheck")
    assert "Health" not in inspect(swarm, only(swarm, "web"))["State"]


def test_host_and_none_networks(swarm: Host) -> None:
    create(swarm, "onhost", "--network", "host")
    assert "10.99.0.1" in inside(swarm, only(swarm, "onhost"), "ip", "address")
    create(swarm, "alone", "--network", "none")
    links = inside(swarm, only(swarm, "alone"), "ip", "-o", "link").splitlines()
    assert len([line for line in links if "lo:" not in line and "NOARP" not in line]) == 0


def test_default_network_has_a_way_out(swarm: Host) -> None:
    create(swarm, "web", command=("httpd", "-f", "-p", "80", "-h", "/www"))
    create(swarm, "ask")
    address = inspect(swarm, only(swarm, "web"))["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert inside(swarm, only(swarm, "ask"), "wget", "-qO-", f"http://{address}/") == "hello from shoal\n"
    # The host's own address, on the other side of the bridge.
    assert "1 packets received" in inside(swarm, only(swarm, "ask"), "ping", "-c", "1", "10.99.0.1")


def test_locked_in_as_by_docker(swarm: Host) -> None:
    create(swarm, "web")
    status = inside(swarm, only(swarm, "web"), "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["CapEff"] == "00000000a80425fb"
    assert fields["CapBnd"] == "00000000a80425fb"
    assert fields["Seccomp"] == "2"
    masked = swarm.docker("exec", only(swarm, "web"), "sh", "-c", "cat /proc/kcore /proc/keys | wc -c").stdout
    assert masked == "0\n"
    assert swarm.docker(
        "exec", only(swarm, "web"), "sh", "-c", "echo 1 > /proc/sys/kernel/panic", check=False
    ).returncode
    assert swarm.docker("exec", only(swarm, "web"), "mount", "-t", "tmpfs", "x", "/mnt", check=False).returncode


def test_capabilities_are_added_and_dropped(swarm: Host) -> None:
    create(swarm, "web", "--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN")
    status = inside(swarm, only(swarm, "web"), "cat", "/proc/1/status")
    effective = int(next(line for line in status.splitlines() if line.startswith("CapEff")).split()[1], 16)
    assert effective & (1 << 12)
    assert not effective & 1


def test_restart_condition_on_failure_leaves_a_finished_task(swarm: Host) -> None:
    create_detached(swarm, "once", "--restart-condition", "on-failure", "--restart-delay", "0s", command=("true",))
    eventually(
        lambda: [t for t in tasks(swarm, "once") if t["Status"]["State"] == "complete"], "complete", show=swarm.log
    )
    assert len(tasks(swarm, "once")) == 1


def test_spec_reads_back_as_it_was_given(swarm: Host) -> None:
    create_detached(
        swarm, "web", "--update-parallelism", "2", "--update-delay", "3s", "--update-order", "start-first",
        "--rollback-failure-action", "continue", "--restart-window", "9s",
        "--placement-pref", "spread=node.labels.zone", "--group", "staff",
        command=RUN_FOREVER,
    )  # fmt: skip
    spec = json.loads(swarm.docker("service", "inspect", "web").stdout)[0]["Spec"]
    assert spec["UpdateConfig"]["Parallelism"] == 2
    assert spec["UpdateConfig"]["Delay"] == 3_000_000_000
    assert spec["UpdateConfig"]["Order"] == "start-first"
    assert spec["RollbackConfig"]["FailureAction"] == "continue"
    assert spec["TaskTemplate"]["RestartPolicy"]["Window"] == 9_000_000_000
    assert spec["TaskTemplate"]["Placement"]["Preferences"] == [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}]
    assert spec["TaskTemplate"]["ContainerSpec"]["Image"].startswith(IMAGE)
