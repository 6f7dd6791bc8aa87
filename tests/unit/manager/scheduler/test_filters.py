"""Why nodes cannot take a task, in Docker's words."""

from collections.abc import Callable

import pytest

from shoal.api import v1 as api
from shoal.manager.scheduler.filters import Pipeline
from shoal.manager.scheduler.nodes import NodeSet
from tests.unit.manager.builders import node, task


def judge(subject: api.Task, nodes: list[api.Node], others: list[api.Task] | None = None) -> tuple[list[str], str]:
    """Return the nodes that pass, and what is said of the others."""
    known = NodeSet()
    for one in nodes:
        known.put_node(one)
    for other in others or []:
        known.hold(other)
    pipeline = Pipeline(subject, known.counts(subject.service_id))
    return [name for name, info in known.infos.items() if pipeline.passes(info)], pipeline.explain()


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
    def constrain(made: api.Task) -> None:
        made.spec.placement.constraints.append("node.labels.disk==ssd")

    nodes = [node("down", api.NodeStatus.DOWN), node("a"), node("b")]
    assert judge(changed(constrain), nodes) == (
        [],
        "scheduling constraints not satisfied on 2 nodes; 1 node not available for new tasks",
    )


@pytest.mark.parametrize("count", [1, 2])
def test_cluster_volumes_are_nowhere(count: int) -> None:
    made = task("web.1", api.PENDING)
    made.spec.container.mounts.add(type=api.Mount.CLUSTER)
    words = "1 node" if count == 1 else "2 nodes"
    nodes = [node(f"n{number}") for number in range(count)]
    assert judge(made, nodes) == ([], f"cannot fulfill requested CSI volume mounts on {words}")
