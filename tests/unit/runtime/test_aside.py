"""Calls that a file server may hold for ever."""

import asyncio
import threading

import pytest

from shoal.errors import Unavailable
from shoal.runtime import aside


async def test_calls_that_are_held_stop_no_other_work() -> None:
    """Six held the threads that read files and logs."""
    free = threading.Event()
    held = [aside.start(free.wait) for _ in range(aside.MOST)]
    try:
        assert await asyncio.to_thread(lambda: 7) == 7
        with pytest.raises(Unavailable, match="64 calls wait for file servers that do not answer"):
            aside.start(free.wait)
    finally:
        free.set()
        await asyncio.wait(held)
    assert await aside.run(lambda: 8, 60, key="a") == 8


async def test_a_call_ends_at_its_limit_for_who_asked() -> None:
    free = threading.Event()
    with pytest.raises(TimeoutError):
        await aside.run(free.wait, 0.01, key="b")
    free.set()


async def test_an_error_is_the_callers() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await aside.run(fail, 60, key="c")


async def test_a_caller_that_goes_away_leaves_the_call() -> None:
    free, done = threading.Event(), threading.Event()

    def work() -> None:
        free.wait()
        done.set()

    child = asyncio.ensure_future(aside.run(work, 60, key="d"))  # noqa: TID251 - to be cancelled
    await asyncio.sleep(0)
    child.cancel()
    await asyncio.wait([child])
    free.set()
    assert await asyncio.to_thread(done.wait, 60)


async def test_whoever_asks_again_and_again_takes_one_thread() -> None:
    """As `docker system df` of a volume whose server is gone."""
    free = threading.Event()
    calls: list[int] = []

    def work() -> int:
        calls.append(1)
        free.wait()
        return 7

    for _ in range(aside.MOST + 1):
        with pytest.raises(TimeoutError):
            await aside.run(work, 0.0, key="df")
    assert len(calls) == 1
    free.set()
    assert await aside.run(work, 60, key="df") == 7


async def test_a_thread_that_cannot_be_started_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a while without free threads would end all mounts until the daemon starts again."""

    def fail(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        for _ in range(aside.MOST + 1):
            with pytest.raises(Unavailable, match="can't start new thread"):
                await aside.run(lambda: 7, 60, key="e")
    assert await aside.run(lambda: 7, 60, key="e") == 7
