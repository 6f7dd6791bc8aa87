"""Single stories of a service, in virtual time."""

import pytest

from shoal.api import v1 as api
from shoal.api.times import duration
from tests.simulation.world import World


def ready(world: World, replicas: int) -> bool:
    return len(world.running("web")) == replicas


def by_two(spec: api.ServiceSpec) -> None:
    spec.update.parallelism = 2
    spec.update.monitor.CopyFrom(duration(5))


def test_a_rolling_update_waits_for_nothing_but_tasks() -> None:
    """Ten replicas, two at a time: each pair stops and starts in five or six steps of an agent, of at most 50 ms
    each.
    """
    world = World(1)
    world.create_service("web", 10, by_two)
    world.run_until(lambda: ready(world, 10), 2.0)
    start = world.now
    world.update_service("web", lambda spec: setattr(spec.task.container, "image", "image:2"))
    world.run_until(
        lambda: ready(world, 10) and all(task.spec.container.image == "image:2" for task in world.running("web")), 2.0
    )
    assert world.now - start < 5 * 6 * 0.05
    world.run_until(lambda: world.service("web").update_status.state == api.UpdateStatus.COMPLETED, 6.0)


def test_an_update_never_stops_more_than_its_parallelism() -> None:
    world = World(2)
    world.create_service("web", 10, by_two)
    world.run_until(lambda: ready(world, 10), 2.0)
    world.update_service("web", lambda spec: setattr(spec.task.container, "image", "image:2"))
    fewest = 10
    while world.service("web").update_status.state != api.UpdateStatus.COMPLETED:
        world.run(0.01)
        fewest = min(fewest, len(world.running("web")))
        if world.rng.random() < 0.02:
            world.become_leader()
    assert fewest == 8
    assert world.counts["leaders"] > 3


def test_a_bad_image_is_rolled_back_and_the_rest_never_touched() -> None:
    def roll_back(spec: api.ServiceSpec) -> None:
        by_two(spec)
        spec.update.failure_action = api.UpdateConfig.ROLLBACK

    world = World(3)
    world.create_service("web", 6, roll_back)
    world.run_until(lambda: ready(world, 6), 2.0)
    first = {task.id for task in world.running("web")}
    world.update_service("web", lambda spec: setattr(spec.task.container, "image", "image:nowhere"))
    world.run_until(lambda: world.service("web").update_status.state == api.UpdateStatus.ROLLBACK_COMPLETED, 30.0)
    assert ready(world, 6)
    assert len(first & {task.id for task in world.running("web")}) == 4


@pytest.mark.parametrize("forgetful", [False, True])
def test_attempts_are_counted_whoever_leads(forgetful: bool) -> None:
    def three_times(spec: api.ServiceSpec) -> None:
        spec.task.container.image = "image:broken"
        spec.task.restart.max_attempts = 3
        spec.task.restart.delay.CopyFrom(duration(0.5))

    world = World(4)
    world.create_service("web", 2, three_times)
    for _ in range(100):
        world.run(0.2)
        if forgetful:
            world.become_leader()
    assert [len(world.memory.tasks.find("slot", ("web", slot))) for slot in (1, 2)] == [4, 4]
    assert all(task.desired_state == api.SHUTDOWN for task in world.tasks("web"))


def test_an_image_that_is_nowhere_costs_ever_less() -> None:
    world = World(5)
    world.create_service("web", 1, lambda spec: setattr(spec.task.container, "image", "image:nowhere"))
    world.run(600.0)
    assert 10 <= world.counts["commits"] < 200
    world.update_service("web", lambda spec: setattr(spec.task.container, "image", "image:1"))
    world.run_until(lambda: ready(world, 1), 1.0)


def test_a_swarm_without_nodes_rests_and_starts_when_one_comes() -> None:
    world = World(6, nodes=0)
    world.create_service("web", 3)
    world.run(60.0)
    assert {task.status.err for task in world.tasks("web")} == {"no suitable node"}
    commits = world.counts["commits"]
    world.run(600.0)
    assert world.counts["commits"] == commits
    world.add_node("late")
    world.run_until(lambda: ready(world, 3), 1.0)


def test_a_global_task_waits_on_its_node_for_room() -> None:
    """The free resources of a node do not decide whether a global service has a task there: the task is there, and says
    what it waits for.
    """

    def each(spec: api.ServiceSpec) -> None:
        getattr(spec, "global").SetInParent()
        spec.task.resources.reservations.nano_cpus = 2 * 10**9

    world = World(8, nodes=0)
    world.add_node("large")
    world.add_node("small", lambda node: setattr(node.description.resources, "nano_cpus", 10**9))
    world.create_service("web", 0, each)
    world.run(5.0)
    assert {task.node_id: task.status.err for task in world.tasks("web")} == {
        "large": "",
        "small": "insufficient resources on 1 node",
    }
    world.set_node("small", lambda node: setattr(node.description.resources, "nano_cpus", 4 * 10**9))
    world.run_until(lambda: ready(world, 2), 1.0)


def test_a_job_that_is_removed_while_it_runs_leaves_nothing() -> None:
    """Known fault 65, moby/swarmkit#3112."""

    def long(spec: api.ServiceSpec) -> None:
        spec.replicated_job.total_completions, spec.replicated_job.max_concurrent = 20, 3

    world = World(9)
    world.create_service("web", 0, long)
    world.run_until(lambda: len(world.tasks("web", api.COMPLETE)) > 3, 30.0)
    world.remove_service("web")
    world.run_until(lambda: not world.memory.tasks.all(), 5.0)


def test_an_old_task_ends_though_the_one_that_replaces_it_comes_up_after_the_update() -> None:
    """Its first replacement fails before anybody has seen it run. The second one runs after the update is over."""

    def start_first(spec: api.ServiceSpec) -> None:
        spec.update.order = api.UpdateConfig.START_FIRST
        spec.update.failure_action = api.UpdateConfig.CONTINUE
        spec.update.monitor.CopyFrom(duration(0.5))
        spec.task.restart.delay.CopyFrom(duration(5.0))

    world = World(7)
    world.create_service("web", 1, start_first)
    world.run_until(lambda: ready(world, 1), 2.0)
    (old,) = world.running("web")
    world.update_service("web", lambda spec: setattr(spec.task.container, "image", "image:2"))
    world.run_until(lambda: bool(world.tasks("web", api.STARTING)), 2.0)
    world.fail_task(world.tasks("web", api.STARTING)[0].id)
    world.run_until(lambda: world.service("web").update_status.state == api.UpdateStatus.COMPLETED, 4.0)
    assert [task.id for task in world.running("web")] == [old.id]
    world.run(20.0)
    assert [task.spec.container.image for task in world.running("web")] == ["image:2"], world.explain("two run")
