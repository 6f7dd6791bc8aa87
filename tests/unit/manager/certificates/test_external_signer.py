import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from shoal.api import v1 as api
from shoal.ca.csr import make_csr, new_key
from shoal.ca.identity import identity_of, read_chain, validate_chain
from shoal.ca.root import create_root
from shoal.manager.certificates.external_ca import MAX_ANSWER_BYTES, ExternalCAUnreachable
from shoal.manager.certificates.external_signer import ExternalCAClient, ExternalSigner
from shoal.manager.control.root_change import changed_root
from shoal.store.changes import Object, copy
from shoal.store.store import Store
from tests.unit.ca.swarms import CLUSTER_ID, Swarm
from tests.unit.manager.certificates.test_issuing import State, node
from tests.unit.manager.cfssl import ExternalCA, external_ca
from tests.unit.manager.stores import MemoryStore

CSR = make_csr(new_key())


@pytest.fixture
def swarm(tmp_path: Path) -> Swarm:
    return Swarm(tmp_path, time.time())


@pytest.fixture
async def external(swarm: Swarm) -> AsyncIterator[ExternalCA]:
    async with external_ca(swarm.root, swarm.folder) as made:
        yield made


def cluster(swarm: Swarm, *external: ExternalCA) -> api.Cluster:
    made = api.Cluster(id=CLUSTER_ID, root_ca=api.RootCA(ca_cert=swarm.root.certs_pem))
    for each in external:
        own = b"" if each.root is swarm.root else each.root.certs_pem
        made.spec.ca_config.external_cas.add(url=each.url, ca_cert=own)
    return made


@asynccontextmanager
async def signing(swarm: Swarm, *objects: Object, retry: float = 30.0) -> AsyncIterator[MemoryStore]:
    store = MemoryStore(objects)
    signer = ExternalSigner(
        cast(Store, store), CLUSTER_ID, ExternalCAClient(swarm.manager()), lambda: time.time(), retry
    )
    async with asyncio.TaskGroup() as group:
        child = group.create_task(signer.run())
        try:
            yield store
        finally:
            child.cancel()


async def until(store: MemoryStore, holds: Callable[[api.Certificate], bool], node_id: str = "n1") -> api.Certificate:
    async with asyncio.timeout(60):
        with store.watch(api.Node) as watch:
            while True:
                found = store.view().nodes.get(node_id)
                if found is not None and holds(found.certificate):
                    return found.certificate
                await watch.next()


def settled(certificate: api.Certificate) -> bool:
    return certificate.status.state in (State.ISSUED, State.FAILED)


async def test_an_external_ca_signs_for_nodes_of_both_roles(swarm: Swarm, external: ExternalCA) -> None:
    waiting = [node("n1", csr=CSR), node("n2", State.PENDING, csr=CSR, role=api.MANAGER), node("n3", State.ISSUED)]
    async with signing(swarm, cluster(swarm, external), *waiting) as store:
        for node_id, role in (("n1", api.WORKER), ("n2", api.MANAGER)):
            certificate = await until(store, settled, node_id)
            chain = read_chain(certificate.certificate)
            validate_chain(chain, swarm.root.certificates, time.time())
            identity = identity_of(chain[0])
            assert (identity.node_id, identity.role, identity.organization) == (node_id, role, CLUSTER_ID)
            assert certificate.status.state == State.ISSUED
    assert {caller for caller, _ in external.asked} == {"manager"}
    assert sorted(body["subject"]["CN"] for _, body in external.asked) == ["n1", "n2"]


async def test_who_comes_later_is_signed_as_well(swarm: Swarm, external: ExternalCA) -> None:
    async with signing(swarm, cluster(swarm, external)) as store:
        await store.update(lambda transaction: transaction.create(node("n1", csr=CSR)))
        assert (await until(store, settled)).status.state == State.ISSUED


async def test_the_first_that_answers_signs(swarm: Swarm, external: ExternalCA) -> None:
    gone = ExternalCA(swarm.root, "https://127.0.0.1:1/")
    async with signing(swarm, cluster(swarm, gone, external), node("n1", csr=CSR)) as store:
        assert (await until(store, settled)).status.state == State.ISSUED


async def test_while_rotating_the_certificate_leads_to_the_present_root(swarm: Swarm, external: ExternalCA) -> None:
    following = create_root(swarm.now)
    async with external_ca(following, swarm.folder) as other:
        # The CA admits only certificates of its own root. So the manager shows the certificate that it got in this
        # rotation.
        rotating = cluster(swarm, external, other)
        rotating.root_ca.root_rotation.ca_cert = following.certs_pem
        cross = swarm.root.cross_sign(following.certs_pem)
        rotating.root_ca.root_rotation.cross_signed_ca_cert = cross
        old = swarm.root
        swarm.root = type(old)(old.certs_pem, following.key_pem, cross, cross)
        async with signing(swarm, rotating, node("n1", csr=CSR)) as store:
            certificate = await until(store, settled)
    chain = read_chain(certificate.certificate)
    validate_chain(chain, old.certificates, time.time())
    validate_chain(chain, following.certificates, time.time())
    assert chain[1:] == read_chain(cross)
    assert external.asked == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, b'{"success": false, "errors": ["no"]}'), "response errors: ['no']"),
        ((200, b'{"success": true, "result": {"certificate": ""}}'), "not a PEM certificate"),
    ],
)
async def test_a_refusal_is_told_to_the_node(
    swarm: Swarm, external: ExternalCA, answer: tuple[int, bytes], reason: str
) -> None:
    external.answer = answer
    async with signing(swarm, cluster(swarm, external), node("n1", csr=CSR)) as store:
        certificate = await until(store, settled)
    assert certificate.status.state == State.FAILED
    assert reason in certificate.status.err


async def test_a_certificate_of_another_node_or_root_is_not_passed_on(swarm: Swarm, external: ExternalCA) -> None:
    held = cluster(swarm, external)
    external.root = create_root(swarm.now)
    async with signing(swarm, held, node("n1", csr=CSR)) as store:
        assert "unknown authority" in (await until(store, settled)).status.err
    external.root = swarm.root
    other = swarm.node("n9").chain_pem.decode().replace("\n", "\\n")
    external.answer = (200, f'{{"success": true, "result": {{"certificate": "{other}"}}}}'.encode())
    async with signing(swarm, cluster(swarm, external), node("n1", csr=CSR)) as store:
        assert "for another node" in (await until(store, settled)).status.err


@pytest.mark.parametrize("answer", [(503, b"later"), (200, b"{" + b" " * MAX_ANSWER_BYTES + b"}")])
async def test_what_is_no_answer_is_asked_again(swarm: Swarm, external: ExternalCA, answer: tuple[int, bytes]) -> None:
    external.answer = answer
    async with signing(swarm, cluster(swarm, external), node("n1", csr=CSR), retry=0.05) as store:
        async with asyncio.timeout(60):
            await external.asked_again.wait()
        external.answer = None
        assert (await until(store, settled)).status.state == State.ISSUED


async def test_another_external_ca_is_asked_at_once(swarm: Swarm, external: ExternalCA) -> None:
    gone = ExternalCA(swarm.root, "https://127.0.0.1:1/")
    async with signing(swarm, cluster(swarm, gone), node("n1", csr=CSR)) as store:
        changed = copy(next(iter(store.view().clusters.all())))
        changed.spec.CopyFrom(cluster(swarm, external).spec)
        await store.update(lambda transaction: transaction.update(changed))
        assert (await until(store, settled)).status.state == State.ISSUED


async def test_without_an_external_ca_nothing_is_asked(swarm: Swarm) -> None:
    async with signing(swarm, cluster(swarm), node("n1", csr=CSR)) as store:
        await store.update(lambda transaction: transaction.create(node("n2", csr=CSR)))
        await asyncio.sleep(0)
    assert [each.certificate.status.state for each in store.view().nodes.all()] == [State.RENEW] * 2


async def test_reachable_is_what_shows_a_certificate_of_the_root(swarm: Swarm, external: ExternalCA) -> None:
    client = ExternalCAClient(swarm.manager())
    root = swarm.root.certs_pem
    assert await client.is_reachable(external.url, root)
    assert not await client.is_reachable(external.url, create_root(swarm.now).certs_pem)
    for url in (external.url.replace("https", "http"), "https://127.0.0.1:1/", "https://", "https://[", "x", ""):
        assert not await client.is_reachable(url, root)


async def test_a_silent_one_is_given_up(swarm: Swarm) -> None:
    # The kernel completes connections even if nobody accepts them.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        client = ExternalCAClient(swarm.manager(), wait=0.1)
        assert not await client.is_reachable(url, swarm.root.certs_pem)
        with pytest.raises(ExternalCAUnreachable):
            await client.sign([url], swarm.root.certs_pem, {})


async def test_an_external_root_is_left_with_its_own_cross_signature(swarm: Swarm, external: ExternalCA) -> None:
    following = create_root(swarm.now)
    config = api.CAConfig(signing_ca_cert=following.certs_pem, signing_ca_key=following.key_pem)
    config.external_cas.add(url=external.url)
    before = cluster(swarm).root_ca
    changed = await changed_root(before, config, swarm.now, ExternalCAClient(swarm.manager()))
    cross = read_chain(changed.root_rotation.cross_signed_ca_cert)
    validate_chain(cross, swarm.root.certificates, time.time())
    assert cross[0].subject == following.certificates[0].subject
