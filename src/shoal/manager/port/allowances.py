"""How much of HTTP/2 a peer may send on one connection before the connection is ended. Pure.

In: frames, the time. Out: what the peer sent too much of, if anything. A stranger may send what joining needs and a
little more. A worker may send far more than any agent does, also Docker's. A manager carries the calls of a thousand
nodes. The reason for limits: each frame costs about a tenth of a millisecond of the event loop (decision 12).
"""

import math
from dataclasses import dataclass
from enum import Enum

from shoal.manager.port.frames import END_HEADERS, Frame, Kind


class Role(Enum):
    """What the peer of a connection is, by its certificate. A stranger has none."""

    STRANGER = "stranger"
    WORKER = "worker"
    MANAGER = "manager"


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit: `burst` at once, and `per_second` more each second."""

    burst: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a peer of one role may send on a connection. gRPC in Go limits only the last four of these.

    - `streams`: streams opened. `resets`: streams reset. `bytes`: bytes of all frames.
    - `control`: frames that carry nothing of a call: settings, pings, priorities, window updates, unknown kinds,
      continued headers, empty data.
    - `time`: seconds of processor time, for all connections of a node together, or of a host of strangers.
    - `header_bytes`: of one call's headers, as sent. `concurrent_streams`: calls at a time. `message_bytes`: of one
      message. `window_bytes`: of unread data on one connection.
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
    # Joining takes three calls, one of which waits for seconds. The largest message is a request for a certificate.
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
    # An agent makes a few calls a second. While it reads fast (logs, assignments), it answers each of our frames with a
    # window update or a ping. 4 MiB is gRPC's default limit of a message, and so that of Swarm's managers (grpc-go
    # defaultServerMaxReceiveMessageSize). A stream that nobody reads (logs of a slow subscriber) must not stop the
    # heartbeats on the same connection, so the window is large enough for 100 streams, the limit of grpclib and Go.
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

# For all strangers together, in seconds of processor time: some 400 calls a second. A flood from many hosts gets no
# more, and hosts that wait take turns.
STRANGERS_TIME = Rate(0.2, 0.2)


class Bucket:
    """What is left of a rate. It may become negative; it must then first fill up to 0 again."""

    def __init__(self, rate: Rate, now: float = 0.0) -> None:
        self._rate = rate
        self._left = rate.burst
        self._at = now

    def spend(self, amount: float, now: float) -> None:
        """Take this much, even if less is left."""
        self._left = min(self._rate.burst, self._left + (now - self._at) * self._rate.per_second) - amount
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Take this much, and return whether so much was left."""
        self.spend(amount, now)
        return self._left >= 0

    def lacks(self, amount: float, now: float) -> float:
        """Return after how many seconds so much is left; 0 if it is now."""
        left = min(self._rate.burst, self._left + (now - self._at) * self._rate.per_second)
        return 0.0 if left >= amount else (amount - left) / self._rate.per_second

    def wait(self, now: float) -> float:
        """Return after how many seconds something is left again; 0 if something is left now."""
        left = self._left + (now - self._at) * self._rate.per_second
        return 0.0 if left > 0 else max(0.001, -left / self._rate.per_second)


class Ledger:
    """Counts what a peer sends on one connection."""

    def __init__(self, allowance: Allowance, now: float) -> None:
        self._header_bytes = allowance.header_bytes
        self._streams = Bucket(allowance.streams, now)
        self._resets = Bucket(allowance.resets, now)
        self._control = Bucket(allowance.control, now)
        self._bytes = Bucket(allowance.bytes, now)
        self._block = 0  # bytes of headers that are not complete yet

    def charge(self, frame: Frame, now: float) -> str | None:
        """Count a frame. Return what the peer sent too much of, in words for the log, or None."""
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
