"""What is to be sent: puts messages into packets, fills them up with what waits to be spread, seals them.

Pure. Collects commands until they are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.network.gossip import framing
from shoal.network.gossip.cipher import OVERHEAD, Keyring
from shoal.network.gossip.commands import Ask, Command, Note, Send
from shoal.network.gossip.messages import Kind

if TYPE_CHECKING:
    from shoal.network.gossip.broadcasts import Broadcasts
    from shoal.network.gossip.config import Config
    from shoal.network.gossip.delegate import Delegate

_USER = bytes((Kind.USER,))
# Commands until they are taken. What one input can cause is far below; beyond it packets are lost, as on any network.
MAX_WAITING = 10_000


class Outbox:
    """The commands of one memberlist. `members` is how many are known."""

    def __init__(self, config: Config, keyring: Keyring, delegate: Delegate, broadcasts: Broadcasts) -> None:
        self._config = config
        self._delegate = delegate
        self._broadcasts = broadcasts
        self._commands: list[Command] = []
        self._last = 0
        self.keyring = keyring
        self.members = 1

    @property
    def room(self) -> int:
        """Bytes that a packet has for messages."""
        return self._config.packet_budget - OVERHEAD

    def take(self) -> list[Command]:
        """Return what has come together since the last time."""
        taken, self._commands = self._commands, []
        return taken

    def note(self, kind: str, text: str) -> None:
        """Have a line logged."""
        self._put(Note(kind, text))

    def send(self, address: str, port: int, message: bytes, now: float, *, also: bytes = b"") -> None:
        """Send a message, and `also` with it, and as much of what waits as there is room for."""
        parts = [message, also] if also else [message]
        used = framing.COMPOUND_HEADER + sum(framing.PART_HEADER + len(part) for part in parts)
        parts += self._waiting(self.room - used, now)
        self._pack(address, port, parts)

    def gossip(self, address: str, port: int, now: float) -> bool:
        """Send of what waits what has room in a packet; False, and nothing is sent, where nothing waits."""
        parts = self._waiting(self.room - framing.COMPOUND_HEADER, now)
        self._pack(address, port, parts)
        return bool(parts)

    def send_user(self, address: str, port: int, message: bytes, *, also: bytes = b"") -> bool:
        """Send a user's message, and `also` behind it in the same packet. False: they are too long, nothing is sent."""
        parts = [_USER + message, also] if also else [_USER + message]
        head = framing.COMPOUND_HEADER + len(parts) * framing.PART_HEADER if also else 0
        if head + sum(map(len, parts)) > self.room:
            return False
        self._seal(address, port, parts)
        return True

    def ask(self, address: str, port: int, message: bytes, *, answered: bool, timeout: float) -> int:
        """Open a stream; return its number."""
        self._last += 1
        data = framing.seal_stream(self.keyring, message)
        self._put(Ask(self._last, address, port, data, answered, timeout))
        return self._last

    def _waiting(self, limit: int, now: float) -> list[bytes]:
        """Return messages that take at most `limit` bytes with what each costs: of members first, then the user's."""
        found = self._broadcasts.take(framing.PART_HEADER, limit, self.members)
        limit -= sum(framing.PART_HEADER + len(part) for part in found)
        overhead = framing.PART_HEADER + len(_USER)
        if limit > overhead:
            found += (_USER + part for part in self._delegate.broadcasts(overhead, limit, now))
        return found

    def _pack(self, address: str, port: int, parts: list[bytes]) -> None:
        """Send messages in as few packets as hold them: one, unless the delegate gave more than was asked for."""
        packet: list[bytes] = []
        used = framing.COMPOUND_HEADER
        for part in parts:
            size = framing.PART_HEADER + len(part)
            if packet and (used + size > self.room or len(packet) == framing.MAX_COMPOUND):
                self._seal(address, port, packet)
                packet, used = [], framing.COMPOUND_HEADER
            packet.append(part)
            used += size
        if packet:
            self._seal(address, port, packet)

    def _seal(self, address: str, port: int, parts: list[bytes]) -> None:
        self._put(Send(address, port, framing.seal_datagram(self.keyring, framing.compound(parts))))

    def _put(self, command: Command) -> None:
        if len(self._commands) < MAX_WAITING:
            self._commands.append(command)
