"""Bad input and faults, as a user of the API and the CLI sees them."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.harness.hosts import Host, docker_program, eventually, host, run
from tests.interop.conftest import IMAGE, import_image
from tests.interop.services import create, create_detached, only, running, tasks, wait_for_manager


def post(on: Host, path: str, body: str) -> tuple[int, str]:
    """POST a body. Returns the status and message of the answer."""
    out = on.curl(path, "-X", "POST", "-H", "Content-Type: application/json", "-d", body, "-w", "\n%{http_code}")
    text, _, status = out.rpartition("\n")
    return int(status), json.loads(text).get("message", text)


def spec(name: str, **more: object) -> str:
    return json.dumps({"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": IMAGE}}, **more})


def test_malformed_json_is_refused(swarm: Host) -> None:
    status, message = post(swarm, "/services/create", "{")
    assert status == 400
    assert "EOF" in message


def test_invalid_service_name_has_dockers_message(swarm: Host) -> None:
    status, message = post(swarm, "/services/create", spec("not valid"))
    assert (status, message) == (
        400,
        "rpc error: code = InvalidArgument desc = name must be valid as a DNS name component",
    )


def test_duplicate_name_is_a_conflict(swarm: Host) -> None:
    create(swarm, "web")
    status, message = post(swarm, "/services/create", spec("web"))
    assert status == 409
    assert "name conflicts with an existing object: service web already exists" in message


def test_unknown_ids_are_not_found(swarm: Host) -> None:
    for path in (
        "/services/nosuch",
        "/nodes/nosuch",
        "/tasks/nosuch",
        "/containers/nosuch/json",
        "/images/nosuch/json",
    ):
        out = swarm.curl(path, "-w", "\n%{http_code}")
        body, _, status = out.rpartition("\n")
        assert status == "404", path
        assert "nosuch" in json.loads(body)["message"]
    assert json.loads(swarm.curl("/no/such/route"))["message"] == "page not found"


def test_stale_version_is_out_of_sequence(swarm: Host) -> None:
    create(swarm, "web")
    status, message = post(swarm, "/services/web/update?version=1", spec("web", Mode={"Replicated": {"Replicas": 2}}))
    assert (status, message) == (500, "rpc error: code = Unknown desc = update out of sequence")


def test_an_unknown_network_is_refused_by_its_name(swarm: Host) -> None:
    done = swarm.docker("service", "create", "--name", "later", "--network", "nosuch", IMAGE, check=False)
    assert done.returncode == 1
    assert "nosuch" in done.stderr
    assert not swarm.docker("service", "ls", "-q").stdout


def test_image_that_is_nowhere_is_rejected_and_retried(swarm: Host) -> None:
    create_detached(swarm, "ghost", "--restart-delay", "100ms", image="nosuch-image:1")
    found = eventually(
        lambda: (all_ := tasks(swarm, "ghost")) and len(all_) > 1 and all_, "it is tried again", show=swarm.log
    )
    assert found[0]["Status"]["State"] == "rejected"
    assert "nosuch-image" in found[0]["Status"]["Err"]
    shown = swarm.docker("service", "ps", "ghost", "--no-trunc").stdout
    assert "Rejected" in shown


def test_labels_of_ours_are_refused_by_name_or_mean_something(swarm: Host) -> None:
    for label, words in (("shoal.pull=sometimes", '"sometimes" is not always,'), ("shoal.pul=never", "no such option")):
        done = swarm.docker("service", "create", "--no-resolve-image", "--label", label, IMAGE, check=False)
        assert done.returncode == 1
        assert f"label {label.partition('=')[0]}: " in done.stderr
        assert words in done.stderr
    (node,) = swarm.docker("node", "ls", "-q").stdout.split()
    done = swarm.docker("node", "update", "--label-add", "shoal.pull=never", node, check=False)
    assert "label shoal.pull: a node has no such option" in done.stderr
    create_detached(swarm, "ghost", "--label", "shoal.pull=never", image="nosuch-image:1")
    found = eventually(lambda: [task for task in tasks(swarm, "ghost") if task["Status"].get("Err")], "it fails")
    assert found[0]["Status"]["Err"] == "No such image: nosuch-image:1 (the service's label shoal.pull says never)"


def test_command_that_is_not_in_the_image_fails_by_the_restart_policy(swarm: Host) -> None:
    create_detached(swarm, "typo", "--restart-delay", "50ms", "--restart-max-attempts", "2", command=("nosuchcommand",))

    def three_failures() -> list[dict[str, object]]:
        found = [task for task in tasks(swarm, "typo") if task["Status"]["State"] in {"failed", "rejected"}]
        return found if len(found) == 3 else []

    found = eventually(three_failures, "three attempts", show=swarm.log)
    for task in found:
        status = task["Status"]
        assert isinstance(status, dict)
        assert status["State"] == "failed"
        assert "executable file not found" in status["Err"]


def test_image_tar_cannot_leave_its_layer(swarm: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = outside / "owned"
    up = "../" * 30

    def through_a_link(tar: tarfile.TarFile) -> None:
        _link(tar, "out", str(outside))
        _file(tar, "out/owned")

    tars: dict[str, Callable[[tarfile.TarFile], None]] = {
        "dots": lambda tar: _file(tar, f"{up}{target}"),
        "absolute": lambda tar: _file(tar, str(target)),
        "through-a-link": through_a_link,
        "hard-link": lambda tar: _link(tar, "etc/shadow", "/etc/passwd", tarfile.LNKTYPE),
        "device": lambda tar: _device(tar, "disk"),
    }
    for name, make in tars.items():
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            make(tar)
        before = Path("/etc/passwd").stat()
        done = subprocess.run(
            [docker_program(), "-H", f"unix://{swarm.socket}", "import", "-", f"evil-{name}"],
            input=data.getvalue(),
            capture_output=True,
            check=False,
        )
        assert not target.exists(), name
        after = Path("/etc/passwd").stat()
        assert (before.st_nlink, before.st_mode) == (after.st_nlink, after.st_mode)
        devices = run("find", str(swarm.data_root / "images"), "-type", "b").stdout
        assert not devices, done.stderr


def _file(tar: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = 5
    tar.addfile(entry, io.BytesIO(b"owned"))


def _link(tar: tarfile.TarFile, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    tar.addfile(entry)


def _device(tar: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.devmajor, entry.devminor, entry.mode = tarfile.BLKTYPE, 254, 0, 0o666
    tar.addfile(entry)


def test_etcd_killed_under_us_comes_back_with_everything(swarm: Host) -> None:
    create(swarm, "web", "--replicas", "2")
    (pid,) = _etcd_pids(swarm)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: [new for new in _etcd_pids(swarm) if new != pid], "etcd runs again", show=swarm.log)
    done = eventually(
        lambda: (out := swarm.docker("service", "ls", "--format", "{{.Name}}", check=False)).returncode == 0 and out,
        "the API answers",
        show=swarm.log,
    )
    assert done.stdout == "web\n"
    eventually(
        lambda: swarm.docker("service", "scale", "web=3", check=False).returncode == 0, "writes work", show=swarm.log
    )
    assert len(running(swarm, "web")) == 3


def _etcd_pids(on: Host) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"etcd") and any(str(on.data_root).encode() in word for word in words):
                found.append(int(entry.name))
    return found


def test_missing_host_program_is_named_with_its_package() -> None:
    with host("poor", start=False) as poor:
        poor.start(lacking=["conmon"], wait=False)
        assert poor.process is not None
        assert poor.process.wait(30) == 1
        assert "conmon is not installed on this host: install the package conmon" in poor.log()
    with host("poor2", start=False) as poor:
        poor.start(lacking=["etcd"])
        done = poor.docker("swarm", "init", check=False)
        assert done.returncode == 1
        assert "etcd is not installed on this host: install the package etcd-server" in done.stderr
        assert "Swarm: inactive" in poor.docker("info").stdout


def test_runc_serves_where_crun_is_missing() -> None:
    with host("runc", start=False) as poor:
        poor.start(lacking=["crun"])
        assert "containers are started by runc" in poor.log()
        assert poor.docker("info", "--format", "{{.DefaultRuntime}}").stdout == "runc\n"


def test_a_root_that_is_no_mount_point_is_named(tmp_path: Path) -> None:
    inside = (
        'mount -t tmpfs tmpfs "$0" && mkdir "$0/root" && for path in /*; do '
        'if [ -L "$path" ]; then cp -P "$path" "$0/root"; '
        'elif [ -d "$path" ]; then mkdir "$0/root$path" && mount --rbind "$path" "$0/root$path"; fi; done; '
        'exec chroot "$0/root" "$@"'
    )
    (tmp_path / "none.json").write_text("{}")
    flags = [f"--{name}={tmp_path}/{name}" for name in ("data-root", "exec-root", "pidfile")]
    flags += [f"--host=unix://{tmp_path}/s", f"--config-file={tmp_path}/none.json"]
    (tmp_path / "mount").mkdir()
    command = ["unshare", "--mount", "sh", "-c", inside, str(tmp_path / "mount")]
    done = subprocess.run(
        [*command, sys.executable, "-m", "shoal.daemon.main", *flags], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1, done.stderr
    assert "/ is no mount point, as in a chroot, where no container can be made" in done.stderr


def test_init_with_a_ca_that_is_refused_leaves_no_swarm_behind() -> None:
    with host("refused") as refused:
        for config in (
            {"NodeCertExpiry": 60_000_000_000},
            {"SigningCACert": "rubbish"},
            {"SigningCACert": "rubbish", "SigningCAKey": "rubbish"},
            {"SigningCAKey": "rubbish"},
        ):
            status, message = post(
                refused, "/swarm/init", json.dumps({"ListenAddr": "0.0.0.0:2377", "Spec": {"CAConfig": config}})
            )
            assert status == 400, message
            assert refused.docker("info", "--format", "{{.Swarm.LocalNodeState}}").stdout == "inactive\n"
            assert not (refused.data_root / "swarm").exists()
        done = refused.docker("swarm", "init", "--cert-expiry", "1m", check=False)
        assert "minimum certificate expiry time is: 1h0m0s" in done.stderr
        refused.docker("swarm", "init", "--max-snapshots", "3", "--snapshot-interval", "500")
        info = refused.docker("info").stdout
        assert "Snapshot Interval: 500\n" in info
        assert "Number of Old Snapshots to Retain: 3\n" in info
        refused.docker("swarm", "update", "--max-snapshots", "0", "--snapshot-interval", "700")
        raft = json.loads(refused.curl("/swarm"))["Spec"]["Raft"]
        assert (raft["SnapshotInterval"], raft["KeepOldSnapshots"]) == (700, 0)


def test_damaged_state_is_named_and_kept() -> None:
    with host("hurt") as hurt:
        hurt.docker("swarm", "init")
        hurt.stop()
        key = hurt.data_root / "swarm" / "certificates" / "swarm-node.key"
        key.write_bytes(b"rubbish")
        hurt.start()
        out = eventually(
            lambda: (text := hurt.docker("info").stdout) and "Swarm: error" in text and text,
            "it says so",
            show=hurt.log,
        )
        assert "swarm-node.key" in out
        assert key.read_bytes() == b"rubbish"
        assert hurt.docker("swarm", "leave", "--force").returncode == 0


def test_full_disk_is_refused_and_the_old_state_stays_whole() -> None:
    # Not pytest's folder, because its long name leaves no room for a socket's path.
    disk = Path(tempfile.mkdtemp(prefix="shoal-disk-"))
    run("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(disk))
    full = Host("full", folder=disk)
    try:
        full.start()
        full.docker("swarm", "init")
        import_image(full)
        create(full, "web")
        before = only(full, "web")
        filler = disk / "filler"

        def refused() -> str:
            """Fill the disk, and return why there is no volume. The daemon may free a page in between."""
            with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * 65536)
            made = full.docker("volume", "create", "more", check=False)
            if made.returncode == 0:
                full.docker("volume", "rm", "more")
            return made.stderr.lower()

        assert "no space left on device" in eventually(refused, "a volume is refused", show=full.log)
        imported = full.docker("import", "-", "more:1", check=False, input="no tar either")
        assert imported.returncode == 1
        filler.unlink()
        full.stop(signal.SIGKILL)
        full.start()
        assert running(full, "web") == [before]
        wait_for_manager(full)
        assert full.docker("service", "ls", "--format", "{{.Name}}").stdout == "web\n"
        full.docker("volume", "create", "more")
        full.docker("swarm", "leave", "--force")
    finally:
        full.close()
        run("umount", "-l", str(disk))
        disk.rmdir()
