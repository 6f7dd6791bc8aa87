"""Random lives of a swarm: users change services, hosts die, leaders change, commits get lost. Then it must heal."""

import os

import pytest

from shoal.api import v1 as api
from shoal.api.times import duration
from tests.simulation.world import World

CPU, MIB = 10**9, 2**20
LABEL = "disk==ssd"
ORDERS = (api.UpdateConfig.STOP_FIRST, api.UpdateConfig.START_FIRST)
AVAILABILITIES = {"drain": api.NodeSpec.DRAIN, "pause": api.NodeSpec.PAUSE, "activate": api.NodeSpec.ACTIVE}

SMALL = 30
LARGE = int(os.environ.get("SHOAL_SIMULATIONS", "50"))  # thousands are for a night, not for every change


def spec_change(world: World) -> None:
    """Choose a change that a user makes to a service."""
    rng = world.rng
    names = [service.id for service in world.memory.services.all()]
    if not names or (len(names) < 5 and rng.random() < 0.3):
        name = f"svc{world.memory.revision}"
        world.create_service(name, rng.randrange(0, 6), lambda spec: draw_service(world, spec))
        world.counts[world.service(name).spec.WhichOneof("mode") or ""] += 1
        return
    name = rng.choice(names)
    kinds = ("scale", "image", "env", "labels", "force", "constraint", "order", "rollback", "remove")
    kind = rng.choices(kinds, (4, 3, 2, 1, 1, 2, 1, 2, 1))[0]
    if kind == "remove":
        world.remove_service(name)
    elif kind == "rollback":
        world.roll_back(name)
    else:
        world.update_service(name, lambda spec: change(world, spec, kind))
    world.counts[kind] += 1


def draw_service(world: World, spec: api.ServiceSpec) -> None:
    rng = world.rng
    draw_policy(world, spec)
    mode = rng.choices(("replicated", "global", "replicated_job", "global_job"), (5, 3, 2, 1))[0]
    if mode != "replicated":
        getattr(spec, mode).SetInParent()
    if mode == "replicated_job":
        spec.replicated_job.max_concurrent = rng.randrange(1, 4)
        spec.replicated_job.total_completions = rng.randrange(0, 6)
    if mode in ("replicated_job", "global_job"):
        spec.ClearField("update")
    if mode.startswith("replicated") and rng.random() < 0.3:
        spec.task.placement.max_replicas = rng.choice((2, 3))
    if rng.random() < 0.3:
        spec.task.resources.reservations.nano_cpus = rng.choice((1, 2)) * CPU
        spec.task.resources.reservations.memory_bytes = rng.choice((0, 300)) * MIB


def draw_policy(world: World, spec: api.ServiceSpec) -> None:
    rng = world.rng
    spec.task.restart.delay.CopyFrom(duration(rng.choice((0.0, 0.5, 5.0))))
    spec.task.restart.condition = rng.choices(
        (api.RestartPolicy.ANY, api.RestartPolicy.ON_FAILURE, api.RestartPolicy.NONE), (6, 1, 1)
    )[0]
    spec.task.restart.max_attempts = rng.choice((0, 0, 0, 2))
    for config in (spec.update, spec.rollback):
        config.parallelism = rng.choice((0, 1, 2))
        config.delay.CopyFrom(duration(rng.choice((0.0, 0.0, 1.0))))
        config.monitor.CopyFrom(duration(rng.choice((0.5, 5.0))))
        config.order = rng.choice(ORDERS)
        config.failure_action = rng.choice(
            (api.UpdateConfig.PAUSE, api.UpdateConfig.CONTINUE, api.UpdateConfig.ROLLBACK)
        )


def change(world: World, spec: api.ServiceSpec, kind: str) -> None:
    rng = world.rng
    if kind == "scale" and spec.HasField("replicated"):
        spec.replicated.replicas = rng.randrange(0, 8)
    elif kind == "scale" and spec.HasField("replicated_job"):
        spec.replicated_job.total_completions = rng.randrange(0, 8)
    elif kind == "image":
        spec.task.container.image = rng.choice(("image:1", "image:2", "image:3", "image:broken", "image:nowhere"))
    elif kind == "env":
        spec.task.container.env[:] = [f"A={rng.randrange(1000)}"]
    elif kind == "force":
        spec.task.force_update += 1
    elif kind == "constraint":
        spec.task.placement.constraints[:] = rng.choice(([], [], [f"node.labels.{LABEL}"], ["node.role==worker"]))
    elif kind == "order" and spec.HasField("update"):
        spec.update.order = rng.choice(ORDERS)
    else:
        spec.annotations.labels["x"] = str(rng.randrange(1000))


def add_node(world: World) -> None:
    def draw(node: api.Node) -> None:
        node.description.resources.nano_cpus = world.rng.choice((4, 8)) * CPU
        node.description.resources.memory_bytes = 2000 * MIB
        set_label(node, world.rng.random() < 0.7)

    world.counts["node added"] += 1
    world.add_node(f"node{world.memory.revision:04}", draw)


def set_label(node: api.Node, is_there: bool) -> None:
    node.spec.annotations.labels.clear()
    if is_there:
        name, value = LABEL.split("==")
        node.spec.annotations.labels[name] = value


def fault(world: World) -> None:
    """Choose a fault, or a repair, or something that an operator does to a node."""
    rng = world.rng
    nodes = [node.id for node in world.memory.nodes.all()]
    kinds = ("crash", "down", "up", "drain", "pause", "activate", "label", "node", "node removed", "leader")
    kind = rng.choices(kinds, (4, 2, 2, 2, 1, 3, 3, 2, 3, 2))[0]
    if kind == "crash":
        running = [task for task in world.memory.tasks.all() if task.status.state == api.RUNNING]
        running = [task for task in running if task.node_id not in world.dark]
        if running:
            world.fail_task(rng.choice(running).id, rng.choice((api.FAILED, api.COMPLETE)))
    elif kind == "down":
        up = [node for node in nodes if node not in world.dark]
        if len(up) > 1:
            world.node_down(rng.choice(up))
    elif kind == "up" and world.dark:
        world.node_up(rng.choice(sorted(world.dark)))
    elif kind in AVAILABILITIES:
        world.counts[kind] += 1
        world.set_node(rng.choice(nodes), lambda node: setattr(node.spec, "availability", AVAILABILITIES[kind]))
    elif kind == "label":
        world.counts[kind] += 1
        world.set_node(rng.choice(nodes), lambda node: set_label(node, rng.random() < 0.5))
    elif kind == "node" and len(nodes) < 6:
        add_node(world)
    elif kind == "node removed" and len(nodes) > 1 and world.dark:
        world.remove_node(rng.choice(sorted(world.dark)))
    elif kind == "leader":
        world.become_leader()


def heal(world: World) -> None:
    """Repair everything, and give every service a spec that can run. That also resumes what was paused."""
    world.commit_loss = 0.0
    for node in list(world.memory.nodes.all()):
        if node.id in world.dark:
            world.node_up(node.id)
        world.set_node(node.id, mend_node)
    for service in list(world.memory.services.all()):
        world.update_service(service.id, mend_service)


def mend_node(node: api.Node) -> None:
    node.spec.availability = api.NodeSpec.ACTIVE
    node.description.resources.nano_cpus = node.description.resources.memory_bytes = 10**15
    set_label(node, is_there=True)


def mend_service(spec: api.ServiceSpec) -> None:
    spec.task.container.image = "image:good"
    spec.task.restart.condition = api.RestartPolicy.ANY
    spec.task.restart.max_attempts = 0
    spec.task.placement.max_replicas = 0


def live(seed: int) -> World:
    world = World(seed, nodes=0, commit_loss=0.1 if seed % 3 == 0 else 0.0)
    for _ in range(1 + seed % 4):
        add_node(world)
    for _ in range(45):
        (spec_change if world.rng.random() < 0.4 else fault)(world)
        world.run(world.rng.choice((0.0, 0.01, 0.1, 1.0, 10.0)))
    world.run(1.0)
    heal(world)
    names = [service.id for service in world.memory.services.all()]
    world.run_until(lambda: all(world.is_converged(name) for name in names), 600.0)
    world.run(120.0)
    for name in names:
        assert world.is_converged(name), world.explain(f"{name} left what it had reached")
    gone = [task for task in world.memory.tasks.all() if task.service_id not in names]
    assert not gone, world.explain(f"{len(gone)} tasks of removed services are left")
    return world


def calm_operation(world: World) -> None:
    """Choose something that an operator may do to a healthy swarm. One node that can take any task remains."""
    rng = world.rng
    kind = rng.choice(("image", "force", "constraint", "rollback", "drain", "activate", "label", "leader"))
    node = rng.choice(["node1", "node2", "node3"])  # node0 is not changed
    world.counts[kind] += 1
    if kind == "rollback":
        world.roll_back("web")
    elif kind in AVAILABILITIES:
        world.set_node(node, lambda found: setattr(found.spec, "availability", AVAILABILITIES[kind]))
    elif kind == "label":
        world.set_node(node, lambda found: set_label(found, rng.random() < 0.5))
    elif kind == "leader":
        world.become_leader()
    else:
        world.update_service("web", lambda spec: calm_change(world, spec, kind))


def calm_change(world: World, spec: api.ServiceSpec, kind: str) -> None:
    if kind == "image":
        spec.task.container.image = world.rng.choice(("image:1", "image:2", "image:3"))
    else:
        change(world, spec, kind)


def never_fewer(world: World, replicas: int) -> None:
    running = world.running("web")
    assert len(running) >= replicas, world.explain(f"{len(running)} of {replicas} run")


@pytest.mark.parametrize("seed", range(12))
def test_start_first_never_has_fewer_running_than_replicas(seed: int) -> None:
    """In a healthy swarm, with any updates, rollbacks, drains and labels, in any number and order."""

    def start_first(spec: api.ServiceSpec) -> None:
        spec.task.restart.delay.CopyFrom(duration(world.rng.choice((0.0, 5.0))))
        for config in (spec.update, spec.rollback):
            config.order = api.UpdateConfig.START_FIRST
            config.parallelism = world.rng.choice((0, 1, 2))
            config.monitor.CopyFrom(duration(0.5))
            config.failure_action = world.rng.choice((api.UpdateConfig.PAUSE, api.UpdateConfig.ROLLBACK))

    replicas = 1 + seed % 5
    world = World(seed, nodes=4)
    for node in list(world.memory.nodes.all()):
        world.set_node(node.id, lambda found: set_label(found, is_there=True))
    world.create_service("web", replicas, start_first)
    world.run_until(lambda: world.is_converged("web"), 10.0)
    world.watches.append(lambda: never_fewer(world, replicas))
    for _ in range(30):
        calm_operation(world)
        world.run(world.rng.choice((0.0, 0.03, 0.1, 0.3, 1.0, 5.0)))
    for node in list(world.memory.nodes.all()):
        world.set_node(node.id, mend_node)
    world.run_until(lambda: world.is_converged("web"), 300.0)
    world.run(60.0)
    assert world.is_converged("web"), world.explain("it left what it had reached")
    assert world.counts["drain"] + world.counts["label"] > 0


def test_nobody_but_the_client_writes_a_service_that_is_scaled() -> None:
    # Otherwise a client that has read it meanwhile, such as docker-py, would get "update out of sequence" without a
    # reason.
    world = World(1)
    world.create_service("web", 2)
    world.run(30)
    for replicas in (5, 1, 4):
        world.update_service("web", lambda spec, replicas=replicas: scale(spec, replicas))  # type: ignore[misc]
        version = world.service("web").meta.version.index
        world.run(60)
        assert world.service("web").meta.version.index == version
        assert len(world.running("web")) == replicas


def scale(spec: api.ServiceSpec, replicas: int) -> None:
    spec.replicated.replicas = replicas


@pytest.mark.parametrize("seed", range(SMALL))
def test_a_swarm_heals_after_any_life(seed: int) -> None:
    """Replay one with `pytest 'tests/simulation/test_swarm.py::test_a_swarm_heals_after_any_life[SEED]'`."""
    live(seed)


def test_the_lives_were_hard_enough() -> None:
    """A simulation that injects nothing proves nothing."""
    worlds = [live(seed) for seed in range(12)]
    for what in (
        *("task failed", "node down", "node added", "node removed", "commit lost", "leaders"),
        *("drain", "pause", "activate", "label", "replicated", "global", "replicated_job", "global_job"),
        *("scale", "image", "force", "constraint", "rolled back", "remove"),
    ):
        assert sum(world.counts[what] for world in worlds) > 2, what


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_lives() -> None:
    for seed in range(SMALL, SMALL + LARGE):
        try:
            live(seed)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
