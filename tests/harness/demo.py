"""`script/demo`: a swarm of one from nothing to nothing, told step by step, timed, and taken down whole.

It talks to the Engine API by itself, so it works where the `docker` command is not installed.
"""

import argparse
import contextlib
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tests.harness import images
from tests.harness.api import Client, service_spec
from tests.harness.hosts import Host, eventually

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
        yield
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
        lambda: (found := running(client, service)) and len(found) == count and found,
        f"{count} tasks run",
        show=host.log,
    )


def ask(client: Client, task: dict[str, Any]) -> str:
    """Ask the web service in a task's container, over the bridge."""
    container = client.get(f"/containers/{task['Status']['ContainerStatus']['ContainerID']}/json")
    address = container["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    with urllib.request.urlopen(f"http://{address}/cgi-bin/hello", timeout=10) as answer:
        text: str = answer.read().decode().strip()
    return text


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


def interrupt(number: int, _: FrameType | None) -> None:
    """Turn a signal into the exception that unwinds everything."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    """Play the demo, and leave nothing of it, however it ends."""
    parser = argparse.ArgumentParser(prog="script/demo", description=main.__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the swarm up, and say how to go on with it")
    keep = parser.parse_args().keep
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    story = Story()
    host = Host("demo", namespace=False)
    close: Callable[[], None] = host.close
    try:
        tell(host, story, keep)
        print(f"\n{story.table()}\n")
        if keep:
            close = _leave_up(host)
        else:
            left = host.leftovers()
            if left:
                print("left behind:", *left, sep="\n  ", file=sys.stderr)
                return 1
            print("Nothing is left behind.")
    except KeyboardInterrupt:
        print("\ninterrupted: taking everything down", file=sys.stderr)
        return 130
    except AssertionError as error:
        print(f"\n{error}\n--- shoald's log\n{host.log()}", file=sys.stderr)
        return 1
    finally:
        close()
    return 0


def _leave_up(host: Host) -> Callable[[], None]:
    assert host.process is not None
    print(
        f"The swarm is up. Go on with:\n"
        f"  docker -H unix://{host.socket} service ls\n"
        f"Take it down with:\n"
        f"  docker -H unix://{host.socket} swarm leave --force; kill {host.process.pid}; rm -r {host.folder}"
    )
    return lambda: None


if __name__ == "__main__":
    sys.exit(main())
