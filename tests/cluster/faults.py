"""Shared by the tests of faults: a swarm that is observed from outside the daemon, and functions that kill parts of it.

Running containers are counted by cgroups and command lines, not by the daemon's answers. Every wait is for a condition.
"""

import contextlib
import json
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.harness import images
from tests.harness.api import ApiError, Client, service_spec
from tests.harness.hosts import CGROUPS, Host, eventually, host, run

IMAGE = "bb:latest"
SLEEP = ["sleep", "1000000"]
refusals: deque[str] = deque(maxlen=50)
"""What `try_to` was refused, for whoever asks why a test failed."""


def import_image(on: Host, name: str = IMAGE) -> None:
    """Give a host the busybox image."""
    client = Client(on.socket)
    try:
        repository, _, tag = name.partition(":")
        client.import_image(images.busybox_rootfs(), repository, tag)
        client.call("GET", f"/images/{name}/json")  # an error is in the stream, although the status is 200
    finally:
        client.close()


def call(on: Host, method: str, path: str, body: Any = None, **filters: list[str]) -> Any:
    """Make one call over a connection of its own."""
    client = Client(on.socket)
    try:
        return client.get(path, **filters) if filters else client.call(method, path, body)
    finally:
        client.close()


def init(on: Host) -> None:
    """Make a swarm of one with the image."""
    call(on, "POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377"})
    import_image(on)


def leave(on: Host) -> None:
    """Leave the swarm, and return when that is done."""
    call(on, "POST", "/swarm/leave?force=1")


def create(on: Host, name: str, replicas: int = 1, command: list[str] | None = None, **more: Any) -> str:
    """Create a service whose containers are killed at once when they are stopped. Returns its id."""
    container = {"StopSignal": "SIGKILL", **more.pop("container", {})}
    spec = service_spec(name, IMAGE, command or SLEEP, replicas, container=container, **more)
    made: str = call(on, "POST", "/services/create", spec)["ID"]
    return made


def change(on: Host, name: str, edit: Callable[[dict[str, Any]], None]) -> None:
    """Read, edit and write a service's spec."""
    now = call(on, "GET", f"/services/{name}")
    edit(now["Spec"])
    call(on, "POST", f"/services/{now['ID']}/update?version={now['Version']['Index']}", now["Spec"])


def scale(on: Host, name: str, replicas: int) -> None:
    """Scale a service."""

    def edit(spec: dict[str, Any]) -> None:
        spec["Mode"]["Replicated"]["Replicas"] = replicas

    change(on, name, edit)


def remove(on: Host, name: str) -> None:
    """Remove a service."""
    call(on, "DELETE", f"/services/{name}")


def remove_all(on: Host) -> None:
    """Remove every service. A manager that has just lost its store refuses at first."""

    def gone() -> bool:
        services = call(on, "GET", "/services")
        for service in services:
            remove(on, service["ID"])
        return not services

    eventually(lambda: _or(gone, False), "every service is removed", show=on.log)


def try_to(work: Callable[[], Any]) -> bool:
    """Return whether a call worked. Refusals and lost connections count as no."""
    try:
        work()
    except (ApiError, OSError, HTTPException) as error:
        refusals.append(str(error))
        return False
    return True


def containers(on: Host, service: str = "") -> list[dict[str, Any]]:
    """Return the containers that run according to the API."""
    filters = {"label": [f"com.docker.swarm.service.name={service}"]} if service else {}
    found: list[dict[str, Any]] = call(on, "GET", "/containers/json", **filters)
    return found


def tasks(on: Host, service: str, *states: str) -> list[dict[str, Any]]:
    """Return a service's tasks in these states."""
    found = call(on, "GET", "/tasks", service=[service])
    return [task for task in found if not states or task["Status"]["State"] in states]


# The cgroup of the conmons, which are no containers. It exists as long as the daemon.
CONMONS = "conmon"


def live_cgroups(on: Host) -> set[str]:
    """Return the ids of containers that have a process, by the kernel's cgroups."""
    found = set()
    for root in CGROUPS.glob("*"):
        for folder in (root / f"shoal-{on.tag()}").glob("*"):
            with contextlib.suppress(OSError):
                if folder.name != CONMONS and (folder / "cgroup.procs").read_text().strip():
                    found.add(folder.name)
    return found


def pids_of(on: Host, container: str) -> list[int]:
    """Return the processes of a container, by the kernel's cgroups."""
    for root in CGROUPS.glob("*"):
        with contextlib.suppress(OSError):
            text = (root / f"shoal-{on.tag()}" / container / "cgroup.procs").read_text()
            if text.strip():
                return [int(line) for line in text.split()]
    return []


def programs(on: Host, name: str) -> list[int]:
    """Return the processes of this host that run a program (or a Python script) of this name."""
    found, folder = [], str(on.folder).encode()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            data = Path(f"/proc/{entry.name}/cmdline").read_bytes()
            words = [word.rpartition(b"/")[2] for word in data.split(b"\0")[:6]]
            if folder in data and (words[0] == name.encode() or (name.endswith(".py") and name.encode() in words)):
                found.append(int(entry.name))
    return found


def kill(pids: list[int]) -> int:
    """Send SIGKILL to these processes. Returns how many existed."""
    done = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            done += 1
    return done


class Sniper:
    """Kills programs as they appear, in a thread of its own, until the context ends or enough were killed."""

    def __init__(self, on: Host, name: str, at_most: int) -> None:
        self._on, self._name, self._left = on, name, at_most
        self.killed = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set() and self._left > 0:
            done = kill(programs(self._on, self._name)[: self._left])
            self.killed += done
            self._left -= done

    def __enter__(self) -> "Sniper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def settled(on: Host, wanted: dict[str, int], patience: float = 60.0) -> None:
    """Wait until exactly this many containers of each service run, by the API, by the tasks and by the kernel."""

    def look() -> bool:
        running = {name: {one["Id"] for one in containers(on, name)} for name in wanted}
        by_tasks = {
            name: {task["Status"]["ContainerStatus"]["ContainerID"] for task in tasks(on, name, "running")}
            for name in wanted
        }
        alive = live_cgroups(on)
        seen.update(running=running, tasks=by_tasks, alive=alive)
        everything = set().union(*running.values()) if running else set()
        return (
            {name: len(ids) for name, ids in running.items()} == wanted and by_tasks == running and alive == everything
        )

    seen: dict[str, Any] = {}

    def careful() -> bool:
        try:
            return look()
        except (ApiError, OSError, HTTPException) as error:
            seen["error"] = error
            return False

    def show() -> str:
        counts = {key: {n: len(v) for n, v in found.items()} if isinstance(found, dict) else found
                  for key, found in seen.items()}  # fmt: skip
        states = {name: [(t["ID"], t["Status"]["State"], t["DesiredState"], t["Status"].get("Err"))
                         for t in _or(partial(tasks, on, name), [])] for name in wanted}  # fmt: skip
        return f"wanted {wanted}\nseen {counts}\n{json.dumps(states, indent=1)}\n{on.log()}"

    eventually(careful, f"{wanted} run", patience=patience, every=0.05, show=show)


def _or(work: Callable[[], Any], other: Any) -> Any:
    try:
        return work()
    except (ApiError, OSError, HTTPException):
        return other


def remains(on: Host) -> list[str]:
    """Return what is left in the host's folder, once there are no services."""
    found = []
    for folder in (on.exec_root / "containers", on.exec_root / "netns", on.exec_root / "runtime",
                   on.data_root / "containers", on.data_root / "images/staging"):  # fmt: skip
        found += [f"{folder}/{name}" for name in _names(folder) if not name.startswith(".")]
    for folder in (on.data_root / "images", on.data_root / "volumes"):
        found += [f"{folder}/{name}" for name in _names(folder) if name.startswith(".")]
    for path, _, names in os.walk(on.data_root):  # it goes on when a folder disappears
        found += [f"{path}/{name}" for name in names if name.startswith(".") and name.endswith(".tmp")]
    links = run(*on.inside("ip", "-o", "link")).stdout
    # With `master` it is a port of the bridge.
    found += [line for line in links.splitlines() if f"master shoal{on.tag()}" in line]
    found += [f"cgroup {one}" for root in CGROUPS.glob("*") for one in (root / f"shoal-{on.tag()}").glob("*")
              if one.is_dir() and one.name != CONMONS]  # fmt: skip
    found += [f"process {pid}" for name in ("conmon", "crun", "runc", "skopeo", "unpack_child.py")
              for pid in programs(on, name)]  # fmt: skip
    return found


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def nothing_remains(on: Host, patience: float = 40.0) -> None:
    """Wait until nothing of any container is left: folders, mounts, links, cgroups, processes."""
    eventually(lambda: not remains(on), "nothing is left", patience, 0.05, show=lambda: f"{remains(on)}\n{on.log()}")


def ensure_running(on: Host) -> None:
    """Start the daemon if it has ended, and wait until its manager answers."""
    if on.process is None or on.process.poll() is not None:
        on.start()
    eventually(lambda: try_to(lambda: call(on, "GET", "/nodes")), "the manager answers", show=on.log)


def end(on: Host) -> None:
    """Remove every service, check that nothing is left, leave, stop, and check that nothing at all is left."""
    remove_all(on)
    eventually(lambda: not call(on, "GET", "/containers/json?all=1"), "no containers", patience=60.0, show=on.log)
    nothing_remains(on)
    leave(on)
    assert not (on.data_root / "swarm").exists()
    assert on.stop() == 0
    left = on.leftovers()
    assert not left, f"{left}\n{on.log()}"
    assert "Traceback" not in on.log_file.read_text(), on.log_file.read_text()[-20000:]


@contextlib.contextmanager
def swarm(name: str, *flags: str) -> Iterator[Host]:
    """Yield a swarm of one with the image, and remove it in any case."""
    with host(name, *flags) as made:
        init(made)
        yield made
