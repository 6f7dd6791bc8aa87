"""This node's talk with others: memberlist and the shared tables, begun anew where this node is another one now.

In: how to take part, from the wanted state. Out: tables that can be written, and a call whenever others' entries may
have changed. Without gossip (no keys yet, or the port is taken) the tables are there all the same, for this node alone.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict
from ipaddress import ip_address
from random import SystemRandom

from shoal.errors import InvalidArgument
from shoal.network.gossip import keys
from shoal.network.gossip.config import Config
from shoal.network.gossip.confirming import Owed
from shoal.network.gossip.delegate import Member, State
from shoal.network.gossip.memberlist import Memberlist
from shoal.network.gossip.messages import DEFAULT_PORT
from shoal.network.gossip.server import GossipServer
from shoal.network.networkdb.networkdb import NetworkDB
from shoal.network.networkdb.rejoining import Contact, contacts_of
from shoal.network.networkdb.telling import WITHIN
from shoal.network.process.counts import Gossiped
from shoal.network.process.former import MOST_KNOWN, Former, Place
from shoal.network.records import Address
from shoal.network.wanted import Gossip
from shoal.repeats import Repeats

log = logging.getLogger(__name__)

LEAVE_TIMEOUT = 5.0


class Talk:
    """Gossip and tables. `group` owns what runs; `news` is called when something may have changed.

    `told` is called when others have confirmed something that this node wrote, or had their time to do so.

    `sockets` are gossip's, UDP and TCP, open already; they are ours from now on. `former` is who this node was in the
    program before: it goes on as the same.
    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        news: Callable[[], None],
        sockets: tuple[socket.socket, socket.socket] | None = None,
        former: Former | None = None,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._told = told
        self._repeats = Repeats(log)
        self._sockets = sockets
        self._former = former
        self._group = group
        self._news = news
        self._loop = asyncio.get_running_loop()
        self._rng = SystemRandom()
        self._gossip: Gossip | None = None  # what was last asked for
        self._server: GossipServer | None = None
        self._running: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._begin(former)

    @property
    def now(self) -> float:
        """The time that the tables count in, seconds."""
        return self._loop.time()

    def _begin(self, former: Former | None = None) -> None:
        """Be a new node: another name, and empty tables. With a `former`: its name, and no time that it has used."""
        self.name = former.name if former is not None else secrets.token_hex(6)
        self.tables = NetworkDB(self.name, self, self._rng, self.now)
        if former is not None:
            self.tables.resume((former.network_time, former.table_time))

    async def set_gossip(self, gossip: Gossip | None) -> str:
        """Take part like this from now on; return why that is not possible, or an empty text.

        The tables are other ones afterwards where this node has another address: see `name`.
        """
        former, self._gossip = self._gossip, gossip
        if gossip is None:
            await self.leave()
            return ""
        try:
            ring = keys.ring(gossip.keys)
        except InvalidArgument as error:
            return f"the swarm's keys cannot be used: {error}"
        contacts = contacts_of(gossip.contacts, DEFAULT_PORT, gossip.advertise)
        if self._server is not None and former is not None and _place(former) != _place(gossip):
            await self.leave()
        if self._server is None:
            before, self._former = self._former, None
            if before is not None and (before.bind, before.advertise) != _place(gossip):
                self._begin()
                before = None
            try:
                config = Config(self.name, gossip.advertise, acks_when_done=True)
                sockets = self._take_sockets(gossip.bind)
                self._server = GossipServer(config, gossip.bind, self, ring, sockets=sockets)
            except OSError as error:
                return f"gossip cannot listen on port {DEFAULT_PORT} of {gossip.bind}: {error.strerror}"
            self._running = [
                self._group.create_task(self._server.run(), name="gossip"),
                self._group.create_task(self._keep_time(self.tables), name="tables"),
            ]
            await asyncio.sleep(0)  # for the server to be there when it is first used
            if before is not None:
                known = [(place.address, place.port) for place in before.known]
                self._server.do(lambda memberlist, now: memberlist.call(known, now))
        server = self._server
        server.do(lambda memberlist, now: memberlist.set_keys(ring))
        self.tables.set_contacts(contacts)
        if former is None or former.contacts != gossip.contacts:
            server.do(lambda memberlist, now: memberlist.call(contacts, now))
        return ""

    def leave_to_successor(self) -> tuple[Former, tuple[socket.socket, socket.socket]] | None:
        """Return who this node is, and the sockets, open; None where it does not gossip."""
        server, gossip = self._server, self._gossip
        if server is None or gossip is None:
            return None
        others = [member for member in server.memberlist.members()[1:] if member.state == State.ALIVE]
        known = self._rng.sample(others, min(len(others), MOST_KNOWN))
        who = Former(self.name, *_place(gossip), *self.tables.clocks, tuple(Place(m.address, m.port) for m in known))
        return who, server.sockets

    def _take_sockets(self, bind: str) -> tuple[socket.socket, socket.socket] | None:
        """Return those that were open already, where they are of this address."""
        sockets, self._sockets = self._sockets, None
        if sockets is not None and any(sock.getsockname()[:2] != (bind, DEFAULT_PORT) for sock in sockets):
            for sock in sockets:
                sock.close()
            return None
        return sockets

    async def leave(self) -> None:
        """Tell the others that this node is gone, as far as they can be reached, and talk no more."""
        server, self._server = self._server, None
        if server is not None:
            self.tables.leave(self.now)
            self._wake.set()
            try:
                async with asyncio.timeout(LEAVE_TIMEOUT):
                    await server.leave()
            except TimeoutError:
                log.warning("the other nodes may not have heard that this one leaves")
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running)
            self._begin()

    @property
    def others(self) -> int:
        """How many other nodes are there."""
        return self._server.memberlist.number_of_members - 1 if self._server is not None else 0

    def addresses(self) -> set[Address]:
        """Return the addresses that nodes gossip from."""
        members = self._server.memberlist.members() if self._server is not None else []
        return {ip_address(member.address) for member in members}

    def counts(self) -> Gossiped | None:
        """Return what gossip counts; None where there is none."""
        if self._server is None:
            return None
        memberlist = self._server.memberlist
        return Gossiped(
            states=tuple(member.state for member in memberlist.members()),
            events=memberlist.table.counts,
            score=memberlist.awareness.score,
            broadcasts=memberlist.waiting,
            traffic=asdict(self._server.traffic),
        )

    def changed(self) -> None:
        """The tables were written: what is to be told is told soon."""
        self._wake.set()
        self._news()

    async def _keep_time(self, tables: NetworkDB) -> None:
        while True:
            self._wake.clear()
            try:
                async with asyncio.timeout_at(tables.next_tick()):
                    await self._wake.wait()
            except TimeoutError:
                told = tables.told
                tables.tick(self.now)
                for name in tables.take_silent():
                    self._repeats.log(
                        logging.WARNING, name,
                        "node %s did not confirm within %g s what changed of this node's tasks; it is not waited for",
                        self._address_of(name), WITHIN,
                    )  # fmt: skip
                self._news()
                if tables.told != told:
                    self._told()

    def _address_of(self, name: str) -> str:
        members = self._server.memberlist.members() if self._server is not None else []
        return next((member.address for member in members if member.name == name), name)

    # What the tables ask of memberlist.

    def send(self, name: str, message: bytes, reliable: bool) -> None:
        """Send a message to a member."""
        self._do(lambda memberlist, now: memberlist.send(name, message, reliable))

    def tell(self, name: str, message: bytes, number: int) -> None:
        """Send a message to a member, and hear that it arrived."""
        self._do(lambda memberlist, now: memberlist.tell(name, message, number, now))

    def join(self, contacts: Sequence[Contact]) -> None:
        """Exchange states with these."""
        self._do(lambda memberlist, now: memberlist.call(contacts, now))

    def _do(self, action: Callable[[Memberlist, float], object]) -> None:
        # Not now: the tables may just be called by memberlist itself.
        server = self._server
        if server is not None:
            self._loop.call_soon(server.do, action)

    # What others told, and ask whether it was acted upon.

    def take_owed(self) -> list[Owed]:
        """Return the questions that came since the last call; none while there is more than was taken in."""
        return self._server.memberlist.take_owed() if self._server is not None and not self.tables.is_behind else []

    def acknowledge(self, owed: Sequence[Owed]) -> None:
        """Say that all that was told before these questions was acted upon."""
        if owed:
            self._do(lambda memberlist, now: memberlist.acknowledge(owed, now))

    # What memberlist tells the tables.

    def heard(self, message: bytes, now: float) -> None:
        """A message has come."""
        self.tables.heard(message, now)
        self.changed()

    def confirmed(self, number: int, arrived: bool, now: float) -> None:
        """A member has got what it was told."""
        told = self.tables.told
        self.tables.confirmed(number, arrived, now)
        self._wake.set()
        if self.tables.told != told:
            self._told()

    def broadcasts(self, overhead: int, limit: int, now: float) -> list[bytes]:
        """Return what is to be sent along."""
        return self.tables.broadcasts(overhead, limit, now)

    def local_state(self, join: bool, now: float) -> bytes:
        """Return which node is on which network."""
        return self.tables.local_state(join, now)

    def merge_state(self, state: bytes, join: bool, now: float) -> None:
        """A peer has said which node is on which network."""
        self.tables.merge_state(state, join, now)
        self.changed()

    def member_joined(self, member: Member, now: float) -> None:
        """A member is there."""
        self.tables.member_joined(member, now)
        self.changed()

    def member_failed(self, member: Member, now: float) -> None:
        """A member is silent."""
        self.tables.member_failed(member, now)
        self.changed()

    def member_left(self, member: Member, now: float) -> None:
        """A member has left."""
        self.tables.member_left(member, now)
        self.changed()

    def member_updated(self, member: Member, now: float) -> None:
        """A member has another address."""
        self.tables.member_updated(member, now)
        self.changed()


def _place(gossip: Gossip) -> tuple[str, str]:
    return gossip.bind, gossip.advertise
