"""Hosts in virtual time: real managers and real agents, with a simulated etcd, wires and containers.

A manager is `shoal.node.manager`'s turns at the lead, with the real store, deciders, dispatcher, Control and forwarding
to the leader. Certificates and changes of membership are left out. An agent is the whole `shoal.agent`.
"""

import asyncio
import random
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

from shoal.agent.agent import Agent, AgentConfig
from shoal.agent.remotes import Remotes
from shoal.api import v1 as api
from shoal.api.gen.dispatcher_grpc import DispatcherBase
from shoal.errors import ShoalError, Unavailable
from shoal.manager.control import Control
from shoal.manager.deciders import deciders_of_tasks
from shoal.manager.deciding.leader import Component, Leader
from shoal.manager.dispatcher.hosts import Probe
from shoal.manager.dispatcher.server import Dispatcher
from shoal.manager.forwarding.calls import Forwarder
from shoal.manager.forwarding.leader_link import LeaderLink
from shoal.manager.forwarding.services import ControlService, TermService
from shoal.manager.port.guard import by_certificate, current_caller, guarded
from shoal.node.manager import Active, Manager
from shoal.paths import Paths
from shoal.runtime.types import Container, Phase
from shoal.store.leadership import LeaderWatch
from shoal.store.memory import View
from shoal.store.store import Store
from tests.simulation.etcds import Etcds, Member
from tests.simulation.processes import Process, VirtualLoop
from tests.simulation.wires import LATENCY, Server, Wires
from tests.unit.agent.fakes import NODE, FakeContainers, FakeRuntime

CLUSTER = "cluster"
IMAGE = "busybox:latest"
EPOCH = 1_700_000_000.0
"""What the clocks show when the loop's time is 0."""
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Asked for, and not used: the wires have no TLS."""


class Sealer:
    """Seals nothing."""

    def seal(self, _key: bytes, value: bytes) -> bytes:
        return value

    def open(self, _key: bytes, sealed: bytes) -> bytes:
        return sealed


class Security:
    """A node's identity. The wires tell servers who calls."""

    cluster_id = CLUSTER

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id

    def client_context(self) -> ssl.SSLContext:
        return NO_TLS


class Members:
    """All three managers belong to the quorum."""

    def __init__(self, peers: list[api.Peer]) -> None:
        self.peers = peers

    def statuses(self) -> dict[str, api.ManagerStatus]:
        return {}

    def can_remove(self, _node_id: str) -> bool:
        return True


class PlayedTerm:
    """A term at the lead, as `shoal.node.term` makes it, without certificates and membership."""

    def __init__(self, store: Store, setting: "PlayedManager", _first: None) -> None:
        self.control = Control(store, setting.members, setting.clock)
        self.dispatcher = Dispatcher(
            store,
            node_id=setting.security.node_id,
            managers=lambda: setting.members.peers,
            caller=current_caller,
            clock=setting.clock,
            rng=setting.rng,
            probe=setting.probe,
        )
        self._leader = Leader(
            store,
            deciders_of_tasks(setting.rng),
            [Component("dispatcher", self.dispatcher.run)],
            new_id=lambda: "",
            random_bytes=bytes,
            clock=setting.clock,
        )

    async def begin(self) -> None:
        """Do nothing: the simulation has written the first objects."""

    async def run(self) -> None:
        await self._leader.run()


class PlayedManager(Manager):
    """A manager with a simulated etcd."""

    members: Members
    probe: Probe
    rng: random.Random

    def __init__(self, host: "Host", member: Member, peers: list[api.Peer]) -> None:
        self.security = Security(host.name)
        self.clock = host.clock
        self.rng = host.rng
        self.members = Members(peers)
        self.active: Active | None = None
        self.probe = host.probe
        self._own_id = host.name
        self._address = host.address
        self._first = None
        self._members = {}
        self._member = member
        self._link = LeaderLink(self.security)
        self._store = self._term = self._active = None
        self._started = self._begun
        self._is_told = False

    def _begun(self, active: Active) -> None:
        self.active = active

    def services(self) -> list[Any]:
        """Return the services behind port 2377."""
        return guarded(
            [
                TermService(DispatcherBase, lambda: self._term and self._term.dispatcher),
                ControlService(lambda: self._term.control if self._term else None),
            ],
            by_certificate(CLUSTER, lambda _node_id: False),
            lambda: self._term is not None,
            Forwarder(self._link, self._address),
        )

    async def play(self) -> None:
        """Follow and lead, for as long as the process runs."""
        while True:
            try:
                await self._follow()
            except* Unavailable:
                await asyncio.sleep(0.1)

    async def _follow(self) -> None:
        async with Store.follow(self._member, Sealer()) as store:  # type: ignore[arg-type]
            store._clock = lambda: round(self.clock() * 1e9)
            self._store = store
            watch = LeaderWatch(_Played(self._member))  # type: ignore[arg-type]
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(watch.run(), name="leadership")
                    group.create_task(self._track_leader(watch), name="leader's address")
                    group.create_task(self._begin(store, watch, self._member), name="begin")  # type: ignore[arg-type]
                    await self._take_turns(store, watch, self)  # type: ignore[arg-type]
            finally:
                self._store = self._active = self.active = None
                self._is_told = False


class _Played:
    def __init__(self, member: Member) -> None:
        self.client = member
        self.raft_news = member.raft_news


class Containers(FakeContainers):
    """Simulated containers that take a moment to be made and started."""

    rng: random.Random

    async def _pause(self) -> None:
        await asyncio.sleep(self.rng.uniform(0.01, 0.1))


class Host:
    """A host, with the files and containers that it keeps while its daemon comes and goes."""

    def __init__(self, world: "World", name: str, number: int) -> None:
        self._world = world
        self.name = name
        self.address = f"10.0.0.{number}:2377"
        self.is_manager = name.startswith("manager")
        self.rng = random.Random(world.rng.random())
        self.paths = Paths(world.folder / name, world.folder / name)
        self.runtime = FakeRuntime(IMAGE)
        self.runtime.containers = Containers(self.runtime.images)
        self.runtime.containers.rng = self.rng
        self.process: Process | None = None
        self.manager: PlayedManager | None = None

    def clock(self) -> float:
        """Return the time since 1970."""
        return EPOCH + self._world.loop.time()

    async def probe(self, address: str, _port: int, patience: float) -> bool:
        """Return whether another host's kernel answers this host. It does, unless a wire is cut."""
        await asyncio.sleep(self.rng.uniform(*LATENCY))
        if not self._world.wires.is_cut(self.name, self._world.wires.host_at(address)):
            return True
        await asyncio.sleep(patience)
        return False

    @property
    def is_up(self) -> bool:
        return self.process is not None and not self.process.dead

    def start(self) -> None:
        """Start the daemon."""
        world = self._world
        process = self.process = Process(world.loop, self.name)
        world.processes.append(process)
        process.start(self._run(process), self.name)

    async def _run(self, process: Process) -> None:
        world = self._world
        async with asyncio.TaskGroup() as group:
            if self.is_manager:
                member = world.etcds.members[self.name]
                member.is_up = True
                member.hear()
                self.manager = PlayedManager(self, member, world.peers)
                world.wires.servers[self.address] = Server(process, self.manager.services())
                group.create_task(self.manager.play(), name="manager")
            remotes = Remotes({peer.addr: 10 for peer in world.peers})
            config = AgentConfig(lambda: NODE, local_manager=lambda: self.address if self.is_manager else None)
            agent = Agent(
                self.paths, Security(self.name), self.runtime, remotes, config, rng=self.rng, clock=self.clock
            )
            group.create_task(agent.run(), name="agent")

    def kill(self) -> None:
        """Send SIGKILL. etcd ends with its daemon."""
        if self.process is not None:
            self.process.kill()
            self._world.wires.ended(self.process)
            self.manager = None
            if self.is_manager:
                self._world.etcds.members[self.name].is_up = False

    def pause(self, *, etcd: bool = True) -> None:
        """Send SIGSTOP. `etcd`: also to its etcd."""
        if self.process is not None:
            self.process.pause()
            if etcd and self.is_manager:
                self._world.etcds.members[self.name].is_frozen = True

    def resume(self) -> None:
        """Send SIGCONT."""
        if self.is_manager:
            self._world.etcds.members[self.name].is_frozen = False
        if self.process is not None:
            self.process.resume()

    def lose_power(self) -> None:
        """End everything that runs."""
        self.kill()
        for container in self.runtime.containers.list():
            if container.phase is Phase.RUNNING:
                self.runtime.containers._put(replace(container, phase=Phase.CREATED, pid=0))

    def manages(self) -> bool:
        """Return whether this host's manager answers."""
        return self.manager is not None and self.manager.active is not None

    def view(self) -> View:
        """Return the store as this host's manager knows it."""
        assert self.manager is not None
        assert self.manager.active is not None
        return self.manager.active.store.view()

    def containers(self, *, running: bool) -> set[str]:
        """Return the ids of the containers that exist, or only of those that run."""
        found: list[Container] = self.runtime.containers.list()
        return {one.id for one in found if not running or one.phase is Phase.RUNNING}


class World:
    """A swarm of three managers and some workers."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, folder: Path, workers: int = 2) -> None:
        self.loop, self.rng, self.folder = loop, rng, folder
        self.processes: list[Process] = []
        self.asked: list[tuple[Process, asyncio.Task[None]]] = []
        names = ["manager1", "manager2", "manager3", *(f"worker{number + 1}" for number in range(workers))]
        subjects = {name: _subject(name) for name in names}
        self.wires = Wires(loop, rng, subjects)
        self.hosts = [Host(self, name, number + 1) for number, name in enumerate(names)]
        self.managers = [host for host in self.hosts if host.is_manager]
        self.peers = [api.Peer(node_id=host.name, addr=host.address) for host in self.managers]
        self.wires.hosts = {host.address: host.name for host in self.hosts}
        self.etcds = Etcds(loop, rng, [host.name for host in self.managers], self.wires.is_cut)

    async def ask(self, host: Host, method: str, request: Any, timeout: float) -> Any:
        """Let a host's manager carry out a call of Control, as its API does. Raises the API's errors."""
        manager, process = host.manager, host.process
        assert process is not None
        if manager is None or manager.active is None:
            raise Unavailable("This node is not a swarm manager.")
        control = manager.active.control
        answer: asyncio.Future[Any] = self.loop.create_future()

        async def carry_out() -> None:
            try:
                reply = await getattr(control, method)(request)
            except (ShoalError, asyncio.CancelledError) as error:
                if not answer.done():
                    answer.set_exception(error if isinstance(error, ShoalError) else ConnectionResetError())
            else:
                if not answer.done():
                    answer.set_result(reply)

        self.asked.append((process, process.start(carry_out(), method)))

        def lose() -> None:
            if not answer.done():
                answer.set_exception(ConnectionResetError())

        process.at_death(lose)
        # Nobody cancels a call when its client goes: a manager that was paused carries it out when it wakes.
        async with asyncio.timeout(timeout):
            return await answer

    def under_way(self) -> bool:
        """Return whether a manager still carries out a call, even if its client has gone."""
        self.asked = [(process, child) for process, child in self.asked if not (process.dead or child.done())]
        return bool(self.asked)

    def bury(self, runner: asyncio.Runner) -> None:
        """End everything, so that nothing is left in this process."""
        for process in self.processes:
            process.kill()

        async def cancel() -> None:
            for process in self.processes:
                await process.bury()

        runner.run(cancel())

    async def found(self, period: float) -> None:
        """Write the first objects of a swarm, with this period of heartbeats."""
        member = self.etcds.members["manager1"]
        self.etcds.lead(member)
        async with Store.open(member, Sealer()) as store:  # type: ignore[arg-type]
            cluster = api.Cluster(id=CLUSTER)
            cluster.spec.annotations.name = "default"
            cluster.spec.orchestration.task_history_retention_limit = 2
            cluster.spec.dispatcher.heartbeat_period.FromMilliseconds(round(period * 1000))
            objects: list[Any] = [cluster]
            for number, host in enumerate(self.hosts):
                node = api.Node(id=host.name, role=api.MANAGER if host.is_manager else api.WORKER)
                node.spec.desired_role = node.role
                node.description.CopyFrom(NODE)
                if host.is_manager:
                    node.manager_status.raft_id = number + 1
                    node.manager_status.addr = host.address
                objects.append(node)
            await store.update(lambda transaction: [transaction.create(obj) for obj in objects])


def _subject(name: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    unit = "swarm-manager" if name.startswith("manager") else "swarm-worker"
    return ((("organizationName", CLUSTER),), (("organizationalUnitName", unit),), (("commonName", name),))
