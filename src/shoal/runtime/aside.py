"""Threads for calls that a file server may hold for ever: mounts, and a look at what lies on one.

Each call has a thread of its own. They are apart from the threads for files and logs, so that any number of file
servers that do not answer stops nothing else, and nobody waits for them when the daemon ends.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from shoal.errors import Unavailable

R = TypeVar("R")

MOST = 64
"""Calls of one daemon at once. Beyond, further ones are refused, and a task tries again a second later."""

_held = 0


def start(work: Callable[[], R]) -> "asyncio.Future[R]":
    """Begin a call, and return its outcome. Raises Unavailable if too many calls are held already.

    The call goes on if the caller is cancelled.
    """
    global _held
    if _held >= MOST:
        raise Unavailable(f"{MOST} calls wait for file servers that do not answer")
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[R] = loop.create_future()

    def tell(result: R | None, error: BaseException | None) -> None:
        global _held
        _held -= 1
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
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=run, name="shoal-aside", daemon=True).start()
    _held += 1
    return outcome


async def run(work: Callable[[], R], within: float) -> R:
    """Do a call and return its result. Raises TimeoutError after so many seconds, and Unavailable as `start` does."""
    outcome = start(work)
    done, _ = await asyncio.wait([outcome], timeout=within)
    if not done:
        raise TimeoutError
    return outcome.result()
