"""Hosts that have only the network part: network namespaces on one wire. A container is just a namespace.

This process sends and receives for the containers, by sockets that were opened in their namespaces.
"""

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from shoal.host import linux
from shoal.network import rtnetlink
from shoal.network.kernel.overlays import Overlays
from shoal.network.kernel.watched import Watched
from shoal.network.namespaces import Namespaces
from tests.harness.hosts import run

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000


class OverlayHost:
    """One host: `shoal-n<number>-<pid>` with eth0 10.98.0.<number>, and a thread that is in it."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.name = f"shoal-n{number}-{os.getpid()}"
        self.address = IPv4Address("10.98.0.0") + number
        self.tag = f"n{number}"
        self.folder = folder / self.name
        self.folder.mkdir()
        (self.folder / "sandboxes").mkdir()
        self._thread = ThreadPoolExecutor(1)
        self.do(self._enter)
        self.namespaces = self.do(Namespaces)
        self.nftables = self.do(lambda: Watched(self.namespaces))
        self.overlays = self.do(self.new_overlays)

    def _enter(self) -> None:
        with open(f"/run/netns/{self.name}", "rb") as netns:
            linux.setns(netns.fileno(), _CLONE_NEWNET)

    def new_overlays(self) -> Overlays:
        """Return the overlays of a process that has just started. Called through `do`."""
        return Overlays(self.folder / "overlays", self.tag, self.namespaces)

    def start_again(self) -> None:
        """Start again as after kill -9: nothing is remembered, and the kernel is unchanged."""
        self.do(self.overlays.close)
        self.overlays = self.do(self.new_overlays)

    def do(self, work: Callable[[], T]) -> T:
        """Call something on the thread that is in this host's namespace."""
        return self._thread.submit(work).result()

    def sandbox(self, name: str) -> Path:
        """Make a container's namespace."""
        path = self.folder / "sandboxes" / name

        def make() -> None:
            with self.namespaces.create(path) as inside:
                inside.run(rtnetlink.set_up(1))

        self.do(make)
        return path

    def end(self, path: Path) -> None:
        """Remove a container's namespace."""
        self.do(lambda: self.namespaces.remove(path))

    def inside(self, path: Path | None, work: Callable[[], T]) -> T:
        """Call something in a container's namespace, or in the host's own."""
        if path is None:
            return self.do(work)

        def there() -> T:
            with path.open("rb") as netns, self.namespaces.inside(netns.fileno()):
                return work()

        return self.do(there)

    def ip(self, path: Path, *words: str) -> str:
        """Run `ip`, or another program, in a namespace."""
        return run("nsenter", f"--net={path}", *words).stdout

    def words(self, path: Path, command: str) -> str:
        """Run a command, given as words without quotes, in a namespace."""
        return self.ip(path, *command.split())

    def place(self, overlay: str) -> Path:
        """Return the path of an overlay's namespace."""
        return self.folder / "overlays" / overlay

    def close(self) -> None:
        """Remove all of it."""

        def undo() -> None:
            self.overlays.apply([])
            self.overlays.close()
            self.nftables.close()
            for path in (self.folder / "sandboxes").iterdir():
                self.namespaces.remove(path)
            self.namespaces.close()

        try:
            self.do(undo)
        finally:
            self._thread.shutdown()


@contextlib.contextmanager
def overlay_hosts(count: int, folder: Path, mtu: int = 1500) -> Iterator[list[OverlayHost]]:
    """Yield hosts on a wire of their own."""
    switch = f"shoal-sw-{os.getpid()}"
    names = [f"shoal-n{number}-{os.getpid()}" for number in range(1, count + 1)]
    hosts: list[OverlayHost] = []
    try:
        run("ip", "netns", "add", switch)
        run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "br0", "up")
        for number, name in enumerate(names, 1):
            run("ip", "netns", "add", name)
            card = ("link", "add", "eth0", "mtu", str(mtu), "type", "veth", "peer", f"p{number}", "netns", switch)
            run("ip", "-n", name, *card)
            run("ip", "-n", switch, "link", "set", f"p{number}", "mtu", str(mtu), "master", "br0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "address", "add", f"10.98.0.{number}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            hosts.append(OverlayHost(number, folder))
        yield hosts
    finally:
        for host in hosts:
            host.close()
        for name in (*names, switch):
            run("ip", "netns", "del", name, check=False)


class Servers:
    """TCP and UDP servers in any number of namespaces. Each says its name, and then repeats what it receives."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve)
        self.asked: list[tuple[str, str]] = []  # which server was asked, by which address
        self._ending = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ending = True
        self._wake.send(b"!")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._wake.close()
        self._selector.close()

    def add(
        self, host: OverlayHost, path: Path | None, name: str, port: int = 80, family: int = socket.AF_INET
    ) -> None:
        """Serve in a namespace."""

        def listen() -> list[socket.socket]:
            tcp = socket.create_server(("", port), family=family, backlog=512)
            udp = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:  # as create_server does
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            udp.bind(("", port))
            return [tcp, udp]

        for one in host.inside(path, listen):
            one.setblocking(False)
            self._selector.register(one, selectors.EVENT_READ, name)
        self._wake.send(b"!")

    def drop(self, name: str) -> None:
        """Close all sockets of a name, as when a task is killed."""
        with self._lock:
            for key in list(self._selector.get_map().values()):
                if key.data == name and isinstance(key.fileobj, socket.socket):
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()

    def _serve(self) -> None:
        while not self._ending:
            ready = self._selector.select()
            with self._lock:
                for key, _ in ready:
                    if isinstance(key.fileobj, socket.socket) and key.fileobj.fileno() >= 0:
                        self._answer(key.fileobj, key.data)

    def _answer(self, one: socket.socket, name: str | None) -> None:
        if name is None:
            one.recv(64)
        elif one.type == socket.SOCK_DGRAM:
            data, address = one.recvfrom(65536)
            self.asked.append((name, address[0]))
            one.sendto(name.encode() + b" " + data, address)
        elif one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            connection, address = one.accept()
            connection.setblocking(False)
            self.asked.append((name, address[0]))
            connection.send(name.encode())
            self._selector.register(connection, selectors.EVENT_READ, name)
        else:
            try:
                data = one.recv(65536)
            except ConnectionError:
                data = b""
            if data:
                one.setblocking(True)
                one.sendall(data)
                one.setblocking(False)
            else:
                self._selector.unregister(one)
                one.close()


def open_tcp(host: OverlayHost, path: Path | None, family: int = socket.AF_INET, timeout: float = 5.0) -> socket.socket:
    """Return a socket in a namespace. It is not connected yet."""
    one = host.inside(path, lambda: socket.socket(family, socket.SOCK_STREAM))
    one.settimeout(timeout)
    return one


def ask(host: OverlayHost, path: Path | None, address: str, port: int = 80, timeout: float = 5.0) -> str:
    """Return the name of the server that answers a TCP connection. Raises OSError if none does."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with open_tcp(host, path, family, timeout) as one:
        one.connect((address, port))
        return one.recv(64).decode()


def ask_udp(host: OverlayHost, path: Path | None, address: str, port: int = 80, timeout: float = 5.0) -> str:
    """Return the name of the server that answers a datagram. Raises OSError if none does."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.inside(path, lambda: socket.socket(family, socket.SOCK_DGRAM)) as one:
        one.settimeout(timeout)
        one.connect((address, port))
        one.send(b"?")
        return one.recv(64).decode().split()[0]


_LOAD = """
import collections, json, select, socket, struct, sys
answers, errors = collections.Counter(), []
print("up", flush=True)
told = False
while not told:  # once at least, however short the time is
    with socket.socket() as one:
        one.settimeout(5)
        # Closed by a reset, or the ports would run out.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            one.connect((sys.argv[1], int(sys.argv[2])))
            answers[one.recv(64).decode()] += 1
        except OSError as error:
            errors.append(str(error))
    told = bool(select.select([sys.stdin], [], [], 0)[0])
print(json.dumps([answers, errors]))
"""


class Load:
    """Opens one connection after the other from a namespace, in a process of its own, while the context is entered."""

    def __init__(self, path: Path, address: str, port: int = 80) -> None:
        self._command = ["nsenter", f"--net={path}", sys.executable, "-c", _LOAD, address, str(port)]
        self.answers: Counter[str] = Counter()
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "up\n"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        output, _ = self._process.communicate(timeout=30)
        answers, self.errors = json.loads(output)
        self.answers = Counter(answers)
