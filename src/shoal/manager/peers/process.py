"""A separate program that carries the bytes between this manager's etcd and the others.

A leader loses the lead when etcd's heartbeats do not arrive for half a second. shoald's loop can be busy for a quarter
of a second: with a thousand agents, with clients that list everything, with Python's garbage collection. So etcd's
bytes have this process, which does nothing else (decision 18). In: `Orders` on standard input, connections of port 2377
as descriptors on a socket. Out: `Reply`s on standard output; bytes, by `incoming` and `outgoing`. It ends when its
input does, and so with shoald. `keeper` starts it, with the number of the socket as its first argument.
"""

import asyncio
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import uvloop

from shoal.ca.security import RaftIdentity
from shoal.manager.peers.incoming import PeerGate
from shoal.manager.peers.orders import MAX_LINE_BYTES, Beginning, Orders, Reply
from shoal.manager.peers.outgoing import PeerTunnels
from shoal.manager.port.crowd import Crowd, origin
from shoal.paths import Paths
from shoal.store.etcd_config import peer_socket

log = logging.getLogger(__name__)

# Handshakes that may wait. Each costs a signature, and strangers can begin them, so one at a time is answered.
HANDSHAKES = 64
HANDSHAKE_TIMEOUT = 2.0  # seconds; etcd gives up after five seconds and tries again
CLOSE_TIMEOUT = 1.0  # seconds
# Seconds between replies. shoald takes a manager for unreachable after a second without bytes from it.
TELL_EVERY = 0.1


class Tunnels:
    """This manager's ends of all tunnels, in both directions."""

    def __init__(self, beginning: Beginning, orders: Orders, replies: asyncio.WriteTransport) -> None:
        paths = Paths(Path(beginning.data_root), Path(beginning.exec_root))
        self._orders = orders
        self._replies = replies
        self._identity = _identity(orders)
        self._heard: set[str] = set()
        self._gate = PeerGate(
            peer_socket(paths, beginning.node_id),
            beginning.cluster_id,
            is_removed=lambda node_id: node_id in self._removed,
            heard=self._heard.add,
        )
        self._removed = frozenset(orders.removed)
        self._tunnels = PeerTunnels(paths, self, address_of=self._address_of, heard=self._heard.add)
        self._handshakes = Crowd[asyncio.Task[None]](HANDSHAKES)
        self._turn = asyncio.Lock()
        self._trouble = ""

    def peer_context(self) -> ssl.SSLContext:
        """Return the TLS context for reaching another manager, with the newest certificate."""
        return self._identity.peer_context()

    async def run(self, orders: asyncio.StreamReader, handing: socket.socket) -> None:
        """Carry bytes until the orders end."""
        async with asyncio.TaskGroup() as group:
            children = [
                group.create_task(self._gate.run(), name="etcd peers in"),
                group.create_task(self._tunnels.run(), name="etcd peers out"),
                group.create_task(self._tell_heard(), name="replies"),
            ]
            await asyncio.sleep(0)  # so that both have begun before they are used
            loop = asyncio.get_running_loop()
            loop.add_reader(handing, self._take_handed, handing, group)
            try:
                await self._obey(self._orders)
                while line := await orders.readline():
                    await self._obey(Orders.read(line))
            finally:
                loop.remove_reader(handing)
                for child in children:
                    child.cancel()

    async def _obey(self, orders: Orders) -> None:
        last, self._orders = self._orders, orders
        if (last.root_pem, last.chain_pem, last.key_pem) != (orders.root_pem, orders.chain_pem, orders.key_pem):
            self._identity = _identity(orders)
        self._removed = frozenset(orders.removed)
        try:
            await self._tunnels.serve(orders.addresses.keys())
            self._trouble = ""
        except OSError as fault:
            self._trouble = str(fault)
        for node_id, address in orders.addresses.items():
            if last.addresses.get(node_id) != address:
                self._tunnels.drop(node_id)
        self._gate.look()
        self._reply()

    def _address_of(self, node_id: str) -> str | None:
        return self._orders.addresses.get(node_id)

    async def _tell_heard(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY)
            # While shoald is busy no reply is sent; the next one names all managers that were heard.
            if self._heard and not self._replies.get_write_buffer_size():
                self._reply()

    def _reply(self) -> None:
        self._replies.write(Reply(self._orders.number, self._trouble, sorted(self._heard)).line())
        self._heard.clear()

    # Connections of port 2377.

    def _take_handed(self, handing: socket.socket, group: asyncio.TaskGroup) -> None:
        try:
            _, descriptors, _, _ = socket.recv_fds(handing, 1, 1)
        except (BlockingIOError, InterruptedError):
            return
        if not descriptors:
            asyncio.get_running_loop().remove_reader(handing)  # shoald has ended, and the orders will end too
            return
        sock = socket.socket(fileno=descriptors[0])
        try:
            host = origin(sock.getpeername()[0])
        except OSError:
            sock.close()
            return
        sock.setblocking(False)
        child = group.create_task(self._shake_hands(sock), name="handshake")
        child.add_done_callback(self._handshakes.leave)
        gone = self._handshakes.enter(child, host)
        if gone is not None:
            gone.cancel()

    async def _shake_hands(self, sock: socket.socket) -> None:
        try:
            async with self._turn:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            sock.close()
            raise
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Arrival(self._gate),
                sock,
                ssl=self._identity.server_context(),
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                ssl_shutdown_timeout=CLOSE_TIMEOUT,
            )
        except OSError as fault:  # also errors of TLS; what a stranger does here is not worth a warning
            log.debug("a handshake failed: %s", fault)


class _Arrival(asyncio.Protocol):
    """A peer that has finished its handshake."""

    def __init__(self, gate: PeerGate) -> None:
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the peer in if `PeerGate` accepts it."""
        connected = cast(asyncio.Transport, transport)  # uvloop's transports are no subclass of it
        guest = self._gate.accept(connected)
        if guest is None:
            connected.abort()
            return
        connected.set_protocol(guest)
        guest.connection_made(connected)


def _identity(orders: Orders) -> RaftIdentity:
    return RaftIdentity(orders.root_pem.encode(), orders.chain_pem.encode(), orders.key_pem.encode())


async def serve(said: BinaryIO, replies: BinaryIO, handing: socket.socket) -> None:
    """Carry out the orders on `said` until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), said)
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, replies)
    with suppress(asyncio.IncompleteReadError):
        beginning, orders = await reader.readuntil(b"\n"), await reader.readuntil(b"\n")
        who = Beginning.read(beginning)
        logging.basicConfig(
            level=who.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        logging.getLogger("asyncio").setLevel(max(who.log_level, logging.WARNING))
        await Tunnels(who, Orders.read(orders), transport).run(reader, handing)
    transport.close()


def main(new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop) -> None:
    """Run the program."""
    handing = socket.socket(fileno=int(sys.argv[1]))
    handing.setblocking(False)
    with (
        open(0, "rb", buffering=0) as said,
        open(1, "wb", buffering=0) as replies,
        asyncio.Runner(loop_factory=new_loop) as runner,
    ):
        runner.run(serve(said, replies, handing))


if __name__ == "__main__":
    main()
