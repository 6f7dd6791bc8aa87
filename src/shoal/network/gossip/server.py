"""memberlist on this host's network: port 7946, UDP and TCP.

The shell around `memberlist`: carries its commands, hands in what comes and the time. In: how to gossip, the delegate.
Out: `memberlist`. Bounded: how many streams there are, whose, how large and how long (`strangers`). Long-lived children
of `run`: `gossip-streams` (wakes on a connection), one child a stream, `gossip-clock` (wakes when memberlist wants to).
"""

import asyncio
import errno
import logging
import os
import random
import socket
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shoal.errors import InvalidArgument
from shoal.network.gossip import framing, streams
from shoal.network.gossip.commands import Ask, Command, Note, Send
from shoal.network.gossip.config import Config
from shoal.network.gossip.delegate import Delegate
from shoal.network.gossip.memberlist import MAX_STREAMS, Memberlist
from shoal.network.gossip.members import packed_of, text_of
from shoal.network.gossip.sockets import open_sockets
from shoal.network.gossip.strangers import Strangers, Streams
from shoal.repeats import Repeats

log = logging.getLogger(__name__)

# Before others have their turn: so many datagrams are read, or those of so many seconds.
BURST, TURN = 64, 0.01
SHORT = 16 << 10  # bytes of a stream that are read at once; longer ones in a thread
ACCEPT_PAUSE = 0.2  # after there were no descriptors left
# Datagrams that wait while the kernel takes none: all of one round to 1,000 nodes. More are lost, as on any network.
MOST_UNSENT = 4096
_OWN_STREAMS = MAX_STREAMS + 64


@dataclass(slots=True)
class Traffic:
    """What has passed since the start. Datagrams and streams; bytes are those of datagrams."""

    received: int = 0
    received_bytes: int = 0
    refused: int = 0  # of those: by a limit for strangers, or without a key of ours
    sent: int = 0
    sent_bytes: int = 0
    lost: int = 0  # the kernel did not take them from us, and no more can wait
    accepted: int = 0  # streams
    opened: int = 0


class GossipServer:
    """One node's gossip. `bind` is an address of this host; sockets of a former process may be handed in instead."""

    def __init__(
        self,
        config: Config,
        bind: str,
        delegate: Delegate,
        keys: Sequence[bytes],
        *,
        rng: random.Random | None = None,
        sockets: tuple[socket.socket, socket.socket] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.memberlist = Memberlist(config, delegate, keys, rng or random.SystemRandom(), os.urandom, loop.time())
        self._udp, self._tcp = sockets or open_sockets(bind, config.port)
        self._strangers, self._streams = Strangers(), Streams()
        self._repeats = Repeats(log)
        self._unsent: deque[Send] = deque()
        self._changed = asyncio.Event()
        self._left = asyncio.Event()
        self._asking = 0
        self.traffic = Traffic()

    @property
    def sockets(self) -> tuple[socket.socket, socket.socket]:
        """UDP and TCP, for a successor."""
        return self._udp, self._tcp

    async def run(self) -> None:
        """Gossip until cancelled; then the sockets are closed."""
        with self._udp, self._tcp, ThreadPoolExecutor(1, thread_name_prefix="gossip") as self._thread:
            async with asyncio.TaskGroup() as self._group:
                self._loop.add_reader(self._udp, self._read_datagrams)
                try:
                    self._group.create_task(self._accept(), name="gossip-streams")
                    self._flush()
                    await self._keep_time()
                finally:
                    self._loop.remove_reader(self._udp)
                    self._loop.remove_writer(self._udp)

    def do(self, action: Callable[[Memberlist, float], object]) -> None:
        """Let memberlist be called, and carry out what it wants done for that."""
        action(self.memberlist, self._loop.time())
        self._flush()

    async def leave(self) -> None:
        """Tell the others that this node leaves; ends in about a second, whoever hears it. `run` must run."""
        self.do(lambda memberlist, now: memberlist.leave(now))
        await self._left.wait()

    async def _keep_time(self) -> None:
        while True:
            self._changed.clear()
            due = self.memberlist.next_at()
            try:
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
            except TimeoutError:
                self.memberlist.tick(self._loop.time())
                self._flush(wake=False)

    def _read_datagrams(self) -> None:
        ends_at = self._loop.time() + TURN
        for _ in range(BURST):
            if self._loop.time() > ends_at:
                break  # the loop calls again, as there is more to be read
            try:
                data, source = self._udp.recvfrom(framing.MAX_DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:  # what the network says of a packet that was sent
                self._repeats.log(logging.DEBUG, "receive", "receiving a datagram: %s", error)
                continue
            self.traffic.received += 1
            self.traffic.received_bytes += len(data)
            now = self._loop.time()
            address = _plain(source[0])
            if not self.memberlist.knows(address) and not self._strangers.may_send(address, now):
                self.traffic.refused += 1
                continue
            if not self.memberlist.handle_packet(data, (address, source[1]), now):
                self.traffic.refused += 1
                self._strangers.failed(address, now)
        self._flush()

    def _flush(self, *, wake: bool = True) -> None:
        while commands := self.memberlist.take_commands():
            for command in commands:
                self._carry_out(command)
        if self.memberlist.has_left(self._loop.time()):
            self._left.set()
        if wake:
            self._changed.set()

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, Send):
            self._send(command)
        elif isinstance(command, Note):
            self._repeats.log(logging.INFO, command.kind, "%s", command.text)
        elif self._asking >= _OWN_STREAMS:
            self.memberlist.handle_failure(command.number, "too many streams are open", self._loop.time())
        else:
            self._asking += 1
            self.traffic.opened += 1
            self._group.create_task(self._ask(command), name=f"gossip-ask {command.address}")

    def _send(self, command: Send) -> None:
        if not self._unsent and self._sent(command):
            return
        if len(self._unsent) >= MOST_UNSENT:
            self.traffic.lost += 1
            return
        if not self._unsent:
            self._loop.add_writer(self._udp, self._send_on)
        self._unsent.append(command)

    def _send_on(self) -> None:
        """Send what waited for the kernel to take it."""
        while self._unsent and self._sent(self._unsent[0]):
            self._unsent.popleft()
        if not self._unsent:
            self._loop.remove_writer(self._udp)

    def _sent(self, command: Send) -> bool:
        """Send a datagram; False where the kernel takes none now."""
        try:
            self._udp.sendto(command.data, self._place(command.address, command.port))
            self.traffic.sent += 1
            self.traffic.sent_bytes += len(command.data)
        except BlockingIOError:
            return False
        except OSError as error:  # no route, no such family: as lost as on the way
            self.traffic.lost += 1
            self._repeats.log(logging.DEBUG, ("send", error.errno), "sending to %s: %s", command.address, error)
        return True

    def _place(self, address: str, port: int) -> tuple[str, int]:
        # A socket of both families writes IPv4 addresses in its own way.
        if self._udp.family == socket.AF_INET6 and ":" not in address:
            return f"::ffff:{address}", port
        return address, port

    async def _ask(self, command: Ask) -> None:
        memberlist, number = self.memberlist, command.number
        try:
            async with asyncio.timeout(command.timeout):
                said = await self._exchange(command)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, InvalidArgument) as error:
            memberlist.handle_failure(number, str(error) or type(error).__name__, self._loop.time())
        else:
            if said is None:
                memberlist.handle_done(number, self._loop.time())
            else:
                memberlist.handle_answer(number, said, self._loop.time())
        finally:
            self._asking -= 1
        self._flush()

    async def _exchange(self, command: Ask) -> streams.Said | None:
        reader, writer = await asyncio.open_connection(command.address, command.port)
        try:
            writer.write(command.data)
            await writer.drain()
            if command.answered:
                return await self._read(reader, known=True)
            writer.write_eof()
            await reader.read(1)  # until the other has read it all and closes
            return None
        finally:
            writer.transport.abort()  # nothing is left to be sent, or it is given up

    async def _accept(self) -> None:
        while True:
            try:
                sock, source = await self._loop.sock_accept(self._tcp)
            except OSError as error:
                # No descriptors left, or a connection that was gone before it was taken.
                self._repeats.log(logging.WARNING, "accept", "accepting a stream of gossip: %s", error)
                await asyncio.sleep(ACCEPT_PAUSE if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM) else 0)
                continue
            address = _plain(source[0])
            known = self.memberlist.knows(address)
            if not self._streams.open(address, known=known):
                sock.close()
                self._repeats.log(logging.INFO, "crowd", "a stream of %s is refused: there are too many", address)
                continue
            self.traffic.accepted += 1
            self._group.create_task(self._serve(sock, (address, source[1]), known), name=f"gossip-stream {address}")

    async def _serve(self, sock: socket.socket, source: tuple[str, int], known: bool) -> None:
        try:
            async with asyncio.timeout(self.memberlist.config.stream_timeout):
                try:
                    reader, writer = await asyncio.open_connection(sock=sock)
                except BaseException:
                    sock.close()
                    raise
                try:
                    said = await self._read(reader, known=known)
                    answer = self.memberlist.answer(said, source, self._loop.time())
                    self._flush()
                    writer.write(answer)
                    await writer.drain()
                    if answer:
                        writer.write_eof()
                        await reader.read(1)  # the other closes when it has read all
                finally:
                    writer.transport.abort()
        except InvalidArgument as error:
            self._repeats.log(logging.INFO, "stream", "a stream of %s is refused: %s", source[0], error)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self._repeats.log(logging.DEBUG, "broken", "a stream of %s broke: %r", source[0], error)
        finally:
            self._streams.close(source[0], known=known)

    async def _read(self, reader: asyncio.StreamReader, *, known: bool) -> streams.Said:
        header = await reader.readexactly(framing.HEADER)
        length = framing.stream_length(header)
        if not self._streams.take(length, known=known):
            raise InvalidArgument("too much is being read from others")
        try:
            body = await reader.readexactly(length)
            keyring = self.memberlist.keyring
            if length <= SHORT:
                return streams.read(keyring, header, body)
            return await self._loop.run_in_executor(self._thread, streams.read, keyring, header, body)
        finally:
            self._streams.give_back(length, known=known)


def _plain(address: str) -> str:
    packed = packed_of(address)
    return text_of(packed) if packed else address
