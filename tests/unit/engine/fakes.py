"""A backend of small working fakes: lists in memory, and a node that is or is not in a swarm."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, BinaryIO

from aiohttp.test_utils import TestClient, TestServer

from shoal.api.gen import placement_pb2 as pb
from shoal.api.gen.views_pb2 import ViewsReply
from shoal.engine.app import MODULES, make_app
from shoal.engine.backend import Backend, DaemonFacts
from shoal.engine.host_facts import HostFacts
from shoal.errors import NotFound, Unavailable
from shoal.host.events import EventBus
from shoal.manager.control import Control, SoleManager
from shoal.manager.scheduler.scheduler import Scheduler
from shoal.network.wanted import Wanted
from shoal.node.types import InitRequest, JoinRequest, LocalState, RestoreRequest, RestoreResult, SwarmInfo
from shoal.store import backup as backup_file
from shoal.store.backup_file import OBJECT, About, Encoder, Record, Summary
from tests.unit.manager.stores import MemoryStore

NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)

HOST = HostFacts(
    kernel_version="6.1.0",
    operating_system="Debian GNU/Linux 12 (bookworm)",
    os_version="12",
    machine="x86_64",
    architecture="amd64",
    cpus=2,
    memory_bytes=4 << 30,
    cgroup_version="2",
    seccomp=True,
)

FACTS = DaemonFacts(id="daemon-id", name="host-1", version="0.1.0", data_root="/var/lib/shoal", labels=("zone=a",))


Rows = list[Any]


@dataclass
class FakeTable:
    """A list of containers, images, volumes or networks that a test gives."""

    rows: list[Any] = field(default_factory=list)

    def list(self) -> Rows:
        return self.rows

    def networks(self) -> Rows:
        return self.rows

    def get(self, ref: str) -> Any:
        for row in self.rows:
            if ref in (getattr(row, "id", None), getattr(row, "name", None)):
                return row
        raise NotFound(f"No such object: {ref}")


@dataclass
class FakeOverlays:
    """Overlays that this host is on: what its network process would show, by id."""

    shown: dict[str, Any] = field(default_factory=dict)
    wanted: Wanted = field(default_factory=lambda: Wanted(0))
    layers: dict[str, Any] = field(default_factory=dict)  # by network
    counted: dict[str, Any] | None = None

    async def show(self, network: str) -> dict[str, Any]:
        if network not in self.shown:
            raise NotFound(f"network {network} is not on this node")
        found: dict[str, Any] = self.shown[network]
        return found

    async def view(self, network: str) -> dict[str, Any]:
        if network not in self.layers:
            return {"Told": None, "Layers": None, "Reason": f"network {network} is not on this node"}
        return {"Told": self.shown[network], "Layers": self.layers[network], "Reason": ""}

    async def counts(self) -> dict[str, Any]:
        if self.counted is None:
            raise Unavailable("the network process of this node is being started")
        return self.counted


@dataclass
class FakeNode:
    """A node without a manager, or with a manager whose Control, log broker and watch are given."""

    swarm: SwarmInfo = field(default_factory=SwarmInfo)
    manager: Any = None
    log_broker: Any = None
    store_watch: Any = None
    store_view: Any = None
    asked: list[Any] = field(default_factory=list)
    saved: bytes = b"x" * 1000  # the contents of a backup
    is_prepared: bool = False  # whether `prepare` was called
    told: list[Any] = field(default_factory=list)  # networks
    explained: Any = None  # from a task's id to its explanation
    views: ViewsReply = field(default_factory=ViewsReply)  # of other nodes

    def info(self) -> SwarmInfo:
        return self.swarm

    async def prepare(self) -> None:
        self.is_prepared = True

    async def wait_manager(self) -> None:
        while self.store_watch is None:  # noqa: ASYNC110 - tests set it
            await asyncio.sleep(0.01)

    def _needs_manager(self, part: Any) -> Any:
        if part is None:
            raise Unavailable(NO_SWARM)
        return part

    def view(self) -> Any:
        return self._needs_manager(self.store_view)()

    def control(self) -> Any:
        return self._needs_manager(self.manager)

    def logs(self) -> Any:
        return self._needs_manager(self.log_broker)

    def watch(self, *kinds: type) -> Any:
        return self._needs_manager(self.store_watch)(*kinds)

    def networks(self) -> list[Any]:
        return self.told

    async def join(self, request: JoinRequest) -> None:
        self.asked.append(request)

    async def unlock(self, key: str) -> None:
        self.asked.append(key)

    async def init(self, request: InitRequest) -> str:
        self.asked.append(request)
        self.swarm = SwarmInfo(LocalState.ACTIVE, node_id="node-1", control_available=True)
        return "node-1"

    async def leave(self, force: bool) -> None:
        self.asked.append(force)
        self.swarm = SwarmInfo()

    async def unlock_key(self) -> str:
        self._needs_manager(self.manager)
        return ""

    async def explain_task(self, task_id: str) -> pb.Explanation:
        found: pb.Explanation = self._needs_manager(self.explained)(task_id)
        return found

    async def network_views(self, network_ids: Sequence[str]) -> ViewsReply:
        self._needs_manager(self.manager)
        self.asked.append(list(network_ids))
        return self.views

    async def backup(self, file: BinaryIO) -> Summary:
        self._needs_manager(self.manager)
        encoder = Encoder()
        file.write(encoder.begin() + encoder.records([Record(OBJECT, b"objects/services/s", self.saved)]))
        last, summary = encoder.end(About(7, 1_700_000_000.0, cluster_id="c1", node_id="m1", hostname="host-1"))
        file.write(last)
        return summary

    async def restore(self, request: RestoreRequest, file: BinaryIO) -> RestoreResult:
        if self.swarm.local_state != LocalState.INACTIVE:
            raise Unavailable("This node is already part of a swarm.")
        self.asked.append(request)
        found = await backup_file.read(file)
        self.swarm = SwarmInfo(LocalState.ACTIVE, node_id="m1", control_available=True)
        return RestoreResult(found.summary, "m1", is_locked=found.summary.about.is_locked)


def manager_node(*objects: Any, log_broker: Any = None) -> tuple[FakeNode, MemoryStore]:
    """Return a node whose manager is the real Control over a store in memory that holds these objects."""
    ids = itertools.count(1)
    store = MemoryStore(objects)
    control = Control(
        store,  # type: ignore[arg-type]
        SoleManager("m1", "10.0.0.1:2377"),
        lambda: 1_700_000_000.0,
        new_id=lambda: f"id{next(ids)}",
    )
    info = SwarmInfo(LocalState.ACTIVE, node_id="m1", node_addr="10.0.0.1", control_available=True)

    def explained(task_id: str) -> pb.Explanation:
        return Scheduler(Random(1)).explain(store.view(), task_id, 1_700_000_000.0)

    return FakeNode(info, control, log_broker, store.watch, store.view, explained=explained), store


def backend(**parts: Any) -> Backend:
    """Return a backend, with empty fakes for all parts that are not given."""
    return Backend(
        containers=parts.get("containers", FakeTable()),
        execs=parts.get("execs", FakeTable()),
        images=parts.get("images", FakeTable()),
        volumes=parts.get("volumes", FakeTable()),
        network=parts.get("network", FakeTable()),
        overlays=parts.get("overlays", FakeOverlays()),
        configurations=parts.get("configurations", FakeTable()),
        events=parts.get("events", EventBus()),
        node=parts.get("node", FakeNode()),
        facts=parts.get("facts", FACTS),
        host=HOST,
    )


def client(given: Backend | None = None, modules: Any = MODULES) -> TestClient[Any, Any]:
    """Return a client of an Engine API on loopback: `async with client() as api`."""
    app = make_app(given or backend(), modules)
    return TestClient(TestServer(app, handler_cancellation=True))
