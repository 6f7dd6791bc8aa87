"""Several hosts on one network. Their network cards are connected to a bridge, and each of them can be cut off and
reconnected.

The bridge has a namespace of its own, so nothing of it is left when the namespace is removed.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import Host, run

SUBNET = "10.99.0"
LIVE: list["Network"] = []
"""The networks that are up: a test that fails shows the logs of their hosts."""


class Wired(Protocol):
    """A host that can be connected: a network namespace in which one end of a wire, named `wire`, is not connected
    yet.
    """

    name: str
    namespace: str


class Network:
    """A bridge in a namespace, and the hosts on it. A context manager; leaving it removes everything.

    `folder` has the hosts' folders.
    """

    def __init__(self, name: str = "net", *, folder: Path | None = None) -> None:
        self.namespace = f"shoal-{name}-{os.getpid()}"
        self.hosts: list[Host] = []
        self.engines: list[DockerEngine] = []
        self._folder = folder
        self._wires: dict[str, str] = {}

    def __enter__(self) -> Self:
        LIVE.append(self)
        self.make()
        return self

    def make(self) -> None:
        """Make the bridge. A caller that does not use the context manager must also remove everything."""
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "add", "bridge", "type", "bridge", "forward_delay", "0")
        run("ip", "-n", self.namespace, "link", "set", "bridge", "up")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        LIVE.remove(self)
        if isinstance(error, AssertionError):
            for name, log in self.logs():
                error.add_note(f"--- log of {name}\n{log}")
        for host in self.hosts:
            host.resume()
            host.close()
        for engine in self.engines:
            engine.close()
        run("ip", "netns", "delete", self.namespace, check=False)

    def logs(self) -> list[tuple[str, str]]:
        """Return the end of each host's log."""
        wired: list[Host | DockerEngine] = [*self.hosts, *self.engines]
        return [(host.name, host.log()) for host in wired]

    def address(self) -> str:
        """Return the next free address."""
        return f"{SUBNET}.{len(self._wires) + 1}"

    def add(self, name: str, *flags: str, start: bool = True) -> Host:
        """Return a new host on this network, with a running daemon."""
        host = Host(name, address=self.address(), folder=self._folder)
        host.hostname = name
        self.hosts.append(host)
        self.connect(host)
        if start:
            host.start(*flags)
        return host

    def add_docker(self, name: str, *, start: bool = True) -> DockerEngine:
        """Return a new host on this network, with a running dockerd."""
        engine = DockerEngine(name, address=self.address())
        self.engines.append(engine)
        self.connect(engine)
        if start:
            engine.start()
        return engine

    def connect(self, host: Wired) -> None:
        """Connect the free end of a host's wire to the bridge."""
        wire = self._wires[host.namespace] = f"wire{len(self._wires) + 1}"
        run("ip", "-n", host.namespace, "link", "set", "wire", "netns", self.namespace, "name", wire)
        self._ip("master", "bridge", wire=wire)
        self._ip("up", wire=wire)

    def cut(self, host: Wired) -> None:
        """Drop every packet to and from a host from now on. Its own card stays up."""
        self._ip("nomaster", wire=self._wires[host.namespace])

    def heal(self, host: Wired) -> None:
        """Undo `cut`."""
        self._ip("master", "bridge", wire=self._wires[host.namespace])

    def _ip(self, *change: str, wire: str) -> None:
        run("ip", "-n", self.namespace, "link", "set", wire, *change)


@contextlib.contextmanager
def network(name: str = "net") -> Iterator[Network]:
    """Yield a network without hosts, and leave nothing of it afterwards."""
    with Network(name) as made:
        yield made
