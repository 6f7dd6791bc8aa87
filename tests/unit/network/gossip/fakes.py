"""Shared by the tests of gossip: nodes with fixed randomness, and the messages that they sent, decoded."""

import random

from shoal.network.gossip import framing, streams
from shoal.network.gossip.cipher import Keyring
from shoal.network.gossip.commands import Ask, Command, Note, Send
from shoal.network.gossip.config import Config
from shoal.network.gossip.delegate import State
from shoal.network.gossip.memberlist import Memberlist
from shoal.network.gossip.members import VERSIONS
from shoal.network.gossip.messages import Alive, Kind, Message, decode, encode
from tests.simulation.airwaves import KEYS, Listening

NOW = 100.0
HERE = ("10.9.0.1", 7946)
RING = Keyring(KEYS, random.Random(3).randbytes)


def place(number: int) -> tuple[str, int]:
    """Return the address of a member, by its number."""
    return f"10.9.{number >> 8}.{number & 255}", 7946


def alive(number: int, incarnation: int = 1, **other: object) -> Alive:
    """Return a message that member n<number> is alive."""
    packed = bytes(int(part) for part in place(number)[0].split("."))
    fields: dict[str, object] = {
        "incarnation": incarnation,
        "node": f"n{number}",
        "address": packed,
        "port": 7946,
        "versions": VERSIONS,
    }
    return Alive(**(fields | other))  # type: ignore[arg-type]


def said_of(data: bytes) -> streams.Said:
    """Read a whole stream."""
    return streams.read(RING, data[: framing.HEADER], data[framing.HEADER :])


class Node:
    """A memberlist named n1 at 10.9.0.1, and the commands that it returned."""

    def __init__(self, *members: int, **options: object) -> None:
        self.told = Listening()
        config = Config(name="n1", address=HERE[0], **options)  # type: ignore[arg-type]
        rng = random.Random(1)
        self.list = Memberlist(config, self.told, KEYS, rng, rng.randbytes, NOW)
        for number in members:
            self.get(alive(number))

    def get(self, *messages: Message | bytes, source: tuple[str, int] = place(2), now: float = NOW) -> None:
        """Receive a packet with these messages."""
        parts = [message if isinstance(message, bytes) else encode(message) for message in messages]
        assert self.list.handle_packet(RING.encrypt(framing.compound(parts)), source, now)

    def sent(self, kind: type | None = None) -> list[tuple[str, Message | bytes]]:
        """Return the messages that were sent since the last call, with their addresses."""
        return self.opened(self.list.take_commands(), kind)

    @staticmethod
    def opened(commands: list[Command], kind: type | None = None) -> list[tuple[str, Message | bytes]]:
        """Return the messages of one kind in the packets among these commands."""
        found: list[tuple[str, Message | bytes]] = []
        for command in commands:
            if isinstance(command, Send):
                for part in framing.unpack(framing.open_datagram(RING, command.data)):
                    message = part[1:] if part[0] == Kind.USER else decode(part)
                    if kind is None or isinstance(message, kind):
                        found.append((command.address, message))
        return found

    def asked(self) -> list[Ask]:
        """Return the streams that were opened since the last call."""
        return [command for command in self.list.take_commands() if isinstance(command, Ask)]

    def notes(self) -> list[str]:
        """Return the log messages since the last call."""
        return [command.kind for command in self.list.take_commands() if isinstance(command, Note)]

    def tick(self, until: float, start: float = NOW) -> float:
        """Let time pass until a given time."""
        now = start
        while (due := self.list.next_at()) <= until:
            now = max(now, due)
            self.list.tick(now)
        return until

    def states(self) -> dict[str, State]:
        """Return what is believed about each member, and about this node."""
        return {member.name: member.state for member in self.list.members()}
