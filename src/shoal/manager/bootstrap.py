"""The objects that the first leader of a swarm writes: cluster, own node, Swarm's own networks.

Later leaders write those that are missing. Pure: the caller makes keys, certificates, tokens and ids. Source: SwarmKit
manager/manager.go (`becomeLeader`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from shoal.api import times
from shoal.api import v1 as api
from shoal.api.predefined import LABEL, NETWORKS
from shoal.manager.control.clusters import DEFAULT_RAFT
from shoal.manager.keyring import RandomBytes, give_keys
from shoal.store.changes import Change, Create
from shoal.store.memory import View

CLUSTER_NAME = "default"
TASK_HISTORY_RETENTION_LIMIT = 5
HEARTBEAT_PERIOD = 5.0
NODE_CERT_EXPIRY = 90 * 24 * 3600.0
INGRESS = "ingress"


def default_cluster_spec() -> api.ClusterSpec:
    """Return the default spec of a new swarm."""
    return api.ClusterSpec(
        annotations=api.Annotations(name=CLUSTER_NAME),
        orchestration=api.OrchestrationConfig(task_history_retention_limit=TASK_HISTORY_RETENTION_LIMIT),
        dispatcher=api.DispatcherConfig(heartbeat_period=times.duration(HEARTBEAT_PERIOD)),
        raft=DEFAULT_RAFT,
        ca_config=api.CAConfig(node_cert_expiry=times.duration(NODE_CERT_EXPIRY)),
    )


@dataclass(frozen=True)
class FirstLeader:
    """What a swarm begins with. `root_ca` holds key, certificate, digest and both tokens; `certificate` is PEM."""

    cluster_id: str
    node_id: str
    root_ca: api.RootCA
    certificate: bytes
    spec: api.ClusterSpec = field(default_factory=default_cluster_spec)
    availability: api.NodeSpec.Availability = api.NodeSpec.ACTIVE
    address_pools: tuple[str, ...] = ()
    subnet_size: int = 0  # 0: Swarm's default of 24, which Control fills in
    vxlan_port: int = 0  # 0: 4789, which Control fills in
    unlock_keys: tuple[api.EncryptionKey, ...] = ()


def bootstrap(
    view: View, first: FirstLeader, *, new_id: Callable[[], str], random_bytes: RandomBytes
) -> tuple[Change, ...]:
    """Return the changes that create the missing ones of these objects."""
    changes: list[Change] = []
    if view.clusters.get(first.cluster_id) is None:
        changes.append(Create(_cluster(first, random_bytes)))
    if view.nodes.get(first.node_id) is None:
        changes.append(Create(_node(first)))
        # Only together with the node: if a user removes the routing mesh on purpose, it is not made again.
        if not view.networks.find("name", INGRESS):
            changes.append(Create(_ingress(new_id())))
    changes.extend(
        Create(_predefined(new_id(), name, driver))
        for name, driver in NETWORKS.items()
        if not view.networks.find("name", name)
    )
    return tuple(changes)


def _cluster(first: FirstLeader, random_bytes: RandomBytes) -> api.Cluster:
    cluster = api.Cluster(
        id=first.cluster_id,
        spec=first.spec,
        root_ca=first.root_ca,
        unlock_keys=first.unlock_keys,
        defaultAddressPool=first.address_pools,
        subnetSize=first.subnet_size,
        VXLANUDPPort=first.vxlan_port,
    )
    give_keys(cluster, random_bytes)
    return cluster


def _node(first: FirstLeader) -> api.Node:
    # The node is a manager at once, unlike SwarmKit's. Its certificate says so, and must not give more rights than the
    # node has.
    return api.Node(
        id=first.node_id,
        role=api.MANAGER,
        spec=api.NodeSpec(desired_role=api.MANAGER, membership=api.NodeSpec.ACCEPTED, availability=first.availability),
        certificate=api.Certificate(
            role=api.MANAGER,
            cn=first.node_id,
            certificate=first.certificate,
            status=api.IssuanceStatus(state=api.IssuanceStatus.ISSUED),
        ),
        VXLANUDPPort=first.vxlan_port,
    )


def _ingress(network_id: str) -> api.Network:
    return api.Network(
        id=network_id,
        spec=api.NetworkSpec(
            annotations=api.Annotations(name=INGRESS),
            ingress=True,
            driver_config=api.Driver(),
            ipam=api.IPAMOptions(driver=api.Driver()),
        ),
    )


def _predefined(network_id: str, name: str, driver: str) -> api.Network:
    return api.Network(
        id=network_id,
        spec=api.NetworkSpec(
            annotations=api.Annotations(name=name, labels={LABEL: "true"}),
            driver_config=api.Driver(name=driver),
        ),
    )
