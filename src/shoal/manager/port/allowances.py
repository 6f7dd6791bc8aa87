"""How much of HTTP/2 a peer may send on one connection before it is told to calm down. Pure.

In: frames, the time. Out: what there was too much of, if anything. A stranger may do what joining takes and a little
more; a worker far more than its agent ever does, Docker's included; a manager carries the calls of a thousand nodes.
The reason: each frame costs a tenth of a millisecond or so of the loop by which managers' etcds speak.
"""

import math
from dataclasses import dataclass
from enum import Enum

from shoal.manager.port.frames import END_HEADERS, Frame, Kind


class Role(Enum):
    """What the peer of a connection has shown to be."""

    STRANGER = "stranger"
    WORKER = "worker"
    MANAGER = "manager"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and so many more each second."""

    burst: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a peer of one role may send. All ours: gRPC in Go limits none of these but the last four.

    `streams` opened, `resets` of streams, `control`: frames that carry nothing of a call (settings, pings, priorities,
    windows, frames of unknown kinds, continued headers, data without data), `bytes`: of all frames. `time`: seconds of
    processor time, of all connections of one node; of one host where it is a stranger. `header_bytes`: of one call's
    headers as they are sent. `concurrent_streams`: calls at a time. `message_bytes`: of one message;
    `window_bytes`: sent ahead on one connection while nobody reads.
    """

    streams: Rate
    resets: Rate
    control: Rate
    bytes: Rate
    time: Rate
    header_bytes: int
    concurrent_streams: int
    message_bytes: int
    window_bytes: int


KIB, MIB = 1024, 1024 * 1024
UNBOUNDED = Rate(math.inf, 0.0)

ALLOWANCES = {
    # Joining is three calls, of which one waits for seconds; the largest message is a request for a certificate.
    Role.STRANGER: Allowance(
        streams=Rate(100, 5),
        resets=Rate(20, 1),
        control=Rate(200, 20),
        bytes=Rate(512 * KIB, 32 * KIB),
        time=Rate(0.1, 0.05),
        header_bytes=16 * KIB,
        concurrent_streams=16,
        message_bytes=64 * KIB,
        window_bytes=65_535,
    ),
    # An agent makes a few calls a second. Where it reads fast (logs, assignments), it answers each frame of ours with a
    # window or a ping. 4 MiB is gRPC's own limit of a message, which Swarm's managers have too
    # (grpc-go defaultServerMaxReceiveMessageSize). A stream that nobody reads (logs of a slow subscriber) must not hold
    # up the heartbeats beside it: a window for 100 streams, as many as grpclib and Go take for allowed.
    Role.WORKER: Allowance(
        streams=Rate(2_000, 200),
        resets=Rate(1_000, 100),
        control=Rate(20_000, 5_000),
        bytes=Rate(256 * MIB, 64 * MIB),
        time=Rate(1.0, 0.3),
        header_bytes=64 * KIB,
        concurrent_streams=100,
        message_bytes=4 * MIB,
        window_bytes=8 * MIB,
    ),
    Role.MANAGER: Allowance(
        streams=Rate(100_000, 5_000),
        resets=Rate(100_000, 5_000),
        control=Rate(200_000, 20_000),
        bytes=UNBOUNDED,
        time=UNBOUNDED,
        header_bytes=64 * KIB,
        concurrent_streams=100,
        message_bytes=4 * MIB,
        window_bytes=8 * MIB,
    ),
}

# All strangers together, of each second of the loop: 400 calls or so. A flood from many hosts gets no more, and of
# those that wait each host has its turn.
STRANGERS_TIME = Rate(0.2, 0.2)


class Bucket:
    """What is left of a rate. May go below nothing: what is owed then has to come in first."""

    def __init__(self, rate: Rate, now: float = 0.0) -> None:
        self._rate = rate
        self._left = rate.burst
        self._at = now

    def spend(self, amount: float, now: float) -> None:
        """Take this much, whether or not it is there."""
        self._left = min(self._rate.burst, self._left + (now - self._at) * self._rate.per_second) - amount
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Take this much; whether it was there."""
        self.spend(amount, now)
        return self._left >= 0

    def wait(self, now: float) -> float:
        """Return for how many seconds nothing is there; 0 where something is."""
        left = self._left + (now - self._at) * self._rate.per_second
        return 0.0 if left > 0 else max(0.001, -left / self._rate.per_second)


class Ledger:
    """Counts what came on one connection."""

    def __init__(self, allowance: Allowance, now: float) -> None:
        self._header_bytes = allowance.header_bytes
        self._streams = Bucket(allowance.streams, now)
        self._resets = Bucket(allowance.resets, now)
        self._control = Bucket(allowance.control, now)
        self._bytes = Bucket(allowance.bytes, now)
        self._block = 0  # bytes of headers whose end has not come

    def charge(self, frame: Frame, now: float) -> str | None:
        """Count a frame; return what there was too much of."""
        if frame.kind is None:
            return None
        if not self._bytes.take(len(frame.data), now):
            return "bytes"
        if frame.kind in (Kind.HEADERS, Kind.CONTINUATION):
            self._block += frame.size_bytes
            if self._block > self._header_bytes:
                return "bytes of headers"
            if frame.flags & END_HEADERS:
                self._block = 0
        if frame.kind == Kind.HEADERS:
            return None if self._streams.take(1, now) else "calls"
        if frame.kind == Kind.RST_STREAM:
            return None if self._resets.take(1, now) else "calls given up"
        if frame.kind == Kind.DATA and not frame.is_empty:
            return None
        return None if self._control.take(1, now) else "frames without content"
