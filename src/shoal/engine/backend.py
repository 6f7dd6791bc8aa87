"""What handlers of the Engine API use, and nothing more: one dataclass, handed to each call.

The protocols name the methods that handlers call on the parts below (`runtime`, `network`, `node`);
docs/architecture.md says what they promise. A test gives small behaving fakes, the daemon the real parts.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

from shoal.api import v1 as api
from shoal.api.gen import placement_pb2 as pb
from shoal.api.gen.views_pb2 import ViewsReply
from shoal.engine.codec.cache import EncodedCache
from shoal.engine.host_facts import HostFacts
from shoal.engine.swarm_events import SwarmEvents
from shoal.host.events import EventBus
from shoal.network.connections import Fullness
from shoal.network.types import Configuration, LocalNetwork
from shoal.network.wanted import Wanted
from shoal.node.types import InitRequest, JoinRequest, RestoreRequest, RestoreResult, SwarmInfo
from shoal.runtime.devices import Devices
from shoal.runtime.image_types import DistributionInspect, Progress, PruneReport, RegistryAuth, Removed
from shoal.runtime.types import Container, ContainerConfig, Exec, ExecConfig, Image, LogLine, LogOptions, Stats, Volume
from shoal.store.backup_file import Summary

if TYPE_CHECKING:
    from shoal.manager.control import ControlRpcs

# Titles and rows, as `ps` prints them.
Listing = tuple[list[str], list[list[str]]]

# Inside a class below, `list` is its method.
Names = list[str]
Removals = list[Removed]
Tell = Callable[[Progress], None]


class Containers(Protocol):
    """The containers of this host. A `ref` is an id, a name or a unique prefix of an id."""

    def list(self) -> list[Container]: ...
    def get(self, ref: str) -> Container: ...
    async def create(self, config: ContainerConfig, *, id: str | None = None) -> Container: ...  # noqa: A002
    async def start(self, ref: str) -> Container: ...
    async def stop(self, ref: str, timeout: float | None = None) -> None: ...
    async def kill(self, ref: str, signal: str = "KILL") -> None: ...
    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None: ...
    async def wait(self, ref: str) -> Container: ...
    def changes(self, ref: str) -> AsyncIterator[Container]: ...
    def logs(self, ref: str, options: LogOptions) -> AsyncIterator[LogLine]: ...
    async def stats(self, ref: str) -> Stats: ...
    async def top(self, ref: str, ps_args: str) -> Listing: ...
    async def attach(self, ref: str) -> Any: ...
    async def resize(self, ref: str, height: int, width: int) -> None: ...


class Execs(Protocol):
    """Commands run inside containers."""

    def create(self, ref: str, config: ExecConfig) -> str: ...
    def get(self, id: str) -> Exec: ...  # noqa: A002
    def ids_of(self, container_id: str) -> list[str]: ...
    async def start(self, id: str, *, detach: bool = False, size: tuple[int, int] | None = None) -> Any: ...  # noqa: A002
    async def resize(self, id: str, height: int, width: int) -> None: ...  # noqa: A002


class Images(Protocol):
    """The images of this host, and the registries beyond."""

    def list(self) -> list[Image]: ...
    def get(self, ref: str) -> Image: ...
    async def pull(self, ref: str, auth: RegistryAuth | None, progress: Tell | None = None) -> Image: ...
    async def load(self, stream: AsyncIterator[bytes], progress: Tell | None = None) -> Names: ...
    async def import_(
        self, stream: AsyncIterator[bytes], repo: str, tag: str, changes: Names, message: str
    ) -> Image: ...
    async def tag(self, ref: str, repo: str, tag: str) -> None: ...
    async def remove(self, ref: str, force: bool, prune: bool) -> Removals: ...
    async def prune(self, dangling_only: bool, wanted: Callable[[Image], bool]) -> PruneReport: ...
    async def distribution(self, ref: str, auth: RegistryAuth | None) -> DistributionInspect: ...
    async def login(self, auth: RegistryAuth) -> None: ...


class Volumes(Protocol):
    """The local volumes of this host."""

    def list(self) -> list[Volume]: ...
    def get(self, name: str) -> Volume: ...
    async def create(self, name: str, driver: str, options: Mapping[str, str], labels: Mapping[str, str]) -> Volume: ...
    async def remove(self, name: str, force: bool) -> None: ...


class Networks(Protocol):
    """The networks that only this host has."""

    def networks(self) -> list[LocalNetwork]: ...


class Overlays(Protocol):
    """The swarm's networks that this host takes part in."""

    @property
    def wanted(self) -> Wanted: ...
    async def show(self, network: str) -> dict[str, Any]:
        """Return what is known of a network. Raises NotFound where this host is not on it, and Unavailable."""
        ...

    async def view(self, network: str) -> dict[str, Any]:
        """Return that, and what there is of it layer by layer; the reason where there is nothing."""
        ...

    async def counts(self) -> dict[str, Any]:
        """Return what the network process has counted. Raises Unavailable."""
        ...


class Configurations(Protocol):
    """This host's networks that are nothing but a configuration."""

    def list(self) -> list[LocalNetwork]: ...
    async def create(self, name: str, configuration: Configuration) -> LocalNetwork: ...
    async def remove(self, network_id: str) -> None: ...


class WatchEvent(Protocol):
    """A change in the swarm's store. `old` is None for `create`; `obj` the last value for `remove`."""

    @property
    def action(self) -> str: ...
    @property
    def obj(self) -> Any: ...
    @property
    def old(self) -> Any: ...


class Watch(Protocol):
    """Changes in the swarm's store, from the moment it is entered."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    async def next(self) -> list[Any]:
        """Return the next changes, at least one. Raises `WatchLagged` when the reader was too slow."""
        ...


class Logs(Protocol):
    """The log broker of a manager."""

    def subscribe_logs(self, request: api.SubscribeLogsRequest) -> AsyncIterator[api.SubscribeLogsMessage]: ...


class SwarmNode(Protocol):
    """This host's part in a swarm. Raises `Unavailable` with Docker's 503 texts where no manager runs."""

    def info(self) -> SwarmInfo: ...
    def control(self) -> "ControlRpcs": ...
    def logs(self) -> Logs: ...
    async def wait_manager(self) -> None:
        """Wait until a manager runs here."""

    def watch(self, *kinds: type) -> Watch: ...
    def view(self) -> Any: ...
    def networks(self) -> list[api.Network]:
        """Return the swarm's networks that this node was told of."""
        ...

    async def prepare(self) -> None:
        """Import what a node of a swarm needs."""

    async def init(self, request: InitRequest) -> str:
        """Make a swarm. Returns the node's id once its manager answers."""
        ...

    async def join(self, request: JoinRequest) -> None:
        """Join a swarm. Returns once this node is up."""
        ...

    async def unlock(self, key: str) -> None: ...
    async def leave(self, force: bool) -> None: ...
    async def unlock_key(self) -> str: ...
    async def explain_task(self, task_id: str) -> pb.Explanation:
        """Return why a task is where it is, or nowhere."""
        ...

    async def network_views(self, network_ids: Sequence[str]) -> ViewsReply:
        """Return what the nodes on these networks see of them."""
        ...

    async def backup(self, file: BinaryIO) -> Summary:
        """Write the swarm and this manager's identity to an empty file."""
        ...

    async def restore(self, request: RestoreRequest, file: BinaryIO) -> RestoreResult:
        """Make this host the manager that made the backup. Returns once it serves or is locked."""
        ...


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """What the daemon tells about itself in `/info` and `/version`; fixed for its life."""

    id: str  # of this daemon, kept in its data root
    name: str  # hostname
    version: str
    data_root: str
    labels: tuple[str, ...] = ()  # key=value
    debug: bool = False
    experimental: bool = False
    git_commit: str = ""
    build_time: str = ""
    runtime: str = "crun"  # crun or runc
    runtime_path: str = "crun"
    runtime_version: str = ""
    conmon_version: str = ""
    apparmor: str = ""  # the profile of containers, where the kernel holds them to one
    init_binary: str = ""
    storage_driver: str = "overlayfs"
    cgroup_driver: str = "cgroupfs"
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class Backend:
    """Everything that handlers may use."""

    containers: Containers
    execs: Execs
    images: Images
    volumes: Volumes
    network: Networks
    overlays: Overlays
    configurations: Configurations
    events: EventBus
    node: SwarmNode
    facts: DaemonFacts
    host: HostFacts = field(default_factory=HostFacts.read)
    config: Mapping[str, Any] = field(default_factory=dict)  # daemon.json's names, as they took effect
    devices: Devices = field(default_factory=Devices)
    generic: Callable[[], tuple[api.GenericResource, ...]] = tuple  # configured resources, and devices
    encoded: EncodedCache = field(default_factory=EncodedCache)
    connections: Fullness = field(default_factory=Fullness)  # of the host; the daemon looks (`daemon/tracking.py`)
    swarm_events: SwarmEvents = field(default_factory=SwarmEvents)  # the daemon runs `swarm_events.run(node)`
