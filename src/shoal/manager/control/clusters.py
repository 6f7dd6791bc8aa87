"""Control's clusters: get, list, update with rotation of tokens and keys.

`root_change` decides about the root CA. Source: SwarmKit manager/controlapi/cluster.go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.api import times
from shoal.api import v1 as api
from shoal.ca.tokens import new_token
from shoal.errors import InvalidArgument, NotFound, OutOfSequence
from shoal.manager.control import unsupported
from shoal.manager.control.filters import named
from shoal.manager.control.requests import require
from shoal.manager.control.root_change import ExternalCAs, changed_root
from shoal.store.changes import copy
from shoal.store.memory import Transaction

if TYPE_CHECKING:
    from shoal.store.store import Store

log = logging.getLogger(__name__)

CLUSTER_NAME = "default"
MANAGER_SUBSYSTEM = "swarm-manager"  # the subsystem of the key that unlocks managers
MIN_CERTIFICATE_EXPIRY = 3600.0  # seconds
BLACKLIST_GRACE = 7 * 24 * 3600.0  # seconds that a removed node's id is kept after its certificate expired
DEFAULT_POOL = "10.0.0.0/8"
DEFAULT_SUBNET_SIZE = 24
DEFAULT_VXLAN_PORT = 4789

# Docker's values for a new swarm. They are stored and shown, but have no effect: etcd has settings of its own.
DEFAULT_RAFT = api.RaftConfig(
    snapshot_interval=10_000,
    keep_old_snapshots=0,
    log_entries_for_slow_followers=500,
    heartbeat_tick=1,
    election_tick=10,
)


class Clusters:
    """The RPCs of the cluster. No reply holds a private key of the CA."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        new_unlock_key: Callable[[], bytes],
        external: ExternalCAs | None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_unlock_key = new_unlock_key
        self._external = external

    async def get_cluster(self, request: api.GetClusterRequest) -> api.GetClusterResponse:
        """Return the cluster, redacted. Raises NotFound."""
        require(request.cluster_id)
        return api.GetClusterResponse(cluster=redacted(self._cluster(request.cluster_id)))

    async def list_clusters(self, request: api.ListClustersRequest) -> api.ListClustersResponse:
        """Return the clusters that pass the filters, redacted."""
        return api.ListClustersResponse(
            clusters=[
                redacted(cluster)
                for cluster in self._store.view().clusters.all()
                if named(cluster.id, cluster.spec.annotations, request.filters)
            ]
        )

    async def update_cluster(self, request: api.UpdateClusterRequest) -> api.UpdateClusterResponse:
        """Change the cluster's spec, its root if the CA settings ask for that, and rotate tokens or the unlock key.

        Raises InvalidArgument for a wrong spec, OutOfSequence if the cluster changed meanwhile, and what `changed_root`
        raises.
        """
        require(request.cluster_id, request.HasField("cluster_version"), request.HasField("spec"))
        validate_cluster_spec(request.spec)
        refuse_unsupported_cluster(request.spec)
        # Outside the transaction, because an external CA may be slow.
        seen = self._cluster(request.cluster_id).root_ca
        root_ca = await changed_root(seen, request.spec.ca_config, self._clock(), self._external)

        def update(transaction: Transaction) -> None:
            current = transaction.clusters.get(request.cluster_id)
            if current is None:
                raise NotFound(f"cluster {request.cluster_id} not found")
            if current.root_ca != seen:
                raise OutOfSequence
            cluster = copy(current)
            cluster.meta.version.CopyFrom(request.cluster_version)
            cluster.spec.CopyFrom(request.spec)
            cluster.root_ca.CopyFrom(root_ca)
            expire_blacklisted(cluster, self._clock())
            _rotate_tokens(cluster, request.rotation)
            _set_unlock_key(cluster, request.rotation, self._new_unlock_key)
            transaction.update(cluster)

        raft_before = self._cluster(request.cluster_id).spec.raft
        await self._store.update(update)
        if request.spec.raft != raft_before:
            log.info("the swarm's settings of Raft (snapshots, ticks) are kept for who reads them: etcd has its own")
        return api.UpdateClusterResponse(cluster=redacted(self._cluster(request.cluster_id)))

    def _cluster(self, cluster_id: str) -> api.Cluster:
        cluster = self._store.view().clusters.get(cluster_id)
        if cluster is None:
            raise NotFound(f"cluster {cluster_id} not found")
        return cluster


def validate_cluster_spec(spec: api.ClusterSpec) -> None:
    """Raise InvalidArgument for the first mistake in a cluster's spec."""
    if (
        spec.ca_config.HasField("node_cert_expiry")
        and times.seconds(spec.ca_config.node_cert_expiry) < MIN_CERTIFICATE_EXPIRY
    ):
        raise InvalidArgument("minimum certificate expiry time is: 1h0m0s")
    for policy in spec.acceptance_policy.policies:
        if policy.HasField("secret") and policy.secret.alg.lower() != "bcrypt":
            raise InvalidArgument(f"hashing algorithm is not supported: {policy.secret.alg}")
    if times.nanos(spec.dispatcher.heartbeat_period) < 0:
        raise InvalidArgument("heartbeat time period cannot be a negative duration")
    if spec.annotations.name != CLUSTER_NAME:
        raise InvalidArgument("modification of cluster name is not allowed")
    config = spec.ca_config
    if config.signing_ca_key and not config.signing_ca_cert:
        raise InvalidArgument("if a signing CA key is provided, the signing CA cert must also be provided")


def redacted(cluster: api.Cluster) -> api.Cluster:
    """Return a cluster without private keys, with the defaults filled in for unset address pools and VXLAN port."""
    public = api.Cluster(
        id=cluster.id,
        meta=cluster.meta,
        spec=cluster.spec,
        root_ca=cluster.root_ca,
        blacklisted_certificates=cluster.blacklisted_certificates,
        defaultAddressPool=cluster.defaultAddressPool or [DEFAULT_POOL],
        subnetSize=cluster.subnetSize if cluster.defaultAddressPool else DEFAULT_SUBNET_SIZE,
        VXLANUDPPort=cluster.VXLANUDPPort or DEFAULT_VXLAN_PORT,
    )
    # The certificate is no secret, but a client that reads the spec and writes it back must not start a rotation.
    public.spec.ca_config.ClearField("signing_ca_cert")
    public.spec.ca_config.ClearField("signing_ca_key")
    public.root_ca.ClearField("ca_key")
    if public.root_ca.HasField("root_rotation"):
        public.root_ca.root_rotation.ClearField("ca_key")
    return public


def expire_blacklisted(cluster: api.Cluster, now: float) -> None:
    """Drop removed nodes whose certificates expired long ago. `cluster` must be a copy; `now` is since 1970."""
    for node_id, entry in list(cluster.blacklisted_certificates.items()):
        if entry.HasField("expiry") and times.instant(entry.expiry) + BLACKLIST_GRACE < now:
            del cluster.blacklisted_certificates[node_id]


def refuse_unsupported_cluster(spec: api.ClusterSpec) -> None:
    """Raise Unimplemented for the first thing in a spec that Shoal does not support yet."""
    unsupported.refuse_unsupported_log_driver(spec.task_defaults.log_driver)


def _rotate_tokens(cluster: api.Cluster, rotation: api.KeyRotation) -> None:
    tokens, root = cluster.root_ca.join_tokens, cluster.root_ca.ca_cert
    if rotation.worker_join_token:
        tokens.worker = new_token(root)
    if rotation.manager_join_token:
        tokens.manager = new_token(root)


def _set_unlock_key(cluster: api.Cluster, rotation: api.KeyRotation, new_unlock_key: Callable[[], bytes]) -> None:
    """Create, drop or replace the key that unlocks managers, as the spec and the request say."""
    present = [key for key in cluster.unlock_keys if key.subsystem == MANAGER_SUBSYSTEM]
    others = [key for key in cluster.unlock_keys if key.subsystem != MANAGER_SUBSYSTEM]
    if cluster.spec.encryption_config.auto_lock_managers and (not present or rotation.manager_unlock_key):
        present = [api.EncryptionKey(subsystem=MANAGER_SUBSYSTEM, key=new_unlock_key())]
    if not cluster.spec.encryption_config.auto_lock_managers:
        present = []
    keys = [copy(key) for key in (*others, *present)]  # copies, because clearing the field frees its elements
    cluster.ClearField("unlock_keys")
    cluster.unlock_keys.extend(keys)
