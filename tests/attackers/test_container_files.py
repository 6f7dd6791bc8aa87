"""A container that is root inside uses all that it can write against the daemon: volumes, /etc, user files, deep
folders.

Each attack only needs an image and a service, which anybody has who may run containers. What must hold: no file of the
host is changed, read or opened, and the daemon serves the others as before.
"""

import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cluster import faults
from tests.cluster.faults import call, create, init
from tests.harness import images
from tests.harness.api import Client
from tests.harness.hosts import Host, eventually, run

pytestmark = pytest.mark.root
EVIL = "evil:latest"
EXEC_ROOT_MIB = 24
DEEP = 1200
"""Folders in folders: more than Python calls itself."""


def evil_image() -> bytes:
    """Return an image: busybox, with a file for each attack where a volume will be mounted."""
    out = io.BytesIO(images.busybox_rootfs())
    with tarfile.open(fileobj=out, mode="a") as tar:
        for name in ("v/lost+found", "v/x"):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(b"planted\n"), 0o4755
            tar.addfile(entry, io.BytesIO(b"planted\n"))
        for name in ("v/link", "v/folder/x"):
            entry = tarfile.TarInfo(name)
            entry.size = len(b"planted\n")
            tar.addfile(entry, io.BytesIO(b"planted\n"))
    return out.getvalue()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Yield a swarm of one. Its exec-root is as small as /run is on small machines."""
    made = Host("evil")
    made.exec_root.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={EXEC_ROOT_MIB}m", "tmpfs", str(made.exec_root))
    try:
        made.start()
        init(made)
        client = Client(made.socket)
        client.import_image(evil_image(), "evil")
        client.close()
        yield made
        faults.remove_all(made)
        faults.nothing_remains(made)
        faults.leave(made)
        assert made.stop() == 0
        assert [left for left in made.leftovers() if left != f"mount {made.exec_root}"] == []
        assert "Traceback" not in made.log_file.read_text()
    finally:
        made.close()
        run("umount", "-l", str(made.exec_root), check=False)


@pytest.fixture
def victim(host: Host) -> Iterator[Path]:
    """Return a file of the host, which must not change."""
    made = host.folder / "victim"
    made.write_text("the host's\n")
    made.chmod(0o600)
    yield made
    assert made.read_text() == "the host's\n"
    assert made.stat().st_mode & 0o7777 == 0o600


def serve(host: Host, name: str, script: str, **container: object) -> None:
    create(host, name, command=["sh", "-c", script], container={"Image": EVIL, **container})


def only(host: Host, name: str) -> str:
    """Return the id of a service's only container, once it runs."""

    def look() -> str:
        found = [one["Id"] for one in faults.containers(host, name)]
        return found[0] if len(found) == 1 else ""

    return eventually(look, f"{name} runs", show=lambda: f"{faults.tasks(host, name)}\n{host.log()}")


def volume(name: str) -> dict[str, object]:
    return {"Mounts": [{"Type": "volume", "Source": name, "Target": "/v"}]}


def inside(host: Host, container: str, script: str, *flags: str) -> str:
    return host.docker("exec", *flags, container, "sh", "-c", script, timeout=30).stdout


def test_a_link_at_lost_and_found_is_not_written_through(host: Host, victim: Path) -> None:
    """Before, it did not count as content: the next task's start wrote the image's file through it, with its mode."""
    script = f"rm -rf /v/* && ln -s {victim} '/v/lost+found' && ls /v && exec sleep 1000000"
    serve(host, "linker", script, **volume("linked"))
    for _ in range(2):
        first = only(host, "linker")
        eventually(partial(lambda c: "lost+found" in host.docker("logs", c).stdout, first), "the link lies there")
        faults.kill(faults.pids_of(host, first)[:1])
        eventually(partial(lambda c: only(host, "linker") != c, first), "the next task has the volume", show=host.log)
        assert victim.read_text() == "the host's\n"
    faults.remove(host, "linker")


def test_a_second_container_cannot_race_what_fills_a_volume(host: Host, victim: Path) -> None:
    """One container keeps emptying the volume and putting links there, while others are made with it."""
    aside = host.folder / "aside"
    aside.mkdir()
    racer = (
        f"rm -rf /v/*; while :; do ln -s {victim} /v/x; ln -s {victim} /v/link; ln -s {aside} /v/folder; "
        "rm -rf /v/* ; done"
    )
    options = {"NoCopy": True}
    mount = {"Type": "volume", "Source": "raced", "Target": "/v", "VolumeOptions": options}
    create(host, "racer", command=["sh", "-c", racer], container={"Image": EVIL, "Mounts": [mount]})
    racing = only(host, "racer")
    create(
        host,
        "raced",
        replicas=4,
        command=["sh", "-c", "sleep 0.1; exit 1"],
        container={"Image": EVIL, **volume("raced")},
    )

    def made() -> bool:
        return len(call(host, "GET", "/tasks", service=["raced"])) >= 20

    eventually(made, "twenty containers were made with the volume", patience=60.0, every=0.2, show=host.log)
    assert only(host, "racer") == racing
    for name in ("raced", "racer"):
        faults.remove(host, name)
    assert os.listdir(aside) == []
    aside.rmdir()


def test_a_second_container_cannot_race_a_part_of_a_volume(host: Host, victim: Path) -> None:
    """One container keeps changing a folder for a link to the host's, while others are started with that folder."""
    aside = host.folder / "parts"
    aside.mkdir()
    (aside / "the-hosts-own").touch()
    racer = (
        f"rm -rf /v/*; mkdir /v/sub; ln -s {aside} /v/link; "
        "while :; do mv /v/sub /v/folder; mv /v/link /v/sub; mv /v/sub /v/link; mv /v/folder /v/sub; done"
    )
    options = {"NoCopy": True}
    # Not named as in the test before: the container of that one may still be ending.
    mount = {"Type": "volume", "Source": "parts", "Target": "/v", "VolumeOptions": options}
    create(host, "mover", command=["sh", "-c", racer], container={"Image": EVIL, "Mounts": [mount]})
    racing = only(host, "mover")
    eventually(lambda: "link" in inside(host, racing, "ls /v; true"), "it has begun")
    part = {**mount, "Target": "/part", "VolumeOptions": {**options, "Subpath": "sub"}}
    script = "touch /part/written; ls -a /part /part/..; exit 1"
    command = ["sh", "-c", script]
    create(host, "parted", replicas=4, command=command, container={"Image": EVIL, "Mounts": [part]})

    def made() -> bool:
        return len(call(host, "GET", "/tasks", service=["parted"])) >= 20

    eventually(made, "twenty containers were tried with the part", patience=60.0, every=0.2, show=host.log)
    assert only(host, "mover") == racing
    assert "the-hosts-own" not in host.docker("service", "logs", "--raw", "parted", check=False).stdout
    for name in ("parted", "mover"):
        faults.remove(host, name)
    assert os.listdir(aside) == ["the-hosts-own"]
    shutil.rmtree(aside)


def test_a_container_does_not_fill_the_disk_that_starts_need(host: Host) -> None:
    """Before, /etc/hosts and the like were on the exec-root: a few megabytes there made every start and exec fail."""
    serve(host, "writer", "exec sleep 1000000")
    writer = only(host, "writer")
    for name in ("hosts", "hostname", "resolv.conf"):
        script = f"dd if=/dev/zero of=/etc/{name} bs=1M count={EXEC_ROOT_MIB} 2>&1; wc -c < /etc/{name}"
        assert f"{EXEC_ROOT_MIB << 20}\n" in inside(host, writer, script)
    assert inside(host, writer, "echo still").strip() == "still"
    create(host, "other", 2)
    faults.settled(host, {"writer": 1, "other": 2})
    for name in ("writer", "other"):
        faults.remove(host, name)


USER_FILES = {
    "a fifo": "mkfifo /etc/passwd",
    "a device": "mknod /etc/passwd c 511 77",
    "a link to a file of the host's": "ln -s {victim} /etc/passwd",
    "a link through a process's root": "ln -s /proc/1/root{victim} /etc/passwd",
    "a link to the kernel's log": "ln -s /proc/kmsg /etc/passwd",
    "a link to all of memory": "ln -s /proc/kcore /etc/passwd",
    "a link to itself": "ln -s passwd /etc/passwd",
    "a folder": "mkdir /etc/passwd",
    "vast": "dd if=/dev/zero of=/etc/passwd bs=1 count=1 seek=20000000000 2>/dev/null",
    "of one long number": "echo eve:x:$(dd if=/dev/zero bs=1 count=5000 2>/dev/null | tr '\\0' 9):0::/: > /etc/passwd",
    "of the number that means: stay root": "echo eve:x:4294967295:0::/:/bin/sh > /etc/passwd",
}


def test_user_files_that_are_traps(host: Host, victim: Path) -> None:
    # The container's own shell would fall into some of these traps. So its first process runs the commands in a file.
    orders = host.folder / "orders"
    orders.mkdir()
    loop = "while :; do test -f /orders/now && . /orders/now && mv /orders/now /orders/done; sleep 0.05; done"
    serve(host, "user", loop, Mounts=[{"Type": "bind", "Source": str(orders), "Target": "/orders"}])
    user = only(host, "user")
    for what, trap in USER_FILES.items():
        (orders / "new").write_text(f"rm -rf /etc/passwd; {trap.format(victim=victim)}\n")
        (orders / "new").rename(orders / "now")
        eventually(lambda: not (orders / "now").exists(), f"{what} is set", show=host.log)
        for name in ("nobody", "eve"):
            done = host.docker("exec", "-u", name, user, "true", check=False, timeout=30)
            words = f"unable to find user {name}: no matching entries in passwd file"
            assert words in done.stdout + done.stderr, (what, done)
            assert done.returncode != 0
        assert host.docker("exec", "-u", "7", user, "echo", "fine", timeout=30).stdout == "fine\n", what
    faults.remove(host, "user")
    faults.nothing_remains(host)


NEST = f"i=0; while [ $i -lt {DEEP} ]; do mkdir d; cd d; i=$((i+1)); done; echo deep > /dev/stderr; exec sleep 1000000"


@pytest.mark.parametrize("where", ["/", "/v"])
def test_folders_in_folders_can_be_removed(host: Host, where: str) -> None:
    """More of them than Python's recursion limit. Before, what was left ended the daemon's next start."""
    serve(host, "deep", f"cd {where}; {NEST}", **volume("deep"))
    deep = only(host, "deep")
    eventually(lambda: "deep" in host.docker("logs", deep).stderr, "it is deep", patience=60.0)
    assert [one["Name"] for one in call(host, "GET", "/system/df")["Volumes"]].count("deep") == 1
    faults.remove(host, "deep")
    eventually(lambda: not os.listdir(host.data_root / "containers"), "it is removed", patience=60.0, show=host.log)
    # Its folder goes a moment before the daemon has forgotten it.
    eventually(lambda: not call(host, "GET", "/containers/json?all=1"), "it is forgotten", show=host.log)
    call(host, "DELETE", "/volumes/deep")
    assert not (host.data_root / "volumes/deep").exists()


def test_the_daemon_starts_beside_what_a_half_done_removal_left(host: Host) -> None:
    left = host.data_root / "containers" / f"{'f' * 64}.removing"
    left.mkdir()
    here = os.open(left, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert host.stop() == 0
    host.start()
    faults.ensure_running(host)
    assert not left.exists()
