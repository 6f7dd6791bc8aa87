"""One term of a leader: makes the parts that only a leader has, and runs them for the term.

In: the store, which leads by now, and this manager's identity. Out: the parts that answer calls (`TermService`), and a
child that runs everything until the lead is lost.
"""

import logging
import os
import time
from dataclasses import dataclass
from random import Random

from shoal.agent.executor import expand_spec
from shoal.api.ids import new_id
from shoal.ca.security import SecurityConfig
from shoal.manager.attachments import Attachments
from shoal.manager.bootstrap import FirstLeader
from shoal.manager.certificates.external_signer import ExternalCAClient, ExternalSigner
from shoal.manager.certificates.server import CAServer, NodeCAServer
from shoal.manager.control import Control
from shoal.manager.deciders import all_deciders
from shoal.manager.deciding.leader import Component, Leader
from shoal.manager.dispatcher.server import Dispatcher
from shoal.manager.logs.server import LogBrokerServer, Logs
from shoal.manager.membership.managers import Members
from shoal.manager.membership.probe import HealthProbe
from shoal.manager.membership.quorum import Quorum, Reachability
from shoal.manager.port.server import current_caller
from shoal.manager.scheduler.scheduler import Scheduler
from shoal.manager.scheduler.server import PlacementServer
from shoal.manager.views.server import ViewsServer
from shoal.store.etcd_client import EtcdClient
from shoal.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a term needs. It is the same for all terms of a manager."""

    security: SecurityConfig
    address: str
    data_key: bytes
    etcd: EtcdClient
    reachability: Reachability
    rng: Random


class Term:
    """The leader's parts."""

    def __init__(self, store: Store, setting: Setting, first: FirstLeader | None) -> None:
        security = setting.security
        own_id = security.node_id
        quorum = Quorum(own_id, store.view, setting.reachability.is_reachable)
        self.logs = Logs(store)
        self.log_broker = LogBrokerServer(self.logs, caller=current_caller)
        self.dispatcher = Dispatcher(
            store,
            node_id=own_id,
            managers=quorum.peers,
            caller=current_caller,
            clock=time.time,
            rng=setting.rng,
            root_ca=security.root_pem,
            is_reachable=quorum.is_there,
        )
        self.members = Members(
            store,
            setting.etcd,
            quorum,
            own_id=own_id,
            own_address=setting.address,
            caller=current_caller,
            probe=HealthProbe(security.client_context),
            data_key=setting.data_key,
            changed=self.dispatcher.membership_changed,
        )
        self.ca = CAServer(store, security.cluster_id)
        self.node_ca = NodeCAServer(store, security.cluster_id, caller=current_caller)
        external = ExternalCAClient(security)
        external_signer = ExternalSigner(store, security.cluster_id, external, time.time)
        self.control = Control(store, quorum, time.time, expand=expand_spec, external=external)
        self.attachments = Attachments(store, caller=current_caller, clock=time.time, new_id=new_id)
        scheduler = Scheduler(setting.rng)
        self.placement = PlacementServer(store, scheduler, time.time)
        self.views = ViewsServer(store, self.dispatcher.ask, caller=current_caller)
        self._leader = Leader(
            store,
            all_deciders(
                security.cluster_id,
                setting.rng,
                members=quorum.statuses,
                random_bytes=os.urandom,
                scheduler=scheduler,
            ),
            [
                Component("dispatcher", self.dispatcher.run),
                Component("log broker", self.logs.run),
                Component("members", self.members.run),
                Component("external CA", external_signer.run),
            ],
            first=first,
            new_id=new_id,
            random_bytes=os.urandom,
        )

    async def begin(self) -> None:
        """Write the objects that every swarm has, and this manager's status. After that the term answers calls."""
        await self._leader.found()
        await self.members.begin()

    async def run(self) -> None:
        """Run the leader's parts until cancelled."""
        await self._leader.run()
