"""Containers as a whole, on this host: crun or runc, conmon, overlayfs, cgroups, namespaces."""

# ruff: noqa: ASYNC221, A001 - tests may read a file where they wait, and an id is an id

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shoal.errors import Conflict, InvalidArgument, MissingProgram, NotFound
from shoal.host import programs
from shoal.network.types import Endpoint, Sandbox
from shoal.runtime import bundle, rootfs
from shoal.runtime.exec import Execs
from shoal.runtime.failures import StartFailed
from shoal.runtime.types import ExecConfig, Health, HealthConfig, LogOptions, Mount, Phase, Ulimit
from tests.cluster.runtime_site import Site, config, is_running, output, processes_with, until

pytestmark = pytest.mark.root


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    yield made
    try:
        async with asyncio.timeout(60):
            await made.clear()
    finally:
        for pid in processes_with(str(tmp_path)):  # left by a test that failed
            os.kill(pid, signal.SIGKILL)
        rootfs.unmount_below(tmp_path)


async def test_a_container_lives_and_leaves_nothing(site: Site) -> None:
    async with site.containers() as containers:
        made = await containers.create(config("web", "sh", "-c", "echo out; echo err >&2; exit 7"))
        assert made.phase is Phase.CREATED
        assert await containers.create(config("other"), id=made.id) == made
        await containers.start("web")
        ended = await containers.wait("/web")
        assert (ended.phase, ended.exit_code, ended.pid) == (Phase.EXITED, 7, 0)
        lines = [(line.stream, line.data) async for line in containers.logs(made.id[:12], LogOptions())]
        assert lines == [("stdout", b"out\n"), ("stderr", b"err\n")]
        await containers.remove("web")
        with pytest.raises(NotFound, match="No such container: web"):
            containers.get("web")
        assert site.actions(made.id) == ["create", "start", "die", "destroy"]


async def test_a_start_makes_nothing_in_the_writable_layer(site: Site) -> None:
    async with site.containers() as containers:
        made = await containers.create(config("clean", "grep", "-q", "localhost", "/etc/hosts"))
        await containers.start("clean")
        assert (await containers.wait("clean")).exit_code == 0
        assert not list((site.paths.containers / made.id / "upper").iterdir())


async def test_a_name_is_one_container_at_a_time(site: Site) -> None:
    async with site.containers() as containers:
        first = await containers.create(config("web"))
        with pytest.raises(Conflict, match='The container name "/web" is already in use by container "' + first.id):
            await containers.create(config("web"))
        await containers.start("web")
        with pytest.raises(Conflict, match="container is running: stop the container before removing or force remove"):
            await containers.remove("web")
        await containers.remove("web", force=True)
        await containers.create(config("web"))


async def test_a_container_is_locked_in_as_dockers_are(site: Site) -> None:
    script = (
        "cat /proc/self/status; cat /proc/1/mountinfo; "
        "unshare -U true; echo unshare=$?; mount -t tmpfs x /tmp; echo mount=$?; "
        "head -c 1 /proc/kcore | wc -c | sed s/^/kcore=/; echo 1 > /proc/sys/kernel/domainname; echo sys=$?; "
        "touch /sys/fs/cgroup/x; echo cgroup=$?; wc -c /proc/timer_list; ls /sys/firmware"
    )
    async with site.containers() as containers:
        _, said = await output(containers, config("locked", "sh", "-c", script))
    assert "CapEff:\t00000000a80425fb" in said
    assert "CapBnd:\t00000000a80425fb" in said
    assert "CapInh:\t0000000000000000" in said
    assert "Seccomp:\t2" in said
    for refused in ("unshare=1", "mount=1", "kcore=0", "sys=1", "cgroup=1"):
        assert refused in said
    assert "0 /proc/timer_list" in said
    assert " /sys ro," in said
    assert " /proc/sys ro," in said
    assert "size=65536k" in next(line for line in said.splitlines() if " /dev/shm " in line)


async def test_capabilities_and_privileges_follow_the_config(site: Site) -> None:
    async with site.containers() as containers:
        _, all_dropped = await output(
            containers, config("a", "cat", "/proc/self/status", cap_drop=("ALL",), cap_add=("net_admin",))
        )
        _, user = await output(containers, config("b", "cat", "/proc/self/status", user="ann", no_new_privileges=True))
    assert "CapEff:\t0000000000001000" in all_dropped
    assert "CapEff:\t0000000000000000" in user
    assert "Uid:\t1000\t1000\t1000\t1000" in user
    assert "Gid:\t1001\t1001\t1001\t1001" in user
    assert "Groups:\t1001 2000" in user
    assert "NoNewPrivs:\t1" in user


async def test_what_runs_sees_what_was_asked_for(site: Site) -> None:
    made = config(
        "seen", "sh", "-c",
        "id -u; pwd; env; hostname; cat /etc/hosts /etc/resolv.conf; cat /proc/sys/net/ipv4/ip_default_ttl; "
        "cat /proc/self/limits; touch /x; echo root=$?; ps",
        env=("A=1", "FROM_IMAGE"), working_dir="/made/for/it", hostname="box", hosts=(("10.0.0.9", ("nine", "neun")),),
        dns=("1.2.3.4",), dns_search=("example.org",), sysctls={"net.ipv4.ip_default_ttl": "77"},
        ulimits=(Ulimit("nofile", 100, 200),), read_only=True, init=True,
    )  # fmt: skip
    async with site.containers() as containers:
        _, said = await output(containers, made)
    lines = said.splitlines()
    assert lines[:2] == ["0", "/made/for/it"]
    for expected in ("A=1", "HOSTNAME=box", "HOME=/root", "box", "10.0.0.9\tnine neun", "nameserver 1.2.3.4"):
        assert expected in lines
    assert "search example.org" in lines
    assert "77" in lines
    assert "root=1" in lines
    assert not any(line.startswith("FROM_IMAGE") for line in lines)
    assert any(line.split()[:5] == ["Max", "open", "files", "100", "200"] for line in lines)
    assert any("docker-init" in line and line.split()[0] == "1" for line in lines)


@pytest.mark.parametrize(
    ("command", "words", "code"),
    [
        ("nosuch", 'exec: "nosuch": executable file not found in $PATH', 127),
        ("/bin/plain", 'exec: "/bin/plain": permission denied', 126),
    ],
)
async def test_a_command_that_cannot_run_is_told_in_dockers_words(
    site: Site, command: str, words: str, code: int
) -> None:
    async with site.containers() as containers:
        await containers.create(config("bad", command))
        with pytest.raises(StartFailed) as caught:
            await containers.start("bad")
        assert words in str(caught.value)
        assert str(caught.value).startswith("failed to create task for container: ")
        assert (caught.value.exit_code, containers.get("bad").exit_code) == (code, code)


async def test_an_unknown_user_is_told_in_dockers_words(site: Site) -> None:
    async with site.containers() as containers:
        await containers.create(config("bad", user="nobody-here"))
        with pytest.raises(InvalidArgument, match="unable to find user nobody-here: no matching entries in passwd"):
            await containers.start("bad")


async def test_links_in_an_image_do_not_lead_out_of_it(site: Site) -> None:
    (site.images.root / "etc/passwd").unlink()
    (site.images.root / "etc/passwd").symlink_to("/../../../../../../etc/passwd")
    async with site.containers() as containers:
        await containers.create(config("bad", user="daemon"))
        with pytest.raises(InvalidArgument, match="unable to find user daemon"):
            await containers.start("bad")


async def test_mounts_of_every_kind(site: Site) -> None:
    source = site.folder / "host"
    source.mkdir()
    (source / "file").write_text("from the host")
    script = (
        "cat /b/file; touch /b/x; echo bind=$?; touch /rw/made; cat /data/seed; echo more > /data/seed; "
        "grep ' /t ' /proc/self/mountinfo; cat /anon/seed"
    )
    site.images.config["Volumes"] = {"/anon": {}}
    made = config(
        "mounts", "sh", "-c", script,
        mounts=(
            Mount("bind", "/b", str(source), read_only=True), Mount("bind", "/rw", str(source)),
            Mount("volume", "/data", "keep"), Mount("tmpfs", "/t", tmpfs_size_bytes=1 << 20, tmpfs_mode=0o700),
        ),
    )  # fmt: skip
    async with site.containers() as containers:
        _, said = await output(containers, made)
    assert "from the host" in said
    assert "bind=1" in said
    assert "from the image" in said
    assert "size=1024k" in said
    assert "mode=700" in said
    assert (source / "made").exists()
    assert Path(site.volumes.get("keep").mountpoint, "seed").read_text() == "more\n"
    assert list(site.volumes.volumes) == ["keep"], "the anonymous volume went with its container"
    assert site.volumes.holders == set()


async def test_a_missing_bind_source_is_refused(site: Site) -> None:
    async with site.containers() as containers:
        wanted = config("bad", mounts=(Mount("bind", "/b", "/no/such"),))
        with pytest.raises(InvalidArgument) as caught:
            await containers.create(wanted)
        assert str(caught.value) == ('invalid mount config for type "bind": bind source path does not exist: /no/such')
        assert containers.list() == []
        assert site.images.holders == set()


async def test_limits_reach_the_cgroup_and_stats_read_it(site: Site) -> None:
    async with site.containers() as containers:
        made = config("limited", memory_bytes=64 << 20, nano_cpus=500_000_000, pids_limit=50)
        await containers.create(made)
        await containers.start("limited")
        reading = await containers.stats("limited")
        assert reading.memory_limit_bytes == 64 << 20
        assert reading.pids_limit == 50
        assert reading.pids == 1
        assert reading.memory_usage_bytes > 0
        rows: list[list[str]] = []
        while not rows or rows[0][-1] != "sleep 1000":  # the runtime's own process becomes the container's
            titles, rows = await containers.top("limited", "")
        assert titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        assert len(rows) == 1


async def test_a_container_over_its_memory_is_killed_and_told(site: Site) -> None:
    async with site.containers() as containers:
        script = "x=$(yes | head -c 100000000); echo $x"
        limits = {"memory_bytes": 16 << 20, "memory_swap_bytes": 0}
        made = await containers.create(config("hungry", "sh", "-c", script, **limits))
        await containers.start(made.id)
        ended = await containers.wait(made.id)
        assert ended.oom_killed
        assert "oom" in site.actions(made.id)


async def test_stop_asks_then_kills(site: Site) -> None:
    async with site.containers() as containers:
        polite = await containers.create(
            config(
                "polite",
                "sh",
                "-c",
                "trap 'exit 3' USR1; touch /heard; while true; do sleep 0.01; done",
                stop_signal="SIGUSR1",
            )
        )
        await containers.start("polite")
        await until(lambda: Path(f"/proc/{containers.get('polite').pid}/root/heard").exists())
        await containers.stop("polite", 10)
        assert containers.get("polite").exit_code == 3
        await containers.create(
            config("deaf", "sh", "-c", "trap '' TERM; touch /heard; while true; do sleep 0.01; done")
        )
        await containers.start("deaf")
        await until(lambda: Path(f"/proc/{containers.get('deaf').pid}/root/heard").exists())
        await containers.stop("deaf", 0.1)
        assert containers.get("deaf").exit_code == 137
        assert site.actions(polite.id) == ["create", "start", "kill", "die", "stop"]


async def test_a_container_starts_again_with_what_it_wrote(site: Site) -> None:
    async with site.containers() as containers:
        await containers.create(config("again", "sh", "-c", "cat /kept; echo before > /kept"))
        for expected in (1, 2):
            await containers.start("again")
            await containers.wait("again")
            lines = [line.data async for line in containers.logs("again", LogOptions(stderr=False))]
            assert len(lines) == expected - 1
        assert lines == [b"before\n"]


async def test_health_is_probed_and_told(site: Site) -> None:
    probe = HealthConfig(("CMD-SHELL", "test -e /well || { echo not yet; exit 1; }"), 0.1, 5.0, retries=2)
    async with site.containers() as containers:
        made = await containers.create(config("sick", health=probe))
        await containers.start("sick")
        assert containers.get("sick").health is Health.STARTING
        await until(lambda: containers.get("sick").health is Health.UNHEALTHY)
        assert containers.get("sick").probes[-1].output == "not yet\n"
        execs = Execs(containers)
        attachment = await execs.start(execs.create("sick", ExecConfig(("touch", "/well"))))
        _ = [data async for data in attachment.output()]
        await attachment.close()
        await until(lambda: containers.get("sick").health is Health.HEALTHY)
        told = [action for action in site.actions(made.id) if action.startswith("health")]
        assert told == ["health_status: unhealthy", "health_status: healthy"]


async def test_a_probe_that_hangs_is_ended(site: Site) -> None:
    probe = HealthConfig(("CMD", "sleep", "55"), 0.05, 0.2, retries=1)
    async with site.containers() as containers:
        made = await containers.create(config("stuck", health=probe))
        await containers.start("stuck")
        await until(lambda: containers.get("stuck").health is Health.UNHEALTHY)
        assert containers.get("stuck").probes[0].output == "Health check exceeded timeout (0.2s)"
        await containers.kill(made.id)
        await containers.wait(made.id)


async def test_followed_logs_end_with_the_container(site: Site) -> None:
    async with site.containers() as containers:
        await containers.create(
            config("talk", "sh", "-c", "echo one; while ! test -e /go; do sleep 0.01; done; echo two")
        )
        await containers.start("talk")
        seen = []
        async for line in containers.logs("talk", LogOptions(follow=True)):
            seen.append(line.data)
            if line.data == b"one\n":
                execs = Execs(containers)
                attachment = await execs.start(execs.create("talk", ExecConfig(("touch", "/go"))))
                await attachment.close()
        assert seen == [b"one\n", b"two\n"]
        tail = [line.data async for line in containers.logs("talk", LogOptions(tail=1))]
        assert tail == [b"two\n"]


async def test_attach_carries_both_ways(site: Site) -> None:
    async with site.containers() as containers:
        await containers.create(config("echo", "sh", "-c", "read x; echo got $x; echo bad >&2; cat", open_stdin=True))
        await containers.start("echo")
        attachment = await containers.attach("echo")
        await attachment.write(b"hello\nrest")
        await attachment.close_stdin()
        said: dict[str, bytes] = {"stdout": b"", "stderr": b""}
        async for stream, data in attachment.output():
            said[stream] += data
        await attachment.close()
        assert said == {"stdout": b"got hello\nrest", "stderr": b"bad\n"}


@pytest.mark.parametrize("runtime", ["crun", "runc"])
async def test_a_container_with_a_terminal(site: Site, monkeypatch: pytest.MonkeyPatch, runtime: str) -> None:
    if runtime == "runc":
        without_crun(monkeypatch)
    async with site.containers() as containers:
        made = await containers.create(config("tty", "sh", tty=True, open_stdin=True))
        await containers.start("tty")
        attachment = await containers.attach("tty")
        await containers.resize("tty", 33, 77)
        await attachment.write(b"tty; stty size; echo $TERM; exit 4\n")
        said = b"".join([data async for _, data in attachment.output()])
        await attachment.close()
        assert b"/dev/pts/0\r\n33 77\r\nxterm\r\n" in said
        assert (await containers.wait("tty")).exit_code == 4
        assert not list((site.paths.bundles / made.id).glob("conmon-term*"))


async def test_exec_with_a_terminal(site: Site) -> None:
    async with site.containers() as containers:
        await containers.create(config("box"))
        await containers.start("box")
        execs = Execs(containers)
        id = execs.create("box", ExecConfig(("sh",), tty=True, attach_stdin=True, user="ann", env=("B=2",)))
        attachment = await execs.start(id, size=(40, 100))
        said = b""
        sent = [(b"100", b"stty size; id -u; echo $B$HOME\n"), (b"2/home/ann", b"exit 5\n")]
        await attachment.write(b"stty size\n")
        async for _, data in attachment.output():
            said += data
            if sent and sent[0][0] in said:
                if len(sent) == 2:
                    await execs.resize(id, 20, 50)
                await attachment.write(sent.pop(0)[1])
        await attachment.close()
        await until(lambda: not execs.get(id).running)
        assert execs.get(id).exit_code == 5
        assert b"40 100" in said
        assert b"20 50" in said
        assert b"1000" in said


async def test_exec_of_a_missing_command(site: Site) -> None:
    async with site.containers() as containers:
        await containers.create(config("box"))
        await containers.start("box")
        execs = Execs(containers)
        id = execs.create("box", ExecConfig(("nosuch",)))
        attachment = await execs.start(id)
        said = b"".join([data async for _, data in attachment.output()])
        await attachment.close()
        assert b'exec: "nosuch": executable file not found in $PATH' in said
        assert execs.get(id).exit_code == 127


async def test_containers_are_adopted_with_their_pids(site: Site) -> None:
    async with site.containers() as containers:
        for name in ("stays", "ends"):
            await containers.create(
                config(name, "sh", "-c", "echo hi; while ! test -e /go; do sleep 0.01; done; exit 4")
            )
            await containers.start(name)
        stays, ends = containers.get("stays"), containers.get("ends")
        await containers.create(config("made"))
    assert is_running(stays)
    Path(f"/proc/{ends.pid}/root/go").touch()
    await until(lambda: not Path(f"/proc/{ends.pid}").exists())
    async with site.containers() as containers:
        assert containers.get("stays") == stays
        assert containers.get("made").phase is Phase.CREATED
        assert (containers.get("ends").phase, containers.get("ends").exit_code) == (Phase.EXITED, 4)
        assert site.actions(ends.id) == ["create", "start", "die"]
        execs = Execs(containers)
        attachment = await execs.start(execs.create("stays", ExecConfig(("touch", "/go"))))
        await attachment.close()
        assert (await containers.wait("stays")).exit_code == 4
        lines = [line.data async for line in containers.logs("stays", LogOptions())]
        assert lines == [b"hi\n"]
        await containers.start("made")


async def test_a_running_container_of_an_earlier_version_is_adopted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files of /etc are beside its bundle, where new containers do not have them any more."""
    write_etc = bundle.write_etc
    monkeypatch.setattr(bundle, "write_etc", lambda folder, one: write_etc(site.paths.bundles / one.id, one))
    async with site.containers() as containers:
        made = await containers.create(config("old"))
        made = await containers.start("old")
    monkeypatch.undo()
    assert (site.paths.bundles / made.id / "hosts").exists()
    async with site.containers() as containers:
        assert containers.get("old") == made
        execs = Execs(containers)
        attachment = await execs.start(execs.create("old", ExecConfig(("grep", "-c", "localhost", "/etc/hosts"))))
        assert b"".join([data async for _, data in attachment.output()]) == b"2\n"
        await attachment.close()
        await containers.stop("old", timeout=0)
        await containers.start("old")
        hosts = site.paths.containers / made.id / "hosts"
        attachment = await execs.start(execs.create("old", ExecConfig(("sh", "-c", "echo mine >> /etc/hosts"))))
        await attachment.close()
        await until(lambda: "mine" in hosts.read_text())
        await containers.stop("old", timeout=0)
        await containers.start("old")
        assert "mine" not in hosts.read_text(), "they are written anew at each start"


async def test_a_running_container_with_a_record_of_the_first_format_keeps_its_network(site: Site) -> None:
    site.network.sandbox = Sandbox("", (Endpoint(network_name="bridge", endpoint_id="e1", address="10.9.9.9"),))
    async with site.containers() as containers:
        await containers.create(config("old"))
        made = await containers.start("old")
    for folder in (site.paths.bundles, site.paths.containers):
        file = folder / made.id / "state.json"
        state = json.loads(file.read_bytes())
        del state["format"]
        sandbox = state.pop("sandbox")
        state["endpoint"] = {"netns": sandbox["netns"], **sandbox["endpoints"][0]}
        file.write_text(json.dumps(state))
    async with site.containers() as containers:
        assert containers.get("old") == made
        assert made.sandbox == site.network.sandbox
        await containers.stop("old", timeout=0)
        await until(lambda: containers.get("old").sandbox == Sandbox())
        state = json.loads((site.paths.containers / made.id / "state.json").read_bytes())
        assert state["format"] == 2


async def test_a_container_whose_conmon_was_killed_is_ended(site: Site) -> None:
    async with site.containers() as containers:
        made = await containers.create(config("orphan"))
        made = await containers.start("orphan")
        conmon = int((site.paths.bundles / made.id / "conmon.pid").read_text())
        os.kill(conmon, signal.SIGKILL)
        assert (await containers.wait("orphan")).exit_code == 137
        await until(lambda: not is_running(made))


async def test_a_start_that_was_never_recorded_is_undone(site: Site) -> None:
    async with site.containers() as containers:
        made = await containers.create(config("half"))
        made = await containers.start("half")
    (site.paths.bundles / made.id / "state.json").unlink()  # as if the daemon had died just before writing it
    async with site.containers() as containers:
        assert containers.get("half").phase is Phase.CREATED
        await until(lambda: not is_running(made))
        await containers.start("half")


async def test_a_half_done_removal_is_finished_at_the_next_start(site: Site) -> None:
    async with site.containers() as containers:
        made = await containers.create(config("gone"))
        assert site.paths.bundles.joinpath(made.id, "rootfs").is_mount()
    folder = site.paths.containers / made.id
    folder.rename(folder.with_name(made.id + ".removing"))
    async with site.containers() as containers:
        assert containers.list() == []
        assert list(site.paths.containers.iterdir()) == []


async def test_a_damaged_record_is_named_and_left_alone(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with site.containers() as containers:
        made = await containers.create(config("broken"))
    record = site.paths.containers / made.id / "config.json"
    whole = record.read_bytes()
    record.write_bytes(whole[:50])
    async with site.containers() as containers:
        assert containers.list() == []
    assert str(record) in caplog.text
    assert record.read_bytes() == whole[:50]
    record.write_bytes(whole)


async def test_a_full_disk_refuses_a_container_and_leaves_nothing(site: Site) -> None:
    async with site.containers() as containers:
        site.paths.containers.rmdir()
        site.paths.containers.write_text("in the way")  # any write error looks like this to create
        try:
            with pytest.raises(OSError, match="Not a directory"):
                await containers.create(config("full"))
            assert containers.list() == []
            assert site.network.connected == set()
            assert site.images.holders == set()
        finally:
            site.paths.containers.unlink()
            site.paths.containers.mkdir()
        await containers.create(config("full"))


def without_crun(monkeypatch: pytest.MonkeyPatch) -> None:
    found = programs.find

    def find(name: str) -> str:
        if name == "crun":
            raise MissingProgram("crun", "crun")
        return found(name)

    monkeypatch.setattr(programs, "find", find)


async def test_runc_serves_where_crun_is_not_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    without_crun(monkeypatch)
    async with site.containers() as containers:
        assert containers.runtime_name == "runc"
        code, said = await output(
            containers, config("a", "sh", "-c", "grep -E 'Seccomp:|CapEff' /proc/self/status; exit 3")
        )
        assert (code, said) == (3, "CapEff:\t00000000a80425fb\nSeccomp:\t2\n")
        await containers.create(config("bad", "nosuch"))
        with pytest.raises(StartFailed, match=r'exec: "nosuch": executable file not found in \$PATH') as caught:
            await containers.start("bad")
        assert caught.value.exit_code == 127
        await containers.create(config("box"))
        await containers.start("box")
        execs = Execs(containers)
        exec_id = execs.create("box", ExecConfig(("sh", "-c", "echo in; exit 6")))
        attachment = await execs.start(exec_id)
        assert [data async for _, data in attachment.output()] == [b"in\n"]
        await attachment.close()
        assert execs.get(exec_id).exit_code == 6


async def test_a_container_joins_its_namespace_and_has_all_its_addresses(site: Site) -> None:
    name = f"shoal-{site.tag}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "add", "mine0", "type", "veth"], check=True)
        endpoints = (Endpoint(address="10.9.9.9"), Endpoint(address="10.8.8.8"))
        site.network.sandbox = Sandbox(f"/run/netns/{name}", endpoints)
        async with site.containers() as containers:
            made = config("joined", "cat", "/proc/net/dev", "/etc/hosts", network="bridge", hostname="box")
            _, said = await output(containers, made)
        assert "mine0" in said
        assert "10.9.9.9\tbox\n10.8.8.8\tbox\n" in said
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


async def test_many_layers_are_more_than_a_page_of_options(site: Site) -> None:
    site.images.add_layers(60)
    async with site.containers() as containers:
        _, said = await output(containers, config("deep", "sh", "-c", "cat /layer0 /layer59 && echo x > /new"))
    assert said == "layer0\nlayer59\n"


async def test_a_start_that_cannot_be_recorded_is_none(site: Site) -> None:
    async with site.containers() as containers:
        made = await containers.create(config("full"))
        blocker = site.paths.bundles / made.id / ".state.json.tmp"
        blocker.mkdir()  # any write error looks like this to start
        with pytest.raises(OSError, match="Is a directory"):
            await containers.start("full")
        assert containers.get("full").phase is Phase.CREATED
        assert site.actions(made.id) == ["create"]
        await until(lambda: not processes_with(made.id))
        blocker.rmdir()
        await containers.start("full")


async def test_many_start_and_end_together(site: Site) -> None:
    async with site.containers() as containers:
        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(_run_one(containers, number))
        assert containers.list() == []
    assert processes_with(site.tag) == []


async def _run_one(containers: object, number: int) -> None:
    code, said = await output(containers, config(f"n{number}", "sh", "-c", f"echo {number}; exit {number}"))  # type: ignore[arg-type]
    assert (code, said) == (number, f"{number}\n")


@pytest.mark.parametrize("runtime", ["crun", "runc"])
async def test_what_cannot_be_run_has_dockers_code_and_names_the_command(
    site: Site, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    if runtime == "runc":
        without_crun(monkeypatch)
    async with site.containers() as containers:
        for command, code, words in (
            ("/tmp", 126, r'exec: "/tmp": (permission denied|is a directory)'),  # runc of Debian 12, and of 13
            ("", 127, re.escape('exec: "": executable file not found in $PATH')),
            ("/etc/passwd/x", 127, 'exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory'),
        ):
            made = await containers.create(config("bad", command))
            with pytest.raises(StartFailed, match=words) as caught:
                await containers.start("bad")
            assert caught.value.exit_code == code
            await containers.remove(made.id)
        await containers.create(config("box"))
        await containers.start("box")
        execs = Execs(containers)
        exec_id = execs.create("box", ExecConfig(("true",), working_dir="/nope"))
        attachment = await execs.start(exec_id)
        said = b"".join([data async for _, data in attachment.output()])
        await attachment.close()
        assert b'chdir to cwd ("/nope") set in config.json failed: no such file or directory' in said
        await until(lambda: execs.get(exec_id).exit_code == 126)
