"""Why nodes cannot take a task, in Docker's words."""

from collections.abc import Callable
from random import Random

import pytest

from shoal.api import v1 as api
from shoal.manager.scheduler.demand import demand_of
from shoal.manager.scheduler.filters import Pipeline
from shoal.manager.scheduler.nodeset import NodeSet
from tests.unit.manager.builders import node, task


def judge(subject: api.Task, nodes: list[api.Node], others: list[api.Task] | None = None) -> tuple[list[str], str]:
    """Return the nodes that pass, and the reasons against the others."""
    known = NodeSet(Random(1))
    for one in nodes:
        known.put_node(one)
    for other in others or []:
        known.hold(other)
    pipeline = Pipeline(demand_of(subject), known.counts(subject.service_id))
    passing = [name for name, info in known.infos.items() if pipeline.passes(info)]
    return passing, pipeline.explain(known.infos.values())


def changed(change: Callable[[api.Task], None]) -> api.Task:
    made = task("web.1", api.PENDING)
    change(made)
    return made


def with_plugin(name: str, kind: str, plugin: str) -> api.Node:
    made = node(name)
    made.description.engine.plugins.add(type=kind, name=plugin)
    return made


def test_a_node_must_be_ready_and_active() -> None:
    paused = node("paused")
    paused.spec.availability = api.NodeSpec.PAUSE
    passing, reason = judge(task("web.1"), [node("up"), node("down", api.NodeStatus.DOWN), paused])
    assert passing == ["up"]
    assert reason == "2 nodes not available for new tasks"
    assert judge(task("web.1"), [paused])[1] == "1 node not available for new tasks"


def test_reservations_must_be_free() -> None:
    def reserve(made: api.Task) -> None:
        made.spec.resources.reservations.memory_bytes = 60

    small, large = node("small"), node("large")
    small.description.resources.memory_bytes = 50
    large.description.resources.memory_bytes = 100
    passing, reason = judge(changed(reserve), [small, large])
    assert (passing, reason) == (["large"], "insufficient resources on 1 node")
    there = task("web.2", node="large")
    reserve(there)
    passing, reason = judge(changed(reserve), [small, large], [there])
    assert (passing, reason) == ([], "insufficient resources on 2 nodes")


def test_plugins_are_found_by_their_bare_name() -> None:
    def mount(made: api.Task) -> None:
        one = made.spec.container.mounts.add(type=api.Mount.VOLUME)
        one.volume_options.driver_config.name = "nfs"

    nodes = [with_plugin("has", "Volume", "nfs:latest"), with_plugin("has-not", "Volume", "zfs"), node("no-engine")]
    passing, reason = judge(changed(mount), nodes)
    assert (passing, reason) == (["has", "no-engine"], "missing plugin on 1 node")


def test_log_plugins_count_only_where_a_node_lists_any() -> None:
    def log(made: api.Task) -> None:
        made.spec.log_driver.name = "loki"

    nodes = [with_plugin("silent", "Volume", "local"), with_plugin("other", "Log", "json-file")]
    assert judge(changed(log), nodes) == (["silent"], "missing plugin on 1 node")


def test_platforms_have_aliases_and_wildcards() -> None:
    def linux_amd64(made: api.Task) -> None:
        made.spec.placement.platforms.add(architecture="amd64", os="linux")

    def any_architecture(made: api.Task) -> None:
        made.spec.placement.platforms.add(os="linux")

    nodes = [node("intel"), node("arm")]
    for one, architecture in zip(nodes, ("x86_64", "aarch64"), strict=True):
        one.description.platform.os = "linux"
        one.description.platform.architecture = architecture
    assert judge(changed(linux_amd64), nodes) == (["intel"], "unsupported platform on 1 node")
    assert judge(changed(any_architecture), nodes) == (["intel", "arm"], "")


def test_host_ports_are_taken_once_a_node() -> None:
    def publish(made: api.Task) -> None:
        made.endpoint.ports.add(publish_mode=api.PortConfig.HOST, published_port=80, target_port=80)

    there = task("other.1", node="a")
    publish(there)
    nodes = [node("a"), node("b")]
    assert judge(changed(publish), nodes, [there]) == (["b"], "host-mode port already in use on 1 node")


def test_max_replicas_counts_tasks_meant_to_run() -> None:
    def limit(made: api.Task) -> None:
        made.spec.placement.max_replicas = 1

    there, leaving = task("web.2", node="a"), task("web.3", desired=api.SHUTDOWN, node="b")
    nodes = [node("a"), node("b")]
    assert judge(changed(limit), nodes, [there, leaving]) == (["b"], "max replicas per node limit exceed")


def test_the_commonest_reason_comes_first_and_a_node_is_counted_once() -> None:
    nodes = [node("down", api.NodeStatus.DOWN), node("a"), node("b")]
    assert judge(changed(constrain), nodes) == (
        [],
        "scheduling constraints not satisfied on 2 nodes; 1 node not available for new tasks",
    )


def reserve_cpu(made: api.Task) -> None:
    made.spec.resources.reservations.nano_cpus = 1


def want_plugin(made: api.Task) -> None:
    made.spec.container.mounts.add(type=api.Mount.VOLUME).volume_options.driver_config.name = "nfs"


def constrain(made: api.Task) -> None:
    made.spec.placement.constraints.append("node.labels.disk==ssd")


def want_arm(made: api.Task) -> None:
    made.spec.placement.platforms.add(architecture="arm64", os="linux")


def publish_80(made: api.Task) -> None:
    made.endpoint.ports.add(publish_mode=api.PortConfig.HOST, published_port=80)


def one_a_node(made: api.Task) -> None:
    made.spec.placement.max_replicas = 1


def mount_cluster_volume(made: api.Task) -> None:
    made.spec.container.mounts.add(type=api.Mount.CLUSTER)


REASONS = [
    (reserve_cpu, "insufficient resources on {}"),
    (want_plugin, "missing plugin on {}"),
    (constrain, "scheduling constraints not satisfied on {}"),
    (want_arm, "unsupported platform on {}"),
    (publish_80, "host-mode port already in use on {}"),
    (one_a_node, "max replicas per node limit exceed"),
    (mount_cluster_volume, "cannot fulfill requested CSI volume mounts on {}"),
]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("first", range(len(REASONS)))
def test_a_node_is_counted_under_the_first_filter_that_it_fails_in_swarmkits_order(first: int, count: int) -> None:
    subject = task("web.1", api.PENDING)
    for change, _ in REASONS[first:]:
        change(subject)
    nodes = [with_plugin(f"n{number}", "Volume", "local") for number in range(count)]
    there = [task(f"web.{number + 2}", node=f"n{number}") for number in range(count)]
    for one in there:
        publish_80(one)
    assert judge(subject, nodes, there) == ([], REASONS[first][1].format("1 node" if count == 1 else "2 nodes"))


def test_equally_common_reasons_come_in_the_order_of_the_filters() -> None:
    subject = task("web.1", api.PENDING)
    constrain(subject)
    reserve_cpu(subject)
    large, small = node("large"), node("small", labels={"disk": "ssd"})
    large.description.resources.nano_cpus = 1
    assert judge(subject, [large, small, node("down", api.NodeStatus.DOWN)]) == (
        [],
        "1 node not available for new tasks; insufficient resources on 1 node;"
        " scheduling constraints not satisfied on 1 node",
    )


def test_network_plugins_are_wanted_by_the_driver_of_each_network() -> None:
    subject = task("web.1", api.PENDING)
    subject.networks.add().network.driver_state.name = "weave"
    nodes = [with_plugin("has", "Network", "weave:latest"), with_plugin("volume", "Volume", "weave")]
    assert judge(subject, nodes) == (["has"], "missing plugin on 1 node")


@pytest.mark.parametrize("name", ["", "none"])
def test_no_log_driver_needs_no_plugin(name: str) -> None:
    subject = task("web.1", api.PENDING)
    subject.spec.log_driver.name = name
    assert judge(subject, [with_plugin("a", "Log", "json-file")]) == (["a"], "")


def test_a_port_of_another_protocol_is_another_port() -> None:
    subject, there = task("web.1", api.PENDING), task("dns.1", node="a")
    publish_80(subject)
    publish_80(there)
    there.endpoint.ports[0].protocol = api.PortConfig.UDP
    assert judge(subject, [node("a")], [there]) == (["a"], "")


def test_a_host_port_that_the_node_chooses_is_never_taken() -> None:
    subject, there = task("web.1", api.PENDING), task("web.2", node="a")
    for one in (subject, there):
        publish_80(one)
        one.endpoint.ports[0].published_port = 0
    assert judge(subject, [node("a")], [there]) == (["a"], "")


def test_a_kind_that_is_asked_for_twice_must_be_there_as_often_as_both_say() -> None:
    subject = task("web.1", api.PENDING)
    for _ in range(2):
        subject.spec.resources.reservations.generic.add().discrete_resource_spec.MergeFrom(
            api.DiscreteGenericResource(kind="gpu", value=1)
        )
    one_gpu = node("one")
    one_gpu.description.resources.generic.add().discrete_resource_spec.MergeFrom(
        api.DiscreteGenericResource(kind="gpu", value=1)
    )
    assert judge(subject, [one_gpu]) == ([], "insufficient resources on 1 node")


@pytest.mark.parametrize(("image", "host"), [("arm", "armv7l"), ("386", "i686"), ("arm64", "aarch64")])
def test_architectures_have_one_name_on_both_sides(image: str, host: str) -> None:
    subject = task("web.1", api.PENDING)
    subject.spec.placement.platforms.add(architecture=image, os="linux")
    there = node("a")
    there.description.platform.MergeFrom(api.Platform(architecture=host, os="linux"))
    assert judge(subject, [there]) == (["a"], "")


def test_attestations_in_an_images_index_are_no_platform() -> None:
    subject = task("web.1", api.PENDING)
    subject.spec.placement.platforms.add(architecture="unknown", os="unknown")
    assert judge(subject, [node("a")]) == (["a"], "")


def test_constraints_that_cannot_be_parsed_are_none() -> None:
    subject = task("web.1", api.PENDING)
    subject.spec.placement.constraints.append("nonsense")
    assert judge(subject, [node("a")]) == (["a"], "")


@pytest.mark.parametrize("count", [1, 2])
def test_cluster_volumes_are_nowhere(count: int) -> None:
    made = task("web.1", api.PENDING)
    made.spec.container.mounts.add(type=api.Mount.CLUSTER)
    words = "1 node" if count == 1 else "2 nodes"
    nodes = [node(f"n{number}") for number in range(count)]
    assert judge(made, nodes) == ([], f"cannot fulfill requested CSI volume mounts on {words}")
