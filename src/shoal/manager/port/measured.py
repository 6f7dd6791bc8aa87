"""Carries out the calls of callers whose labour is bounded (`labour`).

In: a call's stream, and the coroutine that answers it. Out: the same, with each message waiting until its caller has
time, counted before it is decoded, and each step of the answer measured. Managers are trusted, and are not measured.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, cast

from grpclib.stream import recv_message

from shoal.errors import ResourceExhausted
from shoal.manager.port.labour import (
    HELD_BYTES,
    LONGEST_WAIT,
    MAX_PARTS,
    UNCOUNTED_BYTES,
    Account,
    counted,
    shape_of,
)
from shoal.repeats import Repeats

log = logging.getLogger(__name__)
_told = Repeats(log)


class _AsSent:
    """Takes the place of a kind of message where its bytes are wanted."""

    FromString = staticmethod(bytes)


class MeasuredStream:
    """A stream of grpclib's whose messages wait for their caller's time. Everything else is the stream's own."""

    def __init__(self, stream: Any, account: Account) -> None:
        self._of = stream
        self._account = account

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)

    async def recv_message(self) -> Any:
        """Return the next message, or None at the end of the stream.

        Raises Unavailable if the caller has no time left, ResourceExhausted for a message of too many parts,
        DecodeError.
        """
        data: bytes | None = await recv_message(self._of._stream, self._of._codec, cast(type[bytes], _AsSent))
        if data is None:
            return None
        await self._wait_time(len(data))
        kind = self._of._recv_type
        if len(data) > UNCOUNTED_BYTES:
            for parts in counted(data, shape_of(kind.DESCRIPTOR)):
                if parts > MAX_PARTS:
                    name = self._account.name
                    _told.log(logging.WARNING, ("parts", name), "%s sent a message of too many parts", name)
                    raise ResourceExhausted(f"the message has more than {MAX_PARTS} parts")
                await asyncio.sleep(0)
                await self._wait_time(len(data))  # dozens of its messages may be at this point
        return kind.FromString(data)

    def __aiter__(self) -> "MeasuredStream":
        return self

    async def __anext__(self) -> Any:
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message

    async def _wait_time(self, size_bytes: int) -> None:
        """Wait for the caller's time. Raises Unavailable when that takes too long, or too much waits already."""
        now, account = asyncio.get_running_loop().time, self._account
        if account.wait(now()) <= 0:
            return
        until = math.inf if self._of._cardinality.client_streaming else now() + LONGEST_WAIT
        account.held_bytes += size_bytes
        try:
            while (wait := account.wait(now())) > 0:
                if account.held_bytes > HELD_BYTES or now() + wait > until:
                    refusal = account.refusal(now())
                    _told.log(logging.WARNING, ("time", account.name), "%s", refusal)
                    raise refusal
                await asyncio.sleep(wait)
        finally:
            account.held_bytes -= size_bytes


@coroutine
def measured(
    work: Coroutine[Any, Any, None], account: Account, spent: Callable[[], float] = time.thread_time
) -> Generator[Any, Any, None]:
    """Do some work, and count the processor time of each of its steps. `spent` is that of this thread so far."""
    now = asyncio.get_running_loop().time
    fault: BaseException | None = None
    while True:
        before = spent()
        try:
            waits_for = work.send(None) if fault is None else work.throw(fault)
        except StopIteration:
            return
        finally:
            account.spend(spent() - before, now())
            fault = None
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001 - also a cancellation: it is the work's
            fault = error
