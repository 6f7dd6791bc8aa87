"""Managers' etcds on one machine, with a relay between each two of them that can be cut, healed and slowed down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

from shoal.paths import Paths
from shoal.store.etcd_process import EtcdConfig, EtcdProcess, peer_socket
from shoal.store.members import admit, settle_learners

_CHUNK_BYTES = 65536


class Relay:
    """What a manager's etcd sees of its tunnels: a socket for each other manager, with that manager's name."""

    def __init__(self) -> None:
        self._paths: dict[str, Paths] = {}
        self._cut: set[frozenset[str]] = set()
        self._links: dict[frozenset[str], set[asyncio.StreamWriter]] = {}
        self._servers: dict[tuple[str, str], asyncio.Server] = {}
        self.delay = 0.0
        self.refused = 0

    @classmethod
    @asynccontextmanager
    async def between(cls) -> AsyncIterator[Self]:
        """Relay while the context lasts."""
        relay = cls()
        try:
            yield relay
        finally:
            for server in relay._servers.values():
                server.close()
            for link in relay._links:
                relay._drop(link)
            async with asyncio.timeout(60):
                while any(relay._links.values()):  # noqa: ASYNC110 - each ends by itself, at once
                    await asyncio.sleep(0.001)

    async def add(self, node_id: str, paths: Paths) -> None:
        """Connect a manager with all others."""
        if node_id in self._paths:
            return
        paths.etcd.mkdir(parents=True, exist_ok=True)
        self._paths[node_id] = paths
        for other in self._paths:
            if other != node_id:
                await self._listen(node_id, other)
                await self._listen(other, node_id)

    def cut(self, one: str, *others: str) -> None:
        """Let nothing through between a manager and others; all others, if none is named."""
        for other in others or [name for name in self._paths if name != one]:
            self._cut.add(frozenset((one, other)))
            self._drop(frozenset((one, other)))

    def heal(self) -> None:
        """Let everything through again."""
        self._cut.clear()

    async def _listen(self, here: str, far: str) -> None:
        link = frozenset((here, far))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(link, peer_socket(self._paths[far], far), reader, writer)

        path = peer_socket(self._paths[here], far)
        path.unlink(missing_ok=True)
        self._servers[here, far] = await asyncio.start_unix_server(serve, path)

    async def _serve(
        self, link: frozenset[str], target: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writers = self._links.setdefault(link, set())
        writers.add(writer)
        try:
            if link in self._cut:
                self.refused += 1
                return
            try:
                far_reader, far_writer = await asyncio.open_unix_connection(target)
            except OSError:
                return
            writers.add(far_writer)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, far_writer))
                    group.create_task(self._pump(far_reader, writer))
            finally:
                far_writer.close()
                writers.discard(far_writer)
        finally:
            writer.close()
            writers.discard(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _drop(self, link: frozenset[str]) -> None:
        for writer in self._links.get(link, ()):
            writer.transport.abort()


class Managers:
    """Some managers' etcds in one cluster, connected by a relay."""

    def __init__(self, folder: Path, relay: Relay, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.relay = relay
        self.etcds: dict[str, EtcdProcess] = {}

    def paths(self, node_id: str) -> Paths:
        """Return the folders of a manager."""
        # Sockets are below, and with the whole id their paths would be too long for an address.
        folder = self._folder / node_id[:3]
        return Paths(folder / "data", folder / "x")

    async def start(self, node_id: str, config: EtcdConfig, *, wait: bool = True) -> EtcdProcess:
        """Start a manager's etcd."""
        await self.relay.add(node_id, self.paths(node_id))
        etcd = await self._stack.enter_async_context(EtcdProcess(self.paths(node_id), config, wait=wait))
        self.etcds[node_id] = etcd
        return etcd

    async def start_all(self, *node_ids: str) -> None:
        """Start etcds that were there before, and wait until they serve."""
        for node_id in node_ids:
            others = [other for other in node_ids if other != node_id]
            await self.start(node_id, EtcdConfig.member(node_id, others, exists=True), wait=False)
        async with asyncio.timeout(60):
            for node_id in node_ids:
                await self.etcds[node_id].wait_serving()

    async def join(self, node_id: str, by: str) -> EtcdProcess:
        """Let a manager join, as another manager would admit it."""
        client = self.etcds[by].client
        others = await admit(client, node_id)
        etcd = await self.start(node_id, EtcdConfig.member(node_id, others, join=True))
        await settle_learners(client)
        async with asyncio.timeout(60):
            while (await etcd.client.status()).isLearner:  # noqa: ASYNC110 - it hears of its promotion a moment later
                await asyncio.sleep(0.005)
        return etcd

    async def leader(self) -> str:
        """Wait until those that serve agree on one of them as leader, and return its node id."""
        async with asyncio.timeout(60):
            while True:
                found = {node_id: await etcd.client.status() for node_id, etcd in self.etcds.items() if etcd.serving}
                leaders = {status.leader for status in found.values()}
                for node_id, status in found.items():
                    if leaders == {status.header.member_id}:
                        return node_id
                await asyncio.sleep(0.01)


@asynccontextmanager
async def managers(folder: Path, *node_ids: str) -> AsyncIterator[Managers]:
    """Run a cluster of these managers, which the first one made. Without any, the test starts them itself."""
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(Relay.between())
        cluster = Managers(folder, relay, stack)
        if node_ids:
            await cluster.start(node_ids[0], EtcdConfig.member(node_ids[0]))
        for other in node_ids[1:]:
            await cluster.join(other, by=node_ids[0])
        yield cluster
