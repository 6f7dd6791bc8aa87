"""One stay in a swarm: this node's manager and agent, from their start to their end.

In: identity, addresses, the host's runtime. Out: whether the node is up, and what its manager offers. The agent speaks
to the manager over the network like any other; it is started after it, and ends before it, so that what it has to say
last is still heard.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from random import Random

from shoal.agent.client_agent import Agent, AgentConfig
from shoal.agent.remotes import Remotes
from shoal.agent.runtime import Runtime
from shoal.api import v1 as api
from shoal.ca.security import SecurityConfig
from shoal.manager.bootstrap import FirstLeader
from shoal.node.addresses import DEFAULT_PORT, join_host_port, split_host_port
from shoal.node.manager import Active, Manager
from shoal.node.renewer import Renewer
from shoal.node.state import NodeState
from shoal.paths import Paths

log = logging.getLogger(__name__)

Describe = Callable[[api.NodeTLSInfo], api.NodeDescription]


class Membership:
    """This node in its swarm. `run` may be called again after it ended."""

    def __init__(
        self,
        paths: Paths,
        security: SecurityConfig,
        state: NodeState,
        runtime: Runtime,
        describe: Describe,
        rng: Random,
        first: FirstLeader | None = None,
    ) -> None:
        self.security = security
        self.state = state
        self.active: Active | None = None
        self._paths = paths
        self._runtime = runtime
        self._describe = describe
        self._rng = rng
        self._first = first
        self._agent: Agent | None = None
        self._leave = asyncio.Event()
        self._left = asyncio.Event()

    async def run(self, started: Callable[[], None]) -> None:
        """Be a node of the swarm until cancelled or until `leave`; `started` is called when the manager serves."""
        manager = Manager(self._paths, self.security, self.state, self._first, self._rng)
        serving = asyncio.Event()

        def serve(active: Active) -> None:
            self.active = active
            serving.set()

        try:
            async with asyncio.TaskGroup() as group:
                managing = group.create_task(manager.run(serve), name="manager")
                await serving.wait()
                self._first = None  # it is in the store now
                started()
                try:
                    await self._work()
                finally:
                    managing.cancel()
        finally:
            self.active = None
            self._left.set()

    async def _work(self) -> None:
        """Run the agent until cancelled, or until it has left."""
        agent = self._agent = self._new_agent()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(agent.run(), name="agent")
            renewer = Renewer(
                self.security, self._local_manager, agent.identity_changed, rng=self._rng, clock=time.time
            )
            renewing = group.create_task(renewer.run(), name="certificate")
            await self._leave.wait()
            renewing.cancel()
            await agent.leave()
            running.cancel()

    async def leave(self) -> None:
        """Remove every task of this node, end the session, and then `run`."""
        self._leave.set()
        await self._left.wait()

    def _local_manager(self) -> str:
        _, port = split_host_port(self.state.listen_addr, DEFAULT_PORT)
        return join_host_port(self.state.local_addr, port)

    def _new_agent(self) -> Agent:
        config = AgentConfig(
            describe=lambda: self._describe(self.security.tls_info()),
            local_manager=self._local_manager,
        )
        return Agent(
            self._paths,
            self.security,
            self._runtime,
            Remotes({self._local_manager(): 0}),
            config,
            rng=self._rng,
            clock=time.time,
        )
