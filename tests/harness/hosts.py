"""A host: a network namespace of its own (or this machine's), two roots in a folder of its own, a `shoald`.

Everything that a host makes has the host's name in it or is in a place of the host's own, so `Host.close` finds it
again after any crash: the processes in its namespace, the mounts below its folder, its cgroups, its bridge and packet
rules.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from tests.harness.api import Client

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
CGROUPS = Path("/sys/fs/cgroup")
ADDRESS = "10.99.0.1"
# Seconds until a test gives up waiting for a condition. For a slow machine, such as an emulated one, set it higher; all
# other times of tests grow with it.
ORDINARY_PATIENCE = 30.0
PATIENCE = float(os.environ.get("SHOAL_PATIENCE", ORDINARY_PATIENCE))


def patient(seconds: float) -> float:
    """Return how many seconds to wait on this machine for what takes this long on an ordinary one."""
    return seconds * PATIENCE / ORDINARY_PATIENCE


def eventually(
    look: Callable[[], T | Literal[False] | None],
    what: str,
    patience: float = ORDINARY_PATIENCE,
    every: float = 0.02,
    show: Callable[[], str] | None = None,
) -> T:
    """Return what `look` returns, once that is true. Raises AssertionError with the last result after `patience`
    seconds.

    `patience` is for an ordinary machine.
    """
    patience = patient(patience)
    end = time.monotonic() + patience
    while True:
        began = time.monotonic()
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(
                f"not within {patience} s: {what}; last seen: {seen!r}" + (f"\n{show()}" if show else "")
            )
        # Who looks by running programs leaves at least as much time to what is waited for.
        time.sleep(max(every, time.monotonic() - began))


def run(*command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. If it fails, its output is in the error."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def docker_program() -> str:
    """Return the path of this machine's `docker` command, or $DOCKER."""
    return os.environ.get("DOCKER") or shutil.which("docker") or "docker"


def make_namespace(name: str, address: str) -> None:
    """Make a network namespace with one network card, `eth0`. The other end of its wire is called `wire`."""
    run("ip", "netns", "add", name)
    # A veth pair is the host's network card. It has the address that the node advertises.
    for command in (
        ("link", "set", "lo", "up"),
        ("link", "add", "eth0", "type", "veth", "peer", "name", "wire"),
        ("address", "add", f"{address}/24", "dev", "eth0"),
        ("link", "set", "eth0", "up"),
        ("link", "set", "wire", "up"),
    ):
        run("ip", "-n", name, *command)


def _without(programs: Sequence[str]) -> list[str]:
    """Return the beginning of a command line that runs the rest where these programs cannot be executed."""
    if not programs:
        return []
    paths = [path for path in map(shutil.which, programs) if path]
    script = "".join(f"mount --bind /dev/null {path} && " for path in paths) + 'exec "$@"'
    return ["unshare", "--mount", "--propagation=slave", "sh", "-c", script, "sh"]


def _named(hostname: str) -> list[str]:
    """Return the beginning of a command line that runs the rest on a host of this name."""
    return ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', hostname] if hostname else []


class Host:
    """One host. `address` is empty where it shares this machine's network."""

    def __init__(
        self, name: str, *, namespace: bool = True, folder: Path | None = None, address: str = ADDRESS
    ) -> None:
        self._settle(name, Path(tempfile.mkdtemp(prefix=f"shoal-{name}-", dir=folder)))
        self.namespace = f"shoal-{name}-{os.getpid()}" if namespace else ""
        self.address = address if namespace else ""
        if namespace:
            try:
                self._make_namespace()
            except BaseException:
                self.close()
                raise

    @classmethod
    def of_the_dead(cls, name: str, folder: Path) -> Self:
        """Return the host whose folder a killed process left, so that it can be closed. It has no namespace."""
        found = cls.__new__(cls)
        found._settle(name, folder)
        return found

    def _settle(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.data_root = self.folder / "data"
        self.exec_root = self.folder / "exec"
        self.socket = self.folder / "s"
        self.log_file = self.folder / "shoald.log"
        self.namespace = ""
        self.address = ""
        self._tag = ""  # kept, because it is needed after the folder is gone
        self.hostname = ""  # this machine's own, unless one is given
        self.environment: dict[str, str] = {}  # the daemon's, in addition to this process's
        self.program = "shoal.daemon.main"  # the module to run
        self.process: subprocess.Popen[bytes] | None = None

    def _make_namespace(self) -> None:
        make_namespace(self.namespace, self.address)

    def inside(self, *command: str) -> list[str]:
        """Return the command line that runs `command` in this host's network."""
        # Not `ip netns exec`, because it mounts a new /sys, which hides the cgroups.
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--", *command] if self.namespace else list(command)

    def start(self, *flags: str, wait: bool = True, lacking: Sequence[str] = ()) -> None:
        """Start `shoald` and wait until its API answers. `lacking`: host programs that it must not find."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.inside(
                    *_named(self.hostname),
                    *_without(lacking),
                    sys.executable,
                    "-m",
                    self.program,
                    f"--host=unix://{self.socket}",
                    f"--data-root={self.data_root}",
                    f"--exec-root={self.exec_root}",
                    f"--pidfile={self.folder}/shoald.pid",
                    f"--config-file={self._config_file()}",
                    *flags,
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
                start_new_session=True,
            )
        if wait:
            eventually(self.answers, f"{self.name}: shoald answers", show=self.log)

    def _config_file(self) -> Path:
        path = self.folder / "daemon.json"
        if not path.exists():
            path.write_text("{}")
        return path

    def answers(self) -> bool:
        """Return whether the API answers. Raises AssertionError with the daemon's log if the daemon has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"{self.name}: shoald ended with {self.process.returncode}\n{self.log()}")
        client = Client(self.socket)
        try:
            return bool(client.call("GET", "/_ping") == b"OK")
        except (OSError, HTTPException):
            return False  # not yet
        finally:
            client.close()

    @property
    def pid(self) -> int:
        """The daemon's process id. nsenter becomes the command that it runs, so this is the child's id."""
        assert self.process is not None
        return self.process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send the daemon a signal and wait until it has ended. Returns its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"{self.name}: shoald did not end on {how.name}\n{self.log()}") from None

    def pause(self) -> None:
        """Stop all processes of the host, containers too, as a hypervisor that freezes the host."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused host go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in {*self.processes(), *self._cgroup_processes()}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def go_down(self) -> None:
        """Leave the host as after a loss of power: without processes, mounts, links and cgroups, and with an empty
        exec-root.
        """
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self._end_processes()
        for mount in sorted(self._mounts(), reverse=True):
            run("umount", "-l", mount, check=False)
        self._remove_cgroups(self.tag())
        if self.namespace:
            run(*self.inside("nft", "flush", "ruleset"), check=False)
            for link in ("shoal", "vxi", "s64p", "s64m"):
                run("ip", "-n", self.namespace, "link", "delete", f"{link}{self.tag()}", check=False)
        shutil.rmtree(self.exec_root)

    def docker(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run Docker's own CLI against this host."""
        return run(docker_program(), "-H", f"unix://{self.socket}", *arguments, check=check, **options)

    def curl(self, path: str, *arguments: str) -> str:
        """Call the API with curl. Returns the body of the answer."""
        return run("curl", "-sS", "--unix-socket", str(self.socket), *arguments, f"http://d{path}").stdout

    def log(self) -> str:
        """Return the end of the daemon's log."""
        return self.log_file.read_text(errors="replace")[-20_000:] if self.log_file.exists() else ""

    def tag(self) -> str:
        """Return the tag in the names of this host's bridge, cgroups and tables. Empty before its first start."""
        path = self.data_root / "engine-id"
        if path.exists():
            self._tag = path.read_text().strip().replace("-", "")[:8]
        return self._tag

    def leftovers(self) -> list[str]:
        """Return what the host has left outside its folder: mounts, cgroups, processes, links."""
        found = [f"mount {mount}" for mount in self._mounts()]
        found += [f"process {pid}" for pid in self.processes()]
        tag = self.tag()
        if tag:
            found += [f"cgroup {path}" for path in self._cgroups(tag)]
            links = run(*self.inside("ip", "-o", "link")).stdout
            found += [f"link {line}" for line in links.splitlines() if tag in line]
            tables = run(*self.inside("nft", "list", "tables"), check=False).stdout
            found += [f"nft {line}" for line in tables.splitlines() if tag in line]
        return found

    def _mounts(self) -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line.split()[4] for line in lines if line.split()[4].startswith(str(self.folder))]

    def _cgroups(self, tag: str) -> list[Path]:
        return [path for depth in ("*", "*/*") for path in CGROUPS.glob(depth) if path.name == f"shoal-{tag}"]

    def processes(self) -> list[int]:
        """Return the processes that were started for this host: those with its folder in their command line."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if str(self.folder).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        """End everything of this host and remove what it made. May be called after any failure, and twice."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        eventually(self._kill_all, f"{self.name}: its processes are gone")
        for mount in sorted(self._mounts(), reverse=True):
            run("umount", "-l", mount, check=False)
        tag = self.tag()
        if tag:
            for root in self._cgroups(tag):
                for folder, _, _ in os.walk(root, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(folder)
            if not self.namespace:
                for line in run("nft", "list", "tables", check=False).stdout.splitlines():
                    if f"shoal_{tag}" in line:  # `table ip6 shoal_…`: they are of several families
                        run("nft", "delete", *line.split(), check=False)
                for link in ("shoal", "vxi"):
                    run("ip", "link", "delete", f"{link}{tag}", check=False)
        if self.namespace:
            run("ip", "netns", "delete", self.namespace, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill_all(self) -> bool:
        # In a loop, because a process may start another one before it is killed.
        pids = self._cgroup_processes() + self.processes()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    def _end_processes(self) -> None:
        for pid in self._cgroup_processes() + self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not self.processes(), f"{self.name}: its processes are gone")

    def _remove_cgroups(self, tag: str) -> None:
        for root in self._cgroups(tag):
            for folder, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)

    def _cgroup_processes(self) -> list[int]:
        tag = self.tag()
        pids: set[int] = set()
        for root in self._cgroups(tag) if tag else []:
            for folder, _, _ in os.walk(root):  # it goes on when a folder disappears
                with contextlib.suppress(OSError):
                    pids.update(int(line) for line in Path(folder, "cgroup.procs").read_text().split())
        return sorted(pids)


@contextlib.contextmanager
def host(name: str, *flags: str, namespace: bool = True, start: bool = True) -> Iterator[Host]:
    """A host with a running daemon, and nothing of it afterwards."""
    made = Host(name, namespace=namespace)
    try:
        if start:
            made.start(*flags)
        yield made
    except AssertionError as error:
        error.add_note(f"--- log of {name}\n{made.log()}")
        raise
    finally:
        made.close()
