"""Why a task is on its node, or on none."""

from collections.abc import Callable
from random import Random

import pytest

from shoal.api import v1 as api
from shoal.api.gen import placement_pb2 as pb
from shoal.errors import NotFound
from shoal.manager.scheduler import explain as module
from shoal.manager.scheduler.scheduler import Scheduler
from shoal.store.changes import Object
from shoal.store.memory import Memory
from tests.unit.manager.builders import NOW, Bench, node, service, task

Change = Callable[[api.Task], None]


def explained(task_id: str, *objects: Object) -> pb.Explanation:
    return Scheduler(Random(1)).explain(Memory.of(objects), task_id, NOW)


def lines(found: pb.Explanation) -> list[str]:
    """Return one line for each verdict: `a: here`, `b: can`, `c: insufficient resources: ...`."""
    shown = []
    for one in found.nodes:
        words = "; ".join(one.reasons) or "can"
        shown.append(f"{one.node_id}: {'here, ' if one.is_chosen else ''}{words}")
    return shown


def waiting(change: Change) -> api.Task:
    made = task("web.1", api.PENDING)
    change(made)
    return made


def reserve_cpus(made: api.Task) -> None:
    made.spec.resources.reservations.nano_cpus = 1_500_000_000


def reserve_memory(made: api.Task) -> None:
    made.spec.resources.reservations.memory_bytes = 3 * 2**29


def reserve_gpus(made: api.Task) -> None:
    made.spec.resources.reservations.generic.add().discrete_resource_spec.MergeFrom(
        api.DiscreteGenericResource(kind="gpu", value=2)
    )


def constrain(made: api.Task) -> None:
    made.spec.placement.constraints.extend(["node.labels.disk==ssd", "node.hostname != a", "node.x==1"])


def log_elsewhere(made: api.Task) -> None:
    made.spec.log_driver.name = "loki"


def want_plugins(made: api.Task) -> None:
    made.networks.add().network.driver_state.name = "weave"


def want_arm(made: api.Task) -> None:
    made.spec.placement.platforms.add(architecture="arm64", os="linux")
    made.spec.placement.platforms.add(architecture="s390x")


def publish(made: api.Task) -> None:
    made.endpoint.ports.add(published_port=8080, target_port=80, publish_mode=api.PortConfig.HOST)
    made.endpoint.ports.add(
        published_port=53, target_port=53, publish_mode=api.PortConfig.HOST, protocol=api.PortConfig.UDP
    )


def at_most_one(made: api.Task) -> None:
    made.spec.placement.max_replicas = 1


def mount_cluster_volume(made: api.Task) -> None:
    made.spec.container.mounts.add(type=api.Mount.CLUSTER)


REASONS: list[tuple[Change, str]] = [
    (reserve_cpus, "insufficient resources: 1.5 CPUs asked for, 0.5 of 2 left"),
    (reserve_memory, "insufficient resources: 1.5 GiB of memory asked for, 512 MiB of 2 GiB left"),
    (reserve_gpus, "insufficient resources: 2 gpu asked for, 1 left"),
    (
        constrain,
        'scheduling constraints not satisfied: node.labels.disk==ssd, but it is "hdd"; node.hostname!=a, but it is "a";'
        " node.x==1, but no node has such a key",
    ),
    (want_plugins, "missing plugin: Network weave"),
    (log_elsewhere, "missing plugin: Log loki"),
    (want_arm, "unsupported platform: linux/amd64, the image is for linux/arm64 or any/s390x"),
    (publish, "host-mode port already in use: 8080/tcp, 53/udp"),
    (at_most_one, "max replicas per node limit exceed: 1 there, at most 1"),
    (mount_cluster_volume, "cannot fulfill requested CSI volume mounts"),
]


@pytest.mark.parametrize(("ask", "reason"), REASONS, ids=[ask.__name__ for ask, _ in REASONS])
def test_each_reason_says_what_is_asked_for_and_what_is_there(ask: Change, reason: str) -> None:
    there = node("a", labels={"disk": "hdd"})
    there.description.platform.MergeFrom(api.Platform(architecture="x86_64", os="linux"))
    there.description.engine.plugins.add(type="Log", name="json-file")
    there.description.resources.nano_cpus = 2_000_000_000
    there.description.resources.memory_bytes = 2 * 2**30
    there.description.resources.generic.add().discrete_resource_spec.MergeFrom(
        api.DiscreteGenericResource(kind="gpu", value=2)
    )
    other = task("web.2", node="a")
    publish(other)
    reserve_cpus(other)
    reserve_memory(other)
    other.assigned_generic_resources.add().discrete_resource_spec.MergeFrom(
        api.DiscreteGenericResource(kind="gpu", value=1)
    )
    found = explained("web.1", there, other, waiting(ask))
    assert lines(found) == [f"a: {reason}"]
    docker = reason.partition(":")[0]
    assert found.message.startswith(f"no suitable node ({docker}")
    assert (found.considered, found.suitable) == (1, 0)


def test_nodes_that_take_nothing_say_why() -> None:
    drained, down = node("a"), node("b", api.NodeStatus.DOWN)
    drained.spec.availability = api.NodeSpec.DRAIN
    found = explained("web.1", drained, down, task("web.1", api.PENDING))
    assert lines(found) == [
        "a: not available for new tasks: its availability is drain",
        "b: not available for new tasks: its state is down",
    ]
    assert found.message == "no suitable node (2 nodes not available for new tasks)"


def test_all_reasons_of_a_node_are_told() -> None:
    made = waiting(reserve_cpus)
    constrain(made)
    found = explained("web.1", node("b"), made)
    (reasons,) = [list(one.reasons) for one in found.nodes]
    assert [reason.partition(":")[0] for reason in reasons] == [
        "insufficient resources",
        "scheduling constraints not satisfied",
    ]
    # A node is counted once, as in Docker.
    assert found.message == "no suitable node (insufficient resources on 1 node)"


def test_nodes_stand_in_the_order_in_which_they_are_asked() -> None:
    nodes = [node(name) for name in "abcd"] + [node("full", api.NodeStatus.DOWN)]
    tasks = [task("web.2", node="a"), task("db.1", node="b"), task("db.2", node="c"), task("db.3", node="c")]
    failed = [task(f"web.1.{number}", api.FAILED, api.SHUTDOWN, node="d") for number in range(5)]
    found = explained("web.1", *nodes, *tasks, *failed, service(), task("web.1", api.PENDING))
    assert [one.node_id for one in found.nodes] == ["b", "c", "a", "d", "full"]
    assert [(one.service_tasks, one.tasks, one.failures) for one in found.nodes][:4] == [
        (0, 1, 0),
        (0, 2, 0),
        (1, 1, 0),
        (0, 0, 5),
    ]
    assert [one.is_avoided for one in found.nodes][:4] == [False, False, False, True]
    assert found.message == "4 nodes can take the task: it is about to be placed"


def test_branches_of_spread_preferences_come_first() -> None:
    def spread(made: api.Task) -> None:
        for label in ("zone", "rack"):
            made.spec.placement.preferences.add().spread.spread_descriptor = f"node.labels.{label}"

    nodes = [
        node("a", labels={"zone": "x", "rack": "1"}),
        node("b", labels={"zone": "x", "rack": "2"}),
        node("c", labels={"zone": "y"}),
    ]
    tasks = [task("web.2", node="a"), task("db.1", node="c"), task("db.2", node="c")]
    found = explained("web.1", *nodes, *tasks, waiting(spread))
    assert [one.node_id for one in found.nodes] == ["c", "b", "a"]
    told = [[(one.descriptor, one.value, one.service_tasks) for one in each.spread] for each in found.nodes]
    assert told == [
        [("node.labels.zone", "y", 0), ("node.labels.rack", "", 0)],
        [("node.labels.zone", "x", 1), ("node.labels.rack", "2", 0)],
        [("node.labels.zone", "x", 1), ("node.labels.rack", "1", 1)],
    ]


def test_a_placed_task_is_judged_as_though_it_were_not_there() -> None:
    def ask(made: api.Task) -> None:
        publish(made)
        at_most_one(made)

    placed = task("web.1", node="b")
    ask(placed)
    bench = Bench(Scheduler(Random(1)), [node("a"), node("b"), placed, task("db.1", node="b")])
    bench.step()
    assert isinstance(bench.decider, Scheduler)
    found = bench.decider.explain(bench.memory, "web.1", NOW)
    assert lines(found) == ["b: here, can", "a: can"]
    assert [(one.service_tasks, one.tasks) for one in found.nodes] == [(0, 1), (0, 0)]
    assert found.message == "the task was placed on node b: this is how it would be placed now"
    assert bench.decider.explain(bench.memory, "web.1", NOW) == found  # nothing was changed


def test_a_task_that_came_with_its_node_is_judged_there_alone() -> None:
    bound = task("web.1", api.PENDING, node="b")
    constrain(bound)
    found = explained("web.1", node("a"), node("b"), bound)
    assert [one.node_id for one in found.nodes] == ["b"]
    assert found.message == "scheduling constraints not satisfied on 1 node"
    assert not found.nodes[0].is_chosen
    everywhere = service()
    getattr(everywhere.spec, "global").SetInParent()
    found = explained("web.1", node("a"), node("b"), everywhere, task("web.1", node="b"))
    assert lines(found) == ["b: here, can"]


@pytest.mark.parametrize(
    ("state", "desired", "words"),
    [
        (api.NEW, api.RUNNING, "waits for what it needs of networks and ports"),
        (api.PENDING, api.SHUTDOWN, "not meant to run"),
        (api.FAILED, api.SHUTDOWN, "has ended (failed)"),
    ],
)
def test_a_task_that_is_not_to_be_placed_says_so(state: api.TaskState, desired: api.TaskState, words: str) -> None:
    assert words in explained("web.1", node("a"), task("web.1", state, desired)).message


def test_a_swarm_without_nodes_has_no_suitable_one() -> None:
    assert explained("web.1", task("web.1", api.PENDING)).message == "no suitable node"
    with pytest.raises(NotFound, match="task gone not found"):
        explained("gone")


def test_the_best_nodes_are_listed_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NODES", 2)
    nodes = [node(name) for name in "abc"]
    found = explained("web.1", *nodes, task("web.2", node="a"), task("web.1", api.PENDING))
    assert (found.considered, found.suitable) == (3, 3)
    assert [one.node_id for one in found.nodes] == ["b", "c"]


def test_long_texts_of_others_are_cut() -> None:
    made = waiting(constrain)
    there = node("a", labels={"disk": "x" * 1000})
    there.description.hostname = "h" * 1000
    (found,) = explained("web.1", there, made).nodes
    assert len(found.hostname) < 200
    assert len(found.reasons[0]) < 500
