"""What tasks ask for."""

from shoal.api import v1 as api
from shoal.manager.scheduler.demand import NOTHING, Demand, demand_of, wanted_counts
from tests.unit.manager.builders import task


def test_a_plain_task_asks_for_nothing() -> None:
    subject = task("web.1", api.PENDING)
    before = subject.SerializeToString()
    assert demand_of(subject) == Demand()
    assert demand_of(subject).standing is NOTHING
    assert subject.SerializeToString() == before


def test_all_that_a_task_asks_for_is_read() -> None:
    subject = task("web.1", api.PENDING)
    spec = subject.spec
    spec.placement.constraints.append("node.role==worker")
    spec.placement.platforms.add(architecture="x86_64", os="linux")
    spec.placement.max_replicas = 3
    spec.resources.reservations.nano_cpus = 1
    spec.resources.reservations.memory_bytes = 2
    spec.log_driver.name = "loki"
    for driver in ("nfs", "local", ""):
        spec.container.mounts.add(type=api.Mount.VOLUME).volume_options.driver_config.name = driver
    spec.container.mounts.add(type=api.Mount.BIND)
    subject.networks.add().network.driver_state.name = "overlay"
    subject.endpoint.ports.add(publish_mode=api.PortConfig.HOST, published_port=80)
    subject.endpoint.ports.add(publish_mode=api.PortConfig.INGRESS, published_port=81)
    found = demand_of(subject)
    assert found.standing.constraints == ("node.role==worker",)
    assert found.standing.platforms == (("amd64", "linux"),)
    assert found.standing.plugins == {("Volume", "nfs"), ("Network", "overlay")}
    assert found.standing.log_driver == "loki"
    assert (found.nano_cpus, found.memory_bytes, found.max_replicas) == (1, 2, 3)
    assert found.ports == ((api.PortConfig.TCP, 80),)
    assert not found.wants_cluster_volumes


def test_a_kind_that_is_named_twice_is_wanted_as_often_as_both_say() -> None:
    wanted = [
        api.GenericResource(discrete_resource_spec=api.DiscreteGenericResource(kind=kind, value=value))
        for kind, value in (("gpu", 1), ("ssd", 4), ("gpu", 2))
    ]
    assert wanted_counts(wanted) == (("gpu", 3), ("ssd", 4))
