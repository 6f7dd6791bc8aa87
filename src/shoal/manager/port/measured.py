"""Carries out the calls of callers whose labour is bounded (`labour`).

In: a call's stream, and the coroutine that answers it. Out: the same, with each message waiting until its caller has
time, counted before it is decoded, and each step of the answer measured. Managers are trusted, and are not measured.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, cast

from grpclib.stream import recv_message

from shoal.errors import ResourceExhausted
from shoal.manager.port.labour import (
    LONGEST_WAIT,
    MAX_PARTS,
    SMALL_MESSAGE_BYTES,
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
        return kind.FromString(data)

    def __aiter__(self) -> "MeasuredStream":
        return self

    async def __anext__(self) -> Any:
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message

    async def _wait_time(self, size_bytes: int) -> None:
        """Wait for the caller's time. A large message does not wait, because there may be hundreds of them."""
        now = asyncio.get_running_loop().time
        until = now() + LONGEST_WAIT
        while (wait := self._account.wait(now())) > 0:
            if size_bytes > SMALL_MESSAGE_BYTES or now() + wait > until:
                refusal = self._account.refusal(now())
                _told.log(logging.WARNING, ("time", self._account.name), "%s", refusal)
                raise refusal
            await asyncio.sleep(wait)


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
