from pathlib import Path

import pytest

from shoal.errors import InvalidArgument
from shoal.paths import Paths
from shoal.store.etcd_config import EtcdConfig, peer_socket, peer_url


def flag(config: EtcdConfig, name: str) -> str:
    flags = config.flags()
    return flags[flags.index(name) + 1]


def test_a_member_is_called_by_its_node_and_listens_on_a_socket_named_after_it() -> None:
    config = EtcdConfig.member("n1")
    assert flag(config, "--name") == "n1"
    assert flag(config, "--listen-peer-urls") == flag(config, "--initial-advertise-peer-urls") == "unix://n1:1"
    assert flag(config, "--initial-cluster") == "n1=unix://n1:1"
    assert flag(config, "--initial-cluster-state") == "new"
    paths = Paths(Path("/d"), Path("/e"))
    assert peer_socket(paths, "n1") == paths.etcd / peer_url("n1").removeprefix("unix://")


def test_a_member_that_joins_names_each_of_the_others_once() -> None:
    config = EtcdConfig.member("n2", ["n1", "n2", "n3"], join=True)
    assert flag(config, "--initial-cluster") == "n2=unix://n2:1,n1=unix://n1:1,n3=unix://n3:1"
    assert flag(config, "--initial-cluster-state") == "existing"


def test_a_new_cluster_of_the_same_node_is_another_one() -> None:
    config = EtcdConfig.member("n1")
    assert flag(config, "--initial-cluster-token") != flag(config, "--initial-cluster-token")


def test_among_many_elections_take_longer_and_who_was_alone_before_ticks_as_they_do() -> None:
    alone, one_of_two = EtcdConfig.member("n1"), EtcdConfig.member("n2", ["n1"])
    assert alone.election_ms < one_of_two.election_ms
    assert alone.heartbeat_ms == one_of_two.heartbeat_ms


def test_a_slow_manager_that_was_alone_first_is_as_patient_as_the_others() -> None:
    alone, one_of_two = EtcdConfig.member("n1").slow(), EtcdConfig.member("n2", ["n1"]).slow()
    assert (alone.heartbeat_ms, alone.election_ms) == (one_of_two.heartbeat_ms, one_of_two.election_ms) == (400, 2400)


def test_a_configuration_that_etcd_refuses_is_refused_before() -> None:
    with pytest.raises(InvalidArgument, match="election_ms"):
        EtcdConfig(heartbeat_ms=100, election_ms=200)
