"""Runs a test's Python code inside a host's network, to send what no command can send."""

import asyncio
import ctypes
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.harness.hosts import Host

T = TypeVar("T")
GOODBYE_TIMEOUT = 5.0  # for TLS's


def play(host: Host, story: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function in the network of a host. Returns or raises what it does."""
    results: list[T] = []
    errors: list[BaseException] = []

    def enter() -> None:
        # Only this thread enters the namespace, and it ends afterwards. Its sockets stay in the network in which they
        # were made.
        there = os.open(f"/run/netns/{host.namespace}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(there, 0):
                raise OSError(ctypes.get_errno(), "setns")
            results.append(asyncio.run(_to_its_end(story)))
        except BaseException as error:  # noqa: BLE001 - for the thread that waits
            errors.append(error)
        finally:
            os.close(there)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


async def _to_its_end(story: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the coroutine, and wait until the connections that it closed are really closed."""
    try:
        return await story()
    finally:
        selector = getattr(asyncio.get_running_loop(), "_selector")  # noqa: B009 - nothing public tells it
        async with asyncio.timeout(GOODBYE_TIMEOUT):
            while len(selector.get_map()) > 1:  # noqa: ASYNC110 - the loop's own remains
                await asyncio.sleep(0.01)
