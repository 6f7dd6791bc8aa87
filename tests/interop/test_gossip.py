"""Our gossip with an unmodified Docker Engine, both nodes of one swarm."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from grpclib.client import Channel
from grpclib.config import Configuration

from shoal.api import v1 as api
from shoal.api.gen import networkdb_pb2 as pb
from shoal.api.gen.dispatcher_grpc import DispatcherStub
from shoal.ca.security import SecurityConfig
from shoal.network.gossip import framing
from shoal.network.gossip.config import Config
from shoal.network.gossip.delegate import State
from shoal.network.gossip.keys import ring
from shoal.network.gossip.messages import Suspect, encode
from shoal.network.gossip.server import GossipServer
from shoal.network.networkdb import messages
from shoal.network.wanted import Key
from tests.cluster.swarms import join, make_swarm
from tests.harness.docker_engine import DockerEngine
from tests.harness.hosts import Host, patient, run
from tests.harness.inside import play
from tests.harness.network import network
from tests.simulation.airwaves import Listening


@dataclass
class Site:
    manager: Host
    place: Host  # the place of our node: a worker that has stopped
    engine: DockerEngine
    secret: str
    keys: tuple[bytes, ...]


class NetworkState(Listening):
    """A delegate with the state of a NetworkDB without networks."""

    def __init__(self, name: str) -> None:
        super().__init__()
        told = pb.NetworkPushPull(l_time=1, node_name=name)
        message = pb.GossipMessage(type=pb.GossipMessage.PUSH_PULL, data=told.SerializeToString())
        self.state = message.SerializeToString()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with network("gossip") as net:
        manager, worker = net.add("m"), net.add("w")
        secret = make_swarm(manager)
        join(worker, manager, secret)
        assert worker.stop() == 0
        # Its network process outlives it and holds the port.
        run("pkill", "-KILL", "-f", f"shoal.network.process.program --folder={worker.exec_root}/network", check=False)
        keys = play(worker, lambda: _keys(worker, manager))
        engine = net.add_docker("docker")
        engine.docker("swarm", "join", "--token", secret, f"{manager.address}:2377")
        yield Site(manager, worker, engine, secret, keys)


async def _keys(worker: Host, manager: Host) -> tuple[bytes, ...]:
    """Return the keys that the manager sends to a node."""
    identity = SecurityConfig.load(worker.data_root / "swarm" / "certificates", time.time())
    assert identity is not None
    name = Configuration(ssl_target_name_override="swarm-manager")
    channel = Channel(manager.address, 2377, ssl=identity.client_context(), config=name)
    try:
        async with DispatcherStub(channel).Session.open() as session:
            description = api.NodeDescription(hostname=worker.hostname)
            await session.send_message(api.SessionRequest(description=description), end=True)
            first = await session.recv_message()
            assert first is not None
            await session.cancel()
    finally:
        channel.close()
    return ring([Key(key.subsystem, key.key.hex(), key.lamport_time) for key in first.network_bootstrap_keys])


class Ours:
    """Our node in a worker's place, and what it knows about the engine."""

    def __init__(self, site: Site, server: GossipServer, told: NetworkState) -> None:
        self.site, self.server, self.told = site, server, told

    @property
    def name(self) -> str:
        return self.server.memberlist.name

    def engine(self) -> str:
        """Return the engine's name if it is alive, otherwise an empty text."""
        for member in self.server.memberlist.members():
            if member.address == self.site.engine.address and member.state == State.ALIVE:
                return member.name
        return ""

    def events(self, kind: str) -> list[str]:
        return [name for event, name, _ in self.told.events if event == kind]

    async def until(self, condition: Callable[[], object], what: str, within: float = 30.0) -> None:
        end = time.monotonic() + patient(within)
        while not condition():
            assert time.monotonic() < end, (
                f"not within {within} s: {what}; {self.told.events}\n{self.site.engine.log()}"
            )
            await asyncio.sleep(0.05)

    async def meet(self) -> str:
        """Wait until each sees the other. Returns the engine's name."""
        await self.until(self.engine, "the engine is seen")
        log = f"Node {self.name}/{self.site.place.address}, joined gossip cluster"
        await self.until(lambda: log in self.site.engine.log_file.read_text(), "the engine sees us")
        return self.engine()

    def was_lost(self) -> bool:
        """Return whether the engine has ever believed us to be dead."""
        return f"Node {self.name}/{self.site.place.address}, left gossip" in self.site.engine.log_file.read_text()


@asynccontextmanager
async def gossiping(site: Site) -> AsyncIterator[Ours]:
    """Run our node in the worker's place. At the end it leaves."""
    name = f"{random.SystemRandom().getrandbits(48):012x}"
    told = NetworkState(name)
    server = GossipServer(Config(name=name, address=site.place.address), "0.0.0.0", told, site.keys)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.run())
        await asyncio.sleep(0)
        server.do(lambda memberlist, now: memberlist.call([(site.engine.address, 7946)], now))
        yield Ours(site, server, told)
        await server.leave()
        running.cancel()


def tell(site: Site, story: Callable[[Ours], Coroutine[None, None, None]]) -> None:
    async def told() -> None:
        async with gossiping(site) as ours:
            await story(ours)

    play(site.place, told)


def test_engine_and_we_see_each_other_and_stay(site: Site) -> None:
    async def story(ours: Ours) -> None:
        engine = await ours.meet()
        await ours.until(lambda: ours.server.memberlist.knows(site.engine.address), "it answers our probes")
        await ours.until(lambda: ours.told.states, "its state came by push/pull")
        assert any(pb.GossipMessage.FromString(state).type == pb.GossipMessage.PUSH_PULL for state in ours.told.states)
        # Some of its probing rounds and of ours; each takes a second.
        await asyncio.sleep(patient(6))
        assert ours.engine() == engine
        assert ours.server.memberlist.table.me.incarnation == 1, "it never suspected us"
        assert not ours.was_lost()
        assert ours.events("failed") == []

    tell(site, story)


def test_engine_refutes_what_we_say_of_it(site: Site) -> None:
    async def story(ours: Ours) -> None:
        name = await ours.meet()
        record = ours.server.memberlist.table.get(name)
        assert record is not None
        before = record.incarnation
        lie = encode(Suspect(before, name, ours.name))
        data = framing.seal_datagram(ours.server.memberlist.keyring, lie)
        ours.server.sockets[0].sendto(data, (site.engine.address, 7946))
        await ours.until(lambda: record.incarnation > before, "it has spoken up")
        assert record.state == State.ALIVE

    tell(site, story)


def test_we_refute_what_the_engine_suspects(site: Site) -> None:
    """Our node is frozen for some seconds and answers neither by UDP nor by TCP. Then it hears of the suspicion, and
    refutes it in time.
    """

    async def story(ours: Ours) -> None:
        await ours.meet()
        for _ in range(5):
            time.sleep(3)  # noqa: ASYNC251 - the loop is to stand still
            await asyncio.sleep(1.5)
            if ours.server.memberlist.table.me.incarnation > 1:
                break
        assert ours.server.memberlist.table.me.incarnation > 1
        assert not ours.was_lost()

    tell(site, story)


def test_delegates_messages_go_both_ways_by_stream(site: Site) -> None:
    """A bulk sync that asks for an answer is answered, because each side understands the other's framing."""

    async def story(ours: Ours) -> None:
        engine = await ours.meet()
        empty = pb.GossipMessage(type=pb.GossipMessage.COMPOUND).SerializeToString()
        sync = pb.BulkSyncMessage(l_time=5, unsolicited=True, node_name=ours.name, networks=["none"], payload=empty)
        message = pb.GossipMessage(type=pb.GossipMessage.BULK_SYNC, data=sync.SerializeToString()).SerializeToString()
        ours.server.do(lambda memberlist, now: memberlist.send(engine, message, reliable=True))

        def answered() -> bool:
            kinds = [pb.GossipMessage.FromString(heard).type for heard in ours.told.heard_messages]
            return pb.GossipMessage.BULK_SYNC in kinds

        await ours.until(answered, "the engine answers")

    tell(site, story)


def test_the_engine_confirms_what_it_is_told(site: Site) -> None:
    """A ping behind a message is answered: in one packet with it, or, where it is long, by the end of its stream."""

    async def story(ours: Ours) -> None:
        engine = await ours.meet()
        joined = pb.NetworkEvent(type=pb.NetworkEvent.JOIN, l_time=9, node_name=ours.name, network_id="none")
        event = pb.GossipMessage(type=pb.GossipMessage.NETWORK_EVENT, data=joined.SerializeToString())
        short = messages.compound([event.SerializeToString()])
        long = messages.compound([event.SerializeToString()] * 100)
        for number, message in enumerate((short, long)):
            ours.server.do(lambda memberlist, now, n=number, m=message: memberlist.tell(engine, m, n, now))  # type: ignore[misc]
        await ours.until(lambda: len(ours.told.confirmations) >= 2, "it confirms both")
        assert sorted(ours.told.confirmations) == [(0, True), (1, True)]

    tell(site, story)


def test_leaving_is_told_both_ways(site: Site) -> None:
    async def story(ours: Ours) -> None:
        engine = await ours.meet()
        await asyncio.to_thread(site.engine.docker, "swarm", "leave")
        await ours.until(lambda: engine in ours.events("left"), "the engine has left")
        assert engine not in ours.events("failed")
        join = ("swarm", "join", "--token", site.secret, f"{site.manager.address}:2377")
        await asyncio.to_thread(site.engine.docker, *join)
        assert await ours.meet() != engine
        await ours.server.leave()
        await ours.until(ours.was_lost, "the engine hears that we left", within=3.5)

    tell(site, story)


def test_engine_that_is_killed_is_found_and_comes_back_under_another_name(site: Site) -> None:
    async def story(ours: Ours) -> None:
        engine = await ours.meet()
        await asyncio.to_thread(site.engine.stop)
        killed_at = time.monotonic()
        await ours.until(lambda: engine in ours.events("failed"), "its end is found", within=15)
        assert time.monotonic() - killed_at > 3, "it had the time to speak up"
        await asyncio.to_thread(site.engine.start)
        assert await ours.meet() != engine

    tell(site, story)
