"""`script/demo`: makes a swarm, uses it, and removes it again. It prints each step and its time.

This is the demo of one host; `demo_many` has that of several hosts. It calls the Engine API itself, so it works without
the `docker` command.
"""

import argparse
import http.client
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Protocol

from tests.harness import images
from tests.harness.api import ApiError, Client, service_spec
from tests.harness.demo_many import ManyDemo, Nodes
from tests.harness.demo_stage import KEPT, NAME, SIGNALS, OneHost, Remains, Signals, Story, abandoned
from tests.harness.hosts import Host, eventually

IMAGE = "shoal-demo:latest"
WEB = ["httpd", "-f", "-p", "80", "-h", "/www"]


def running(client: Client, service: str) -> list[dict[str, Any]]:
    """Return the running tasks of a service."""
    return [task for task in client.tasks(service) if task["Status"]["State"] == "running"]


def wait_running(client: Client, service: str, count: int, host: Host) -> list[dict[str, Any]]:
    """Wait until this many tasks run."""
    return eventually(
        lambda: found if len(found := running(client, service)) == count else [],
        f"{count} tasks run",
        show=host.log,
    )


def ask(client: Client, task: dict[str, Any]) -> str:
    """Ask the web service in a task's container, over the bridge."""
    container = client.get(f"/containers/{task['Status']['ContainerStatus']['ContainerID']}/json")
    address = container["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    connection = http.client.HTTPConnection(address, timeout=10)  # uses no proxy, whatever the environment says
    try:
        connection.request("GET", "/cgi-bin/hello")
        return connection.getresponse().read().decode().strip()
    finally:
        connection.close()


def kill_one(client: Client) -> str:
    """Kill a container of the web service; return its id, or nothing where all have just been replaced.

    A machine that stands still for a while takes itself for down, and replaces its tasks.
    """
    try:
        killed: str = running(client, "web")[0]["Status"]["ContainerStatus"]["ContainerID"]
        client.call("POST", f"/containers/{killed}/kill")
    except (ApiError, IndexError) as error:
        if isinstance(error, ApiError) and error.status not in (404, 409):
            raise
        return ""
    return killed


def free_port() -> int:
    """Return a port on which nobody listens. This machine may be in a swarm itself."""
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
        wait_running(client, "web", 20, host)
    with story.step("kill a container, see it come back"):
        killed = eventually(lambda: kill_one(client), "a container was killed", show=host.log)
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
        return ""  # httpd serves a moment after its process has started


class Demo(Protocol):
    """A demo that can be played."""

    @property
    def remains(self) -> Remains:
        """Return what the demo has made."""

    def tell(self, story: Story, keep: bool) -> None:
        """Play it."""

    def go_on(self) -> str:
        """Return how to use what was kept."""


class OneDemo:
    """The demo of one host."""

    def __init__(self) -> None:
        self.host = Host(NAME, namespace=False)
        self.remains = OneHost(self.host)

    def tell(self, story: Story, keep: bool) -> None:
        """Play it."""
        tell(self.host, story, keep)

    def go_on(self) -> str:
        """Return how to use what was kept."""
        return f"The swarm is up. Go on with:\n  docker -H unix://{self.host.socket} service ls"


def play(make: Callable[[], Demo], keep: bool) -> int:
    """Play a demo once, and leave nothing of it, however it ends. Returns its exit code."""
    story = Story()
    for dead in abandoned(kept=False):
        with story.step(f"clear away {dead.folder}, which a killed demo left"):
            dead.end()
    # Signals are blocked between making the folder and the `try`. No child is started there, because it would inherit
    # that.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    demo = make()
    remains = demo.remains
    lock = remains.lock()
    code, left = 1, []
    try:
        with Signals():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            code = perform(demo, story, keep)
            left = [] if keep or code else remains.what_stays()
    except KeyboardInterrupt as error:
        print(f"{error}: taking everything down", file=sys.stderr)
        keep, code = False, 130
    finally:
        if not keep or code:
            left += remains.end()
        lock.close()
    if left:
        print("left behind:", *left, sep="\n  ", file=sys.stderr)
        return code or 1
    if not keep:
        print("Nothing is left behind.")
    return code


def perform(demo: Demo, story: Story, keep: bool) -> int:
    """Play the demo. Say what went wrong, or how long each step took and how to go on."""
    try:
        demo.tell(story, keep)
    except (AssertionError, ApiError, OSError, http.client.HTTPException) as error:
        print(f"{error}\n{demo.remains.log()}", file=sys.stderr)
        return 1
    if keep:
        (demo.remains.folder / KEPT).touch()
    print(f"\n{story.table()}\n")
    if keep:
        print(f"{demo.go_on()}\nTake it down with:\n  script/demo --down")
    return 0


def down() -> int:
    """Take down every swarm that a demo left up on purpose, or left because it was killed."""
    left = []
    for remains in abandoned(kept=True):
        print(f"taking down {remains.folder}", flush=True)
        left += remains.end()
    if left:
        print("left behind:", *left, sep="\n  ", file=sys.stderr)
    return 1 if left else 0


def main() -> int:
    """Play the demo, or take down what an earlier one left up."""
    parser = argparse.ArgumentParser(prog="script/demo", description="A swarm, from nothing to nothing.")
    parser.add_argument(
        "--nodes",
        type=Nodes.parse,
        metavar="MANAGERS+WORKERS",
        help="a swarm of several hosts, each a network namespace of this machine, whose leader is killed on stage: 3+2",
    )
    add = parser.add_mutually_exclusive_group().add_argument
    add("--keep", action="store_true", help="leave the swarm up, and say how to go on with it")
    add("--down", action="store_true", help="take down what --keep left up")
    given = parser.parse_args()
    if given.down:
        return down()
    return play(OneDemo if given.nodes is None else lambda: ManyDemo(given.nodes), given.keep)


if __name__ == "__main__":
    sys.exit(main())
