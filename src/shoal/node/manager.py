"""A manager on this host: etcd, the store over it, the leader's loops, the server on port 2377.

In: this node's identity and addresses. Out: Control and the log broker for the Engine API. Everything ends together: a
part that fails takes the manager down, and `membership` starts another.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from shoal.agent.executor import expand_spec
from shoal.api import v1 as api
from shoal.api.ids import new_id
from shoal.ca.security import SecurityConfig
from shoal.errors import InvariantBroken, Unavailable
from shoal.manager.allocator.tasks import Allocator
from shoal.manager.bootstrap import FirstLeader
from shoal.manager.ca_server import CAServer, NodeCAServer
from shoal.manager.control import Control
from shoal.manager.control.base import SoleManager
from shoal.manager.dispatcher.server import Dispatcher
from shoal.manager.enforcer import Enforcer
from shoal.manager.health_server import HealthServer
from shoal.manager.issuing import Signer
from shoal.manager.keyring import KeyManager
from shoal.manager.leader_loop import Component, Leader
from shoal.manager.logs.server import LogBrokerServer, Logs
from shoal.manager.orchestrator import ReplicatedOrchestrator
from shoal.manager.plan import Decider
from shoal.manager.reaper import Reaper
from shoal.manager.roles import RoleManager
from shoal.manager.scheduler.scheduler import Scheduler
from shoal.manager.server import ManagerServer, current_caller, listen
from shoal.node.addresses import DEFAULT_PORT, split_host_port
from shoal.node.state import NodeState
from shoal.paths import Paths
from shoal.store.etcd_process import EtcdProcess
from shoal.store.seal import Sealer
from shoal.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Active:
    """What a manager that leads offers to this host's Engine API."""

    control: Control
    logs: Logs
    store: Store


class Manager:
    """One manager. `first` is what a new swarm begins with; None once there is one."""

    def __init__(
        self, paths: Paths, security: SecurityConfig, state: NodeState, first: FirstLeader | None, rng: Random
    ) -> None:
        self._paths = paths
        self._security = security
        self._state = state
        self._first = first
        self._rng = rng

    async def run(self, started: Callable[[Active], None]) -> None:
        """Manage until cancelled; `started` is called once this node leads and serves."""
        data_key = self._security.data_key
        if data_key is None:
            raise InvariantBroken("this manager's key file holds no data key")
        async with (
            EtcdProcess(self._paths) as etcd,
            Store.open(etcd.client, Sealer({0: data_key}, 0), trouble=lambda: etcd.trouble) as store,
        ):
            await self._lead(store, started)

    async def _lead(self, store: Store, started: Callable[[Active], None]) -> None:
        members = SoleManager(self._security.node_id, self._state.advertise_addr)
        logs = Logs(store)
        dispatcher = Dispatcher(
            store,
            node_id=self._security.node_id,
            managers=lambda: [api.Peer(node_id=self._security.node_id, addr=self._state.advertise_addr)],
            caller=current_caller,
            clock=time.time,
            rng=self._rng,
            root_ca=self._security.root_pem,
        )
        leader = Leader(
            store,
            self._deciders(members),
            [Component("dispatcher", dispatcher.run), Component("log broker", logs.run)],
            first=self._first,
            new_id=new_id,
            random_bytes=os.urandom,
        )
        control = Control(store, members, time.time, expand=expand_spec)
        server = ManagerServer(
            self._security,
            [
                CAServer(store, self._security.cluster_id),
                NodeCAServer(store, self._security.cluster_id, caller=current_caller),
                HealthServer(raft=lambda: True),
                dispatcher,
                LogBrokerServer(logs, caller=current_caller),
            ],
            is_removed=lambda node_id: _is_removed(store, self._security.cluster_id, node_id),
        )
        await leader.found()
        listener = listen(*split_host_port(self._state.listen_addr, DEFAULT_PORT))
        async with asyncio.TaskGroup() as term:
            term.create_task(leader.run(), name="leader")
            term.create_task(server.run(listener), name="port 2377")
            started(Active(control, logs, store))
            await store.deposed.wait()
            raise Unavailable("another manager leads with this manager's data")

    def _deciders(self, members: SoleManager) -> Sequence[Decider]:
        return (
            Signer(self._security.cluster_id),
            RoleManager(members.statuses),
            KeyManager(os.urandom),
            ReplicatedOrchestrator(self._rng),
            Allocator(),
            Scheduler(),
            Enforcer(),
            Reaper(),
        )


def _is_removed(store: Store, cluster_id: str, node_id: str) -> bool:
    cluster = store.view().clusters.get(cluster_id)
    return cluster is not None and node_id in cluster.blacklisted_certificates
