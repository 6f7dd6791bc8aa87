"""Messages of a user whose arrival is confirmed: behind each, in its packet, goes a ping, and the answer says it.

Pure. A peer takes the parts of a packet one after another, so whoever answers the ping has got the message; Docker
Engines do so too. The other side is here as well: pings behind a user's message are answered once it was acted upon,
if the user says when that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.network.gossip import framing
from shoal.network.gossip.cipher import OVERHEAD
from shoal.network.gossip.delegate import State
from shoal.network.gossip.members import text_of
from shoal.network.gossip.messages import Ping, encode

if TYPE_CHECKING:
    from shoal.network.gossip.cipher import RandomBytes
    from shoal.network.gossip.config import Config
    from shoal.network.gossip.delegate import Delegate
    from shoal.network.gossip.members import Members
    from shoal.network.gossip.outbox import Outbox

ANSWERED_WITHIN = 5.0  # seconds; later answers say nothing to whoever waited
MOST_ASKED = 65_536  # questions that may be answered still: a second's for 1,000 nodes
MOST_OWED = 4096  # answers; who gets none asks again
Owed = tuple[Ping, tuple[str, int]]


class Confirming:
    """What was told and not confirmed yet, and the answers that this node owes."""

    def __init__(
        self, config: Config, members: Members, outbox: Outbox, delegate: Delegate, random_bytes: RandomBytes
    ) -> None:
        self._config = config
        self._members = members
        self._outbox = outbox
        self._delegate = delegate
        self._random_bytes = random_bytes
        self._asked: dict[int, tuple[int, float]] = {}  # by a ping's number: the user's, and until when
        self._streams: dict[int, int] = {}  # the user's numbers by those of streams
        self._owed: list[Owed] = []

    def tell(self, name: str, message: bytes, number: int, now: float, *, may_stream: bool) -> None:
        """Send a member's delegate a message; our own is told under the number that it arrived.

        Or at once that it did not, where the member does not live for all that is known. A message that is longer than
        a packet goes by a stream, if one more may be opened.
        """
        record = self._members.get(name)
        if record is None or record.state != State.ALIVE:
            self._delegate.confirmed(number, False, now)
            return
        address, me = text_of(record.address), self._members.me
        seq = self._unforeseen()
        ping = encode(Ping(seq, name, me.address, me.port, me.name))
        if self._outbox.send_user(address, record.port, message, also=ping):
            self._forget(now)
            self._asked[seq] = number, now + ANSWERED_WITHIN
        elif may_stream and len(data := framing.user_stream(message)) <= framing.MAX_STREAM - OVERHEAD:
            timeout = self._config.stream_timeout
            self._streams[self._outbox.ask(address, record.port, data, answered=False, timeout=timeout)] = number

    def _unforeseen(self) -> int:
        """Return a ping's number that only who gets the ping knows: others' answers confirm nothing.

        The address of an answer says less. A Docker Engine answers from any address of its host.
        """
        while (seq := int.from_bytes(self._random_bytes(4), "big")) in self._asked:
            pass
        return seq

    def _forget(self, now: float) -> None:
        while self._asked:
            seq, (_, until) = next(iter(self._asked.items()))
            if until > now and len(self._asked) < MOST_ASKED:
                return
            del self._asked[seq]

    def handle_ack(self, seq: int, now: float) -> None:
        """Take in that somebody answered a ping."""
        number, until = self._asked.pop(seq, (0, now))
        if until > now:
            self._delegate.confirmed(number, True, now)

    def handle_stream(self, stream: int, now: float, *, done: bool) -> bool:
        """Take in how a stream ended: read to its end by the other side, or not. False where it is none of these."""
        number = self._streams.pop(stream, None)
        if number is None:
            return False
        if done:
            self._delegate.confirmed(number, True, now)
        return True

    def __len__(self) -> int:
        """How many streams are under way."""
        return len(self._streams)

    def owe(self, ping: Ping, source: tuple[str, int]) -> None:
        """Keep a ping until it may be answered."""
        if len(self._owed) < MOST_OWED:
            self._owed.append((ping, source))

    def take_owed(self) -> list[Owed]:
        """Return the pings that came since the last call."""
        owed, self._owed = self._owed, []
        return owed
