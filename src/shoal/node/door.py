"""The node as the daemon and the API see it. It makes a `SwarmNode` once one is needed, and passes calls on to it.

In: what a `SwarmNode` needs, and the calls. Out: its answers, or those of a host that is in no swarm. The modules of a
node (manager, agent, certificates, gRPC) are half of all that a daemon imports, and a host in no swarm can answer
without them. They are imported when the host is in a swarm, or is asked to make or join one. Otherwise `prepare`
imports them in a thread once the API serves, so that a later swarm need not wait for them.
"""

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, BinaryIO

from shoal.api import v1 as api
from shoal.errors import Unavailable
from shoal.node import refusals
from shoal.node.types import InitRequest, JoinRequest, RestoreRequest, RestoreResult, SwarmInfo
from shoal.paths import Paths

if TYPE_CHECKING:
    from shoal.agent.runtime import Runtime
    from shoal.api.gen import placement_pb2 as pb
    from shoal.api.gen.views_pb2 import ViewsReply
    from shoal.manager.control import ControlRpcs
    from shoal.manager.forwarding.services import LogBroker
    from shoal.node.manager import KeepOut
    from shoal.node.node import SwarmNode
    from shoal.store.backup_file import Summary
    from shoal.store.memory import View
    from shoal.store.watch import Watch


def _node_class() -> "type[SwarmNode]":
    """Import everything that a node needs. Blocks for a good part of a second the first time."""
    from shoal.node.node import SwarmNode  # imported only here; the module's docstring has the reason

    return SwarmNode


class Door:
    """The node, once there is one. The methods work while `run` runs.

    The methods for managers raise Unavailable with Docker's text if no manager works here.
    """

    def __init__(
        self,
        paths: Paths,
        runtime: "Runtime",
        describe: Callable[[api.NodeTLSInfo], api.NodeDescription],
        *,
        rng: Random,
        own_subnets: Callable[[], Sequence[IPv4Network]],
        default_advertise_addr: str,
        keep_out: "KeepOut",
    ) -> None:
        self._paths = paths
        self._make: Callable[[type[SwarmNode]], SwarmNode] = lambda node: node(
            paths,
            runtime,
            describe,
            rng=rng,
            own_subnets=own_subnets,
            default_advertise_addr=default_advertise_addr,
            keep_out=keep_out,
        )
        self._node: SwarmNode | None = None
        self._group: asyncio.TaskGroup | None = None
        self._entering = asyncio.Lock()
        self._made = asyncio.Event()
        self._looked = asyncio.Event()  # set once the disk was checked for a swarm

    async def run(self) -> None:
        """Take up this host's place in its swarm if the disk has one, and serve the calls, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                if await asyncio.to_thread(_was_in_a_swarm, self._paths):
                    await self._inside()
                self._looked.set()
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None
                self._looked.set()

    async def _inside(self) -> "SwarmNode":
        """Return the running node, once it has read its files. Raises Unavailable when the daemon ends."""
        async with self._entering:
            if self._node is None:
                node = self._make(await asyncio.to_thread(_node_class))
                if self._group is None:
                    raise Unavailable("the daemon is stopping")
                self._group.create_task(node.run(), name="node")
                self._node = node
                self._made.set()
        await self._node.resumed.wait()
        return self._node

    async def prepare(self) -> None:
        """Import the modules of a node in a thread."""
        await asyncio.to_thread(_node_class)

    async def wait_settled(self) -> None:
        """Wait until this host is in no swarm, or its node has taken up its place or cannot (`SwarmNode`)."""
        await self._looked.wait()
        if self._node is not None:
            await self._node.wait_settled()

    async def wait_manager(self) -> None:
        """Wait until a manager works here."""
        await self._made.wait()
        await self._there().wait_manager()

    def _there(self) -> "SwarmNode":
        if self._node is None:
            raise Unavailable(refusals.NOT_IN_A_SWARM)
        return self._node

    def info(self) -> SwarmInfo:
        """Return what `docker info` shows about the swarm."""
        return self._node.info() if self._node is not None else SwarmInfo()

    def control(self) -> "ControlRpcs":
        """Return the management API. Raises Unavailable with Docker's text if no manager works here."""
        return self._there().control()

    def logs(self) -> "LogBroker":
        """Return the log broker. Only on a manager, as `control`."""
        return self._there().logs()

    def watch(self, *kinds: type) -> "Watch":
        """Return a watch on the swarm's objects. Only on a manager, as `control`."""
        return self._there().watch(*kinds)

    def view(self) -> "View":
        """Return the swarm's objects as they are now. Only on a manager, as `control`."""
        return self._there().view()

    def networks(self) -> list[api.Network]:
        """Return the swarm's networks that this node was told of; none in no swarm."""
        return self._node.networks() if self._node is not None else []

    async def explain_task(self, task_id: str) -> "pb.Explanation":
        """Return why a task is on its node, or has none. Only on a manager, as `control`; also raises NotFound and
        RpcError.
        """
        return await self._there().explain_task(task_id)

    async def network_views(self, network_ids: Sequence[str]) -> "ViewsReply":
        """Return what the nodes on these networks see of them, likewise. Also raises RpcError and InvalidArgument."""
        return await self._there().network_views(network_ids)

    async def unlock_key(self) -> str:
        """Return the key that unlocks this swarm's managers; empty with autolock off. Only on a manager, as
        `control`.
        """
        return await self._there().unlock_key()

    async def backup(self, file: BinaryIO) -> "Summary":
        """Write this swarm and this manager's identity to an empty file. Only on a manager, as `control`."""
        return await self._there().backup(file)

    async def init(self, request: InitRequest) -> str:
        """Make a swarm with this host as its manager, and return the node's id. Raises as `SwarmNode` does."""
        return await (await self._inside()).init(request)

    async def join(self, request: JoinRequest) -> None:
        """Join this host to an existing swarm."""
        await (await self._inside()).join(request)

    async def restore(self, request: RestoreRequest, file: BinaryIO) -> RestoreResult:
        """Make this host the manager that made a backup."""
        return await (await self._inside()).restore(request, file)

    async def leave(self, force: bool) -> None:
        """Leave the swarm."""
        await (await self._inside()).leave(force)

    async def unlock(self, key: str) -> None:
        """Unlock this manager's key file, and let the manager start."""
        await (await self._inside()).unlock(key)


def _was_in_a_swarm(paths: Paths) -> bool:
    """Return whether this host has files of a swarm, also of one that was never finished."""
    folders: tuple[Path, ...] = (paths.swarm, paths.etcd, paths.restoring.data_root, paths.restoring.exec_root)
    return any(folder.exists() for folder in folders)
