"""This host's part in a swarm: none, or one stay after another. Answers what the Engine API asks about `/swarm`.

States as Docker's (`LocalState`): inactive, pending while starting, active, error when the last start failed. A stay
that fails is started again with a growing pause, except where a person must act first (damaged files).
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from random import Random

from shoal.agent.runtime import Runtime
from shoal.ca.security import SecurityConfig
from shoal.ca.tokens import unlock_key
from shoal.errors import DamagedState, ShoalError, Unavailable, Unimplemented
from shoal.manager.control import Control
from shoal.manager.logs.server import Logs
from shoal.node import addresses, founding, state
from shoal.node.interfaces_linux import list_interfaces
from shoal.node.manager import Active
from shoal.node.membership import Describe, Membership
from shoal.node.types import InitRequest, LocalState, SwarmInfo
from shoal.paths import Paths
from shoal.store.memory import View
from shoal.store.watch import Watch

log = logging.getLogger(__name__)

TASK_LABEL = "com.docker.swarm.task.id"
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0  # seconds before another start; SwarmKit's (moby daemon/cluster)
LEAVE_TIMEOUT = 60.0  # for tasks to end when the node leaves; what is left then is removed by force

NOT_A_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
NOT_YET_A_MANAGER = (
    "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster."
)
ALREADY_IN_A_SWARM = (
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
)
LAST_MANAGER = (
    "You are attempting to leave the swarm on a node that is participating as a manager. Removing the last manager "
    "erases all current state of the swarm. Use `--force` to ignore this message. "
)


@dataclass(slots=True)
class _Stay:
    """A membership and the child that runs it."""

    membership: Membership | None
    child: asyncio.Task[None] | None = None
    error: str = ""


class SwarmNode:
    """The node. Enter `run` in a group; the methods work while it runs."""

    def __init__(
        self,
        paths: Paths,
        runtime: Runtime,
        describe: Describe,
        *,
        rng: Random,
        own_subnets: Callable[[], Sequence[IPv4Network]] = lambda: (),
        default_advertise_addr: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._paths = paths
        self._runtime = runtime
        self._describe = describe
        self._rng = rng
        self._own_subnets = own_subnets
        self._default_advertise_addr = default_advertise_addr
        self._clock = clock
        self._stay: _Stay | None = None
        self._changing = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Be what the disk says this node is, and what it is asked to become, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await self._resume(group)
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    async def _resume(self, group: asyncio.TaskGroup) -> None:
        try:
            saved = await asyncio.to_thread(state.load, self._paths.swarm)
            if saved is None:
                # Of a swarm that was being made when the daemon ended: nobody was told that it worked.
                await asyncio.to_thread(self._wipe)
                return
            security = await asyncio.to_thread(SecurityConfig.load, founding.certificates(self._paths), self._clock())
            if security is None:
                raise DamagedState(
                    str(founding.certificates(self._paths)), "the node's certificate and key are missing"
                )
        except (ShoalError, OSError) as error:
            log.error("this node cannot take up its place in the swarm: %s", error)
            self._stay = _Stay(None, error=str(error))
            return
        self._begin(group, Membership(self._paths, security, saved, self._runtime, self._describe, self._rng))

    def _begin(self, group: asyncio.TaskGroup, membership: Membership) -> asyncio.Future[None]:
        """Start a stay; the result is set when its manager serves, or to what kept it from it the first time."""
        stay = self._stay = _Stay(membership)
        up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stay.child = group.create_task(self._live(stay, membership, up), name="membership")
        return up

    async def _live(self, stay: _Stay, membership: Membership, up: asyncio.Future[None]) -> None:
        pause = FIRST_PAUSE

        def started() -> None:
            nonlocal pause
            pause, stay.error = FIRST_PAUSE, ""
            if not up.done():
                up.set_result(None)

        while True:
            try:
                await membership.run(started)
                return
            except* (ShoalError, OSError) as group:
                error = _first(group)
            stay.error = str(error)
            if not up.done():
                up.set_exception(error)
                up.exception()  # who waits for it raises it; at a restart nobody does
            if isinstance(error, DamagedState):
                log.error("this node stays out of the swarm until somebody has looked: %s", error)
                return
            log.warning("this node's part in the swarm ended, and begins anew in %g s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def init(self, request: InitRequest) -> str:
        """Make a swarm of this node, and return the node's id once its manager serves."""
        async with self._changing:
            if self._stay is not None:
                raise Unavailable(ALREADY_IN_A_SWARM)
            if request.auto_lock_managers:
                raise Unimplemented("locking managers (--autolock) comes with a later release of Shoal")
            if request.force_new_cluster:
                raise Unimplemented("--force-new-cluster comes with a later release of Shoal")
            node_state = await self._resolve(request)
            group = self._group
            if group is None:
                raise Unavailable("the daemon is stopping")
            founded = await asyncio.to_thread(founding.found, self._paths, request, node_state, self._clock())
            membership = Membership(
                self._paths, founded.security, node_state, self._runtime, self._describe, self._rng, founded.first
            )
            try:
                await self._begin(group, membership)
                await asyncio.to_thread(state.save, self._paths.swarm, node_state)
            except BaseException:
                await self._end()
                raise
            log.info("this node, %s, is the first manager of swarm %s", founded.first.node_id, founded.first.cluster_id)
            return founded.first.node_id

    async def _resolve(self, request: InitRequest) -> state.NodeState:
        found = addresses.resolve(
            request.listen_addr,
            request.advertise_addr,
            request.data_path_addr,
            await list_interfaces(),
            own_subnets=self._own_subnets(),
            default_advertise=self._default_advertise_addr,
        )
        addresses.check_pools(request.default_addr_pool, request.subnet_size)
        return state.NodeState(
            listen_addr=found.listen,
            advertise_addr=found.advertise,
            local_addr=found.local,
            data_path_addr=found.data_path,
            data_path_port=addresses.check_data_path_port(request.data_path_port),
            default_addr_pool=request.default_addr_pool,
            subnet_size=request.subnet_size,
        )

    async def leave(self, force: bool) -> None:
        """Leave the swarm: end its tasks here, forget its keys and its data."""
        async with self._changing:
            stay = self._stay
            if stay is None:
                raise Unavailable("This node is not part of a swarm")
            if not force:
                raise ShoalError(LAST_MANAGER)
            if stay.membership is not None and stay.membership.active is not None:
                try:
                    async with asyncio.timeout(LEAVE_TIMEOUT):
                        await stay.membership.leave()
                except TimeoutError:
                    log.warning("tasks did not end within %g s; their containers are removed by force", LEAVE_TIMEOUT)
            await self._end()
            log.info("this node has left the swarm")

    async def _end(self) -> None:
        """Stop what runs, remove what tasks left, wipe the folder; this node is in no swarm then."""
        stay = self._stay
        if stay is not None and stay.child is not None:
            stay.child.cancel()
            await asyncio.wait([stay.child])
        for container in self._runtime.containers.list():
            if TASK_LABEL in container.config.labels:
                await self._runtime.containers.remove(container.id, force=True, volumes=True)
        await asyncio.to_thread(self._wipe)
        self._stay = None

    def _wipe(self) -> None:
        for folder in (self._paths.swarm, self._paths.etcd):
            if folder.exists():
                shutil.rmtree(folder)

    def info(self) -> SwarmInfo:
        """Return what `docker info` shows of the swarm."""
        stay = self._stay
        if stay is None:
            return SwarmInfo()
        if stay.membership is None:
            return SwarmInfo(local_state=LocalState.ERROR, error=stay.error)
        membership, active = stay.membership, stay.membership.active
        node_id, advertised = membership.security.node_id, membership.state.advertise_addr
        host, _ = addresses.split_host_port(advertised, addresses.DEFAULT_PORT)
        if active is None:
            return SwarmInfo(
                local_state=LocalState.ERROR if stay.error else LocalState.PENDING,
                node_id=node_id,
                node_addr=host,
                error=stay.error,
            )
        view = active.store.view()
        return SwarmInfo(
            local_state=LocalState.ACTIVE,
            node_id=node_id,
            node_addr=host,
            control_available=True,
            remote_managers=((node_id, advertised),),
            cluster=view.clusters.get(membership.security.cluster_id),
            nodes=len(view.nodes),
            managers=1,
        )

    def _active(self) -> Active:
        stay = self._stay
        if stay is None:
            raise Unavailable(NOT_A_MANAGER)
        if stay.membership is None or stay.membership.active is None:
            raise Unavailable(f"{NOT_YET_A_MANAGER} ({stay.error})" if stay.error else NOT_YET_A_MANAGER)
        return stay.membership.active

    def control(self) -> Control:
        """Return the management API. Raises Unavailable with Docker's words where this node is no manager."""
        return self._active().control

    def logs(self) -> Logs:
        """Return the log broker, likewise."""
        return self._active().logs

    def watch(self, *kinds: type) -> Watch:
        """Return a watch on the swarm's objects, likewise."""
        return self._active().store.watch(*kinds)

    def view(self) -> View:
        """Return the swarm's objects as they are now, likewise."""
        return self._active().store.view()

    async def unlock_key(self) -> str:
        """Return the key that unlocks this swarm's managers, empty with autolock off."""
        for cluster in self._active().store.view().clusters.all():
            for key in cluster.unlock_keys:
                if key.subsystem == "swarm-manager":
                    return unlock_key(key.key)
        return ""


def _first(group: BaseExceptionGroup[BaseException]) -> Exception:
    """Return the first error inside nested groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
