"""One question asked outside: whom, when the next one, and which answer counts. Pure; nothing is kept of it.

Servers are asked in their order, three at most. The next is asked when one fails, or says so, or is silent for a
while; those asked before are listened to until the end. Each attempt has a random id and a socket of its own, whose
port the kernel draws; an answer counts only with this id and this question, from the server's address (the socket is
connected). Source of what is a failure: libnetwork's resolver.go (forwardExtDNS), 28.x.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shoal.network.names.questions import FORMERR, NOTIMP, OPCODE, QR, REFUSED, SERVFAIL, TC, Question, section_at

MAX_SERVERS = 3  # libnetwork's maxExtDNS, and a resolv.conf's own limit
# Docker waits 4 s for each server before it asks the next: a resolver in a container has given up by then (5 s).
PATIENCE = 1.5
LAST_PATIENCE = 4.0
# Guesses of an attacker, or leftovers: after so many an attempt is given up, as one of more guesses could be right.
MOST_WRONG = 16
# A reply that is cut off by a server, though the client takes more than every server sends, is fetched by TCP.
_EVERY_SERVER_SENDS = 1232

_START = struct.Struct("!HHH")


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a message to a server; tell what comes by this number."""

    number: int
    server: str
    tcp: bool
    message: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Listen to an attempt no longer."""

    number: int


@dataclass(frozen=True, slots=True)
class Done:
    """The reply for the client; None: nobody had one. All attempts are over."""

    reply: bytes | None


Command = Ask | Close | Done


@dataclass(slots=True)
class _Attempt:
    server: str
    tcp: bool
    id: int
    wrong: int = 0


class Exchange:
    """Events in, commands out. `look_again_at`: when `tick` has something to do."""

    def __init__(
        self, question: Question, servers: Sequence[str], *, tcp: bool, limit: int, draw: Callable[[], int]
    ) -> None:
        self._question = question
        self._servers = list(dict.fromkeys(servers))[:MAX_SERVERS]
        self._tcp = tcp
        self._limit = limit
        self._draw = draw  # an id, 0 to 65535, that nobody can guess
        self._open: dict[int, _Attempt] = {}
        self._count = 0
        self._cut: bytes | None = None  # a reply that was cut off: better than none
        self._done = False
        self.look_again_at = 0.0

    def start(self, now: float) -> list[Command]:
        """Begin."""
        return self._next(now)

    def received(self, number: int, message: bytes, now: float) -> list[Command]:
        """Take what came from an attempt's server."""
        attempt = self._open.get(number)
        if attempt is None:
            return []  # late
        flags = self._matching(attempt, message)
        if flags is None:
            attempt.wrong += 1
            return self.failed(number, now) if attempt.wrong >= MOST_WRONG else []
        if flags & 0x0F in (SERVFAIL, REFUSED):
            return self.failed(number, now)
        reply = self._question.message[:2] + message[2:]
        if flags & TC and not attempt.tcp:
            if self._limit > _EVERY_SERVER_SENDS:
                self._cut = reply
                self._tcp = True
                del self._open[number]
                return [Close(number), *self._ask(attempt.server, now)]
        elif self._cut is not None and len(reply) > self._limit:
            reply = self._cut
        return self._finish(reply)

    def failed(self, number: int, now: float) -> list[Command]:
        """An attempt cannot be sent, or its server refuses it."""
        if self._open.pop(number, None) is None:
            return []
        return [Close(number), *self._next(now)]

    def tick(self, now: float) -> list[Command]:
        """Time has passed."""
        if self._done or now < self.look_again_at:
            return []
        return self._next(now) if self._servers else self._finish(self._cut)

    def _next(self, now: float) -> list[Command]:
        if self._servers:
            return self._ask(self._servers.pop(0), now)
        return [] if self._open else self._finish(self._cut)

    def _ask(self, server: str, now: float) -> list[Command]:
        self._count += 1
        attempt = self._open[self._count] = _Attempt(server, self._tcp, self._draw())
        self.look_again_at = now + (PATIENCE if self._servers else LAST_PATIENCE)
        message = attempt.id.to_bytes(2, "big") + self._question.message[2:]
        return [Ask(self._count, server, attempt.tcp, message)]

    def _finish(self, reply: bytes | None) -> list[Command]:
        self._done = True
        self._open.clear()
        return [Done(reply)]

    def _matching(self, attempt: _Attempt, message: bytes) -> int | None:
        """Return the flags of the reply to this attempt; None for what is none."""
        if len(message) < 12:
            return None
        number, flags, questions = _START.unpack_from(message)
        if number != attempt.id or not flags & QR or flags & OPCODE:
            return None
        if not questions:
            # A server that cannot read a question, or will not, need not repeat it.
            return flags if flags & 0x0F in (FORMERR, SERVFAIL, NOTIMP, REFUSED) else None
        section = section_at(message)
        # Servers may repeat a name in another case (RFC 4343); type and class are no letters that lower() would change
        # into each other without the question being another.
        return flags if questions == 1 and section and _same(section, self._question.section) else None


def _same(section: bytes, other: bytes) -> bool:
    return section[-4:] == other[-4:] and section[:-4].lower() == other[:-4].lower()
