"""The host's own network: a bridge with a way out, the network namespaces of containers, and their ports of the host.

In: container ids. Out: a `Sandbox` each, and the three networks `bridge`, `host` and `none` for the API. All names on
the host carry the node's tag, so that two nodes share a host. Kernel work is done on one thread of its own; a
container's connection costs no process.
"""

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from weakref import WeakValueDictionary

from shoal.errors import DamagedState, InvalidArgument, InvariantBroken, ShoalError
from shoal.files import write_atomic
from shoal.host.events import EventBus
from shoal.json_text import read_json
from shoal.network.addresses import AddressPool, choose_subnet, gateway, mac_address
from shoal.network.guard import Guard
from shoal.network.host_ports.direct import Direct
from shoal.network.host_ports.held import Held
from shoal.network.host_ports.ports import Lead, Published, leads
from shoal.network.host_ports.publisher import Publisher
from shoal.network.plumbing import INSIDE, Plumbing
from shoal.network.rtnetlink import Link
from shoal.network.translation.places import bridge_prefix, place
from shoal.network.types import Endpoint, HostPort, LocalNetwork, Mode, Sandbox
from shoal.network.wanted import HostBridge
from shoal.paths import Paths

log = logging.getLogger(__name__)

# An interface name has 15 characters: "shoal" and ten.
_TAG = re.compile(r"[a-z0-9]{1,10}")
# Each attempt to find a free subnet loses only against another node that chose the same at the same moment.
ATTEMPTS = 5

# A program that begins to listen on IPv6 sees its clients' addresses so many seconds later.
LOOK = 2.0

# What a bridge's alias begins with; its daemon's data root follows.
_ALIAS = "shoal "

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class OtherBridge:
    """Another daemon's bridge on this host. `data_root` is empty where it does not say; `ports`: how many are on it."""

    name: str
    data_root: str
    ports: int

    @property
    def tag(self) -> str:
        """Its daemon's."""
        return self.name.removeprefix("shoal")


def other_bridges(links: Sequence[Link], own: str) -> list[OtherBridge]:
    """Return the bridges that are named as ours are, but for our own."""
    return [
        OtherBridge(
            link.name,
            link.alias.removeprefix(_ALIAS) if link.alias.startswith(_ALIAS) else "",
            sum(port.master == link.index for port in links),
        )
        for link in links
        if link.name != own and link.name.startswith("shoal") and _TAG.fullmatch(link.name.removeprefix("shoal"))
    ]


@dataclass(frozen=True, slots=True)
class _Identity:
    """What is kept in local.json: ids for the API, and the subnet, so that containers keep it over restarts."""

    bridge_id: str
    host_id: str
    none_id: str
    created_at: float
    subnet: str


def _read_identity(path: Path) -> _Identity:
    try:
        fields = read_json(path.read_bytes())
        identity = _Identity(**{name: fields[name] for name in _Identity.__slots__})
        IPv4Network(identity.subnet)
    except FileNotFoundError:
        bridge_id, host_id, none_id = (secrets.token_hex(32) for _ in range(3))
        return _Identity(bridge_id, host_id, none_id, created_at=time.time(), subnet="")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedState(str(path), str(error) or type(error).__name__) from error
    return identity


class BridgeNetwork:
    """The bridge of one node, and who is connected to it.

    Entering makes the bridge and the rules, or finds those of the last run. Leaving removes them when no container is
    connected; else all stays, for the next run's `adopt`. `tag` is 1 to 10 lower-case letters and digits.
    """

    def __init__(
        self, paths: Paths, tag: str, *, subnet: IPv4Network | None = None, events: EventBus | None = None
    ) -> None:
        if not _TAG.fullmatch(tag):
            raise InvalidArgument(f"the tag of a node must be 1 to 10 lower-case letters and digits, not {tag!r}")
        self._paths = paths
        self._tag = tag
        self._wanted = subnet
        self._events = events
        self.interface = f"shoal{tag}"
        self._table = f"shoal_{tag}"
        self._sandboxes: dict[str, Sandbox] = {}
        self._strays: dict[str, IPv4Address | None] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __aenter__(self) -> Self:
        # One thread: it alone switches namespaces (see namespaces.py).
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netns")
        try:
            self._plumbing = await self._run(
                lambda: Plumbing(self.interface, self._table, f"{_ALIAS}{self._paths.data_root}")
            )
            try:
                await self._run(self._open)
            except BaseException:
                self._thread.submit(self._plumbing.close)
                raise
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            if not self._sandboxes and not self._strays:
                await self.remove()
            await self._run(self._close)
        finally:
            self._thread.shutdown(wait=False)

    def _close(self) -> None:
        self._publisher.close()
        self._plumbing.close()

    async def _run(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        for folder in (self._paths.network, self._paths.netns):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._paths.network / "local.json"
        identity = _read_identity(file)
        subnet = self._ensure_bridge(identity.subnet)
        self._pool = AddressPool(subnet)
        self._publisher = Publisher(
            self.interface,
            f"{self._table}_ports",
            subnet,
            place(self._tag, "ports", subnet),
            Direct(self.interface, bridge_prefix(self._tag), self._path),
        )
        if identity.subnet != str(subnet):
            identity = _Identity(
                identity.bridge_id, identity.host_id, identity.none_id, identity.created_at, str(subnet)
            )
            fields = {name: getattr(identity, name) for name in _Identity.__slots__}
            write_atomic(file, json.dumps(fields).encode())
        self._identity = identity

    def _ensure_bridge(self, last: str) -> IPv4Network:
        if last and self._wanted in (None, IPv4Network(last)) and self._plumbing.find_bridge(IPv4Network(last)):
            return IPv4Network(last)
        refused: list[IPv4Network] = []
        for _ in range(ATTEMPTS):
            used = [*self._plumbing.used_networks(), *refused]
            try:
                subnet = self._choose(last, used)
            except ShoalError as error:
                raise ShoalError(f"{error}{self._others()}") from error
            if self._plumbing.make_bridge(subnet):
                return subnet
            refused.append(subnet)
        raise ShoalError(
            f"could not find a free subnet for the bridge {self.interface}: others took it {ATTEMPTS} times"
        )

    def _choose(self, last: str, used: list[IPv4Network]) -> IPv4Network:
        if self._wanted:
            if any(network.prefixlen and network.overlaps(self._wanted) for network in used):
                raise ShoalError(f"the subnet {self._wanted} of the bridge overlaps a network that the host uses")
            return self._wanted
        if last and not any(network.prefixlen and network.overlaps(IPv4Network(last)) for network in used):
            return IPv4Network(last)
        return choose_subnet(self._tag, used)

    def _others(self) -> str:
        found = [f"{one.name} ({one.data_root or 'unknown'})" for one in self._look()]
        return f"; bridges of other daemons, with their data roots: {', '.join(found)}" if found else ""

    def _look(self) -> Sequence[OtherBridge]:
        return other_bridges(self._plumbing.links(), self.interface)

    async def others(self) -> Sequence[OtherBridge]:
        """Return the bridges of other daemons on this host."""
        return await self._run(self._look)

    def networks(self) -> list[LocalNetwork]:
        """Return `bridge`, `host` and `none`."""
        known, subnet = self._identity, self._pool.subnet
        address = str(gateway(subnet))
        return [
            LocalNetwork(known.bridge_id, "bridge", "bridge", known.created_at, str(subnet), address, self.interface),
            LocalNetwork(known.host_id, "host", "host", known.created_at),
            LocalNetwork(known.none_id, "none", "null", known.created_at),
        ]

    def as_wanted(self) -> HostBridge:
        """Return the bridge as the network process is told of it."""
        return HostBridge(self.interface, (str(self._pool.subnet),))

    @asynccontextmanager
    async def keep_out(self, port: int) -> AsyncIterator[None]:
        """Let no container on a bridge reach a port of this host meanwhile."""
        await self._run(lambda: self._plumbing.close_port(port))
        try:
            yield
        finally:
            await self._run(lambda: self._plumbing.open_port(port))

    async def close_vxlan(self, port: int) -> None:
        """Let no container speak VXLAN to a host, by this port or the default one."""
        await self._run(lambda: self._plumbing.close_vxlan(port))

    def sandboxes(self) -> dict[str, Sandbox]:
        """Return who is connected: container ids and their sandboxes."""
        return dict(self._sandboxes)

    async def connect(self, container_id: str, mode: Mode, interface: str = INSIDE) -> Sandbox:
        """Give a container its network, by an interface of that name. One that is connected gets the same again."""
        async with self._locks.setdefault(container_id, asyncio.Lock()):
            sandbox = self._sandboxes.get(container_id)
            if sandbox is None:
                sandbox = await self._connect(container_id, mode, interface)
                self._sandboxes[container_id] = sandbox
                self._tell("connect", container_id, sandbox)
            return sandbox

    async def _connect(self, container_id: str, mode: Mode, interface: str) -> Sandbox:
        path = self._path(container_id)
        if mode == "host":  # in the host's own namespace
            return Sandbox("", (Endpoint("host", self._identity.host_id, secrets.token_hex(32)),))
        if mode == "none":
            await self._make(path, lambda: self._plumbing.isolate(path))
            return Sandbox(str(path), (Endpoint("none", self._identity.none_id, secrets.token_hex(32)),))
        address, subnet, veth = self._pool.take(container_id), self._pool.subnet, _veth(container_id)
        try:
            await self._make(path, lambda: self._plumbing.connect(path, veth, address, subnet, interface))
        except BaseException:
            self._pool.free(address, container_id)
            raise
        endpoint = Endpoint(
            network_name="bridge",
            network_id=self._identity.bridge_id,
            endpoint_id=secrets.token_hex(32),
            address=str(address),
            prefix_length=subnet.prefixlen,
            gateway=str(gateway(subnet)),
            mac=mac_address(address),
            host_interface=veth,
        )
        return Sandbox(str(path), (endpoint,))

    async def _make(self, path: Path, work: Callable[[], None]) -> None:
        try:
            await self._run(work)
        except BaseException:
            # When we are cancelled the thread works on: what it makes is removed right after.
            self._thread.submit(self._plumbing.disconnect, path)
            raise

    async def publish(self, container_id: str, name: str, ports: Sequence[HostPort]) -> Held:
        """Let ports of this host lead to a container; the caller closes what holds them.

        They lead there until `disconnect`, also while no daemon runs. ShoalError with Docker's words where one is
        taken: none of them leads there then.
        """
        if not ports:
            return Held()
        place = self._sandboxes.get(container_id, Sandbox()).outer

        def work() -> Held:
            return self._publisher.publish(container_id, place, ports, self._plumbing.ports_of_nodes())

        try:
            if not place.address:
                raise ShoalError("the container is on no network that leads out of this host")
            async with self._locks.setdefault(container_id, asyncio.Lock()):
                return await self._run(work)
        except asyncio.CancelledError:
            self._thread.submit(self._publisher.unpublish, container_id)  # the thread works on
            raise
        except ShoalError as error:
            # moby daemon/start.go, libnetwork/drivers/bridge.
            raise ShoalError(
                "failed to set up container networking: driver failed programming external connectivity "
                f"on endpoint {name} ({place.endpoint_id}): {error}"
            ) from error

    async def disconnect(self, container_id: str) -> None:
        """Take a container's network away. May be repeated, and for one that never was connected."""
        async with self._locks.setdefault(container_id, asyncio.Lock()):
            path = self._path(container_id)
            await self._run(lambda: self._publisher.unpublish(container_id))
            await self._run(lambda: self._plumbing.disconnect(path))
            sandbox = self._sandboxes.pop(container_id, None)
            stray = self._strays.pop(path.name, None)
            if stray is not None:
                await self._run(lambda: self._publisher.unpublish(path.name))
                self._pool.free(stray, path.name)
            if sandbox:
                for address in sandbox.addresses:
                    self._pool.free(IPv4Address(address), container_id)
                self._tell("disconnect", container_id, sandbox)

    async def adopt(self, sandboxes: dict[str, Sandbox]) -> None:
        """Take over what the last run connected, and remove whatever else is left of it. Before the first `connect`.

        What a process is in stays all the same, with its address: a container may run whose record is damaged. A
        sandbox whose namespace is gone (the host was restarted) is not taken over: `connect` makes it anew.
        """
        if self._sandboxes:
            raise InvariantBroken("adopt was called after connect")
        kept = await self._run(lambda: self._sweep(sandboxes))
        for container_id, sandbox in kept.items():
            if self._claim(sandbox, container_id):
                self._sandboxes[container_id] = sandbox
            else:
                await self._run(lambda path=Path(sandbox.netns): self._plumbing.disconnect(path))  # type: ignore[misc]
        for short_id, address in self._strays.items():
            if address is not None:
                self._pool.claim(address, short_id)
        published: dict[Published, Lead] = {}
        for container_id, sandbox in self._sandboxes.items():
            if sandbox.ports and sandbox.outer.address:
                published |= leads(container_id, IPv4Address(sandbox.outer.address), sandbox.ports)
        strays = {address: short_id for short_id, address in self._strays.items() if address is not None}
        await self._run(lambda: self._publisher.adopt(published, strays))

    def _claim(self, sandbox: Sandbox, container_id: str) -> bool:
        """Take all its addresses, or none where one is another's."""
        addresses = [IPv4Address(address) for address in sandbox.addresses]
        if all(self._pool.claim(address, container_id) for address in addresses):
            return True
        for address in addresses:
            self._pool.free(address, container_id)
        return False

    def _sweep(self, sandboxes: dict[str, Sandbox]) -> dict[str, Sandbox]:
        kept = {
            container_id: sandbox
            for container_id, sandbox in sandboxes.items()
            if sandbox.first.network_name == "host"
            or (sandbox.netns == str(self._path(container_id)) and self._plumbing.pinned(Path(sandbox.netns)))
        }
        wanted = {sandbox.netns for sandbox in kept.values()}
        unwanted = [path for path in self._paths.netns.iterdir() if str(path) not in wanted]
        used = self._plumbing.in_use(unwanted)
        for path in unwanted:
            if path in used:
                log.warning("the network of %s stays: a process uses it, and no record names it", path.name)
                self._strays[path.name] = self._plumbing.address(path)
            else:
                self._plumbing.disconnect(path)
        ports = [endpoint.host_interface for sandbox in kept.values() for endpoint in sandbox.endpoints]
        self._plumbing.remove_ports([*ports, *(_veth(short_id) for short_id in self._strays)])
        return kept

    async def remove(self) -> None:
        """Remove the bridge and the rules, and every connection with them. May be repeated."""
        for container_id in list(self._sandboxes):
            await self.disconnect(container_id)
        await self._run(self._publisher.remove)
        await self._run(self._plumbing.remove)

    async def keep_rules(self) -> None:
        """Mend the packet rules whenever somebody else has changed them, until cancelled.

        Beside it containers are looked at: which listen on IPv6.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(Guard((self._table, self._publisher.table), self._mend).run(), name="guard")
            group.create_task(self._look_for_listeners(), name="listeners")

    async def _look_for_listeners(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            if self._publisher.leads:
                await self._run(self._publisher.look)

    async def _mend(self) -> None:
        await self._run(self._plumbing.mend)
        await self._run(self._publisher.mend)

    def _path(self, container_id: str) -> Path:
        return self._paths.netns / container_id[:12]

    def _tell(self, action: str, container_id: str, sandbox: Sandbox) -> None:
        if not self._events:
            return
        for endpoint in sandbox.endpoints:
            name = endpoint.network_name
            facts = {"container": container_id, "name": name, "type": "null" if name == "none" else name}
            self._events.emit("network", action, endpoint.network_id, facts)


def _veth(container_id: str) -> str:
    # As much of the id as names the namespace. Not "ve-": systemd-networkd would take such a link for its own.
    return "ve" + container_id[:12]
