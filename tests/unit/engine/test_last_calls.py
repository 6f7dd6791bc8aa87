import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import ClientConnectionError, ClientSession, web

from shoal.engine import last_calls


@contextlib.asynccontextmanager
async def server(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[tuple[web.AppRunner, str]]:
    """Yield a runner with one handler on loopback, and the address."""
    app = web.Application()
    app.router.add_get("/", handler)
    last_calls.watch(app)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=last_calls.SHUTDOWN_TIMEOUT)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield runner, f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


async def answer(session: ClientSession, url: str) -> str:
    async with session.get(url) as response:
        return await response.text()


async def refused(session: ClientSession, url: str) -> None:
    with pytest.raises(ClientConnectionError):
        await answer(session, url)


async def test_a_call_that_ends_in_time_is_answered() -> None:
    begun, ends = asyncio.Event(), asyncio.Event()

    async def ends_soon(_: web.Request) -> web.Response:
        begun.set()
        await ends.wait()
        return web.Response(text="done")

    async with server(ends_soon) as (runner, url), ClientSession() as session, asyncio.TaskGroup() as group:
        calling = group.create_task(answer(session, url))
        await begun.wait()
        stopping = group.create_task(runner.cleanup())
        asyncio.get_running_loop().call_later(0.05, ends.set)
        assert await calling == "done"
        await stopping


@pytest.mark.parametrize("left", [-0.02, 0.0, 0.02])
async def test_a_call_that_ends_just_as_its_time_runs_out_breaks_nothing(
    left: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a busy host: a late loop finds the call's end and the end of its time in one turn."""
    grace = 0.2
    monkeypatch.setattr(last_calls, "SHUTDOWN_TIMEOUT", grace)
    begun, ends = asyncio.Event(), asyncio.Event()

    async def ends_late(_: web.Request) -> web.Response:
        begun.set()
        await ends.wait()
        return web.Response()

    async def call(session: ClientSession, url: str) -> None:
        with contextlib.suppress(ClientConnectionError):  # it may or may not be too late for an answer
            await answer(session, url)

    async with server(ends_late) as (runner, url), ClientSession() as session, asyncio.TaskGroup() as group:
        group.create_task(call(session, url))
        await begun.wait()
        loop = asyncio.get_running_loop()
        loop.call_later(grace + left, ends.set)
        loop.call_later(grace / 2, time.sleep, grace)
        await runner.cleanup()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_call_that_does_not_end_is_cancelled() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def stays(_: web.Request) -> web.Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return web.Response()

    async with server(stays) as (runner, url), ClientSession() as session, asyncio.TaskGroup() as group:
        calling = group.create_task(refused(session, url))
        await begun.wait()
        await runner.cleanup()
        assert ended.is_set()
        await calling


async def test_a_call_that_takes_long_to_clean_up_is_not_left_to_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that waits for a thread. aiohttp would give up waiting for it, and could fail in doing so."""
    grace = 0.05
    monkeypatch.setattr(last_calls, "SHUTDOWN_TIMEOUT", grace)
    monkeypatch.setattr(last_calls, "CLEAN_UP_TIMEOUT", 60.0)
    begun, ends, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stays(_: web.Request) -> web.Response:
        begun.set()
        while not ends.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ends.wait()
        ended.set()
        return web.Response(text="done")

    async with server(stays) as (runner, url), ClientSession() as session, asyncio.TaskGroup() as group:
        calling = group.create_task(answer(session, url))
        await begun.wait()
        asyncio.get_running_loop().call_later(10 * grace, ends.set)
        await runner.cleanup()
        assert ended.is_set()
        assert await calling == "done"


@pytest.mark.parametrize("left", [-0.02, 0.0, 0.02])
async def test_a_call_that_takes_longer_than_that_breaks_nothing_either(
    left: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """aiohttp gets it then, and its time runs out in the turn in which the call ends."""
    grace = 0.2
    monkeypatch.setattr(last_calls, "SHUTDOWN_TIMEOUT", grace)
    monkeypatch.setattr(last_calls, "CLEAN_UP_TIMEOUT", grace)
    begun, ends = asyncio.Event(), asyncio.Event()

    async def stays(_: web.Request) -> web.Response:
        begun.set()
        while not ends.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ends.wait()
        return web.Response()

    async def call(session: ClientSession, url: str) -> None:
        with contextlib.suppress(ClientConnectionError):
            await answer(session, url)

    async with server(stays) as (runner, url), ClientSession() as session, asyncio.TaskGroup() as group:
        group.create_task(call(session, url))
        await begun.wait()
        loop = asyncio.get_running_loop()
        loop.call_later(3 * grace + left, ends.set)
        loop.call_later(2.5 * grace, time.sleep, grace)
        await runner.cleanup()
    gc.collect()  # what a child ended with and nobody has read is logged then
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_an_idle_connection_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_calls, "SHUTDOWN_TIMEOUT", 3600.0)

    async def nothing(_: web.Request) -> web.Response:
        return web.Response(text="x")

    async with server(nothing) as (runner, url), ClientSession() as session:
        assert await answer(session, url) == "x"
        async with asyncio.timeout(60):
            await runner.cleanup()
