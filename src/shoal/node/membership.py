"""One stay in a swarm: runs this node's agent, and a manager while the node's certificate says manager.

In: identity, addresses, the host's runtime. Out: whether the node is up, and what its manager offers. The agent speaks
to managers over the network, and prefers its own. It ends before its manager, so that its last reports are received.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from random import Random

from shoal.agent.agent import Agent, AgentConfig
from shoal.agent.networks import Networks, Place
from shoal.agent.remotes import Remotes
from shoal.agent.runtime import Runtime
from shoal.api import v1 as api
from shoal.ca.identity import InvalidCertificate
from shoal.ca.security import MANAGER_SERVER_NAME, SecurityConfig
from shoal.errors import ShoalError, Unavailable
from shoal.files import remove_tree
from shoal.manager.bootstrap import FirstLeader
from shoal.manager.control.clusters import MANAGER_SUBSYSTEM
from shoal.node import peers
from shoal.node.addresses import DEFAULT_PORT, join_host_port, split_host_port
from shoal.node.certificates import CAClient, download_root, from_own_store
from shoal.node.manager import Active, KeepOut, Manager
from shoal.node.renewal import Renewal
from shoal.node.state import NodeState
from shoal.paths import Paths
from shoal.store.watch import WatchLagged

log = logging.getLogger(__name__)

Describe = Callable[[api.NodeTLSInfo], api.NodeDescription]
REMOTE_WEIGHT = 10  # of a manager that this node knows
FIRST_SESSION_PATIENCE = 5.0  # seconds that a serving manager waits for its own node before it counts as up
REMOVED = "node {} was removed from swarm"  # the text of `manager/port/authorization.py`
DEMOTED = "is not a manager any more"  # in the text of `manager/port/standing.py`
LOCAL_CA_TIMEOUT = 30.0  # seconds for this host's own manager to sign


class NodeRemoved(ShoalError):
    """The swarm's managers say that this node was removed. This is final, because ids are not used again."""

    def __init__(self, node_id: str) -> None:
        super().__init__(
            f"{REMOVED.format(node_id)}, and its tasks were stopped. To join again, leave first: "
            "docker swarm leave --force"
        )


class Membership:
    """This node in its swarm. `run` may be called again after it ended.

    `managers` are those that this node knew before; `first` describes a swarm that this node founds; `alone` leaves the
    other managers behind (`--force-new-cluster`); `keep_out` is passed to the manager. `on_active` is called whenever a
    manager begins to serve, which is then in `active`.
    """

    def __init__(
        self,
        paths: Paths,
        security: SecurityConfig,
        state: NodeState,
        runtime: Runtime,
        describe: Describe,
        rng: Random,
        *,
        managers: peers.Peers = (),
        first: FirstLeader | None = None,
        alone: bool = False,
        keep_out: KeepOut = lambda port: nullcontext(),
        on_active: Callable[[], None] = lambda: None,
    ) -> None:
        self.is_up = False
        """Whether the node has been up since `run` began. It stays so while its manager starts or waits for others."""
        self._keep_out = keep_out
        self._on_active = on_active
        self.security = security
        self.state = state
        self.active: Active | None = None
        self.managers = managers
        self._paths = paths
        self._runtime = runtime
        self._describe = describe
        self._rng = rng
        self._first = first
        self._alone = alone
        self._agent: Agent | None = None
        self._renewal: Renewal | None = None
        self._serving = asyncio.Event()
        self._registered = asyncio.Event()
        self._role_changed = asyncio.Event()
        self._unsaved = asyncio.Event()
        self._told_root = b""
        self._root_told = asyncio.Event()
        self._is_removed = False
        self._ending = asyncio.Event()
        self._left = asyncio.Event()

    @property
    def is_manager(self) -> bool:
        """Return whether a manager runs here or is being started."""
        return self.security.is_manager

    def networks(self) -> list[api.Network]:
        """Return the swarm's networks that this node was told of."""
        return self._agent.networks() if self._agent is not None else []

    @property
    def registered(self) -> bool:
        """Return whether a session was held since the start."""
        return self._registered.is_set()

    @property
    def trouble(self) -> str:
        """Return why this node is no longer part of the swarm; empty while it is. Its tasks may still be ending."""
        return str(NodeRemoved(self.security.node_id)) if self._is_removed else ""

    async def run(self, started: Callable[[], None]) -> None:
        """Be a node of the swarm until cancelled or until `leave`.

        `started` is called when the first session is held and, on a manager, when the manager serves. From then on the
        swarm knows the node's hostname, so that users may name it. Raises NodeRemoved, in an ExceptionGroup.
        """
        self._left.clear()
        self._registered.clear()
        self._is_removed = False
        self._renewal = Renewal(
            self.security, self._request_certificate, self._renewed, self._refresh_root, rng=self._rng, clock=time.time
        )
        try:
            async with asyncio.TaskGroup() as group:
                children = [
                    group.create_task(self._manage(), name="manager"),
                    group.create_task(self._renewal.run(), name="renewal"),
                    group.create_task(self._record(), name="record managers"),
                    group.create_task(self._follow_root(), name="root"),
                    group.create_task(self._tell(started), name="up"),
                ]
                try:
                    if self.is_manager and not self._others():
                        await self._serving.wait()
                    await self._work()
                finally:
                    for child in children:
                        child.cancel()
        finally:
            self.active = None
            self.is_up = False
            self._serving.clear()
            self._left.set()

    async def _tell(self, started: Callable[[], None]) -> None:
        """Call `started` when the node is up. A serving manager does not wait for its own node's session for ever."""
        if not self.is_manager:
            await self._registered.wait()
        else:
            await self._serving.wait()
            try:
                async with asyncio.timeout(FIRST_SESSION_PATIENCE):
                    await self._registered.wait()
            except TimeoutError:
                log.warning("this manager serves, but its own node holds no session with it yet")
        self.is_up = True
        started()

    async def _manage(self) -> None:
        """Run a manager while the certificate says so."""
        if not self.is_manager:
            await asyncio.to_thread(self._remove_data)  # in case it was demoted just before the daemon ended
        while True:
            await self._wait_role(manager=True)
            manager = Manager(
                self._paths,
                self.security,
                self.state,
                self._first,
                self._rng,
                lambda: self.managers,
                alone=self._alone,
                keep_out=self._keep_out,
            )

            def begin(active: Active) -> None:
                self.active = active
                self._first, self._alone = None, False  # both are done now
                self._serving.set()
                self._on_active()

            def end() -> None:
                self.active = None
                self._serving.clear()

            async with asyncio.TaskGroup() as term:
                children = [
                    term.create_task(manager.run(begin, end), name="manager term"),
                    term.create_task(self._keep_locked(), name="lock"),
                ]
                await self._wait_role(manager=False)
                for child in children:
                    child.cancel()
            self.active = None
            self._serving.clear()
            await self._forget_manager()

    async def _forget_manager(self) -> None:
        """Remove what only managers may have: the swarm's data and its data key."""
        log.info("this node is a worker now")
        self.managers = tuple(each for each in self.managers if each[0] != self.security.node_id)
        self._unsaved.set()
        await asyncio.to_thread(self._remove_data)
        await self.security.set_data_key(None)
        await self.security.drop_kek()

    def _remove_data(self) -> None:
        for folder in (self._paths.etcd, self._paths.swarm / "etcd"):
            remove_tree(folder)

    async def _wait_role(self, *, manager: bool) -> None:
        while self.is_manager is not manager:
            self._role_changed.clear()
            await self._role_changed.wait()

    async def _work(self) -> None:
        """Run the agent until cancelled, or until it has left. Raises NodeRemoved if the managers removed this node."""
        self._ending.clear()
        agent = self._agent = self._new_agent()
        try:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(agent.run(), name="agent")
                await self._ending.wait()
                await agent.leave()
                await self._runtime.overlays.leave()
                running.cancel()
        finally:
            self._agent = None
        if self._is_removed:
            raise NodeRemoved(self.security.node_id)

    async def leave(self) -> None:
        """Remove every task of this node, end the session, and then `run`. Does nothing while no agent runs."""
        if self._agent is not None:
            self._ending.set()
            await self._left.wait()

    def _new_agent(self) -> Agent:
        networks = Networks(self._runtime.overlays, _place(self.state))

        def on_session(message: api.SessionMessage) -> None:
            self._hear(message)
            networks.hear(message)
            self._registered.set()

        config = AgentConfig(
            describe=lambda: self._describe(self.security.tls_info()),
            local_manager=lambda: self._local() if self.active is not None else None,
            joining=self.state.join_in_progress,
            on_session=on_session,
            on_refused=self._refused,
        )
        return Agent(
            self._paths, self.security, self._runtime, Remotes(self._known()), config, rng=self._rng, clock=time.time
        )

    def _refused(self, why: str) -> None:
        """Handle a manager's refusal of this node's certificate."""
        if REMOVED.format(self.security.node_id) in why:
            log.error("%s: its tasks are stopped", REMOVED.format(self.security.node_id))
            self._is_removed = True
            self._registered.clear()
            self._ending.set()
        elif DEMOTED in why and self.is_manager and self._renewal is not None:
            self._renewal.renew_soon()

    def _known(self) -> dict[str, int]:
        """Return the managers to ask, by address."""
        known = dict.fromkeys((address for _, address in self.managers), REMOTE_WEIGHT)
        if self.is_manager:
            known.setdefault(self._local(), 0)
        return known

    def _local(self) -> str:
        """Return the address by which this host reaches its own manager."""
        _, port = split_host_port(self.state.listen_addr, DEFAULT_PORT)
        return join_host_port(self.state.local_addr, port)

    def _others(self) -> bool:
        return any(node_id != self.security.node_id for node_id, _ in self.managers)

    def _hear(self, message: api.SessionMessage) -> None:
        """Take in what a session message says about managers, this node and the root."""
        managers = peers.named(message.managers)
        if managers and managers != self.managers:
            self.managers = managers
            self._unsaved.set()
        if message.HasField("node") and self._renewal is not None:
            self._renewal.observe(message.node)
        if message.RootCA:
            self._told_root = message.RootCA
            self._root_told.set()

    async def _follow_root(self) -> None:
        """Trust the newest root that managers send."""
        while True:
            await self._root_told.wait()
            self._root_told.clear()
            await self._trust(self._told_root)

    async def _trust(self, root_pem: bytes) -> None:
        try:
            changed = await self.security.trust(root_pem, time.time())
        except (InvalidCertificate, OSError) as error:
            log.error("the swarm's new root certificate cannot be used: %s", error)
            return
        if changed:
            log.info("this node trusts the swarm's new root certificate")
            if self._agent is not None:
                self._agent.identity_changed()

    # The node's certificate.

    async def _keep_locked(self) -> None:
        """Seal the key file by the swarm's unlock key, or unseal it, as the cluster's spec says."""
        while True:
            await self._serving.wait()
            active = self.active
            assert active is not None
            with active.store.watch(api.Cluster) as watch:
                try:
                    while True:
                        for cluster in list(active.store.view().clusters.all()):
                            await self._lock_by(cluster)
                        await watch.next()
                except WatchLagged:
                    continue
                except Unavailable:  # the manager stopped serving, which it logs itself; it may serve again
                    self._serving.clear()

    async def _lock_by(self, cluster: api.Cluster) -> None:
        keys = [key.key for key in cluster.unlock_keys if key.subsystem == MANAGER_SUBSYSTEM]
        kek = keys[0] if keys and cluster.spec.encryption_config.auto_lock_managers else None
        was_open = self.security.kek is None
        if kek == self.security.kek:
            return
        try:
            await self.security.set_kek(kek, cluster.meta.version.index)
        except (InvalidCertificate, OSError) as error:
            log.error("this manager's key is not locked as the swarm asks for: %s", error)
            return
        log.info("this manager is %s now", "unlocked" if kek is None else "locked by the swarm's unlock key")
        if was_open and self._renewal is not None:
            self._renewal.renew_soon()  # old copies of the disk have the unsealed key

    async def _request_certificate(self, csr: bytes) -> bytes:
        if self.is_manager and not self._others():
            await self._wait_serving()
        if self.active is not None:
            try:
                async with asyncio.timeout(LOCAL_CA_TIMEOUT):
                    store = self.active.store
                    return await from_own_store(store, self.security.node_id, self.security.cluster_id, csr)
            except Unavailable as error:
                log.debug("the manager here signs nothing: %s", error)
            except TimeoutError as error:
                raise Unavailable("the swarm's CA does not sign") from error
        remotes = Remotes(self._known())
        return await CAClient(remotes, self.security.client_context, MANAGER_SERVER_NAME, self._rng).request(csr)

    async def _wait_serving(self) -> None:
        """Wait a while for this host's manager, which is the only one that could sign."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOCAL_CA_TIMEOUT):
                await self._serving.wait()

    def _renewed(self) -> None:
        self._role_changed.set()
        if self._agent is not None:
            self._agent.describe_changed()

    async def _refresh_root(self) -> None:
        """Download the root again on a worker, because a rotation may have ended while the node was away."""
        known = Remotes(self._known()).select(self._rng.random)
        if self.is_manager or known is None:
            return
        try:
            await self._trust(await download_root(known))
        except ShoalError as error:
            log.warning("the swarm's root certificate could not be fetched: %s", error)

    async def _record(self) -> None:
        """Save the known managers for the next start. A failed write is only logged; sessions name them again."""
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            try:
                await asyncio.to_thread(peers.save, self._paths.swarm, self.managers)
            except OSError as error:
                log.warning("the addresses of this swarm's managers could not be saved: %s", error)


def _place(state: NodeState) -> Place:
    return Place(
        bind=split_host_port(state.listen_addr, DEFAULT_PORT)[0],
        advertise=split_host_port(state.advertise_addr or state.local_addr, DEFAULT_PORT)[0],
        data_path=state.data_path_addr,
        vxlan_port=state.data_path_port,
    )
