import asyncio
from pathlib import Path

import pytest

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import InvalidArgument, Unavailable
from shoal.store.etcd_client import EtcdClient, Refused
from shoal.store.etcd_process import EtcdProcess


async def test_status_and_members_are_those_of_a_single_manager(etcd: EtcdProcess) -> None:
    status = await etcd.client.status()
    members = (await etcd.client.members()).members
    assert status.version.startswith("3.")
    assert [(member.name, member.ID) for member in members] == [("manager", status.leader)]


async def test_a_transaction_tells_its_revision(etcd: EtcdProcess) -> None:
    put = pb.RequestOp(request_put=pb.PutRequest(key=b"a", value=b"b"))
    response = await etcd.client.txn(pb.TxnRequest(success=[put]))
    read = await etcd.client.range(pb.RangeRequest(key=b"a"))
    assert response.succeeded
    assert [(kv.value, kv.mod_revision) for kv in read.kvs] == [(b"b", response.header.revision)]


async def test_a_learner_is_added_and_removed(etcd: EtcdProcess) -> None:
    added = await etcd.client.add_member("unix://localhost:3", learner=True)
    assert added.member.isLearner
    await etcd.client.remove_member(added.member.ID)
    assert len((await etcd.client.members()).members) == 1


async def test_what_is_refused_says_why(etcd: EtcdProcess) -> None:
    put = pb.RequestOp(request_put=pb.PutRequest(key=b"a", value=b"b"))
    with pytest.raises(Refused, match="duplicate key given"):
        await etcd.client.txn(pb.TxnRequest(success=[put, put]))
    with pytest.raises(Refused, match="future revision"):
        await etcd.client.compact(1000, physical=False)


async def test_no_etcd_is_unavailable(tmp_path: Path) -> None:
    client = EtcdClient(tmp_path / "nobody")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await client.status()
    client.close()


async def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="shorter --exec-root"):
        EtcdClient(tmp_path / ("x" * 100))


async def test_a_connection_lost_as_soon_as_it_is_made_is_unavailable(tmp_path: Path) -> None:
    # As when etcd ends during its start: the kernel has accepted the connection, and nobody reads it.
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), tmp_path / "s")
    client = EtcdClient(tmp_path / "s")
    for _ in range(20):
        with pytest.raises(Unavailable, match="cannot be reached"):
            await client.status()
    client.close()
    server.close()
    await server.wait_closed()


async def test_what_the_short_way_does_not_understand_goes_the_long_way(
    etcd: EtcdProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not first:
            first.append(writer)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()
        else:
            far_reader, far_writer = await asyncio.open_unix_connection(str(etcd.socket))
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, far_writer))
                group.create_task(pump(far_reader, writer))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            writer.write(part)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    client = EtcdClient(tmp_path / "s")
    put = pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"a", value=b"b"))])
    with pytest.raises(Unavailable, match="in an unexpected way"):
        await client.txn(put)
    assert "short calls go the long way" in caplog.text
    assert (await client.txn(put)).succeeded
    assert (await client.status()).version.startswith("3.")
    client.close()
    server.close()
    await server.wait_closed()


async def test_a_transaction_of_megabytes_goes_the_long_way(etcd: EtcdProcess) -> None:
    puts = [pb.RequestOp(request_put=pb.PutRequest(key=b"%d" % n, value=bytes(1_000_000))) for n in range(5)]
    assert (await etcd.client.txn(pb.TxnRequest(success=puts))).succeeded
    assert (await etcd.client.range(pb.RangeRequest(key=b"4"))).count == 1
