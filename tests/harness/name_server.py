"""The name server as a program of its own, for tests and benchmarks, in a host's network namespace.

It reads a JSON file (`Setup`), then a JSON line for each changed endpoint record, and answers each with a line. It
prints a first line when it serves, and ends when its stdin ends.
"""

import asyncio
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvloop

from shoal.network.directory import Directory
from shoal.network.names.answers import asker
from shoal.network.names.limits import Limits
from shoal.network.names.outside import HostServers
from shoal.network.names.redirect import redirect
from shoal.network.names.server import NameServer
from shoal.network.names.sockets import Opener
from shoal.network.records import ENDPOINTS, Changed, EndpointRecord
from shoal.network.wanted import Endpoint, Overlay, Sandbox


@dataclass
class Setup:
    """What is served. `overlays`: name -> whether it is internal. `sandboxes`: container -> its network namespace and
    networks.
    """

    resolv_conf: str
    overlays: dict[str, bool]
    sandboxes: dict[str, tuple[str, list[str]]]
    records: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # network, fields of an EndpointRecord
    servers: list[str] = field(default_factory=list)
    limits: dict[str, Any] = field(default_factory=dict)
    ndots: list[str] = field(default_factory=list)  # containers whose resolv.conf has `ndots` of somebody's choice


def record(fields: dict[str, Any]) -> EndpointRecord:
    """Return a record made from JSON values."""
    made: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    for key in ("address", "vip"):
        if made.get(key):
            made[key] = ip_address(made[key])
    return EndpointRecord(**made)


class NameServerProgram:
    """A running name server, as a context manager."""

    def __init__(self, namespace: str, setup: Setup, folder: Path) -> None:
        self._namespace = namespace
        self._setup = setup
        self._file = folder / "names.json"
        self.log_file = folder / "names.log"

    def __enter__(self) -> Self:
        self._file.write_text(json.dumps(asdict(self._setup)))
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{self._namespace}", "--"),
                    *(sys.executable, "-m", "tests.harness.name_server", str(self._file)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
                cwd=Path(__file__).parents[2],
            )
        assert self._line() == "ready", self.log_file.read_text()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        ended = self.process.wait(60)
        assert ended == 0 or error, self.log_file.read_text()

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def change(self, network: str, key: str, fields: dict[str, Any] | None) -> None:
        """Change an endpoint record. The change is in effect when this returns."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([network, key, fields]) + "\n")
        assert self._line() == "ok"

    def counts(self) -> dict[str, int]:
        """Return what the server has counted."""
        assert self.process.stdin
        self.process.stdin.write("null\n")
        found: dict[str, int] = json.loads(self._line())
        return found


async def _serve(setup: Setup) -> None:
    directory = Directory()
    overlays = [Overlay(name, name, (), internal=internal) for name, internal in setup.overlays.items()]
    directory.set_overlays(overlays)
    directory.apply(
        Changed(ENDPOINTS, network, str(at), "node", None, record(fields).encode())
        for at, (network, fields) in enumerate(setup.records)
    )
    opener = Opener()
    async with asyncio.TaskGroup() as group:
        server = NameServer(directory, group, HostServers(Path(setup.resolv_conf)), limits=Limits(**setup.limits))
        for container, (netns, networks) in setup.sandboxes.items():
            endpoints = tuple(Endpoint(one, one, "10.0.0.1/24", "", "eth0") for one in networks)
            chosen = container in setup.ndots
            sandbox = Sandbox(container, container, netns, endpoints, tuple(setup.servers), ndots_set=chosen)
            listening = await opener.open(Path(netns))
            text = redirect(*listening.ports).encode()
            await asyncio.to_thread(
                subprocess.run, ["nsenter", f"--net={netns}", "nft", "-f", "-"], input=text, check=True
            )
            server.serve(asker(sandbox, overlays), listening)
        print("ready", flush=True)
        await _obey(server, directory)
        for container in server.served():
            server.stop(container)
    opener.close()


async def _obey(server: NameServer, directory: Directory) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        change = json.loads(line)
        if change is None:
            print(json.dumps(asdict(server.counts)), flush=True)
            continue
        network, key, fields = change
        value = record(fields).encode() if fields else None
        directory.apply([Changed(ENDPOINTS, network, key, "node", None, value)])
        print("ok", flush=True)


if __name__ == "__main__":
    uvloop.run(_serve(Setup(**json.loads(Path(sys.argv[1]).read_text()))))
