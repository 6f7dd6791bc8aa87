"""A node's certificate is renewed over real TLS by a real manager's CA."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from cryptography import x509

from shoal.api import v1 as api
from shoal.ca.security import SecurityConfig
from shoal.manager import loop
from shoal.manager.ca_server import NodeCAServer
from shoal.manager.issuing import Signer
from shoal.manager.server import ManagerServer, current_caller, listen
from shoal.node.renewer import Renewer
from tests.unit.ca.swarms import Swarm
from tests.unit.manager.stores import MemoryStore

DAY = 24 * 3600.0


@asynccontextmanager
async def manager(swarm: Swarm, *nodes: str) -> AsyncIterator[str]:
    """A manager that signs what nodes that it knows ask for; its address."""
    root_ca = api.RootCA(ca_cert=swarm.root.certs_pem, ca_key=swarm.root.key_pem)
    store = MemoryStore([api.Cluster(id=swarm.cluster_id, root_ca=root_ca), *(api.Node(id=node) for node in nodes)])
    service = NodeCAServer(store, swarm.cluster_id, caller=current_caller)  # type: ignore[arg-type]
    listener = listen("127.0.0.1", 0)
    server = ManagerServer(swarm.manager(), [service], is_removed=lambda _: False)
    async with asyncio.TaskGroup() as group:
        children = [
            group.create_task(server.run(listener)),
            group.create_task(loop.run([Signer(swarm.cluster_id)], store)),  # type: ignore[arg-type]
        ]
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for child in children:
            child.cancel()


def serial(security: SecurityConfig) -> int:
    return x509.load_pem_x509_certificate(security.chain_pem).serial_number


async def test_a_certificate_that_is_due_is_renewed_and_kept(tmp_path: Path) -> None:
    swarm = Swarm(tmp_path, now=time.time())
    node = swarm.node("node-1")
    before, data_key = serial(node), node.data_key
    renewed = asyncio.Event()
    async with manager(swarm, "node-1") as address, asyncio.TaskGroup() as group:
        renewer = Renewer(node, lambda: address, renewed.set, rng=Random(1), clock=lambda: time.time() + 80 * DAY)
        child = group.create_task(renewer.run())
        async with asyncio.timeout(10):
            await renewed.wait()
        child.cancel()
    assert serial(node) != before
    stored = SecurityConfig.load(tmp_path / "node-1", time.time())
    assert stored is not None
    assert (serial(stored), stored.data_key, stored.node_id) == (serial(node), data_key, "node-1")


async def test_a_fresh_certificate_stays(tmp_path: Path) -> None:
    node = Swarm(tmp_path, now=time.time()).node("node-1")
    renewer = Renewer(node, lambda: "nowhere:1", lambda: None, rng=Random(1), clock=time.time)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await renewer.run()


async def test_what_fails_is_logged_and_leaves_the_old_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    swarm = Swarm(tmp_path, now=time.time())
    node = swarm.node("removed")
    before = serial(node)
    async with manager(swarm) as address, asyncio.TaskGroup() as group:
        renewer = Renewer(node, lambda: address, lambda: None, rng=Random(1), clock=lambda: time.time() + 80 * DAY)
        child = group.create_task(renewer.run())
        async with asyncio.timeout(10):
            while "could not be renewed" not in caplog.text:  # noqa: ASYNC110 - the log is all there is to see
                await asyncio.sleep(0.01)
        child.cancel()
    assert "not found when attempting to renew certificate" in caplog.text
    assert serial(node) == before
