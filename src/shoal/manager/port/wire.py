"""grpclib's HTTP/2 connection with limits, for peers that may be anyone.

grpclib trusts its peers: it acts on any number of frames at once, and an unknown frame or header causes a traceback.
Here frames are counted (`allowances`) and handled a few at a time (`shares`), and a breach of the protocol ends only
the call or the connection. In: bytes of one connection. Out: calls.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, cast

from grpclib.config import Configuration
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from grpclib.protocol import Connection as WireConnection
from grpclib.protocol import EventsProcessor, H2Protocol, Peer
from grpclib.protocol import Stream as WireStream
from grpclib.server import Handler, Server
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from shoal.ca.identity import MANAGER_OU
from shoal.manager.port.allowances import ALLOWANCES, Ledger, Role
from shoal.manager.port.authorization import Subject, subject_of
from shoal.manager.port.crowd import origin
from shoal.manager.port.frames import Frames
from shoal.manager.port.headers import readable
from shoal.manager.port.labour import largest
from shoal.manager.port.messages import STREAM_WINDOW_BYTES, LimitedBuffer, Room
from shoal.manager.port.outgoing import Outgoing
from shoal.manager.port.shares import Shares
from shoal.repeats import Repeats, is_told

log = logging.getLogger(__name__)
_told = Repeats(log)

# Unsent bytes for a peer that does not read, mostly answers to pings; with more the connection is dropped. Messages are
# not counted, because they wait elsewhere.
MAX_UNSENT_BYTES = 1024 * 1024
# How much is handled at a time, which takes a millisecond or two.
FRAMES_AT_ONCE = 8
BYTES_AT_ONCE = 64 * 1024
# With more than MANY unread bytes no more is read from a peer until there are fewer than FEW. The largest frame must be
# smaller than FEW.
MANY_UNREAD_BYTES, FEW_UNREAD_BYTES = 64 * 1024, 32 * 1024
# The processor time of a call beside that of reading it: a child that identifies the caller, and an answer.
CALL_SECONDS = 0.0005


class LimitedHandler(Handler):
    """Starts the calls of one connection."""

    max_message_bytes = 0
    accepted = 0

    def __init__(self, base: Server) -> None:
        super().__init__(base._mapping, base._codec, base._status_details_codec, base.__dispatch__)
        self._room = Room()

    def accept(self, stream: WireStream, headers: Any, release_stream: Callable[[], Any]) -> None:
        """Answer one request. A request without the headers that HTTP/2 requires is reset."""
        given = dict(headers)
        if not {":method", ":path"} <= given.keys():
            release_stream()
            stream.reset_nowait(ErrorCodes.PROTOCOL_ERROR)
            return
        self.accepted += 1
        max_bytes = largest(given[":path"], self.max_message_bytes)
        stream.buffer = LimitedBuffer(stream.buffer._ack_callback, max_bytes, self._room)
        super().accept(stream, readable(headers), release_stream)

    def cancel(self, stream: WireStream) -> None:
        """End a call that the peer gave up, unless it has ended already."""
        if stream in self._tasks:
            super().cancel(stream)


class _Peer(Peer):
    """The other end. Its certificate is read only once, because that takes 0.1 ms and each call asks for it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._addr, self._cert = super().addr(), super().cert()

    def addr(self) -> tuple[str, int] | None:
        """Return the peer's address."""
        return self._addr

    def cert(self) -> dict[str, Any] | None:
        """Return the peer's certificate, which the handshake verified."""
        return self._cert


class _Wire(WireConnection):
    """grpclib's own state of one connection."""

    def __init__(self, h2: H2Connection, transport: asyncio.Transport, *, config: Configuration) -> None:
        super().__init__(h2, cast(asyncio.Transport, Outgoing(transport)), config=config)
        self._peer = _Peer(transport)

    def get_peer(self) -> Peer:
        """Return the other end."""
        return self._peer


class _Processor(EventsProcessor):
    def process(self, event: Event) -> None:
        """Handle an event of HTTP/2. Frames of unknown kinds are ignored, as HTTP/2 says."""
        if type(event) in getattr(self, "processors", ()):
            super().process(event)


class Connection(H2Protocol):
    """One connection of a peer. `opened` and `closed` are called once each."""

    def __init__(
        self,
        base: Server,
        shares: Shares,
        opened: "Callable[[Connection], None]",
        closed: "Callable[[Connection], None]",
    ) -> None:
        self.calls = LimitedHandler(base)
        super().__init__(self.calls, base._config, base._h2_config)
        self._shares = shares
        self._frames = Frames()
        self._is_paused = False
        self._opened = opened
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._opened_at = time.monotonic()
        self.role = Role.STRANGER
        self.node_id = ""
        self.subject: Subject | None = None  # of the certificate
        self.host = ""

    @property
    def is_stranger(self) -> bool:
        """Whether the peer showed no certificate."""
        return self.role is Role.STRANGER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin HTTP/2, with the limits of the peer's role."""
        wire = cast(asyncio.Transport, transport)
        self._transport = wire
        self.host = origin(str((wire.get_extra_info("peername") or ("",))[0]))
        certificate = wire.get_extra_info("peercert")
        if certificate:
            self.subject = subject_of(certificate.get("subject", ()))
            self.node_id = self.subject.common_name
            self.role = Role.MANAGER if MANAGER_OU in self.subject.units else Role.WORKER
        allowed = ALLOWANCES[self.role]
        now = asyncio.get_running_loop().time()
        self._ledger = Ledger(allowed, now)
        self._name = ("host", self.host) if self.is_stranger else ("node", self.node_id)
        self._party = self._shares.enter(self._name, allowed.time, stranger=self.is_stranger)
        self.calls.max_message_bytes = allowed.message_bytes

        settings = {
            SettingCodes.MAX_CONCURRENT_STREAMS: allowed.concurrent_streams,
            SettingCodes.MAX_HEADER_LIST_SIZE: allowed.header_bytes,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
        }
        h2 = H2Connection(config=self.h2_config)
        h2.local_settings = Settings(client=False, initial_values=settings)
        h2.decoder.max_header_list_size = allowed.header_bytes
        h2.initiate_connection()
        more = allowed.window_bytes - h2.local_settings.initial_window_size
        if more > 0:
            h2.increment_flow_control_window(more)
        self.connection = _Wire(h2, wire, config=self.config)
        self._outgoing = self.connection._transport
        self.connection.flush()
        self.connection.initialize()
        self.processor = _Processor(self.calls, self.connection)
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes from a peer that may send anything. They are handled when it is the peer's turn."""
        if self._transport is None or self._transport.is_closing():
            return
        self._frames.add(data)
        if not self._is_paused and len(self._frames) > MANY_UNREAD_BYTES:
            self._is_paused = True
            self._transport.pause_reading()
        self._shares.read(self._party, self)

    def read_some(self) -> tuple[bool, float]:
        """Handle a few frames. Return whether more wait, and how many seconds of work will follow from them."""
        if self._transport is None or self._transport.is_closing():
            self._frames.clear()
            return False, 0.0
        now = asyncio.get_running_loop().time()
        before = self.calls.accepted
        chunk, more, excess = bytearray(), True, None
        for _ in range(FRAMES_AT_ONCE):
            frame = self._frames.next()
            if frame is None:
                more = False
                break
            excess = self._ledger.charge(frame, now)
            if excess is not None:
                break
            chunk += frame.data
            if len(chunk) >= BYTES_AT_ONCE:
                break
        if chunk:
            self._act_on(bytes(chunk))
        if excess is not None:
            self._calm(excess)
        if self._transport.is_closing():
            self._frames.clear()
            more = False
        elif self._is_paused and len(self._frames) < FEW_UNREAD_BYTES:
            self._is_paused = False
            self._transport.resume_reading()
        return more, (self.calls.accepted - before) * CALL_SECONDS

    def _act_on(self, data: bytes) -> None:
        """Handle whole frames. An error in them ends only this connection."""
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 - logged, and with its traceback where it may be a mistake of ours
            level = logging.DEBUG if self.is_stranger else logging.WARNING
            ours = not isinstance(error, H2Error | UnicodeDecodeError)
            _told.log(level, self._name, "a peer at %s broke the protocol: %s", self.host, error, exc_info=ours)
            self.processor.close("Protocol error")
        if not self.connection.write_ready.is_set() and self._unsent() > MAX_UNSENT_BYTES:
            self.abort()

    def _calm(self, excess: str) -> None:
        """End the connection with the error code that HTTP/2 has for a peer that sends too much."""
        who = f"a stranger at {self.host}" if self.is_stranger else f"{self.role.value} {self.node_id} at {self.host}"
        _told.log(logging.WARNING, (self._name, excess), "%s was sent away: too many %s", who, excess)
        with suppress(H2Error):  # it may have broken the protocol as well
            self.connection._connection.close_connection(
                ErrorCodes.ENHANCE_YOUR_CALM, additional_data=f"too many {excess}".encode()
            )
            if not self.connection.is_closing():
                self.connection.flush()
        self.processor.close("too much was sent")

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel the peer's calls and release everything that belongs to the connection."""
        if self._transport is None:
            return
        self._transport = None
        self._frames.clear()
        self._shares.leave(self._name, self)
        super().connection_lost(exc)
        self._closed(self)

    def idle_for(self, now: float) -> float:
        """Return for how many seconds no call was made; 0 while a call is answered. `now` is monotonic."""
        if not self.calls.check_closed():
            return 0.0
        return now - max(self._opened_at, self.connection.last_stream_created or 0.0)

    def abort(self) -> None:
        """Drop the connection at once. asyncio then calls `connection_lost`."""
        # asyncio's TLS transport (3.11) cannot be aborted once it is closing; its own timeout ends it.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()

    def close(self) -> None:
        """Tell the peer that the connection ends, and close it."""
        if self._transport is None:
            return
        with suppress(H2Error):  # a connection that broke the protocol cannot say goodbye either
            self.connection._connection.close_connection()
            self.connection.flush()
        self.processor.close("the manager is stopping")

    def _unsent(self) -> int:
        return self._outgoing.get_write_buffer_size() if self._transport is not None else 0


class _OurFault(logging.Filter):
    """A filter for what grpclib logs with a traceback: drops faults of peers, and limits repeats of the others."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is worth writing."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, TimeoutError | StreamTerminatedError | ProtocolError | H2Error):
            return False  # peers cause these; `guard` turns our own timeouts into other errors
        return error is None or is_told(_told.count((record.msg, type(error)))[0])


_our_fault = _OurFault()


def new_server(services: Collection[Any]) -> Server:
    """Return grpclib's server for these services. It never listens: `Connection` only uses its parts."""
    logging.getLogger("grpclib.server").addFilter(_our_fault)
    return Server(services, config=Configuration(http2_stream_window_size=STREAM_WINDOW_BYTES))
