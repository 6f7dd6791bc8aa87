"""A daemon for the command to call: the real Engine API over a fake node, or fixed bytes, on a unix socket."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from shoal.engine.app import make_app, make_runner
from tests.unit.engine.fakes import FACTS, FakeNode, FakeOverlays, backend


@contextmanager
def daemon(folder: Path, node: FakeNode, overlays: FakeOverlays | None = None) -> Iterator[str]:
    """Serve in a thread of its own, because a command blocks the thread in which it runs. Yields the URL."""
    path = folder / "s"
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        facts = replace(FACTS, data_root=str(folder))
        runner = make_runner(make_app(backend(node=node, facts=facts, overlays=overlays or FakeOverlays())))
        await runner.setup()
        await web.UnixSite(runner, str(path)).start()
        ready.set()
        await stop.wait()
        await runner.cleanup()
        await loop.shutdown_default_executor()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield f"unix://{path}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()
        path.unlink(missing_ok=True)


@contextmanager
def answering(folder: Path, answer: bytes) -> Iterator[str]:
    """Answer the first call with these bytes, whatever it is, and close. Yields the URL."""
    path = folder / "raw"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            thread.join(60)
            path.unlink()
