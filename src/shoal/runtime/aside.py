"""Threads for calls that a file server may hold for ever: mounts, and a look at what lies on one.

Each call has a thread of its own. They are apart from the threads for files and logs, so that any number of file
servers that do not answer stops nothing else, and nobody waits for them when the daemon ends.
"""

import asyncio
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, TypeVar

from shoal.errors import Unavailable

R = TypeVar("R")

MOST = 64
"""Calls of one daemon at once. Beyond, further ones are refused, and a task tries again a second later."""


class _Held:
    """How many calls there are. The bound is for the whole process, as threads are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def take(self) -> None:
        with self._lock:
            if self._count >= MOST:
                raise Unavailable(f"{MOST} calls wait for file servers that do not answer")
            self._count += 1

    def give_back(self) -> None:
        with self._lock:
            self._count -= 1


_held = _Held()
_shared: dict[Hashable, "asyncio.Future[Any]"] = {}


def start(work: Callable[[], R]) -> "asyncio.Future[R]":
    """Begin a call, and return its outcome. Raises Unavailable if too many calls are held, or there is no thread.

    The call goes on if the caller is cancelled.
    """
    _held.take()
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[R] = loop.create_future()

    def tell(result: R | None, error: BaseException | None) -> None:
        if outcome.cancelled():
            return
        if error is not None:
            outcome.set_exception(error)
            outcome.exception()  # perhaps nobody asks for it any more
        else:
            outcome.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised where the outcome is awaited
            failure = error
        _held.give_back()
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, result, failure)

    try:
        threading.Thread(target=run, name="shoal-aside", daemon=True).start()
    except RuntimeError as error:  # the host has no more threads
        _held.give_back()
        raise Unavailable(str(error)) from error
    return outcome


async def run(work: Callable[[], R], within: float, *, key: Hashable) -> R:
    """Do a call and return its result. Raises TimeoutError after so many seconds, and Unavailable as `start` does.

    `key`: what makes calls equal. As long as one is held, a further one waits for the same outcome: whoever asks again
    and again takes one thread.
    """
    outcome = _shared.get(key)
    if outcome is None or outcome.get_loop() is not asyncio.get_running_loop():
        outcome = _shared[key] = start(work)
        outcome.add_done_callback(lambda _: _shared.pop(key, None))
    done, _ = await asyncio.wait([outcome], timeout=within)
    if not done:
        raise TimeoutError
    result: R = outcome.result()
    return result
