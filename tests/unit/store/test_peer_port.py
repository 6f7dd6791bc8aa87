"""The members of a real etcd, read from its peers' socket, and sockets that do not belong to an etcd."""

import asyncio
from pathlib import Path

import pytest

from shoal.errors import Unavailable
from shoal.paths import Paths
from shoal.store import members
from shoal.store.etcd_process import EtcdConfig, EtcdProcess, peer_socket, peer_url
from shoal.store.peer_port import MAX_ANSWER_BYTES
from shoal.store.peer_port import members as at_peer_port

A, B = "a" * 25, "b" * 25


async def test_a_real_etcd_tells_its_members_also_when_most_of_them_are_not_there(paths: Paths) -> None:
    config = EtcdConfig(A, peer_url(A), heartbeat_ms=10, election_ms=50)
    async with EtcdProcess(paths, config) as etcd:
        known = await members.listed(etcd.client)
        assert await at_peer_port(peer_socket(paths, A)) == {A: known[A].id}
        await etcd.client.add_member(peer_url(B), learner=False)
        found = await at_peer_port(peer_socket(paths, A))
        assert set(found) == {A, B}
        assert found[A] == known[A].id


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.0 404 Not Found\r\n\r\n[]",
        b"HTTP/1.0 200 OK\r\n\r\n[",
        b"HTTP/1.0 200 OK\r\n\r\n7",
        b"HTTP/1.0 200 OK\r\n\r\n[{}]",
        b'HTTP/1.0 200 OK\r\n\r\n[{"id": 7, "peerURLs": []}]',
        b"HTTP/1.0 200 OK\r\n\r\n[" + b" " * 2 * MAX_ANSWER_BYTES + b"]",
    ],
)
async def test_what_is_no_answer_is_none(tmp_path: Path, answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(tmp_path / "etcd"))
    with pytest.raises(Unavailable):
        await at_peer_port(tmp_path / "etcd")
    server.close()


async def test_where_no_etcd_is_there_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await at_peer_port(tmp_path / "etcd")
