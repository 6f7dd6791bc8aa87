import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.testing import ChannelFor

from shoal.api import v1 as api
from shoal.api.gen.ca_grpc import CAStub, NodeCAStub
from shoal.ca.csr import make_csr, new_key
from shoal.ca.identity import identity_of, read_chain
from shoal.manager.certificates import server as ca_server
from shoal.manager.certificates.issuing import Signer
from shoal.manager.certificates.rates import Requests
from shoal.manager.certificates.server import CAServer, NodeCAServer
from shoal.manager.port.allowances import Rate
from shoal.manager.port.authorization import Caller
from shoal.manager.port.guard import as_caller, current_caller, guarded
from shoal.store.changes import copy
from shoal.store.store import Store
from tests.unit.ca.swarms import CLUSTER_ID, NOW
from tests.unit.manager.certificates.test_issuing import CSR, ROOT, STRANGER, TOKENS, State, cluster, node
from tests.unit.manager.stores import MemoryStore

MANAGER = Caller("m", api.MANAGER, CLUSTER_ID, "")


@asynccontextmanager
async def served(
    store: MemoryStore,
    caller: Caller = STRANGER,
    is_signing: Callable[[], bool] = lambda: True,
    requests: Requests | None = None,
) -> AsyncIterator[tuple[CAStub, NodeCAStub]]:
    held = cast(Store, store)
    services: list[Any] = [
        CAServer(held, CLUSTER_ID),
        NodeCAServer(held, CLUSTER_ID, caller=current_caller, is_signing=is_signing, requests=requests),
    ]
    async with ChannelFor(guarded(services, as_caller(caller))) as channel:
        yield CAStub(channel), NodeCAStub(channel)


async def sign(store: MemoryStore) -> None:
    plan = Signer(CLUSTER_ID).decide(store.view(), NOW, None)
    await store.update(lambda transaction: transaction.apply(plan.changes))


async def refusal(call: Any) -> tuple[Status, str | None]:
    with pytest.raises(GRPCError) as caught:
        await call
    return caught.value.status, caught.value.message


async def test_anyone_gets_the_root_that_the_tokens_name() -> None:
    async with served(MemoryStore([cluster()])) as (ca, _):
        response = await ca.GetRootCACertificate(api.GetRootCACertificateRequest())
    assert response.certificate == ROOT.certs_pem


async def test_managers_get_the_unlock_key_while_autolock_is_on() -> None:
    held = cluster()
    held.unlock_keys.add(subsystem="other", key=b"no")
    held.unlock_keys.add(subsystem="swarm-manager", key=b"k" * 32)
    store = MemoryStore([held])
    async with served(store, MANAGER) as (ca, _):
        response = await ca.GetUnlockKey(api.GetUnlockKeyRequest())
        stored = store.view().clusters.get(CLUSTER_ID)
        assert stored is not None
        assert response == api.GetUnlockKeyResponse(version=stored.meta.version)
        locked = copy(stored)
        locked.spec.encryption_config.auto_lock_managers = True
        await store.update(lambda transaction: transaction.update(locked))
        response = await ca.GetUnlockKey(api.GetUnlockKeyRequest())
    assert response.unlock_key == b"k" * 32
    assert response.version.index > stored.meta.version.index


async def test_a_joiner_asks_waits_and_has_its_certificate() -> None:
    store, key = MemoryStore([cluster()]), new_key()
    asked = api.IssueNodeCertificateRequest(csr=make_csr(key), token=TOKENS.worker)
    async with served(store) as (_, node_ca):
        answer = await node_ca.IssueNodeCertificate(asked)
        assert answer.node_membership == api.NodeSpec.ACCEPTED
        async with asyncio.TaskGroup() as group:
            request = api.NodeCertificateStatusRequest(node_id=answer.node_id)
            waiting = group.create_task(node_ca.NodeCertificateStatus(request, timeout=5))
            await wait_asked(store)
            await sign(store)
        status = waiting.result()
    assert status.status.state == State.ISSUED
    assert status.certificate.csr == asked.csr
    identity = identity_of(read_chain(status.certificate.certificate)[0])
    assert (identity.node_id, identity.role) == (answer.node_id, api.WORKER)


def is_waited_for(store: MemoryStore) -> bool:
    return bool(store._watches._watches)


async def wait_asked(store: MemoryStore) -> None:
    for _ in range(10_000):
        if is_waited_for(store):
            return
        await asyncio.sleep(0)
    raise TimeoutError


@pytest.mark.parametrize("state", [State.ISSUED, State.FAILED, State.ROTATE])
async def test_a_final_state_is_told_at_once(state: int) -> None:
    held = node("n1", state)
    async with served(MemoryStore([cluster(), held])) as (_, node_ca):
        response = await node_ca.NodeCertificateStatus(api.NodeCertificateStatusRequest(node_id="n1"))
    assert response == api.NodeCertificateStatusResponse(status=held.certificate.status, certificate=held.certificate)


async def test_a_wait_ends_with_the_callers_deadline_or_ours_and_with_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore([cluster(), node("n1", State.PENDING)])
    request = api.NodeCertificateStatusRequest(node_id="n1")
    async with served(store) as (_, node_ca):
        with pytest.raises(TimeoutError):
            await node_ca.NodeCertificateStatus(request, timeout=0.01)
        monkeypatch.setattr(ca_server, "MAX_WAIT", 0.01)
        assert (await refusal(node_ca.NodeCertificateStatus(request)))[0] is Status.DEADLINE_EXCEEDED
        monkeypatch.undo()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(refusal(node_ca.NodeCertificateStatus(request)))
            await wait_asked(store)
            await store.update(lambda transaction: transaction.remove(api.Node, "n1"))
        assert waiting.result() == (Status.NOT_FOUND, "NotFound")
    assert not is_waited_for(store)


async def test_what_is_refused_is_refused_in_swarms_words() -> None:
    issue, status = api.IssueNodeCertificateRequest, api.NodeCertificateStatusRequest
    store = MemoryStore([cluster()])
    async with served(store) as (_, node_ca):
        assert await refusal(node_ca.IssueNodeCertificate(issue())) == (Status.INVALID_ARGUMENT, "InvalidArgument")
        assert await refusal(node_ca.IssueNodeCertificate(issue(csr=CSR, token="x"))) == (
            Status.INVALID_ARGUMENT,
            "A valid join token is necessary to join this cluster",
        )
        assert await refusal(node_ca.NodeCertificateStatus(status())) == (Status.INVALID_ARGUMENT, "InvalidArgument")
        assert await refusal(node_ca.NodeCertificateStatus(status(node_id="x"))) == (Status.NOT_FOUND, "NotFound")
    async with served(store, Caller("gone", api.WORKER, CLUSTER_ID, "")) as (_, node_ca):
        assert await refusal(node_ca.IssueNodeCertificate(issue(csr=CSR, token=TOKENS.worker))) == (
            Status.NOT_FOUND,
            "node gone not found when attempting to renew certificate",
        )
    async with served(store, is_signing=lambda: False) as (_, node_ca):
        stopped = (Status.ABORTED, "CA signer is stopped")
        assert await refusal(node_ca.IssueNodeCertificate(issue(csr=CSR, token=TOKENS.worker))) == stopped
        assert await refusal(node_ca.NodeCertificateStatus(status(node_id="x"))) == stopped
    async with served(MemoryStore()) as (ca, node_ca):
        starting = (Status.ABORTED, "CA signer is still starting")
        assert await refusal(node_ca.IssueNodeCertificate(issue(csr=CSR, token=TOKENS.worker))) == starting
        assert await refusal(ca.GetRootCACertificate(api.GetRootCACertificateRequest())) == starting
    assert len(store.view().nodes) == 0


async def test_a_node_renews_its_own_certificate_whatever_token_it_sends() -> None:
    store = MemoryStore([cluster(), node("n1", State.ISSUED)])
    request = api.IssueNodeCertificateRequest(csr=make_csr(new_key()), token=TOKENS.manager)
    async with served(store, Caller("n1", api.WORKER, CLUSTER_ID, "")) as (_, node_ca):
        answer = await node_ca.IssueNodeCertificate(request)
        await sign(store)
        status = await node_ca.NodeCertificateStatus(api.NodeCertificateStatusRequest(node_id="n1"))
    assert answer.node_id == "n1"
    assert status.certificate.csr == request.csr
    assert identity_of(read_chain(status.certificate.certificate)[0]).role == api.WORKER


async def test_a_node_that_renews_without_end_is_refused_and_others_are_not() -> None:
    store = MemoryStore([cluster(), node("n1", State.ISSUED), node("n2", State.ISSUED)])
    request, requests = api.IssueNodeCertificateRequest(csr=CSR), Requests(Rate(5, 0.001))
    async with served(store, Caller("n1", api.WORKER, CLUSTER_ID, ""), requests=requests) as (_, node_ca):
        for _ in range(5):
            await node_ca.IssueNodeCertificate(request)
        written = store.view().nodes.get("n1")
        status, text = await refusal(node_ca.IssueNodeCertificate(request))
        assert status is Status.RESOURCE_EXHAUSTED
        assert text is not None
        assert text.startswith("node n1 has asked for certificates 5 times in a short while")
        assert store.view().nodes.get("n1") is written
        for _ in range(3):
            await refusal(node_ca.IssueNodeCertificate(request))
    async with served(store, Caller("n2", api.WORKER, CLUSTER_ID, ""), requests=requests) as (_, node_ca):
        await node_ca.IssueNodeCertificate(request)


async def test_so_is_a_joiner_that_asks_again_and_again_with_one_key() -> None:
    store, key = MemoryStore([cluster()]), new_key()
    async with served(store, requests=Requests(Rate(5, 0.001))) as (_, node_ca):
        for _ in range(5):
            await node_ca.IssueNodeCertificate(api.IssueNodeCertificateRequest(csr=make_csr(key), token=TOKENS.worker))
        again = api.IssueNodeCertificateRequest(csr=make_csr(key), token=TOKENS.worker)
        status, text = await refusal(node_ca.IssueNodeCertificate(again))
        assert status is Status.RESOURCE_EXHAUSTED
        assert text is not None
        assert text.startswith("a node with this key")
        await node_ca.IssueNodeCertificate(
            api.IssueNodeCertificateRequest(csr=make_csr(new_key()), token=TOKENS.worker)
        )
    assert len(store.view().nodes) == 2
