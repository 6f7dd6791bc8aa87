"""Images that attack the host that loads them: they unpack or nest without end, or have links in the places of mounts.

What must hold: the disk keeps room for the daemon and its store, a refused image leaves nothing, and the daemon goes on
and can start again.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import faults
from tests.cluster.faults import call, create, init
from tests.harness import images
from tests.harness.api import ApiError, Client
from tests.harness.hosts import Host, eventually, run
from tests.unit.runtime.tars import entry, files, tar

pytestmark = pytest.mark.root
DISK_MIB = 160


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Yield a swarm of one on a small disk."""
    made = Host("loader")
    made.data_root.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(made.data_root))
    try:
        made.start()
        init(made)
        yield made
        faults.remove_all(made)
        faults.nothing_remains(made)
        faults.leave(made)
        assert made.stop() == 0
        assert [left for left in made.leftovers() if left != f"mount {made.data_root}"] == []
        assert "Traceback" not in made.log_file.read_text()
    finally:
        made.close()
        run("umount", "-l", str(made.data_root), check=False)


def bring(host: Host, tar: bytes, name: str, how: str) -> None:
    """Import a root file system, or load an archive with it as its layer. Raises ApiError with the daemon's message."""
    client = Client(host.socket)
    try:
        if how == "import":
            answer = client.call("POST", f"/images/create?fromSrc=-&repo={name}", tar, kind="application/x-tar")
        else:
            answer = client.call("POST", "/images/load", archive(tar, name), kind="application/x-tar")
    finally:
        client.close()
    told = answer if isinstance(answer, list) else [answer]
    for line in told:
        if isinstance(line, dict) and "error" in line:
            raise ApiError(200, str(line["error"]))


def archive(layer: bytes, name: str) -> bytes:
    """Return an archive as `docker save` writes it, with a compressed layer and the digest of the uncompressed one."""
    diff_id = hashlib.sha256(gzip.decompress(layer)).hexdigest()
    config = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]}}).encode()
    manifest = json.dumps([{"Config": "c.json", "RepoTags": [f"{name}:latest"], "Layers": ["l.tar"]}]).encode()
    return files(**{"c.json": config, "l.tar": layer, "manifest.json": manifest})


def free(host: Host) -> int:
    found = os.statvfs(host.data_root)
    return found.f_bavail * found.f_frsize


def staged(host: Host) -> list[str]:
    """Return what unpacking has left."""
    places = [host.data_root / "images" / name for name in ("layers", "staging")]
    return [str(path) for place in places for path in place.iterdir() if path.name.startswith((".", "load-", "pull-"))]


@pytest.mark.parametrize("how", ["import", "load"])
@pytest.mark.parametrize("kind", ["one file", "many files"])
def test_a_bomb_is_stopped_before_the_disk_is_full(host: Host, how: str, kind: str) -> None:
    """Half a megabyte that unpacks to three times the size of the disk. The image may not take the last twentieth of
    the disk.
    """
    size = 3 * DISK_MIB << 20
    rows = {"bomb": bytes(size)} if kind == "one file" else {f"f{n}": bytes(size // 60) for n in range(60)}
    bomb = gzip.compress(files(**rows), 1)
    before, layers = free(host), set(os.listdir(host.data_root / "images/layers"))
    with pytest.raises(ApiError, match="no space left on device"):
        bring(host, bomb, "bomb", how)
    assert set(os.listdir(host.data_root / "images/layers")) == layers
    assert staged(host) == []
    assert free(host) > before - (8 << 20)  # etcd's log may have grown
    assert all("bomb" not in tag for one in call(host, "GET", "/images/json") for tag in one["RepoTags"] or ())
    bring(host, gzip.compress(files(a=b"x")), "little", how)
    call(host, "DELETE", "/images/little")


def test_an_image_of_folders_in_folders_comes_and_goes(host: Host) -> None:
    step = "/".join(["d"] * 700)
    link = entry("one", tarfile.SYMTYPE, linkname=step)
    rows = [entry(step, tarfile.DIRTYPE), link, entry(f"one/{step}", tarfile.DIRTYPE)]
    bring(host, tar(*rows), "deep", "import")
    call(host, "DELETE", "/images/deep")
    assert staged(host) == []
    bring(host, tar(*rows), "deep", "import")
    # As if the daemon had died during the removal.
    layers = host.data_root / "images/layers"
    at = max(layers.iterdir(), key=lambda path: path.stat().st_mtime)
    assert host.stop() == 0
    at.rename(layers / ".old-0123456789abcdef")
    host.start()
    faults.ensure_running(host)
    assert staged(host) == []
    call(host, "DELETE", "/images/deep")


def with_links(**links: str) -> bytes:
    """Busybox with links in place of some of its files."""
    out, source = io.BytesIO(), io.BytesIO(images.busybox_rootfs())
    with tarfile.open(fileobj=source) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            if member.name not in links:
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        for name, to in links.items():
            new.addfile(entry(name, tarfile.SYMTYPE, linkname=to))
    return out.getvalue()


@pytest.mark.parametrize(
    ("place", "to", "words"),
    [
        ("proc", "/tmp", 'filesystem "proc" must be mounted on ordinary directory'),
        ("sys", "/tmp", 'filesystem "sysfs" must be mounted on ordinary directory'),
        ("dev", "/proc", "cannot be mounted because it is not of type proc"),
        ("etc/hosts", "/proc/self/attr/exec", "cannot be mounted because it is inside /proc"),
        ("etc/hostname", "/proc/sys/kernel/core_pattern", "cannot be mounted because it is inside /proc"),
        ("etc/resolv.conf", "../proc/self/attr/apparmor/exec", "cannot be mounted because it is inside /proc"),
    ],
)
def test_links_where_the_kernels_own_is_mounted(host: Host, place: str, to: str, words: str) -> None:
    """Through a link, the runtime's settings that confine a container would be written to a file of the image."""
    bring(host, with_links(**{place: to}), "linked", "import")
    create(host, "linked", container={"Image": "linked:latest"})

    def told() -> str:
        return " ".join(task["Status"].get("Err", "") for task in faults.tasks(host, "linked"))

    eventually(lambda: words in told(), "it is said", show=lambda: f"{told()}\n{host.log()}")
    assert not faults.containers(host, "linked")
    faults.remove(host, "linked")
    faults.nothing_remains(host)
    call(host, "DELETE", "/images/linked?force=1")


@pytest.mark.parametrize("name", ["hosts", "hostname", "resolv.conf"])
def test_links_at_the_files_of_etc_lead_to_no_file_of_the_hosts(host: Host, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("the host's\n")
    bring(host, with_links(**{f"etc/{name}": f"/../../../../../../../../..{victim}"}), "linked", "import")
    command = ["sh", "-c", f"echo mine > /etc/{name}; exec sleep 1000000"]
    create(host, "linked", command=command, container={"Image": "linked:latest"})
    eventually(lambda: len(faults.tasks(host, "linked")) >= 1, "it was tried")
    eventually(
        lambda: faults.tasks(host, "linked", "running", "failed", "rejected"), "it runs, or is refused", show=host.log
    )
    assert victim.read_text() == "the host's\n"
    faults.remove(host, "linked")
    faults.nothing_remains(host)
    call(host, "DELETE", "/images/linked?force=1")
