"""Debian's dockerd as a host of its own. What it leaves behind disappears with its namespaces.

It runs in a network, mount and PID namespace. It is this host's dockerd, or that below $SHOAL_ENGINE_ROOT: the / of
another Debian, for another version (script/test-engine).
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from tests.harness.hosts import ADDRESS, CGROUPS, docker_program, eventually, make_namespace, run

PROGRAM = "dockerd"
ROOT = os.environ.get("SHOAL_ENGINE_ROOT", "")
# The commands before dockerd, in its mount namespace. They give it a /run of its own, because dockerd and its
# containerd make sockets there whatever their roots are. The second form also gives it another / ($1), in which $2 is
# at the same place.
HERE = 'mount -t tmpfs tmpfs /run && exec "$@"'
IN_ROOT = """set -e
root=$1 folder=$2; shift 2
mount --bind "$root" "$root"
mkdir -p "$root$folder"
for each in proc sys dev; do mount --rbind "/$each" "$root/$each"; done
mount --bind "$folder" "$root$folder"
mount -t tmpfs tmpfs "$root/run"
cd "$root" && pivot_root . . && umount -l .
cd / && exec env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@\""""


class DockerEngine:
    """One dockerd. `address` is that of its network card."""

    def __init__(self, name: str, *, address: str = ADDRESS) -> None:
        self.name = name
        self.address = address
        self.folder = Path(tempfile.mkdtemp(prefix=f"shoal-{name}-"))
        self.socket = self.folder / "s"
        self.log_file = self.folder / "log"
        self.namespace = f"shoal-{name}-{os.getpid()}"
        self.process: subprocess.Popen[bytes] | None = None
        make_namespace(self.namespace, address)

    def start(self) -> None:
        """Start dockerd and wait until it answers. It may have run before."""
        # In its new namespace the process ids in its files belong to other processes.
        (self.folder / "pid").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        (self.folder / "daemon.json").write_text("{}")
        inner = (
            [f'hostname "$0"; {IN_ROOT}', self.name, ROOT, str(self.folder)]
            if ROOT
            else [f'hostname "$0" && {HERE}', self.name]
        )
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{self.namespace}", "--"),
                    *("unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
                    *("sh", "-c", *inner, PROGRAM, "-H", f"unix://{self.socket}"),
                    *(f"--config-file={self.folder}/daemon.json", f"--data-root={self.folder}/data"),
                    *(f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid"),
                    *("--storage-driver=overlay2", "--exec-opt=native.cgroupdriver=cgroupfs"),
                    f"--cgroup-parent=/{self.namespace}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={
                    **os.environ,
                    "HOME": str(self.folder),
                    "TMPDIR": str(self.folder),
                    "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE": "1",
                },
            )
        eventually(self._answers, f"{self.name}: dockerd answers", patience=60, show=self.log)

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"{self.name}: dockerd ended with {self.process.returncode}\n{self.log()}")
        return run("curl", "-fsS", "--unix-socket", str(self.socket), "http://d/_ping", check=False).stdout == "OK"

    def docker(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run Docker's own CLI against this host."""
        return run(docker_program(), "-H", f"unix://{self.socket}", *arguments, check=check, **options)

    def curl(self, path: str, *arguments: str) -> str:
        """Call the API with curl. Returns the body of the answer."""
        return run("curl", "-sS", "--unix-socket", str(self.socket), *arguments, f"http://d{path}").stdout

    def log(self) -> str:
        """Return the end of the daemon's log."""
        return self.log_file.read_text(errors="replace")[-20_000:] if self.log_file.exists() else ""

    def stop(self) -> None:
        """End dockerd as a crash does, and with it every process in its namespaces."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End everything of this host and remove what it made. May be called after any failure, and twice."""
        self.stop()
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((mount for mount in mounts if mount.startswith(str(self.folder))), reverse=True):
            run("umount", "-l", mount, check=False)
        run("ip", "netns", "delete", self.namespace, check=False)
        roots = [root for depth in ("*", "*/*") for root in CGROUPS.glob(depth) if root.name == self.namespace]
        for root in roots:
            for folder, _, _ in os.walk(root, topdown=False):
                eventually(partial(_remove_cgroup, folder), f"{folder} is free")
        shutil.rmtree(self.folder, ignore_errors=True)
        if ROOT:
            with contextlib.suppress(OSError):
                os.rmdir(f"{ROOT}{self.folder}")


def _remove_cgroup(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
