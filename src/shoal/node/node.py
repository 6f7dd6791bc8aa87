"""This host's part in a swarm. It is in no swarm, or has one stay at a time. Answers the Engine API's `/swarm` calls.

The states are Docker's (`LocalState`): inactive, pending while starting, active, error when the last start failed.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from ipaddress import IPv4Network
from random import Random
from typing import BinaryIO

from shoal.agent.runtime import Runtime
from shoal.api import v1 as api
from shoal.api.gen import placement_pb2 as pb
from shoal.api.gen.views_pb2 import ViewsReply
from shoal.ca.keyfile import Locked
from shoal.ca.security import SecurityConfig
from shoal.ca.tokens import KEK_BYTES, parse_unlock_key, unlock_key
from shoal.errors import Conflict, FailedPrecondition, NotFound, ShoalError, Unauthenticated, Unavailable
from shoal.files import remove_tree
from shoal.manager.control import ControlRpcs
from shoal.manager.forwarding.services import LogBroker
from shoal.node import addresses, backups, founding, joining, peers, refusals, restoring, state
from shoal.node.manager import Active, KeepOut
from shoal.node.membership import Describe, Membership
from shoal.node.places import Places
from shoal.node.stay import Enter, Stay
from shoal.node.types import InitRequest, JoinRequest, LocalState, RestoreRequest, RestoreResult, SwarmInfo
from shoal.paths import Paths
from shoal.store.backup import clean
from shoal.store.backup import read as read_backup
from shoal.store.backup_file import DamagedBackup, Summary
from shoal.store.memory import View
from shoal.store.watch import Watch

log = logging.getLogger(__name__)

TASK_LABEL = "com.docker.swarm.task.id"
# Seconds for tasks to end when the node leaves: twice their default stop time. The rest is then removed by force, as
# moby does at once (daemon/cluster/swarm.go, Leave).
LEAVE_TIMEOUT = 20.0
CLOCK_LOOK = 1.0  # seconds; a host without a clock's battery gets the time soon after its network
JOIN_TIMEOUT = 20.0  # seconds for the caller; the attempt goes on. Source: moby daemon/cluster, swarmConnectTimeout


class SwarmNode:
    """The node. The methods work while `run` runs."""

    def __init__(
        self,
        paths: Paths,
        runtime: Runtime,
        describe: Describe,
        *,
        rng: Random,
        own_subnets: Callable[[], Sequence[IPv4Network]] = lambda: (),
        default_advertise_addr: str = "",
        keep_out: KeepOut = lambda port: nullcontext(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._paths = paths
        self._runtime = runtime
        self._describe = describe
        self._rng = rng
        self._keep_out = keep_out
        self._places = Places(own_subnets, default_advertise_addr)
        self._clock = clock
        self.resumed = asyncio.Event()
        """Set once `run` has read this node's files. Before that it would answer that it is in no swarm."""
        self._manages = asyncio.Event()  # a manager has begun here since somebody last asked
        self._stay: Stay | None = None
        self._changing = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Take up this node's place if its files name one, and serve the calls, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await self._resume()
                self.resumed.set()
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None
                self.resumed.set()

    async def _resume(self, kek: bytes | None = None, *, asked: bool = False) -> asyncio.Future[None] | None:
        """Take up the place in the files. Return a future for when this node is up, or None if it cannot be.

        `asked`: a caller waits, and there is no other attempt if the first one fails.
        """
        try:
            found = await asyncio.to_thread(restoring.restore, self._paths, self._clock(), kek)
        except Locked as error:
            log.warning("this manager is locked: docker swarm unlock opens it")
            self._stay = Stay.failed(str(error), refusals.LOCKED)
            return None
        except (ShoalError, OSError) as error:
            log.error("this node cannot take up its place in the swarm: %s", error)
            self._stay = Stay.failed(str(error))
            return None
        if found is None:
            # Files of a swarm that was being made or joined when the daemon ended; no caller was told of success.
            await asyncio.to_thread(self._wipe)
            return None
        if found.out_of_time and not found.security.is_manager:
            self._wait_for_clock(found, kek)
            return None
        saved = await self._places.relocated(found.saved)
        if saved != found.saved:
            await asyncio.to_thread(state.save, self._paths.swarm, saved)
        membership = self._membership(found.security, saved, managers=found.managers)

        async def enter() -> Membership:
            return membership

        return self._begin(enter, asked=asked)

    async def wait_settled(self) -> None:
        """Wait until this node is up, or its first attempt has failed, at most JOIN_TIMEOUT seconds.

        Before that it would answer that it is no manager, or not active, although it soon is. Source: moby
        daemon/cluster (`Start`, swarmConnectTimeout).
        """
        await self.resumed.wait()
        if self._stay is None:
            return
        try:
            async with asyncio.timeout(JOIN_TIMEOUT):
                await self._stay.settled.wait()
        except TimeoutError:
            log.warning("this node is not up after %g s; the API answers without it", JOIN_TIMEOUT)

    async def wait_manager(self) -> None:
        """Wait until a manager works here, and `control`, `logs`, `watch` and `view` can be used."""
        while self._stay is None or self._stay.membership is None or self._stay.membership.active is None:
            self._manages.clear()
            await self._manages.wait()

    def _wait_for_clock(self, found: restoring.Restored, kek: bytes | None) -> None:
        """Stay out of the swarm until this node's certificate is valid at the time of the host's clock."""
        identity = found.security.identity
        stay = self._stay = Stay.failed(found.out_of_time, found.out_of_time)

        async def wait() -> None:
            while self._stay is stay:
                await asyncio.sleep(CLOCK_LOOK)
                if not identity.not_before_at <= self._clock() <= identity.not_after_at:
                    continue
                async with self._changing:
                    if self._stay is stay:
                        log.info("this host's clock was set: the node takes up its place in the swarm")
                        await self._resume(kek)

        if self._group is not None:
            self._group.create_task(wait(), name="wait for the clock")

    def _membership(self, security: SecurityConfig, saved: state.NodeState, **more: object) -> Membership:
        return Membership(
            self._paths,
            security,
            saved,
            self._runtime,
            self._describe,
            self._rng,
            keep_out=self._keep_out,
            on_active=self._manages.set,
            **more,  # type: ignore[arg-type]
        )

    def _begin(self, enter: Enter, *, asked: bool) -> asyncio.Future[None]:
        if self._group is None:
            raise Unavailable("the daemon is stopping")
        self._stay = Stay(enter, asked=asked, ready=self._joined)
        return self._stay.begin(self._group)

    async def init(self, request: InitRequest) -> str:
        """Make a swarm of this node, and return the node's id once its manager serves."""
        async with self._changing:
            if self._stay is not None and not request.force_new_cluster:
                raise Unavailable(refusals.ALREADY_IN_A_SWARM)
            node_state = await self._places.founding(request)
            if self._stay is not None:
                return await self._go_on_alone(self._stay, node_state)
            founded = await asyncio.to_thread(founding.found, self._paths, request, node_state, self._clock())

            async def enter() -> Membership:
                return self._membership(founded.security, node_state, first=founded.first)

            try:
                await self._begin(enter, asked=True)
                await asyncio.to_thread(state.save, self._paths.swarm, node_state)
            except BaseException:
                await self._end()
                raise
            log.info("this node, %s, is the first manager of swarm %s", founded.first.node_id, founded.first.cluster_id)
            return founded.first.node_id

    async def _go_on_alone(self, stay: Stay, node_state: state.NodeState) -> str:
        """Make this manager the only one of its swarm, with its data (`--force-new-cluster`)."""
        kek = stay.membership.security.kek if stay.membership is not None else None
        found = await asyncio.to_thread(restoring.restore, self._paths, self._clock(), kek)
        if found is None or not found.security.is_manager:
            raise FailedPrecondition(refusals.NO_DATA_HERE)
        await stay.end()
        node_state = replace(
            node_state,
            data_path_port=found.saved.data_path_port,
            default_addr_pool=found.saved.default_addr_pool,
            subnet_size=found.saved.subnet_size,
        )

        async def enter() -> Membership:
            return self._membership(found.security, node_state, alone=True)

        try:
            await self._begin(enter, asked=True)
            await asyncio.to_thread(state.save, self._paths.swarm, node_state)
            await asyncio.to_thread(peers.save, self._paths.swarm, ())
        except (ShoalError, OSError):
            await self._resume()  # as before; nothing was lost
            raise
        log.warning("this node, %s, goes on as the only manager of its swarm", found.security.node_id)
        return found.security.node_id

    async def backup(self, file: BinaryIO) -> Summary:
        """Write this swarm and this manager's identity to an empty file. Raises Unavailable as `control`, OSError."""
        active, stay = self._active(), self._stay
        assert stay is not None
        assert stay.membership is not None
        security = stay.membership.security
        summary = await backups.save(active.etcd, security, self._describe(security.tls_info()).hostname, file)
        log.info("the swarm was saved: %d objects, as of version %d", summary.total, summary.about.version)
        return summary

    async def restore(self, request: RestoreRequest, file: BinaryIO) -> RestoreResult:
        """Make this host the manager that made a backup, alone in its swarm. Return once it serves, or is locked.

        When it fails, it raises the cause and leaves no files.
        """
        async with self._changing:
            if self._stay is not None:
                raise Unavailable(refusals.ALREADY_IN_A_SWARM)
            found = await read_backup(file)
            addresses = InitRequest(request.listen_addr, request.advertise_addr, request.data_path_addr)
            node_state = replace(await self._places.founding(addresses), data_path_port=0)
            try:
                identity = await backups.place(self._paths, found, node_state)
                log.warning(
                    "swarm %s was restored from a backup; this node, %s, is its only manager",
                    identity.organization,
                    identity.node_id,
                )
                up = await self._resume(asked=True)
                if up is not None:
                    await up
                elif self._stay is None or self._stay.refusal != refusals.LOCKED:
                    raise DamagedBackup(
                        f"this backup is damaged: {self._stay.error if self._stay else 'nothing in it'}"
                    )
            except BaseException:
                await self._end()
                raise
            return RestoreResult(found.summary, identity.node_id, is_locked=up is None)

    async def join(self, request: JoinRequest) -> None:
        """Join this host to an existing swarm, and return once it is up.

        When it fails, it raises the cause and leaves no files. After 20 s it raises Unavailable, and the attempt goes
        on.
        """
        async with self._changing:
            if self._stay is not None and self._stay.refusal != refusals.EXPIRED:
                raise Unavailable(refusals.ALREADY_IN_A_SWARM)
            request, node_state = await self._places.joining(request)
            await self._end()  # a node whose certificate expired cannot tell the managers that it leaves

            async def enter() -> Membership:
                folder = founding.certificates(self._paths)
                self._paths.swarm.mkdir(mode=0o700, parents=True, exist_ok=True)
                await asyncio.to_thread(state.save, self._paths.swarm, node_state)
                security = await joining.join(folder, request, self._rng, self._clock)
                log.info("this node, %s, is joining swarm %s", security.node_id, security.cluster_id)
                return self._membership(security, node_state, managers=(("", node_state.remote_addr),))

            try:
                async with asyncio.timeout(JOIN_TIMEOUT):
                    await self._begin(enter, asked=True)
            except TimeoutError:
                raise Unavailable(refusals.JOIN_TIMEOUT) from None
            except BaseException:
                await self._end()
                raise

    def _joined(self, membership: Membership) -> None:
        """Note that this node is up, and no longer joining."""
        if membership.state.join_in_progress:
            membership.state = replace(membership.state, join_in_progress=False)
            try:
                state.save(self._paths.swarm, membership.state)
            except OSError as error:
                log.warning("this node has joined, but that could not be saved: %s", error)

    async def leave(self, force: bool) -> None:
        """Leave the swarm: end its tasks here, and remove its keys and data."""
        async with self._changing:
            stay = self._stay
            if stay is None:
                raise Unavailable(refusals.NOT_PART_OF_A_SWARM)
            membership = stay.membership
            if not force and stay.refusal == refusals.LOCKED:
                raise Unavailable(refusals.LOCKED_LEAVE)
            if not force and membership is not None and membership.is_manager:
                raise Unavailable(await _why_not_leave(membership))
            if membership is not None:
                try:
                    async with asyncio.timeout(LEAVE_TIMEOUT):
                        await membership.leave()
                except TimeoutError:
                    log.warning("tasks did not end within %g s; their containers are removed by force", LEAVE_TIMEOUT)
            await self._end()
            log.info("this node has left the swarm")

    async def unlock(self, key: str) -> None:
        """Unlock this manager's key file, and let the manager start. Raises Unauthenticated for a wrong key."""
        async with self._changing:
            if self._stay is None or self._stay.refusal != refusals.LOCKED:
                self._active()  # raises the reason why there is nothing to unlock
                raise Conflict(refusals.NOT_LOCKED)
            kek = parse_unlock_key(key)
            if len(kek) != KEK_BYTES:
                raise Unauthenticated(refusals.WRONG_UNLOCK_KEY)
            up = await self._resume(kek, asked=True)
            if self._stay.refusal == refusals.LOCKED:
                raise Unauthenticated(refusals.WRONG_UNLOCK_KEY)
            try:
                if up is None:
                    raise ShoalError(self._stay.error)
                async with asyncio.timeout(JOIN_TIMEOUT):
                    await up
            except TimeoutError:
                log.warning("this manager is unlocked, and waits for the others")
            except (ShoalError, OSError) as error:
                raise ShoalError(f"swarm component could not be started: {error}") from error

    async def _end(self) -> None:
        """End the stay, remove the containers of tasks and the swarm's folder. Then this host is in no swarm."""
        if self._stay is not None:
            await self._stay.end()
        for container in self._runtime.containers.list():
            if TASK_LABEL in container.config.labels:
                with contextlib.suppress(NotFound):  # the loop of its task removed it meanwhile
                    await self._runtime.containers.remove(container.id, force=True, volumes=True)
        await self._runtime.overlays.leave()
        await asyncio.to_thread(self._wipe)
        self._stay = None

    def _wipe(self) -> None:
        for folder in (self._paths.swarm, self._paths.etcd):
            remove_tree(folder)
        clean(self._paths)

    def info(self) -> SwarmInfo:
        """Return what `docker info` shows about the swarm."""
        stay = self._stay
        if stay is None:
            return SwarmInfo()
        membership = stay.membership
        if membership is None:
            failed = LocalState.LOCKED if stay.refusal == refusals.LOCKED else LocalState.ERROR
            return SwarmInfo(local_state=failed if stay.error else LocalState.PENDING, error=stay.error)
        up = (membership.active is not None or membership.is_up) and not membership.trouble
        error = stay.error or membership.trouble
        waiting = LocalState.ERROR if error else LocalState.PENDING
        host, _ = addresses.split_host_port(membership.state.advertise_addr, addresses.DEFAULT_PORT)
        info = SwarmInfo(
            local_state=LocalState.ACTIVE if up else waiting,
            node_id=membership.security.node_id,
            node_addr=host,
            error=error,
            remote_managers=_managers(membership),
        )
        active = membership.active
        if active is None:
            return info
        view = active.store.view()
        return replace(
            info,
            control_available=True,
            cluster=view.clusters.get(membership.security.cluster_id),
            nodes=len(view.nodes),
            managers=sum(node.HasField("manager_status") for node in view.nodes.all()),
        )

    def _active(self) -> Active:
        stay = self._stay
        membership = stay.membership if stay is not None else None
        if membership is not None and membership.active is not None:
            return membership.active
        if stay is None or (membership is None and not stay.error):
            raise Unavailable(refusals.NOT_IN_A_SWARM)
        if stay.refusal:
            raise Unavailable(stay.refusal)
        if membership is not None and not membership.is_manager:
            raise Unavailable(refusals.A_WORKER)
        text = refusals.NOT_YET_A_MANAGER
        raise Unavailable(f"{text} ({stay.error})" if stay.error else text)

    def control(self) -> ControlRpcs:
        """Return the management API. Raises Unavailable with Docker's text if no manager works here."""
        return self._active().control

    def logs(self) -> LogBroker:
        """Return the log broker. Raises as `control` does."""
        return self._active().logs

    def watch(self, *kinds: type) -> Watch:
        """Return a watch on the swarm's objects. Raises as `control` does."""
        return self._active().store.watch(*kinds)

    def view(self) -> View:
        """Return the swarm's objects as they are now. Raises as `control` does."""
        return self._active().store.view()

    def networks(self) -> list[api.Network]:
        """Return the swarm's networks that this node was told of; none in no swarm."""
        membership = self._stay.membership if self._stay is not None else None
        return membership.networks() if membership is not None else []

    async def explain_task(self, task_id: str) -> pb.Explanation:
        """Return why a task is on its node, or has none. Raises Unavailable as `control`, NotFound, RpcError."""
        return await self._active().placement.explain(task_id)

    async def network_views(self, network_ids: Sequence[str]) -> ViewsReply:
        """Return what the nodes on these networks see of them. Raises as `explain_task` does, and InvalidArgument."""
        return await self._active().views.ask(network_ids)

    async def unlock_key(self) -> str:
        """Return the key that unlocks this swarm's managers; empty with autolock off. Raises as `control` does."""
        for cluster in self._active().store.view().clusters.all():
            for key in cluster.unlock_keys:
                if key.subsystem == "swarm-manager":
                    return unlock_key(key.key)
        return ""


def _managers(membership: Membership) -> peers.Peers:
    """Return the managers that this node knows; itself if it knows no other."""
    if membership.managers or not membership.is_manager:
        return membership.managers
    return ((membership.security.node_id, membership.state.advertise_addr),)


async def _why_not_leave(membership: Membership) -> str:
    """Return why a manager only leaves with `--force`."""
    if membership.active is None:
        return refusals.leaving(None, 0)
    nodes = (await membership.active.control.list_nodes(api.ListNodesRequest())).nodes
    statuses = [node.manager_status for node in nodes if node.HasField("manager_status")]
    reachable = sum(status.reachability == api.RaftMemberStatus.REACHABLE for status in statuses)
    return refusals.leaving(reachable, len(statuses) - reachable)
