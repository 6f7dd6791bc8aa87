"""The two sides of a benchmark: Shoal and Docker Swarm, each a host of its own on this machine, asked by one client.

A side is a network namespace with a daemon. Its cost is read from /proc for all its processes except those in
containers. Both sides are up during the whole run, and one is at rest while the other is measured.
"""

import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from tests.harness import images
from tests.harness.api import ApiError, Client
from tests.harness.docker_engine import HERE, IN_ROOT
from tests.harness.hosts import Host, eventually, run

IMAGE = "bench:latest"
TICKS = os.sysconf("SC_CLK_TCK")
DOCKERD = "dockerd"
PATIENCE = 60.0  # seconds, for a first answer


@dataclass(frozen=True, slots=True)
class Cost:
    """What a side's processes use: PSS in bytes, and CPU seconds so far, by name of process."""

    pss_bytes: dict[str, int]
    cpu_seconds: float


class Side(ABC):
    """One daemon with a swarm of one node and the image."""

    name: str
    client: Client
    start_seconds: float
    """From the start of the daemon's process to its first answer."""

    @abstractmethod
    def pids(self) -> list[int]:
        """Return the processes of this side, without those in containers."""

    @abstractmethod
    def close(self) -> None:
        """Take everything down."""

    def prepare(self) -> None:
        """Give the side its image, and make its swarm."""
        self.client.import_image(images.busybox_rootfs(), "bench")
        self.client.call("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "10.99.0.1"})

    def cost(self) -> Cost:
        """Return what the side's processes use now."""
        pss: dict[str, int] = {}
        cpu = 0.0
        for pid in self.pids():
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue  # it has just ended
            match = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
            pss[name] = pss.get(name, 0) + (int(match[1]) * 1024 if match else 0)
            cpu += sum(int(field) for field in fields[11:15]) / TICKS  # its own, and that of children it has waited for
        return Cost(pss, cpu)

    def kill_container(self, container: str) -> None:
        """End a container's process, as a crash would."""
        pid = self.client.get(f"/containers/{container}/json")["State"]["Pid"]
        os.kill(self.host_pid(pid), signal.SIGKILL)

    def host_pid(self, pid: int) -> int:
        """Return the id on this machine of a process that the daemon calls `pid`."""
        return pid


class Shoal(Side):
    """A `shoald` from this checkout."""

    name = "Shoal"

    def __init__(self) -> None:
        self.host = Host("bench")
        try:
            # Where the exec-root is by default: below /run, a tmpfs on most hosts.
            self.host.exec_root.mkdir()
            run("mount", "-t", "tmpfs", "tmpfs", str(self.host.exec_root))
            began = time.monotonic()
            self.host.start(wait=False)
            assert self.host.process is not None
            self.start_seconds = _first_answer(self.host.socket, self.host.process, self.host.log_file) - began
        except BaseException:
            self.host.close()
            raise
        self.client = Client(self.host.socket)

    def pids(self) -> list[int]:
        """Return shoald, etcd and the conmons. A container's own processes are in another PID namespace."""
        ours = os.stat("/proc/self/ns/pid").st_ino
        found = []
        for pid in self.host.processes():
            try:
                if os.stat(f"/proc/{pid}/ns/pid").st_ino == ours:
                    found.append(pid)
            except OSError:
                continue
        return found

    def close(self) -> None:
        try:
            self.client.close()  # it may be in the middle of a call
            Client(self.host.socket).call("POST", "/swarm/leave?force=1")
            self.host.stop()
        except (ApiError, HTTPException, OSError, AssertionError):
            pass  # `Host.close` ends whatever is left
        finally:
            self.host.close()


class DockerSwarm(Side):
    """A dockerd in namespaces of its own. What it leaves behind disappears with them.

    It is this host's dockerd, or that below `root`: the / of another Debian, for another version.
    """

    name = "Docker Swarm"

    def __init__(self, root: Path | None = None) -> None:
        program = shutil.which(DOCKERD) if root is None else DOCKERD
        if program is None:
            raise SystemExit("dockerd is not installed: script/bootstrap bench installs Debian's docker.io")
        if root is not None and not (root / "usr" / "sbin" / DOCKERD).exists():
            raise SystemExit(f"there is no dockerd in {root}")
        self.folder = Path(tempfile.mkdtemp(prefix="shoal-peer-"))
        self.namespace = f"shoal-peer-{os.getpid()}"
        self.cgroup = f"shoal-peer-{os.getpid()}"
        run("ip", "netns", "add", self.namespace)
        for command in (
            ("link", "set", "lo", "up"),
            ("link", "add", "eth0", "type", "veth", "peer", "name", "wire"),
            ("address", "add", "10.99.0.1/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "wire", "up"),
        ):
            run("ip", "-n", self.namespace, *command)
        (self.folder / "daemon.json").write_text("{}")
        socket = self.folder / "s"
        inner = [HERE, "sh"] if root is None else [IN_ROOT, "sh", str(root), str(self.folder)]
        self.log = self.folder / "log"
        began = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{self.namespace}", "--"),
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
                    *("sh", "-c", *inner, program, "-H", f"unix://{socket}"),
                    *(f"--config-file={self.folder}/daemon.json", f"--data-root={self.folder}/data"),
                    *("--exec-root=/run/docker", f"--pidfile={self.folder}/pid"),
                    *("--storage-driver=overlay2", "--exec-opt=native.cgroupdriver=cgroupfs"),
                    f"--cgroup-parent=/{self.cgroup}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "HOME": str(self.folder), "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE": "1"},
            )

        try:
            self.start_seconds = _first_answer(socket, self.process, self.log) - began
            self.client = Client(socket)
            self._pid_namespace = os.stat(f"/proc/{self._children(self.process.pid)[0]}/ns/pid").st_ino
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _children(pid: int) -> list[int]:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def pids(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if os.stat(entry / "ns" / "pid").st_ino == self._pid_namespace:
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def host_pid(self, pid: int) -> int:
        """Find the process by its id in dockerd's PID namespace."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                status = (entry / "status").read_text()
            except OSError:
                continue
            match = re.search(r"^NSpid:\s+(.*)$", status, re.MULTILINE)
            numbers = match[1].split() if match else []
            if len(numbers) == 3 and numbers[1] == str(pid):
                return int(entry.name)
        raise LookupError(f"no process {pid} inside dockerd's namespace")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()  # --kill-child ends the namespace, and so every process in it
            self.process.wait()
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((mount for mount in mounts if mount.startswith(str(self.folder))), reverse=True):
            run("umount", "-l", mount, check=False)
        run("ip", "netns", "delete", self.namespace, check=False)
        for depth in ("*", "*/*"):
            for root in Path("/sys/fs/cgroup").glob(depth):
                if root.name == self.cgroup:
                    for folder, _, _ in os.walk(root, topdown=False):
                        eventually(functools.partial(_remove_cgroup, folder), f"{folder} is free")
        shutil.rmtree(self.folder, ignore_errors=True)


def _first_answer(socket: Path, process: subprocess.Popen[bytes], log: Path) -> float:
    """Return the time, by `time.monotonic`, at which a daemon that was just started has answered."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"the daemon ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        client = Client(socket)
        try:
            client.call("GET", "/_ping")
            return time.monotonic()
        except (OSError, HTTPException):
            time.sleep(0.001)  # it does not listen yet
        finally:
            client.close()
    raise SystemExit(f"the daemon does not answer within {PATIENCE:.0f} s:\n{log.read_text()[-2000:]}")


def _remove_cgroup(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
