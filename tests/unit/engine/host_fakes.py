"""Working fakes of a host: containers that change, processes that echo, images and volumes in memory."""

import asyncio
import contextlib
import dataclasses
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from shoal.engine.app import make_app, make_runner
from shoal.engine.backend import Backend
from shoal.errors import Conflict, InvalidArgument, NotFound, ShoalError
from shoal.runtime.image_types import DistributionInspect, Progress, PruneReport, Removed
from shoal.runtime.types import (
    Container,
    ContainerConfig,
    Exec,
    ExecConfig,
    Health,
    Image,
    LogLine,
    LogOptions,
    Phase,
    Stats,
    Volume,
)
from tests.unit.engine.fakes import backend

IMAGE_ID = "sha256:" + "a" * 64

Rows = list[Any]


def container(name: str = "web.1", phase: Phase = Phase.RUNNING, **more: Any) -> Container:
    """Return a container. Fields of its config may be given by name, too."""
    in_config = {field.name for field in dataclasses.fields(ContainerConfig)} - {"name", "env", "mounts"}
    if isinstance(more.get("health"), Health):
        in_config.remove("health")  # the results of the probes, not the probes
    config = {key: more.pop(key) for key in list(more) if key in in_config}
    config = {"image": "busybox:latest", **config}
    values: dict[str, Any] = {
        "id": more.pop("id", name.encode().hex().ljust(64, "0")),
        "image_id": IMAGE_ID,
        "created_at": 1000.0,
        "started_at": 0.0 if phase is Phase.CREATED else 1001.0,
        "path": "sleep",
        "args": ("1000",),
        **more,
    }
    if phase is Phase.RUNNING:
        values.setdefault("pid", 42)
    return Container(config=ContainerConfig(name=name, **config), phase=phase, **values)


def image(*tags: str, id: str = IMAGE_ID, created_at: float = 500.0, **more: Any) -> Image:  # noqa: A002
    """Return an image with these tags. `labels` and `config` make its configuration."""
    inner = {"Labels": more.pop("labels", None), **more.pop("inner", {})}
    config = {"config": inner, "architecture": "amd64", "os": "linux", **more.pop("config", {})}
    values: dict[str, Any] = {"layers": ("sha256:" + "b" * 64,), "size_bytes": 1000, "repo_digests": (), **more}
    return Image(id=id, config=config, repo_tags=tags, created_at=created_at, **values)


READING = Stats(
    read_at=2000.0,
    cpu_total_nanos=50,
    cpu_user_nanos=30,
    cpu_system_nanos=20,
    host_cpu_nanos=1000,
    online_cpus=2,
    memory_usage_bytes=4096,
    memory_limit_bytes=1 << 20,
    memory_stats={"inactive_file": 5},
    pids=3,
    pids_limit=0,
    networks={"eth0": {"rx_bytes": 1, "tx_bytes": 2}},
    block_io=((8, 0, "Read", 10),),
)


class FakeProcess:
    """A process's stdio. As `cat` it echoes; otherwise a test sets what it prints. `end` ends it."""

    def __init__(self, *, cat: bool = False) -> None:
        self.cat = cat
        self.received = bytearray()
        self.stdin_closed = asyncio.Event()
        self.closed = asyncio.Event()
        self.taking = asyncio.Event()  # cleared: it does not read its input
        self.taking.set()
        self._said: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()

    def say(self, data: bytes, stream: str = "stdout") -> None:
        self._said.put_nowait((stream, data))

    def end(self) -> None:
        self._said.put_nowait(None)

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        while (item := await self._said.get()) is not None:
            yield item

    async def write(self, data: bytes) -> None:
        await self.taking.wait()
        self.received += data
        if self.cat:
            self.say(data)

    async def close_stdin(self) -> None:
        self.stdin_closed.set()
        if self.cat:
            self.end()

    async def close(self) -> None:
        await asyncio.sleep(0)  # so that a pending cancellation would show
        self.closed.set()


class FakeContainers:
    """Containers that tests change with `change` and `drop`."""

    def __init__(self, *rows: Container) -> None:
        self.rows = {row.id: row for row in rows}
        self.asked: list[Any] = []
        self.lines: list[LogLine] = []
        self.log_ends = asyncio.Event()
        self.log_ends.set()
        self.log_closed = asyncio.Event()
        self.log_fails: ShoalError | None = None
        self.attached: list[FakeProcess] = []
        self.dies_of: frozenset[str] = frozenset({"KILL", "SIGKILL", "9"})
        self._changed = asyncio.Condition()
        self._told: list[Container | str] = []

    def list(self) -> Rows:
        return list(self.rows.values())

    def get(self, ref: str) -> Container:
        name = ref.removeprefix("/")
        found = [row for row in self.rows.values() if ref == row.id or row.config.name == name]
        found = found or [row for row in self.rows.values() if ref and row.id.startswith(ref)]
        if len(found) > 1:
            raise InvalidArgument(f"multiple IDs found with provided prefix: {ref}")
        if not found:
            raise NotFound(f"No such container: {ref}")
        return found[0]

    async def change(self, ref: str, **changes: Any) -> None:
        row = dataclasses.replace(self.get(ref), **changes)
        self.rows[row.id] = row
        async with self._changed:
            self._told.append(row)
            self._changed.notify_all()

    async def drop(self, ref: str) -> None:
        row = self.get(ref)
        del self.rows[row.id]
        async with self._changed:
            self._told.append(row.id)
            self._changed.notify_all()

    async def changes(self, ref: str) -> AsyncIterator[Container]:
        present = self.get(ref)
        at = len(self._told)
        yield present
        while True:
            async with self._changed:
                while at >= len(self._told):
                    await self._changed.wait()
                told = self._told[at]
            at += 1
            if told == present.id:
                return
            if isinstance(told, Container) and told.id == present.id:
                yield told

    async def wait(self, ref: str) -> Container:
        async for row in self.changes(ref):
            present = row
            if row.phase is not Phase.RUNNING:
                break
        return present

    async def kill(self, ref: str, signal: str = "KILL") -> None:
        row = self.get(ref)
        if signal == "NOPE":
            raise InvalidArgument(f"invalid signal: {signal}")
        if row.phase is not Phase.RUNNING:
            raise Conflict(f"cannot kill container: {ref}: container {row.id} is not running")
        self.asked.append(("kill", row.config.name, signal))
        if signal in self.dies_of:
            await self.change(row.id, phase=Phase.EXITED, pid=0, exit_code=137, finished_at=1002.0)

    async def stop(self, ref: str, timeout: float | None = None) -> None:
        self.asked.append(("stop", self.get(ref).config.name, timeout))

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        row = self.get(ref)
        if row.phase is Phase.RUNNING and not force:
            raise Conflict(f'cannot remove container "/{row.config.name}": container is running: stop it')
        self.asked.append(("remove", row.config.name, force, volumes))
        await self.drop(row.id)

    def logs(self, ref: str, options: LogOptions) -> AsyncIterator[LogLine]:
        self.get(ref)
        self.asked.append(options)
        return self._logs(options)

    async def _logs(self, options: LogOptions) -> AsyncIterator[LogLine]:
        try:
            for line in self.lines:
                if options.stdout if line.stream == "stdout" else options.stderr:
                    yield line
            if options.follow:
                await self.log_ends.wait()
            if self.log_fails:
                raise self.log_fails
        finally:
            self.log_closed.set()

    async def stats(self, ref: str) -> Stats:
        self.get(ref)
        return READING

    async def top(self, ref: str, ps_args: str) -> tuple[Rows, Rows]:
        self.asked.append(ps_args)
        self.get(ref)
        return ["UID", "PID", "CMD"], [["root", "42", "sleep 1000"]]

    async def attach(self, ref: str) -> FakeProcess:
        row = self.get(ref)
        if row.phase is not Phase.RUNNING:
            raise Conflict(f"container {row.id} is not running")
        process = FakeProcess(cat=row.config.open_stdin)
        self.attached.append(process)
        return process

    async def resize(self, ref: str, height: int, width: int) -> None:
        self.asked.append(("resize", self.get(ref).config.name, height, width))


class FakeExecs:
    """Execs whose processes tests drive: the next one started is `process`."""

    def __init__(self, containers: FakeContainers, process: FakeProcess | None = None) -> None:
        self.containers = containers
        self.process = process or FakeProcess(cat=True)
        self.rows: dict[str, Exec] = {}
        self.started: list[Any] = []
        self.fails: ShoalError | None = None

    def create(self, ref: str, config: ExecConfig) -> str:
        row = self.containers.get(ref)
        if row.phase is not Phase.RUNNING:
            raise Conflict(f"container {row.id} is not running")
        id_ = f"{len(self.rows):064x}"
        self.rows[id_] = Exec(id_, row.id, config)
        return id_

    def get(self, id: str) -> Exec:  # noqa: A002
        if id not in self.rows:
            raise NotFound(f"No such exec instance: {id}")
        return self.rows[id]

    def ids_of(self, container_id: str) -> Rows:
        return [one.id for one in self.rows.values() if one.container_id == container_id]

    async def start(self, id: str, *, detach: bool = False, size: tuple[int, int] | None = None) -> FakeProcess:  # noqa: A002
        self.get(id)
        if self.fails:
            raise self.fails
        self.started.append((id, detach, size))
        self.rows[id] = dataclasses.replace(self.rows[id], running=True, pid=7)
        return self.process

    async def resize(self, id: str, height: int, width: int) -> None:  # noqa: A002
        self.get(id)
        self.started.append(("resize", height, width))


class FakeImages:
    """Images by tag and id. Pulls and loads report what a test gives them."""

    def __init__(self, *rows: Image) -> None:
        self.rows = list(rows)
        self.asked: list[Any] = []
        self.progress: list[Progress] = []
        self.fails: ShoalError | None = None
        self.pause: asyncio.Event | None = None
        self.cancelled = asyncio.Event()
        self.body = b""

    def list(self) -> Rows:
        return self.rows

    def get(self, ref: str) -> Image:
        for row in self.rows:
            if ref in (row.id, row.id[7:19], *row.repo_tags, *row.repo_digests):
                return row
            if f"{ref}:latest" in row.repo_tags:
                return row
        raise NotFound(f"No such image: {ref}")

    async def _work(self, progress: Callable[[Progress], None] | None) -> None:
        for line in self.progress:
            if progress:
                progress(line)
        try:
            if self.pause:
                await self.pause.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.fails:
            raise self.fails

    async def pull(self, ref: str, auth: Any, progress: Any = None) -> Image:
        self.asked.append(("pull", ref, auth))
        await self._work(progress)
        return self.rows[0]

    async def login(self, auth: Any) -> None:
        self.asked.append(("login", auth))
        await self._work(None)

    async def load(self, stream: AsyncIterator[bytes], progress: Any = None) -> Rows:
        async for data in stream:
            self.body += data
        await self._work(progress)
        return []

    async def import_(self, stream: AsyncIterator[bytes], repo: str, tag: str, changes: Rows, message: str) -> Image:
        async for data in stream:
            self.body += data
        self.asked.append(("import", repo, tag, changes, message))
        await self._work(None)
        return self.rows[0]

    async def tag(self, ref: str, repo: str, tag: str) -> None:
        self.asked.append(("tag", self.get(ref).id, repo, tag))

    async def remove(self, ref: str, force: bool, prune: bool) -> Rows:
        row = self.get(ref)
        self.asked.append(("remove", ref, force, prune))
        return [Removed(untagged=ref), Removed(deleted=row.id)]

    async def prune(self, dangling_only: bool, wanted: Callable[[Image], bool]) -> PruneReport:
        gone = [row for row in self.rows if not (dangling_only and row.repo_tags) and wanted(row)]
        return PruneReport(tuple(Removed(deleted=row.id) for row in gone), sum(row.size_bytes for row in gone))

    async def distribution(self, ref: str, auth: Any) -> DistributionInspect:
        self.asked.append(("distribution", ref, auth))
        return DistributionInspect("sha256:" + "d" * 64, "application/vnd.oci.image.manifest.v1+json", 7, ())


class FakeVolumes:
    """Volumes in memory."""

    def __init__(self, *rows: Volume) -> None:
        self.rows = {row.name: row for row in rows}
        self.held: set[str] = set()

    def list(self) -> Rows:
        return list(self.rows.values())

    def get(self, name: str) -> Volume:
        if name not in self.rows:
            raise NotFound(f"get {name}: no such volume")
        return self.rows[name]

    async def create(self, name: str, driver: str, options: Any, labels: Any) -> Volume:
        if driver != "local":
            raise NotFound(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')
        name = name or "f" * 64
        return self.rows.setdefault(name, Volume(name, f"/volumes/{name}/_data", 1000.5, labels, options))

    async def remove(self, name: str, force: bool) -> None:
        self.get(name)
        if name in self.held:
            raise Conflict(f"remove {name}: volume is in use - [x]")
        del self.rows[name]


def host(*containers: Container, rows: FakeContainers | None = None, **parts: Any) -> Backend:
    """Return a backend with these containers, or those in `rows`, and the image from which they are made."""
    rows = rows or FakeContainers(*containers)
    parts.setdefault("images", FakeImages(image("busybox:latest")))
    parts.setdefault("volumes", FakeVolumes())
    parts.setdefault("execs", FakeExecs(rows))
    return backend(containers=rows, **parts)


class Wire:
    """A client on a raw socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, method: str, path: str, body: bytes = b"", *headers: str) -> None:
        head = [f"{method} {path} HTTP/1.1", "Host: docker", f"Content-Length: {len(body)}", *headers]
        if body:
            head.append("Content-Type: application/json")
        self.writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def frames(self) -> list[tuple[int, bytes]]:
        """Return all frames until the end."""
        found = []
        while header := await self.reader.read(1):
            header += await self.reader.readexactly(7)
            found.append((header[0], await self.reader.readexactly(int.from_bytes(header[4:], "big"))))
        return found

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


UPGRADE = ("Connection: Upgrade", "Upgrade: tcp")


class Served:
    """A served Engine API. Call it for a connection."""

    def __init__(self, runner: web.AppRunner, connect: Callable[[], Any]) -> None:
        self._runner = runner
        self._connect = connect
        self._wires: list[Wire] = []

    async def __call__(self) -> Wire:
        wire = Wire(*await self._connect())
        self._wires.append(wire)
        return wire

    async def stop(self) -> None:
        """Stop serving while clients are still connected."""
        await self._runner.cleanup()

    async def close(self) -> None:
        """Disconnect the clients, then stop."""
        for wire in self._wires:
            await wire.close()
        await self.stop()


@contextlib.asynccontextmanager
async def served(given: Backend, folder: Path) -> AsyncIterator[Served]:
    """Yield an Engine API on a unix socket, as the daemon serves it."""
    runner = make_runner(make_app(given))
    await runner.setup()
    path = str(folder / "api.sock")
    await web.UnixSite(runner, path).start()
    api = Served(runner, lambda: asyncio.open_unix_connection(path))
    try:
        yield api
    finally:
        await api.close()


@contextlib.asynccontextmanager
async def served_with_tls(given: Backend, context: ssl.SSLContext) -> AsyncIterator[Served]:
    """Yield the same over TLS, on loopback. The connections are plain TCP, and the client brings its own TLS."""
    runner = make_runner(make_app(given))
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener, ssl_context=context).start()
    port = listener.getsockname()[1]
    api = Served(runner, lambda: asyncio.open_connection("127.0.0.1", port))
    try:
        yield api
    finally:
        await api.close()
