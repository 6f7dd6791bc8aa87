"""A manager for tests that answers joining nodes on loopback, with real TLS. Its CA signs, or lets them wait."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

from grpclib.exceptions import GRPCError

from shoal.agent.remotes import Remotes
from shoal.api import v1 as api
from shoal.api.gen import managers_pb2 as pb
from shoal.api.gen.managers_grpc import ManagersBase
from shoal.ca.security import joining_context
from shoal.ca.tokens import new_token
from shoal.manager.certificates.issuing import Signer, awaits_signature, refused
from shoal.manager.certificates.server import CAServer, NodeCAServer
from shoal.manager.port.server import ManagerServer, current_caller, listen
from shoal.node.certificates import CAClient
from shoal.store.changes import Update
from shoal.store.memory import Transaction
from shoal.store.store import Store
from tests.unit.ca.swarms import Swarm
from tests.unit.manager.stores import MemoryStore


class Members(ManagersBase):
    """The leader's answer to a manager that joins: a reply or a refusal."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.refuses: GRPCError | None = None

    async def Join(self, stream: Any) -> None:  # noqa: N802
        """Answer one call."""
        request = await stream.recv_message()
        self.asked.append((request.addr, request.has_data))
        if self.refuses is not None:
            raise self.refuses
        await stream.send_message(pb.JoinResponse(data_key=b"key", anew=not request.has_data))


@dataclass
class Manager:
    """One manager. While it serves, a test may clear `signing` or set `refusal`."""

    swarm: Swarm
    store: MemoryStore
    address: str
    members: Members
    signing: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: str = ""

    @property
    def cluster(self) -> api.Cluster:
        cluster = self.store.view().clusters.get(self.swarm.cluster_id)
        assert cluster is not None
        return cluster

    def token(self, role: int = api.WORKER) -> str:
        tokens = self.cluster.root_ca.join_tokens
        return tokens.manager if role == api.MANAGER else tokens.worker

    def nodes(self) -> list[api.Node]:
        return list(self.store.view().nodes.all())

    def client(self, context: ssl.SSLContext | None = None) -> CAClient:
        made = context or joining_context(self.swarm.root.certs_pem)
        return CAClient(Remotes({self.address: 10}), lambda: made, "swarm-ca", Random(1))

    async def sign(self) -> None:
        signer = Signer(self.swarm.cluster_id)
        with self.store.watch(api.Node) as watch:
            while True:
                await self.signing.wait()
                await self.store.update(lambda transaction: self._signed(transaction, signer))
                await watch.next()

    def _signed(self, transaction: Transaction, signer: Signer) -> None:
        if self.refusal:
            waiting = [node for node in transaction.nodes.all() if awaits_signature(node)]
            transaction.apply([Update(refused(node, self.refusal)) for node in waiting])
        else:
            transaction.apply(signer.decide(transaction, time.time(), None).changes)


@asynccontextmanager
async def manager(folder: Path, *, swarm: Swarm | None = None, kek: bytes = b"") -> AsyncIterator[Manager]:
    """Yield a manager that signs. With `kek` its swarm is locked with that key."""
    swarm = swarm or Swarm(folder, now=time.time())
    pem = swarm.root.certs_pem
    tokens = api.JoinTokens(worker=new_token(pem), manager=new_token(pem))
    cluster = api.Cluster(
        id=swarm.cluster_id, root_ca=api.RootCA(ca_cert=pem, ca_key=swarm.root.key_pem, join_tokens=tokens)
    )
    if kek:
        cluster.spec.encryption_config.auto_lock_managers = True
        cluster.unlock_keys.append(api.EncryptionKey(subsystem="swarm-manager", key=kek))
    store = MemoryStore([cluster])
    held = cast(Store, store)
    members = Members()
    services = [CAServer(held, swarm.cluster_id), NodeCAServer(held, swarm.cluster_id, caller=current_caller), members]
    server = ManagerServer(swarm.manager(), services, is_removed=lambda _: False)
    listener = listen("127.0.0.1", 0)
    made = Manager(swarm, store, f"127.0.0.1:{listener.getsockname()[1]}", members)
    made.signing.set()
    async with asyncio.TaskGroup() as group:
        children = [group.create_task(server.run(listener)), group.create_task(made.sign())]
        await asyncio.sleep(0)  # the server owns the listener, and closes it
        try:
            yield made
        finally:
            for child in children:
                child.cancel()
