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
    # As when etcd ends while it starts: the kernel has taken the connection, nobody reads it.
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), tmp_path / "s")
    client = EtcdClient(tmp_path / "s")
    for _ in range(20):
        with pytest.raises(Unavailable, match="cannot be reached"):
            await client.status()
    client.close()
    server.close()
    await server.wait_closed()
