"""The socket of the network process: this user's alone, at any length of path."""

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from shoal.errors import PermissionDenied
from shoal.network.process import connection
from shoal.network.process.messages import Message


async def test_messages_go_both_ways_at_a_path_longer_than_an_address(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with connection.listen(folder) as sock:
        assert ((folder / "socket").stat().st_mode & 0o777) == 0o600
        one = await connection.connect(folder)
        reader, writer = await asyncio.open_unix_connection(sock=connection.accept(sock))
        other = connection.Connection(reader, writer)
        await one.send(Message("show", b"{}"))
        assert await other.receive() == Message("show", b"{}")
        async with asyncio.TaskGroup() as group:  # more than the kernel holds for one who does not read
            group.create_task(other.send(Message("hello", b"x" * 1_000_000)))
            assert await one.receive() == Message("hello", b"x" * 1_000_000)
        other.abort()
        assert await one.receive() is None
        await one.close()
        await other.close()


async def test_the_end_comes_as_the_end_where_a_message_could_not_be_sent(tmp_path: Path) -> None:
    with connection.listen(tmp_path) as sock:
        one = await connection.connect(tmp_path)
        connection.accept(sock).close()
        with suppress(ConnectionError):
            await one.send(Message("show", b"{}"))
        assert await one.receive() is None
        await one.close()


async def test_a_socket_of_a_former_process_is_replaced(tmp_path: Path) -> None:
    connection.listen(tmp_path).close()
    with pytest.raises(ConnectionRefusedError):
        await connection.connect(tmp_path)
    with connection.listen(tmp_path):
        await (await connection.connect(tmp_path)).close()


def test_another_users_connection_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.listen(tmp_path) as sock, socket.socket(socket.AF_UNIX) as theirs:
        theirs.connect(str(tmp_path / "socket"))
        own = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: own + 1)
        with pytest.raises(PermissionDenied, match=f"of user {own}"):
            connection.accept(sock)
