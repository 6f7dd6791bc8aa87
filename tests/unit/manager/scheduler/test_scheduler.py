"""Which tasks get which nodes, and what is said when there is none."""

from shoal.api import v1 as api
from shoal.manager.deciding.plan import MAX_CHANGES
from shoal.manager.scheduler.scheduler import Scheduler
from shoal.store.changes import Object, Update, copy
from tests.unit.manager.builders import NOW, Bench, decide, node, task, told


def statuses(objects: list[api.Node | api.Task]) -> dict[str, tuple[str, str]]:
    plan = decide(Scheduler(), objects)
    return {
        change.obj.id: (change.obj.status.message, change.obj.status.err)
        for change in plan.changes
        if isinstance(change, Update) and isinstance(change.obj, api.Task)
    }


def test_pending_tasks_are_spread_over_the_nodes() -> None:
    tasks = [task(f"web.{slot}", api.PENDING) for slot in (1, 2)]
    assert told(decide(Scheduler(), [node("a"), node("b"), *tasks])) == [
        "update web.1 on a assigned -> running",
        "update web.2 on b assigned -> running",
    ]
    assert statuses([node("a"), tasks[0]]) == {"web.1": ("scheduler assigned task to node", "")}


def test_only_tasks_that_are_pending_and_wanted_are_placed() -> None:
    tasks = [
        task("web.1", api.NEW),
        task("web.2", api.PENDING, api.REMOVE),
        task("web.3", api.RUNNING, node="a"),
        task("web.4", api.FAILED),
    ]
    assert told(decide(Scheduler(), [node("a"), *tasks])) == []


def test_a_task_told_to_stop_before_it_had_a_node_ends() -> None:
    assert told(decide(Scheduler(), [node("a"), task("web.1", api.PENDING, api.SHUTDOWN)])) == [
        "update web.1 shutdown -> shutdown"
    ]


def test_without_a_node_the_reason_is_written_once() -> None:
    bench = Bench(Scheduler(), [node("a", api.NodeStatus.DOWN), task("web.1", api.PENDING)])
    assert bench.step() == ["update web.1 pending -> running"]
    found = bench.memory.tasks.get("web.1")
    assert found is not None
    assert found.status.err == "no suitable node (1 node not available for new tasks)"
    assert bench.step() == []
    assert bench.step() == []
    bench.change(node("a"))
    assert bench.step() == ["update web.1 on a assigned -> running"]


def test_with_no_nodes_at_all_the_reason_is_bare() -> None:
    assert statuses([task("web.1", api.PENDING)]) == {"web.1": ("", "no suitable node")}


def test_a_group_that_fits_partly_is_placed_partly() -> None:
    def reserving(slot: int) -> api.Task:
        made = task(f"web.{slot}", api.PENDING)
        made.spec.resources.reservations.nano_cpus = 6
        return made

    small = node("a")
    small.description.resources.nano_cpus = 10
    assert statuses([small, reserving(1), reserving(2)]) == {
        "web.1": ("scheduler assigned task to node", ""),
        "web.2": ("", "no suitable node (insufficient resources on 1 node)"),
    }


def test_a_task_told_to_stop_makes_room_under_max_replicas() -> None:
    waiting, there = task("web.2", api.PENDING), task("web.1", node="a")
    for one in (waiting, there):
        one.spec.placement.max_replicas = 1
    bench = Bench(Scheduler(), [node("a"), there, waiting])
    bench.step()
    found = bench.memory.tasks.get("web.2")
    assert found is not None
    assert found.status.err == "no suitable node (max replicas per node limit exceed)"
    stopping = copy(there)
    stopping.desired_state = api.SHUTDOWN
    bench.step()
    bench.change(stopping)
    assert bench.step() == ["update web.2 on a assigned -> running"]


def test_a_task_that_ends_gives_back_what_it_had_reserved() -> None:
    waiting, there = task("web.2", api.PENDING), task("web.1", node="a")
    for one in (waiting, there):
        one.spec.resources.reservations.memory_bytes = 60
    small = node("a")
    small.description.resources.memory_bytes = 100
    bench = Bench(Scheduler(), [small, there, waiting])
    bench.step()
    assert bench.step() == []
    bench.report("web.1", api.FAILED)
    assert bench.step() == ["update web.2 on a assigned -> running"]


def test_named_resources_are_handed_out() -> None:
    made = task("web.1", api.PENDING)
    made.spec.resources.reservations.generic.add().discrete_resource_spec.kind = "gpu"
    made.spec.resources.reservations.generic[0].discrete_resource_spec.value = 1
    offering = node("a")
    for value in ("x", "y"):
        one = offering.description.resources.generic.add().named_resource_spec
        one.kind, one.value = "gpu", value
    other = copy(made)
    other.id, other.slot = "web.2", 2
    third = copy(made)
    third.id, third.slot = "web.3", 3
    bench = Bench(Scheduler(), [offering, made, other, third])
    bench.step()
    given = [bench.memory.tasks.get(f"web.{slot}") for slot in (1, 2, 3)]
    assert [[one.named_resource_spec.value for one in task.assigned_generic_resources] for task in given if task] == [
        ["x"],
        ["y"],
        [],
    ]


def test_a_task_that_comes_with_its_node_is_confirmed_there_only() -> None:
    fits, fits_not = task("agent.0", api.PENDING, node="a"), task("agent.0.b", api.PENDING, node="b")
    assert statuses([node("a"), node("b", api.NodeStatus.DOWN), fits, fits_not]) == {
        "agent.0": ("scheduler confirmed task can run on preassigned node", ""),
        "agent.0.b": ("", "1 node not available for new tasks"),
    }


def test_a_node_where_a_service_keeps_failing_is_avoided() -> None:
    failed = [task(f"web.1.{number}", api.FAILED, api.SHUTDOWN, node="a") for number in range(5)]
    busy = [task(f"other.{slot}", node="b") for slot in range(1, 9)]
    nodes = [node("a"), node("b")]
    assert told(decide(Scheduler(), [*nodes, *busy, *failed[:4], task("web.1", api.PENDING)])) == [
        "update web.1 on a assigned -> running"
    ]
    assert told(decide(Scheduler(), [*nodes, *busy, *failed, task("web.1", api.PENDING)])) == [
        "update web.1 on b assigned -> running"
    ]
    old = [task(f"web.1.{number}", api.FAILED, api.SHUTDOWN, node="a", reported_at=NOW - 301) for number in range(5)]
    assert told(decide(Scheduler(), [*nodes, *busy, *old, task("web.1", api.PENDING)])) == [
        "update web.1 on a assigned -> running"
    ]


def test_a_plan_that_was_not_committed_is_made_again() -> None:
    scheduler = Scheduler()
    objects: list[Object] = [node("a"), node("b"), *(task(f"web.{slot}", api.PENDING) for slot in range(1, 6))]
    bench = Bench(scheduler, objects)
    first = scheduler.decide(bench.memory, NOW, None)
    assert told(scheduler.decide(bench.memory, NOW, None)) == told(first)


def test_what_is_too_much_for_a_plan_goes_into_the_next() -> None:
    bench = Bench(Scheduler(), [node("a"), *(task(f"web.{slot}", api.PENDING) for slot in range(1, MAX_CHANGES + 3))])
    assert len(bench.step()) == MAX_CHANGES
    assert bench.look_again_at == NOW
    assert len(bench.step()) == 2
    assert bench.look_again_at is None


def test_a_status_report_costs_no_scheduling() -> None:
    bench = Bench(Scheduler(), [node("a"), task("web.1", api.ASSIGNED, node="a")])
    assert bench.step() == []
    bench.report("web.1", api.RUNNING)
    assert bench.step() == []
