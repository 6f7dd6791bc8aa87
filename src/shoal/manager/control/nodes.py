"""Control's nodes: get, list, update, remove. Source: SwarmKit manager/controlapi/node.go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.api import options, times
from shoal.api import v1 as api
from shoal.api.engines import can_manage
from shoal.ca.identity import InvalidCertificate, read_chain
from shoal.errors import FailedPrecondition, InvariantBroken, NotFound
from shoal.manager.control.clusters import CLUSTER_NAME, expire_blacklisted
from shoal.manager.control.filters import among, begins, labelled
from shoal.manager.control.membership import Membership
from shoal.manager.control.requests import require
from shoal.store.changes import copy
from shoal.store.memory import Transaction

if TYPE_CHECKING:
    from shoal.store.store import Store


class Nodes:
    """The RPCs of nodes. Replies take `manager_status` (leader, reachability) from the present membership."""

    def __init__(self, store: Store, membership: Membership, clock: Callable[[], float]) -> None:
        self._store = store
        self._membership = membership
        self._clock = clock

    async def get_node(self, request: api.GetNodeRequest) -> api.GetNodeResponse:
        """Return a node. Raises NotFound."""
        require(request.node_id)
        response = api.GetNodeResponse(node=self._node(request.node_id))
        self._add_manager_status(response.node)
        return response

    async def list_nodes(self, request: api.ListNodesRequest) -> api.ListNodesResponse:
        """Return the nodes that pass the filters."""
        response = api.ListNodesResponse(
            nodes=[node for node in self._store.view().nodes.all() if _passes(node, request.filters)]
        )
        for node in response.nodes:
            self._add_manager_status(node)
        return response

    async def update_node(self, request: api.UpdateNodeRequest) -> api.UpdateNodeResponse:
        """Change a node's spec.

        Raises FailedPrecondition for a demotion that would cost the quorum and for the promotion of a Docker Engine,
        OutOfSequence for an old version, NotFound.
        """
        require(request.node_id, request.HasField("node_version"), request.HasField("spec"))

        def update(transaction: Transaction) -> None:
            current = transaction.nodes.get(request.node_id)
            if current is None:
                raise _not_found(request.node_id)
            if current.spec.desired_role == api.MANAGER and request.spec.desired_role == api.WORKER:
                self._check_demotion(transaction, current)
            if current.spec.desired_role == api.WORKER and request.spec.desired_role == api.MANAGER:
                _check_promotion(current)
            options.NODE.check(request.spec.annotations.labels, current.spec.annotations.labels)
            node = copy(current)
            node.meta.version.CopyFrom(request.node_version)
            node.spec.CopyFrom(request.spec)
            transaction.update(node)

        await self._store.update(update)
        return api.UpdateNodeResponse(node=self._node(request.node_id))

    async def remove_node(self, request: api.RemoveNodeRequest) -> api.RemoveNodeResponse:
        """Remove a node, block its certificate and mark its tasks ORPHANED, in one transaction.

        Raises FailedPrecondition for a manager, and for a READY node unless `force` is set; NotFound.
        """
        require(request.node_id)

        def remove(transaction: Transaction) -> None:
            node = transaction.nodes.get(request.node_id)
            if node is None:
                raise _not_found(request.node_id)
            self._check_removal(node, force=request.force)
            _shut_out(transaction, node, self._clock())
            _orphan_tasks(transaction, node.id, self._clock())
            transaction.remove(api.Node, node.id)

        await self._store.update(remove)
        return api.RemoveNodeResponse()

    def _node(self, node_id: str) -> api.Node:
        node = self._store.view().nodes.get(node_id)
        if node is None:
            raise _not_found(node_id)
        return node

    def _add_manager_status(self, node: api.Node) -> None:
        status = self._membership.statuses().get(node.id)
        if status is not None:
            node.manager_status.CopyFrom(status)
        else:
            node.ClearField("manager_status")

    def _check_demotion(self, transaction: Transaction, node: api.Node) -> None:
        managers = transaction.nodes.find("role", api.MANAGER)
        if [manager.id for manager in managers] == [node.id]:
            raise FailedPrecondition("attempting to demote the last manager of the swarm")
        if node.id not in self._membership.statuses():
            raise NotFound("can't find manager in raft memberlist")
        if not self._membership.can_remove(node.id):
            raise FailedPrecondition("can't remove member from the raft: this would result in a loss of quorum")

    def _check_removal(self, node: api.Node, *, force: bool) -> None:
        if node.spec.desired_role == api.MANAGER and node.id in self._membership.statuses():
            raise FailedPrecondition(
                f"node {node.id} is a cluster manager and is a member of the raft cluster. "
                "It must be demoted to worker before removal"
            )
        if not force and node.status.state == api.NodeStatus.READY:
            raise FailedPrecondition(f"node {node.id} is not down and can't be removed")


def _check_promotion(node: api.Node) -> None:
    """Raise FailedPrecondition for a Docker Engine: it cannot share the managers' etcd."""
    if node.HasField("description") and not can_manage(node.description):
        engine = node.description.engine.engine_version
        raise FailedPrecondition(
            f"node {node.description.hostname or node.id} runs Docker Engine {engine}, which cannot be a manager of a "
            "Shoal swarm: promote a node that runs shoald"
        )


def _not_found(node_id: str) -> NotFound:
    return NotFound(f"node {node_id} not found")


def _passes(node: api.Node, filters: api.ListNodesRequest.Filters) -> bool:
    # Engine labels and hostname are part of the description, which a node that never registered does not have.
    described = node.HasField("description")
    if not described and (filters.names or filters.name_prefixes or filters.labels):
        return False
    return (
        among(node.description.hostname, filters.names)
        and begins(node.description.hostname, filters.name_prefixes)
        and begins(node.id, filters.id_prefixes)
        and labelled(node.description.engine.labels, filters.labels)
        and labelled(node.spec.annotations.labels, filters.node_labels)
        and among(node.role, filters.roles)
        and among(node.spec.membership, filters.memberships)
    )


def _shut_out(transaction: Transaction, node: api.Node, now: float) -> None:
    clusters = transaction.clusters.find("name", CLUSTER_NAME)
    if len(clusters) != 1:
        raise InvariantBroken("could not fetch cluster object")
    cluster = copy(clusters[0])
    entry = cluster.blacklisted_certificates[node.id]
    expiry = _expiry(node.certificate.certificate)
    if expiry is not None:
        entry.expiry.CopyFrom(times.timestamp(expiry))
    expire_blacklisted(cluster, now)
    transaction.update(cluster)


def _expiry(certificate: bytes) -> float | None:
    """Return when a certificate expires; None if it is missing or unreadable, and the node is then blocked for ever."""
    if not certificate:
        return None
    try:
        parsed = read_chain(certificate)[0]
    except InvalidCertificate:
        return None
    return parsed.not_valid_after_utc.timestamp()


def _orphan_tasks(transaction: Transaction, node_id: str, now: float) -> None:
    # The node cannot report these tasks any more, so they get their last status here.
    for current in transaction.tasks.find("node_id", node_id):
        if current.status.state >= api.COMPLETE:
            continue
        task = copy(current)
        task.status.CopyFrom(
            api.TaskStatus(
                timestamp=times.timestamp(now),
                state=api.ORPHANED,
                message="Task belonged to a node that has been deleted",
            )
        )
        transaction.update(task)
