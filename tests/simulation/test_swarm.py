"""Random lives of a swarm: users change services, hosts die, leaders forget, commits get lost; then it must heal."""

import os

import pytest

from shoal.api import v1 as api
from shoal.api.times import duration
from tests.simulation.world import World

SMALL = 40
LARGE = int(os.environ.get("SHOAL_SIMULATIONS", "150"))  # thousands are for a night, not for every change


def spec_change(world: World) -> None:
    """Draw something that a user does to a service."""
    rng = world.rng
    names = [service.id for service in world.memory.services.all()]
    if not names or (len(names) < 4 and rng.random() < 0.3):
        name = f"svc{world.memory.revision}"
        world.create_service(name, rng.randrange(0, 6), lambda spec: draw_policy(world, spec))
        return
    name = rng.choice(names)
    kind = rng.choices(("scale", "image", "env", "labels", "remove"), (4, 3, 2, 1, 1))[0]
    if kind == "remove":
        world.remove_service(name)
    else:
        world.update_service(name, lambda spec: change(world, spec, kind))
    world.counts[kind] += 1


def draw_policy(world: World, spec: api.ServiceSpec) -> None:
    rng = world.rng
    spec.task.restart.delay.CopyFrom(duration(rng.choice((0.0, 0.5, 5.0))))
    for config in (spec.update, spec.rollback):
        config.parallelism = rng.choice((0, 1, 2))
        config.delay.CopyFrom(duration(rng.choice((0.0, 0.0, 1.0))))
        config.monitor.CopyFrom(duration(rng.choice((0.5, 5.0))))
        config.order = rng.choice((api.UpdateConfig.STOP_FIRST, api.UpdateConfig.START_FIRST))
        config.failure_action = rng.choice(
            (api.UpdateConfig.PAUSE, api.UpdateConfig.CONTINUE, api.UpdateConfig.ROLLBACK)
        )


def change(world: World, spec: api.ServiceSpec, kind: str) -> None:
    rng = world.rng
    if kind == "scale":
        spec.replicated.replicas = rng.randrange(0, 8)
    elif kind == "image":
        spec.task.container.image = rng.choice(("image:1", "image:2", "image:3", "image:broken", "image:nowhere"))
    elif kind == "env":
        spec.task.container.env[:] = [f"A={rng.randrange(1000)}"]
    else:
        spec.annotations.labels["x"] = str(rng.randrange(1000))


def fault(world: World) -> None:
    """Draw something that goes wrong, or is mended."""
    rng = world.rng
    nodes = [node.id for node in world.memory.nodes.all()]
    kind = rng.choice(("crash", "crash", "down", "up", "drain", "activate", "leader"))
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
    elif kind in ("drain", "activate"):
        availability = api.NodeSpec.DRAIN if kind == "drain" else api.NodeSpec.ACTIVE
        world.set_node(rng.choice(nodes), lambda node: setattr(node.spec, "availability", availability))
    elif kind == "leader":
        world.become_leader()


def heal(world: World) -> None:
    """Mend what is broken and give every service a spec that can run; whatever was paused is resumed by that."""
    world.commit_loss = 0.0
    for node in list(world.memory.nodes.all()):
        if node.id in world.dark:
            world.node_up(node.id)
        world.set_node(node.id, lambda node: setattr(node.spec, "availability", api.NodeSpec.ACTIVE))
    for service in list(world.memory.services.all()):
        world.update_service(service.id, lambda spec: setattr(spec.task.container, "image", "image:good"))


def live(seed: int) -> World:
    world = World(seed, nodes=1 + seed % 4, commit_loss=0.1 if seed % 3 == 0 else 0.0)
    for _ in range(40):
        (spec_change if world.rng.random() < 0.4 else fault)(world)
        world.run(world.rng.choice((0.0, 0.01, 0.1, 1.0, 10.0)))
    world.run(1.0)
    heal(world)
    names = [service.id for service in world.memory.services.all()]
    world.run_until(lambda: all(world.is_converged(name) for name in names), 600.0)
    world.run(120.0)
    for name in names:
        assert world.is_converged(name), world.explain(f"{name} left what it had reached")
        meant = [task for task in world.tasks(name) if task.desired_state <= api.RUNNING]
        assert len(meant) == len(world.running(name)), world.explain(f"{name} has tasks too many")
    gone = [task for task in world.memory.tasks.all() if task.service_id not in names]
    assert not gone, world.explain(f"{len(gone)} tasks of removed services are left")
    return world


def test_nobody_but_the_client_writes_a_service_that_is_scaled() -> None:
    # Else a client that has read it meanwhile, such as docker-py's, would meet "update out of sequence" for nothing.
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
    worlds = [live(seed) for seed in range(9)]
    for what in ("task failed", "node down", "commit lost", "leaders", "scale", "image", "remove"):
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
