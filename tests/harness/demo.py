"""`script/demo`: a swarm of one from nothing to nothing, told step by step, timed, and taken down whole.

It talks to the Engine API by itself, so it works where the `docker` command is not installed. A demo that lives holds a
lock on a file in its folder, one that left its swarm up has a mark there: a folder with neither was left by a demo that
was killed, and the next one clears it away.
"""

import argparse
import contextlib
import fcntl
import http.client
import os
import signal
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

from tests.harness import images
from tests.harness.api import ApiError, Client, service_spec
from tests.harness.hosts import Host, eventually

NAME = "demo"
LOCK = "demo.lock"
KEPT = "kept"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
IMAGE = "shoal-demo:latest"
WEB = ["httpd", "-f", "-p", "80", "-h", "/www"]


class Story:
    """The steps as they happen, and the table of them at the end."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Say what happens now, and how long it took."""
        print(f"\033[1m==>\033[0m {what} ...", end="", flush=True)
        begun = time.monotonic()
        try:
            yield
        except BaseException:
            print(flush=True)  # what went wrong begins on a line of its own
            raise
        took = time.monotonic() - begun
        self.steps.append((what, took))
        print(f" {took:.2f} s", flush=True)

    def table(self) -> str:
        """Return what took how long."""
        width = max(len(what) for what, _ in self.steps)
        lines = [f"  {what:<{width}}  {took:8.2f} s" for what, took in self.steps]
        return "\n".join([f"  {'STEP':<{width}}  {'TOOK':>10}", *lines])


def running(client: Client, service: str) -> list[dict[str, Any]]:
    """Return the tasks of a service that run."""
    return [task for task in client.tasks(service) if task["Status"]["State"] == "running"]


def wait_running(client: Client, service: str, count: int, host: Host) -> list[dict[str, Any]]:
    """Wait until so many tasks run."""
    return eventually(
        lambda: found if len(found := running(client, service)) == count else [],
        f"{count} tasks run",
        show=host.log,
    )


def ask(client: Client, task: dict[str, Any]) -> str:
    """Ask the web service in a task's container, over the bridge."""
    container = client.get(f"/containers/{task['Status']['ContainerStatus']['ContainerID']}/json")
    address = container["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    connection = http.client.HTTPConnection(address, timeout=10)  # which knows no proxy, whatever the environment says
    try:
        connection.request("GET", "/cgi-bin/hello")
        return connection.getresponse().read().decode().strip()
    finally:
        connection.close()


def free_port() -> int:
    """Return a port that nobody listens on: this machine may be in a swarm of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def tell(host: Host, story: Story, keep: bool) -> None:
    """Play the demo on a host."""
    with story.step("start shoald"):
        host.start()
    client = Client(host.socket)
    with story.step("make a swarm of one"):
        client.call(
            "POST",
            "/swarm/init",
            {"ListenAddr": f"127.0.0.1:{free_port()}", "AdvertiseAddr": "127.0.0.1", "DataPathAddr": "127.0.0.1"},
        )
    with story.step("build a small image from busybox"):
        client.import_image(images.busybox_rootfs(), "shoal-demo")
    with story.step("deploy a web service, 3 replicas"):
        service = client.call("POST", "/services/create", service_spec("web", IMAGE, WEB, 3))["ID"]
        wait_running(client, "web", 3, host)
    with story.step("scale it to 20"):
        now = client.get(f"/services/{service}")
        now["Spec"]["Mode"]["Replicated"]["Replicas"] = 20
        client.call("POST", f"/services/{service}/update?version={now['Version']['Index']}", now["Spec"])
        tasks = wait_running(client, "web", 20, host)
    with story.step("kill a container, see it come back"):
        killed = tasks[0]["Status"]["ContainerStatus"]["ContainerID"]
        client.call("POST", f"/containers/{killed}/kill")
        eventually(
            lambda: (
                len(found := running(client, "web")) == 20
                and killed not in {task["Status"]["ContainerStatus"]["ContainerID"] for task in found}
            ),
            "20 tasks run again, the killed container not among them",
            show=host.log,
        )
    with story.step("ask the web service over HTTP"):
        answer = eventually(lambda: _answer(client), "the web service answers")
    print(f"    it says: {answer}")
    if keep:
        return
    with story.step("remove the service"):
        client.call("DELETE", f"/services/{service}")
        eventually(lambda: not client.get("/containers/json?all=1"), "its containers are gone", show=host.log)
    with story.step("leave the swarm, stop shoald"):
        client.call("POST", "/swarm/leave?force=1")
        client.close()
        host.stop()


def _answer(client: Client) -> str:
    try:
        return ask(client, running(client, "web")[0])
    except OSError:
        return ""  # httpd is up a moment after its process is


class Signals:
    """The first signal unwinds everything by an exception; later ones are not heard, so that cleaning up goes on."""

    def __enter__(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._interrupt)

    def __exit__(self, *_: object) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        self.__exit__()
        raise KeyboardInterrupt(signal.Signals(number).name)


def make_host() -> tuple[Host, IO[str]]:
    """Return a host of this demo's own and the lock that says that the demo lives."""
    host = Host(NAME, namespace=False)
    lock = (host.folder / LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    lock.write(FORWARDING.read_text())
    lock.flush()
    return host, lock


def abandoned(*, kept: bool) -> Iterator[Host]:
    """Find the hosts of demos that were killed; with `kept` also of those that left their swarm up on purpose."""
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"shoal-{NAME}-*")):
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            continue  # anybody may make a folder of that name
        if (folder / KEPT).exists() and not kept:
            continue
        try:
            with (folder / LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its demo lives, or has only just begun
        yield Host.of_the_dead(NAME, folder)


def take_down(host: Host) -> list[str]:
    """Remove everything of a host, and what it changed on this machine; what is left of it all the same."""
    lock = host.folder / LOCK
    before = lock.read_text() if lock.exists() else ""
    host.close()
    # The bridge needed forwarding; it is turned off again unless a bridge of somebody else may rely on it.
    if before.strip() == "0" and not list(Path("/sys/class/net").glob("*/bridge")):
        FORWARDING.write_text(before)
    return what_stays(host)


def what_stays(host: Host) -> list[str]:
    """Return what is left of a host once the kernel has had a moment to clear away what has ended."""
    end = time.monotonic() + 5.0
    while (left := host.leftovers()) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def play(keep: bool) -> int:
    """Play the demo once, and leave nothing of it, however it ends; its exit code."""
    story = Story()
    for dead in abandoned(kept=False):
        with story.step(f"clear away {dead.folder}, which a killed demo left"):
            take_down(dead)
    # Between the folder and the `try` no signal may be heard. No child is started there, which would inherit that.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    host, lock = make_host()
    code, left = 1, []
    try:
        with Signals():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            code = perform(host, story, keep)
            left = [] if keep else what_stays(host)
    except KeyboardInterrupt as error:
        print(f"{error}: taking everything down", file=sys.stderr)
        keep, code = False, 130
    finally:
        if not keep or code:
            left += take_down(host)
        lock.close()
    if left:
        print("left behind:", *left, sep="\n  ", file=sys.stderr)
        return code or 1
    if not keep:
        print("Nothing is left behind.")
    return code


def perform(host: Host, story: Story, keep: bool) -> int:
    """Tell the story, say what went wrong, or what took how long and how to go on."""
    try:
        tell(host, story, keep)
    except (AssertionError, ApiError, OSError, http.client.HTTPException) as error:
        print(f"{error}\n--- the end of shoald's log\n{host.log()}", file=sys.stderr)
        return 1
    if keep:
        (host.folder / KEPT).touch()
    print(f"\n{story.table()}\n")
    if keep:
        print(
            f"The swarm is up. Go on with:\n"
            f"  docker -H unix://{host.socket} service ls\n"
            f"Take it down with:\n"
            f"  script/demo --down"
        )
    return 0


def down() -> int:
    """Take down every swarm that a demo left up, or that a killed one left."""
    left = []
    for host in abandoned(kept=True):
        print(f"taking down {host.folder}", flush=True)
        left += take_down(host)
    if left:
        print("left behind:", *left, sep="\n  ", file=sys.stderr)
    return 1 if left else 0


def main() -> int:
    """Play the demo, or take down what an earlier one left up."""
    parser = argparse.ArgumentParser(prog="script/demo", description="A swarm of one, from nothing to nothing.")
    add = parser.add_mutually_exclusive_group().add_argument
    add("--keep", action="store_true", help="leave the swarm up, and say how to go on with it")
    add("--down", action="store_true", help="take down what --keep left up")
    given = parser.parse_args()
    return down() if given.down else play(given.keep)


if __name__ == "__main__":
    sys.exit(main())
