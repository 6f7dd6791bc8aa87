"""Connections to other managers' etcds: what happens when they end. test_incoming.py tests the bytes, with both
ends.
"""

import asyncio
import ssl
from pathlib import Path

import pytest

from shoal.manager.peers.incoming import Relay
from shoal.manager.peers.outgoing import PeerTunnels
from shoal.paths import Paths

NODE = "b" * 25


class NoSecurity:
    """An identity that is never used."""

    def peer_context(self) -> ssl.SSLContext:
        raise AssertionError("nobody is reached here")


async def test_a_connection_that_comes_while_it_ends_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd").mkdir()
    dialing, ending, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def reach(self: PeerTunnels, node_id: str) -> Relay:
        dialing.set()
        try:
            await asyncio.get_running_loop().create_future()
            raise AssertionError("nobody is reached here")
        finally:
            ending.set()
            await go_on.wait()

    monkeypatch.setattr(PeerTunnels, "_reach", reach)
    tunnels = PeerTunnels(Paths(tmp_path / "data", tmp_path), NoSecurity(), address_of=lambda node_id: "127.0.0.1:1")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(tunnels.run())
        await asyncio.sleep(0)
        await tunnels.serve([NODE])
        path = str(tmp_path / "etcd" / f"{NODE}:1")
        _, first = await asyncio.open_unix_connection(path)
        await dialing.wait()
        running.cancel()
        await ending.wait()
        reader, second = await asyncio.open_unix_connection(path)
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        go_on.set()
        await asyncio.wait([running])
        for writer in (first, second):
            writer.close()
    assert not list((tmp_path / "etcd").iterdir())
