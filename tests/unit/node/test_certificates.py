"""Where certificates come from: a real manager's port on loopback, and the node's own store."""

import asyncio
import time
from pathlib import Path
from typing import cast

import pytest
from grpclib.const import Status

from shoal.api import v1 as api
from shoal.ca.csr import csr_key, make_csr, new_key
from shoal.ca.identity import identity_of, read_chain, validate_chain
from shoal.ca.security import first_context, joining_context
from shoal.ca.tokens import parse_token
from shoal.errors import RpcError, ShoalError, Unavailable
from shoal.manager.certificates.issuing import Signer
from shoal.node import certificates
from shoal.node.certificates import download_root, from_own_store
from shoal.store.changes import copy
from shoal.store.memory import Transaction
from shoal.store.store import Store
from tests.unit.ca.swarms import Swarm
from tests.unit.manager.stores import MemoryStore
from tests.unit.node.managers import manager


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time between two attempts, and between two questions about a request."""
    monkeypatch.setattr(certificates, "ATTEMPT_PAUSE", 0.01)
    monkeypatch.setattr(certificates, "STATUS_PAUSE", 0.01)
    monkeypatch.setattr(certificates, "LONGEST_STATUS_PAUSE", 0.05)


async def test_a_root_is_believed_by_its_digest_alone(tmp_path: Path) -> None:
    async with manager(tmp_path) as made:
        pem = made.swarm.root.certs_pem
        assert await download_root(made.address, parse_token(made.token()).digest) == pem
        assert await download_root(made.address) == pem  # as Docker does without a token
        with pytest.raises(ShoalError, match=r"^remote CA does not match fingerprint\. Expected: 0000") as raised:
            await download_root(made.address, "0" * 64)
        assert not isinstance(raised.value, RpcError)


async def test_who_cannot_be_reached_is_asked_again_and_told_of_in_gos_words() -> None:
    attempts = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(RpcError, match="connection error: desc = ") as raised:
            await download_root(address)
    assert raised.value.grpc_status is Status.UNAVAILABLE
    assert attempts == certificates.ATTEMPTS
    with pytest.raises(RpcError, match=f"dial tcp {address}: connect: connection refused"):
        await download_root(address)


@pytest.mark.parametrize("role", [api.WORKER, api.MANAGER])
async def test_a_token_gives_a_certificate_of_its_role(tmp_path: Path, role: int) -> None:
    async with manager(tmp_path) as made:
        chain = read_chain(await made.client().request(make_csr(new_key()), made.token(role), api.NodeSpec.DRAIN))
        (node,) = made.nodes()
    identity = identity_of(chain[0])
    assert (identity.node_id, identity.role, identity.organization) == (node.id, role, made.swarm.cluster_id)
    assert node.spec.availability == api.NodeSpec.DRAIN
    validate_chain(chain, made.swarm.root.certificates, time.time())


async def test_a_certificate_is_waited_for_and_one_request_is_made(tmp_path: Path) -> None:
    csr = make_csr(new_key())
    async with manager(tmp_path) as made, asyncio.TaskGroup() as group:
        made.signing.clear()
        asking = group.create_task(made.client().request(csr, made.token()))
        with made.store.watch(api.Node) as watch:
            await watch.next()
        assert not asking.done()
        made.signing.set()
        await asking
        (node,) = made.nodes()
        assert csr_key(node.certificate.csr) == csr_key(csr)


async def test_a_wrong_token_is_refused_at_once(tmp_path: Path) -> None:
    async with manager(tmp_path) as made:
        with pytest.raises(RpcError, match="valid join token") as raised:
            await made.client().request(make_csr(new_key()), made.token()[:-1])
        assert raised.value.grpc_status is Status.INVALID_ARGUMENT
        assert made.nodes() == []


async def test_a_refusal_of_the_ca_is_told_with_its_reason(tmp_path: Path) -> None:
    async with manager(tmp_path) as made:
        made.refusal = "the key is too odd"
        with pytest.raises(ShoalError, match="refuses to sign this node's certificate: the key is too odd"):
            await made.client().request(make_csr(new_key()), made.token())


async def test_a_manager_of_another_swarm_is_not_believed(tmp_path: Path) -> None:
    stranger = Swarm(tmp_path / "other", now=time.time())
    async with manager(tmp_path) as made:
        with pytest.raises(RpcError, match="x509: certificate signed by unknown authority"):
            await made.client(joining_context(stranger.root.certs_pem)).request(make_csr(new_key()), made.token())
        assert made.nodes() == []


@pytest.mark.parametrize("kek", [b"", b"k" * 32], ids=["not locked", "locked"])
async def test_a_manager_gets_the_key_that_locks_it_and_a_worker_none(tmp_path: Path, kek: bytes) -> None:
    async with manager(tmp_path, kek=kek) as made:
        root, key = made.swarm.root.certs_pem, new_key()
        chain = await made.client().request(make_csr(key), made.token(api.MANAGER))
        known = first_context(root, chain, key, time.time())
        assert await made.client(known).unlock_key() == (kek, made.cluster.meta.version.index)
        chain = await made.client().request(make_csr(key := new_key()), made.token())
        with pytest.raises(RpcError) as raised:
            await made.client(first_context(root, chain, key, time.time())).unlock_key()
        assert raised.value.grpc_status is Status.PERMISSION_DENIED


# The node's own store.


def held(folder: Path) -> tuple[Swarm, MemoryStore]:
    swarm = Swarm(folder, now=time.time())
    root_ca = api.RootCA(ca_cert=swarm.root.certs_pem, ca_key=swarm.root.key_pem)
    node = api.Node(id="n1", role=api.MANAGER, certificate=api.Certificate(cn="n1", role=api.MANAGER))
    return swarm, MemoryStore([api.Cluster(id=swarm.cluster_id, root_ca=root_ca), node])


async def wait_written(store: MemoryStore, csr: bytes) -> None:
    with store.watch(api.Node) as watch:
        while _node(store).certificate.csr != csr:
            await watch.next()


def _node(store: MemoryStore) -> api.Node:
    node = store.view().nodes.get("n1")
    assert node is not None
    return node


async def test_a_leader_renews_its_own_certificate(tmp_path: Path) -> None:
    swarm, store = held(tmp_path)
    csr = make_csr(new_key())
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(from_own_store(cast(Store, store), "n1", swarm.cluster_id, csr))
        await wait_written(store, csr)
        plan = Signer(swarm.cluster_id).decide(store.view(), time.time(), None)
        await store.update(lambda transaction: transaction.apply(plan.changes))
        identity = identity_of(read_chain(await asking)[0])
    assert (identity.node_id, identity.role) == ("n1", api.MANAGER)


async def test_a_request_of_ones_own_that_gives_way_to_another_is_told_so(tmp_path: Path) -> None:
    swarm, store = held(tmp_path)
    first, second = make_csr(new_key()), make_csr(new_key())

    async def asks() -> None:
        with pytest.raises(Unavailable, match="another request"):
            await from_own_store(cast(Store, store), "n1", swarm.cluster_id, first)

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(asks())
        await wait_written(store, first)

        def overtake(transaction: Transaction) -> None:
            changed = copy(_node(store))
            changed.certificate.csr = second
            transaction.update(changed)

        await store.update(overtake)
        await asking


async def test_who_does_not_lead_cannot_renew_by_its_own_store(tmp_path: Path) -> None:
    swarm, store = held(tmp_path)
    store.quorum = False
    with pytest.raises(Unavailable):
        await from_own_store(cast(Store, store), "n1", swarm.cluster_id, make_csr(new_key()))
