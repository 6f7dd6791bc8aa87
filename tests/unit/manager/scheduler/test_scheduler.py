"""Which tasks get which nodes, and what is said when there is none."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.manager.deciding.draft import Draft
from shoal.manager.deciding.plan import MAX_CHANGES
from shoal.manager.scheduler.scheduler import Scheduler
from shoal.manager.scheduler.waiting import Key
from shoal.store.changes import Object, Update, copy
from shoal.store.memory import Memory, View
from tests.unit.manager.builders import NOW, Bench, decide, node, service, task, told


def statuses(objects: list[api.Node | api.Task]) -> dict[str, tuple[str, str]]:
    plan = decide(Scheduler(Random(1)), objects)
    return {
        change.obj.id: (change.obj.status.message, change.obj.status.err)
        for change in plan.changes
        if isinstance(change, Update) and isinstance(change.obj, api.Task)
    }


def test_pending_tasks_are_spread_over_the_nodes() -> None:
    tasks = [task(f"web.{slot}", api.PENDING) for slot in (1, 2)]
    plan = told(decide(Scheduler(Random(1)), [node("a"), node("b"), *tasks]))
    assert sorted(line.split(" on ")[1] for line in plan) == ["a assigned -> running", "b assigned -> running"]
    assert statuses([node("a"), tasks[0]]) == {"web.1": ("scheduler assigned task to node", "")}


def test_only_tasks_that_are_pending_and_wanted_are_placed() -> None:
    tasks = [
        task("web.1", api.NEW),
        task("web.2", api.PENDING, api.REMOVE),
        task("web.3", api.RUNNING, node="a"),
        task("web.4", api.FAILED),
    ]
    assert told(decide(Scheduler(Random(1)), [node("a"), *tasks])) == []


def test_a_task_told_to_stop_before_it_had_a_node_ends() -> None:
    assert told(decide(Scheduler(Random(1)), [node("a"), task("web.1", api.PENDING, api.SHUTDOWN)])) == [
        "update web.1 shutdown -> shutdown"
    ]


def test_without_a_node_the_reason_is_written_once() -> None:
    bench = Bench(Scheduler(Random(1)), [node("a", api.NodeStatus.DOWN), task("web.1", api.PENDING)])
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
    bench = Bench(Scheduler(Random(1)), [node("a"), there, waiting])
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
    bench = Bench(Scheduler(Random(1)), [small, there, waiting])
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
    bench = Bench(Scheduler(Random(1)), [offering, made, other, third])
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
    assert told(decide(Scheduler(Random(1)), [*nodes, *busy, *failed[:4], task("web.1", api.PENDING)])) == [
        "update web.1 on a assigned -> running"
    ]
    assert told(decide(Scheduler(Random(1)), [*nodes, *busy, *failed, task("web.1", api.PENDING)])) == [
        "update web.1 on b assigned -> running"
    ]
    old = [task(f"web.1.{number}", api.FAILED, api.SHUTDOWN, node="a", reported_at=NOW - 301) for number in range(5)]
    assert told(decide(Scheduler(Random(1)), [*nodes, *busy, *old, task("web.1", api.PENDING)])) == [
        "update web.1 on a assigned -> running"
    ]


def test_failures_of_a_former_spec_do_not_count_against_the_new_one() -> None:
    """Known fault 63."""
    failed = [task(f"web.1.{number}", api.FAILED, api.SHUTDOWN, node="a") for number in range(5)]
    busy = [task(f"other.{slot}", node="b") for slot in range(1, 9)]
    changed = task("web.1", api.PENDING, version=2)
    assert told(decide(Scheduler(Random(1)), [node("a"), node("b"), *busy, *failed, changed])) == [
        "update web.1 on a assigned -> running"
    ]


def test_a_plan_that_was_not_committed_is_made_again() -> None:
    scheduler = Scheduler(Random(1))
    objects: list[Object] = [node("a"), node("b"), *(task(f"web.{slot}", api.PENDING) for slot in range(1, 6))]
    bench = Bench(scheduler, objects)
    for _ in range(2):
        plan = scheduler.decide(bench.memory, NOW, None)
        nodes = [
            change.obj.node_id
            for change in plan.changes
            if isinstance(change, Update) and isinstance(change.obj, api.Task)
        ]
        assert sorted(nodes) in (["a", "a", "a", "b", "b"], ["a", "a", "b", "b", "b"])


def test_what_is_too_much_for_a_plan_goes_into_the_next() -> None:
    bench = Bench(
        Scheduler(Random(1)), [node("a"), *(task(f"web.{slot}", api.PENDING) for slot in range(1, MAX_CHANGES + 3))]
    )
    assert len(bench.step()) == MAX_CHANGES
    assert bench.look_again_at == NOW
    assert len(bench.step()) == 2
    assert bench.look_again_at is None


def test_a_task_that_is_removed_before_its_node_reported_makes_room() -> None:
    tasks = [task(f"web.{slot}", api.PENDING) for slot in (1, 2)]
    for one in tasks:
        one.endpoint.ports.add(publish_mode=api.PortConfig.HOST, published_port=80)
    bench = Bench(Scheduler(Random(1)), [node("a"), *tasks])
    bench.step()
    (placed,) = [one.id for one in bench.memory.tasks.all() if one.node_id]
    bench.apply(lambda tx: tx.remove(api.Task, placed))
    assert [line.split(" on ")[1] for line in bench.step()] == ["a assigned -> running"]


class Counting(View):
    """A view that counts how often it is asked for a task."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory._tables, memory.revision)
        self.asked = 0
        self.tasks = self  # type: ignore[assignment]
        self._below = memory.tasks

    def get(self, task_id: str) -> api.Task | None:
        self.asked += 1
        return self._below.get(task_id)


def test_the_scheduler_reads_its_own_assignments_once() -> None:
    bench = Bench(Scheduler(Random(1)), [node("a"), *(task(f"web.{slot}", api.PENDING) for slot in range(1, 21))])
    assert len(bench.step()) == 20
    view = Counting(bench.memory)
    assert bench.events is not None
    bench.decider.decide(view, NOW, [*bench.events, *bench.events])
    assert view.asked == 0
    bench.report("web.1", api.RUNNING)
    bench.decider.decide(view, NOW, bench.events)
    assert view.asked == 1


def loads(scheduler: Scheduler) -> dict[str, tuple[int, int, set[str], list[tuple[int, int]]]]:
    infos = scheduler._nodes.infos
    return {name: (info.active, info.memory_bytes, set(info.tasks), sorted(info.ports)) for name, info in infos.items()}


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["create", "place", "run", "fail", "stop", "remove", "down", "up", "gone"]),
            st.integers(0, 5),
        ),
        max_size=40,
    ),
    st.integers(0, 3),
)
def test_what_the_scheduler_remembers_is_what_a_new_one_reads(todo: list[tuple[str, int]], seed: int) -> None:
    bench = Bench(Scheduler(Random(seed)), [node("a"), node("b"), node("c")])
    for step, number in todo:
        name = f"web.{number}"
        there, place = bench.memory.tasks.get(name), "abc"[number % 3]
        if step == "place":
            bench.step()
        elif step == "create" and there is None:
            # Tasks of one spec version ask for the same.
            version = number // 2
            made = task(name, api.PENDING, version=version)
            made.spec.resources.reservations.memory_bytes = version
            if version % 2:
                made.endpoint.ports.add(publish_mode=api.PortConfig.HOST, published_port=80)
            bench.change(made)
        elif step in ("run", "fail") and there is not None and api.ASSIGNED <= there.status.state <= api.RUNNING:
            bench.report(name, api.RUNNING if step == "run" else api.FAILED)
        elif step == "stop" and there is not None:
            stopped = copy(there)
            stopped.desired_state = api.SHUTDOWN
            bench.change(stopped)
        elif step == "remove" and there is not None:
            bench.apply(lambda tx, name=name: tx.remove(api.Task, name))  # type: ignore[misc]
        elif step in ("down", "up"):
            bench.change(node(place, api.NodeStatus.DOWN if step == "down" else api.NodeStatus.READY))
        elif step == "gone" and bench.memory.nodes.get(place) is not None:
            bench.apply(lambda tx, place=place: tx.remove(api.Node, place))  # type: ignore[misc]
    bench.step()
    bench.step()
    fresh = Scheduler(Random(seed))
    fresh.decide(bench.memory, bench.now, None)
    assert isinstance(bench.decider, Scheduler)
    assert loads(bench.decider) == loads(fresh)


def test_a_status_report_costs_no_scheduling() -> None:
    bench = Bench(Scheduler(Random(1)), [node("a"), task("web.1", api.ASSIGNED, node="a")])
    assert bench.step() == []
    bench.report("web.1", api.RUNNING)
    assert bench.step() == []


def err(bench: Bench, name: str = "web.1") -> str:
    found = bench.memory.tasks.get(name)
    assert found is not None
    return found.status.err


def constrained(expression: str) -> api.Task:
    made = task("web.1", api.PENDING)
    made.spec.placement.constraints.append(expression)
    return made


def test_a_task_told_to_stop_keeps_its_message_and_loses_its_reason() -> None:
    waiting = task("web.1", api.PENDING, api.SHUTDOWN)
    waiting.status.message, waiting.status.err = "pending task scheduling", "no suitable node"
    assert statuses([node("a"), waiting]) == {"web.1": ("pending task scheduling", "")}


# Known fault 67: any change that makes a waiting task placeable places it.


def test_a_label_that_is_right_again_places_a_waiting_task() -> None:
    bench = Bench(Scheduler(Random(1)), [node("a"), constrained("node.labels.disk==ssd")])
    bench.step()
    assert err(bench) == "no suitable node (scheduling constraints not satisfied on 1 node)"
    bench.change(node("a", labels={"disk": "ssd"}))
    assert bench.step() == ["update web.1 on a assigned -> running"]
    assert err(bench) == ""


def test_a_node_that_comes_takes_a_waiting_task() -> None:
    bench = Bench(Scheduler(Random(1)), [node("a"), constrained("node.hostname==b")])
    bench.step()
    bench.change(node("b"))
    assert bench.step() == ["update web.1 on b assigned -> running"]


def test_a_node_that_grows_or_is_activated_takes_a_waiting_task() -> None:
    waiting = task("web.1", api.PENDING)
    waiting.spec.resources.reservations.memory_bytes = 100
    small = node("a")
    small.description.resources.memory_bytes = 99
    bench = Bench(Scheduler(Random(1)), [small, waiting])
    bench.step()
    large = copy(small)
    large.description.resources.memory_bytes = 100
    large.spec.availability = api.NodeSpec.PAUSE
    bench.change(large)
    bench.step()
    assert err(bench) == "no suitable node (1 node not available for new tasks)"
    active = copy(large)
    active.spec.availability = api.NodeSpec.ACTIVE
    bench.change(active)
    assert bench.step() == ["update web.1 on a assigned -> running"]


def test_a_task_that_is_removed_makes_room() -> None:
    waiting, there = task("web.2", api.PENDING), task("web.1", node="a")
    for one in (waiting, there):
        one.endpoint.ports.add(publish_mode=api.PortConfig.HOST, published_port=80)
    bench = Bench(Scheduler(Random(1)), [node("a"), there, waiting])
    bench.step()
    assert err(bench, "web.2") == "no suitable node (host-mode port already in use on 1 node)"
    bench.step()
    bench.apply(lambda tx: tx.remove(api.Task, "web.1"))
    assert bench.step() == ["update web.2 on a assigned -> running"]


def test_the_reason_follows_the_nodes() -> None:
    bench = Bench(Scheduler(Random(1)), [node("a"), node("b"), constrained("node.labels.disk==ssd")])
    bench.step()
    assert err(bench) == "no suitable node (scheduling constraints not satisfied on 2 nodes)"
    bench.apply(lambda tx: tx.remove(api.Node, "a"))
    bench.step()
    assert err(bench) == "no suitable node (scheduling constraints not satisfied on 1 node)"
    bench.change(node("b", api.NodeStatus.DOWN))
    bench.step()
    assert err(bench) == "no suitable node (1 node not available for new tasks)"


def test_a_new_certificate_of_a_node_moves_nobody() -> None:
    bench = Bench(Scheduler(Random(1)), [node("a"), constrained("node.labels.disk==ssd")])
    bench.step()
    renewed = node("a")
    renewed.certificate.certificate = b"new"
    bench.change(renewed)
    assert bench.step() == []


# Tasks that come with their node.


def test_a_task_that_came_with_its_node_is_tried_again_when_that_changes() -> None:
    bench = Bench(
        Scheduler(Random(1)), [node("a"), node("b", api.NodeStatus.DOWN), task("agent.0", api.PENDING, node="b")]
    )
    bench.step()
    assert err(bench, "agent.0") == "1 node not available for new tasks"
    bench.change(node("a", labels={"x": "y"}))
    assert bench.step() == []
    bench.change(node("b"))
    assert bench.step() == ["update agent.0 on b assigned -> running"]
    assert err(bench, "agent.0") == ""


def test_a_task_that_came_with_a_node_that_is_gone_waits_without_a_word() -> None:
    bench = Bench(Scheduler(Random(1)), [task("agent.0", api.PENDING, node="a")])
    assert bench.step() == []
    bench.change(node("a"))
    assert bench.step() == ["update agent.0 on a assigned -> running"]


def test_those_that_came_with_their_node_go_first_and_take_named_resources_too() -> None:
    waiting, bound = task("web.1", api.PENDING), task("agent.0", api.PENDING, node="a")
    for one in (waiting, bound):
        wanted = one.spec.resources.reservations.generic.add().discrete_resource_spec
        wanted.kind, wanted.value = "gpu", 1
    offering = node("a")
    offered = offering.description.resources.generic.add().named_resource_spec
    offered.kind, offered.value = "gpu", "x"
    bench = Bench(Scheduler(Random(1)), [offering, waiting, bound])
    bench.step()
    assert err(bench) == "no suitable node (insufficient resources on 1 node)"
    found = bench.memory.tasks.get("agent.0")
    assert found is not None
    assert [one.named_resource_spec.value for one in found.assigned_generic_resources] == ["x"]


def test_more_that_came_with_their_node_than_a_plan_holds_go_into_the_next() -> None:
    tasks = [api.Task(id=f"t{number}", node_id="a", desired_state=api.RUNNING) for number in range(MAX_CHANGES + 1)]
    for one in tasks:
        one.status.state = api.PENDING
    bench = Bench(Scheduler(Random(1)), [node("a"), *tasks])
    assert len(bench.step()) == MAX_CHANGES
    assert bench.look_again_at == NOW
    assert len(bench.step()) == 1
    assert bench.look_again_at is None


# Nodes on which a service keeps failing.


def test_failures_of_a_global_service_count_for_nothing_and_those_of_a_jobs_first_task_do() -> None:
    for kind, places in (("global", {"a"}), ("replicated_job", {"b"})):
        of = service("web")
        getattr(of.spec, kind).SetInParent()
        bench = Bench(
            Scheduler(Random(1)),
            [
                *(of, node("a"), node("b")),
                *(task(f"other.{n}", node="b") for n in range(1, 9)),
                *(task(f"web.0.{n}", node="a") for n in range(5)),
            ],
        )
        bench.step()
        for number in range(5):
            bench.report(f"web.0.{number}", api.FAILED)
        bench.step()
        bench.change(task("web.1", api.PENDING))
        bench.step()
        found = bench.memory.tasks.get("web.1")
        assert found is not None
        assert {found.node_id} == places, kind


def test_the_fifth_failure_is_told_once() -> None:
    bench = Bench(Scheduler(Random(1)), [service(), node("a"), *(task(f"web.1.{n}", node="a") for n in range(6))])
    bench.step()
    notes: list[str] = []
    for number in range(6):
        bench.report(f"web.1.{number}", api.REJECTED)
        plan = bench.decider.decide(bench.memory, bench.now, bench.events)
        bench.events = []
        notes += plan.notes
    assert notes == ["node a goes last for service web: 5 of its tasks failed there within 5 minutes"]


def test_a_lone_task_goes_to_the_least_loaded_node_with_room() -> None:
    small = node("small")
    large = node("large")
    large.description.resources.memory_bytes = 100
    busy = [task(f"db.{number}", node="large") for number in range(3)]
    waiting = [task(f"web{number}.1", api.PENDING) for number in range(3)]
    for one in waiting:
        one.spec.resources.reservations.memory_bytes = 50
    bench = Bench(Scheduler(Random(1)), [small, large, *busy, *waiting])
    bench.step()
    placed = [one for one in bench.memory.tasks.all() if one.service_id.startswith("web")]
    assert sorted(one.node_id for one in placed) == ["", "large", "large"]
    (left,) = [one for one in placed if not one.node_id]
    assert left.status.err == "no suitable node (insufficient resources on 2 nodes)"


class Watched(Scheduler):
    """A scheduler that counts the groups for which it looks at all nodes."""

    def __init__(self) -> None:
        super().__init__(Random(1))
        self.looks: list[str] = []

    def _place_group(self, draft: Draft, key: Key, assigned: api.TaskStatus) -> bool:
        self.looks.append(key.service_id)
        return super()._place_group(draft, key, assigned)

    def since(self) -> list[str]:
        found, self.looks = self.looks, []
        return found


def asking_for_cpus(name: str, count: int, state: api.TaskState = api.PENDING, on: str = "") -> api.Task:
    made = task(name, state, node=on)
    made.spec.resources.reservations.nano_cpus = count * 10**9
    return made


def with_cpus(name: str, count: int = 4) -> api.Node:
    made = node(name)
    made.description.resources.nano_cpus = count * 10**9
    return made


def test_only_groups_that_a_change_may_help_are_looked_at_again() -> None:
    held_by_label = [task(f"ssd{number}.1", api.PENDING) for number in range(20)]
    for one in held_by_label:
        one.spec.placement.constraints.append("node.labels.disk==ssd")
    scheduler = Watched()
    bench = Bench(
        scheduler,
        [
            with_cpus("a"),
            with_cpus("b"),
            asking_for_cpus("old.1", 1, api.RUNNING, "a"),
            asking_for_cpus("old.2", 4, api.RUNNING, "b"),
            task("plain.1", node="a"),
            asking_for_cpus("four.1", 4),
            asking_for_cpus("also.1", 4),
            asking_for_cpus("five.1", 5),
            *held_by_label,
        ],
    )
    bench.step()
    assert len(scheduler.since()) == 23
    bench.step()
    for state in (api.COMPLETE, api.FAILED):  # the end of a task that had reserved nothing, and of one without a node
        bench.report("plain.1", state)
        bench.step()
    heard = copy(bench.memory.nodes.get("a") or api.Node())
    heard.status.message = "alive"
    bench.change(heard)
    bench.step()
    other_label = copy(heard)
    other_label.spec.annotations.labels["rack"] = "1"
    bench.change(other_label)
    bench.step()
    assert scheduler.since() == []
    bench.report("old.1", api.FAILED)
    # There is room for one of the two tasks that ask for four, and then none for the other.
    assert bench.step() == ["update four.1 on a assigned -> running"]
    assert scheduler.since() == ["four"]
    bench.step()
    ssd = copy(bench.memory.nodes.get("b") or api.Node())
    ssd.spec.annotations.labels["disk"] = "ssd"
    bench.change(ssd)
    assert len(bench.step()) == 20
    assert scheduler.since() == [f"ssd{number}" for number in range(20)]
    assert bench.step() == []


def test_a_group_of_a_spec_that_is_nowhere_any_more_is_forgotten() -> None:
    bench = Bench(Scheduler(Random(1)), [node("a", api.NodeStatus.DOWN), task("web.1", api.PENDING)])
    bench.step()
    bench.apply(lambda transaction: transaction.remove(api.Task, "web.1"))
    bench.change(node("a"))
    assert bench.step() == []
    assert bench.look_again_at is None
