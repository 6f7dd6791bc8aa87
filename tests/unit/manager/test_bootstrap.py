import itertools

from shoal.api import times
from shoal.api import v1 as api
from shoal.api.predefined import is_predefined
from shoal.manager.bootstrap import FirstLeader, bootstrap
from shoal.store.memory import Memory, Transaction, View

FIRST = FirstLeader(
    cluster_id="c",
    node_id="n",
    root_ca=api.RootCA(ca_cert=b"root", ca_key=b"key", join_tokens=api.JoinTokens(worker="w", manager="m")),
    certificate=b"leaf",
    availability=api.NodeSpec.DRAIN,
    address_pools=("10.1.0.0/16",),
    subnet_size=25,
    vxlan_port=4790,
)


def found(view: View, first: FirstLeader = FIRST) -> Memory:
    """Return the view after a leader made or completed the first objects."""
    ids = itertools.count(1)
    transaction = Transaction(view)
    transaction.apply(bootstrap(view, first, new_id=lambda: f"net{next(ids)}", random_bytes=lambda n: b"\1" * n))
    return Memory.of([*transaction.nodes.all(), *transaction.clusters.all(), *transaction.networks.all()])


def test_first_leader_makes_the_cluster() -> None:
    cluster = found(Memory()).clusters.get("c")
    assert cluster is not None
    spec = cluster.spec
    assert (spec.annotations.name, spec.orchestration.task_history_retention_limit) == ("default", 5)
    assert times.seconds(spec.dispatcher.heartbeat_period) == 5
    assert times.seconds(spec.ca_config.node_cert_expiry) == 90 * 24 * 3600
    assert (spec.raft.election_tick, spec.raft.heartbeat_tick, spec.raft.snapshot_interval) == (10, 1, 10_000)
    assert cluster.root_ca == FIRST.root_ca
    assert (list(cluster.defaultAddressPool), cluster.subnetSize, cluster.VXLANUDPPort) == (["10.1.0.0/16"], 25, 4790)
    assert len(cluster.network_bootstrap_keys) == 6


def test_first_leader_makes_its_own_node_the_manager_that_its_certificate_says_it_is() -> None:
    node = found(Memory()).nodes.get("n")
    assert node is not None
    assert node.spec == api.NodeSpec(
        desired_role=api.MANAGER, membership=api.NodeSpec.ACCEPTED, availability=api.NodeSpec.DRAIN
    )
    assert (node.role, node.certificate.role) == (api.MANAGER, api.MANAGER)
    assert (node.certificate.cn, node.certificate.certificate) == ("n", b"leaf")
    assert node.certificate.status.state == api.IssuanceStatus.ISSUED
    assert node.VXLANUDPPort == 4790


def test_swarms_own_networks_are_there() -> None:
    networks = {network.spec.annotations.name: network for network in found(Memory()).networks.all()}
    assert sorted(networks) == ["bridge", "host", "ingress", "none"]
    assert networks["ingress"].spec.ingress
    assert not is_predefined(networks["ingress"])
    assert all(is_predefined(networks[name]) for name in ("bridge", "host", "none"))
    assert networks["none"].spec.driver_config.name == "null"


def test_later_leader_has_nothing_to_add() -> None:
    assert bootstrap(found(Memory()), FIRST, new_id=lambda: "x", random_bytes=bytes) == ()


def test_removed_ingress_does_not_come_back_and_a_missing_predefined_network_does() -> None:
    memory = found(Memory())
    transaction = Transaction(memory)
    for name in ("ingress", "none"):
        transaction.remove(api.Network, memory.networks.find("name", name)[0].id)
    memory.commit(transaction)
    changes = bootstrap(memory, FIRST, new_id=lambda: "x", random_bytes=bytes)
    assert [change.obj.spec.annotations.name for change in changes] == ["none"]  # type: ignore[union-attr]
