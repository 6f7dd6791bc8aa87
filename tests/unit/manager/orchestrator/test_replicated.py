"""How many tasks a replicated service has. Input: views; output: whole plans."""

import random
from collections.abc import Callable

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.manager.deciding.plan import MAX_CHANGES
from shoal.manager.orchestrator import Orchestrator
from shoal.store.changes import Object, copy
from tests.unit.manager.builders import NOW, Bench, Ids, node, service, task, told

NODES = [node("a"), node("b")]


def bench(*objects: Object) -> Bench:
    return Bench(Orchestrator(random.Random(1), Ids()), [*NODES, *objects])


def at_once(made: api.Service) -> None:
    made.spec.task.restart.condition = api.RestartPolicy.ANY
    made.spec.task.restart.delay.CopyFrom(duration(0))


def changed(obj: api.Service, change: Callable[[api.Service], None]) -> api.Service:
    made = copy(obj)
    change(made)
    made.spec_version.index += 1
    return made


def test_a_new_service_gets_its_tasks_and_no_update() -> None:
    rig = bench(service(replicas=2))
    assert rig.step() == ["create web.1 new -> running", "create web.2 new -> running"]
    assert rig.step() == []
    assert rig.look_again_at is None


def test_scaling_up_fills_the_lowest_free_slots() -> None:
    rig = bench(service(replicas=4), task("web.2", node="a"), task("web.3", node="a"))
    assert rig.step() == ["create web.1 new -> running", "create web.4 new -> running"]


def test_more_replicas_cost_a_look_at_what_is_new_alone() -> None:
    web = service(replicas=200, change=at_once)
    rig = bench(web, *(task(f"web.{slot}", node="a", of=web) for slot in range(1, 201)))
    rig.step()
    asked: list[object] = []
    find = rig.memory.tasks.find

    class Counting:
        """The table, which counts the calls."""

        def __getattr__(self, name: str) -> object:
            return getattr(table, name)

        def find(self, index: str, key: object) -> list[api.Task]:
            asked.append(key)
            return find(index, key)

    table = rig.memory.tasks
    grown = changed(web, lambda made: setattr(made.spec.replicated, "replicas", 202))
    rig.apply(lambda tx: tx.update(grown))
    rig.memory.tasks = Counting()  # type: ignore[assignment]
    plan = rig.decider.decide(rig.memory, NOW, rig.events)
    assert told(plan) == ["create web.201 new -> running", "create web.202 new -> running"]
    assert asked == []


def test_more_replicas_fill_what_has_become_free_since() -> None:
    """Only slots that changed are counted again, and no slot is made twice."""
    web = service(replicas=2)
    rig = bench(web, task("web.1", node="a", of=web), task("web.2", node="a", of=web))
    rig.step()

    def grow(replicas: int, *others: api.Task) -> list[str]:
        present = rig.memory.services.get("web")
        assert present is not None
        grown = changed(present, lambda made: setattr(made.spec.replicated, "replicas", replicas))
        rig.apply(lambda tx: (tx.update(grown), *map(tx.update, others)))
        return rig.step()

    assert grow(3) == ["create web.3 new -> running"]
    assert grow(4) == ["create web.4 new -> running"]
    gone = copy(rig.memory.tasks.find("slot", ("web", 2))[0])
    gone.desired_state = api.REMOVE
    assert grow(5, gone) == ["create web.2 new -> running", "create web.5 new -> running"]


def test_another_spec_with_more_replicas_is_an_update() -> None:
    web = service(replicas=1)
    rig = bench(web, task("web.1", node="a", of=web))
    rig.step()

    def change(made: api.Service) -> None:
        made.spec.replicated.replicas = 2
        made.spec.task.container.env.append("NEW=1")

    rig.apply(lambda tx: tx.update(changed(web, change)))
    lines = rig.step() + rig.step()
    assert "update web.1 on a running -> shutdown" in lines


def test_scaling_down_keeps_what_ended_in_a_slot_until_the_service_changes_again() -> None:
    web = service(replicas=1)
    rig = bench(
        web,
        task("web.1", node="a"),
        task("web.2", node="b"),
        task("web.2.old", api.FAILED, api.SHUTDOWN, node="b"),
    )
    assert rig.step() == ["update web.2 on b running -> remove"]
    rig.apply(lambda tx: tx.remove(api.Task, "web.2"))
    assert rig.step() == []
    rig.apply(lambda tx: tx.update(changed(web, lambda made: at_once(made))))
    assert "update web.2.old on b failed -> remove" in rig.step()


def test_what_scaling_down_kept_goes_when_more_replicas_fill_other_slots() -> None:
    web = service(replicas=1)
    ended = [task(f"web.{slot}.old", api.FAILED, api.SHUTDOWN, node="b") for slot in (2, 3)]
    rig = bench(web, task("web.1", node="a"), task("web.2", node="b"), task("web.3", node="b"), *ended)
    assert rig.step() == ["update web.2 on b running -> remove", "update web.3 on b running -> remove"]
    for gone in ("web.2", "web.3"):
        rig.apply(lambda tx, gone=gone: tx.remove(api.Task, gone))  # type: ignore[misc]
    assert rig.step() == []
    rig.apply(lambda tx: tx.update(changed(web, lambda made: setattr(made.spec.replicated, "replicas", 2))))
    assert sorted(rig.step() + rig.step()) == [
        "create web.2 new -> running",
        "update web.3.old on b failed -> remove",
    ]


def test_a_task_somebody_deleted_is_made_again() -> None:
    rig = bench(service(replicas=1), task("web.1", node="a"))
    rig.step()
    rig.apply(lambda tx: tx.remove(api.Task, "web.1"))
    assert rig.step() == ["create web.1 new -> running"]


def test_what_is_too_much_for_a_plan_goes_into_the_next() -> None:
    rig = bench(service(replicas=MAX_CHANGES + 2))
    assert len(rig.step()) == MAX_CHANGES
    assert rig.look_again_at == NOW
    assert rig.step() == [
        f"create web.{MAX_CHANGES + 1} new -> running",
        f"create web.{MAX_CHANGES + 2} new -> running",
    ]
    assert rig.step() == []
    rig.change(changed(service(), lambda made: None))
    removed = 0
    while lines := rig.step():
        removed += len(lines)
    assert removed == MAX_CHANGES + 1


def test_a_slot_that_is_scaled_away_is_not_filled_again_by_what_failed_there_before() -> None:
    """Otherwise the next pass finds more filled slots than are wanted, and may end a running task instead."""

    def twice(made: api.Service) -> None:
        at_once(made)
        made.spec.task.restart.max_attempts = 1

    web = service(replicas=1, change=twice)
    failed = [
        task(f"web.1.{age}", api.FAILED, api.SHUTDOWN, of=web, created_at=NOW - age, reported_at=NOW - age)
        for age in (3, 2, 1)
    ]
    rig = bench(web, *failed, task("web.2", node="a", of=web))
    assert rig.step() == [f"update web.1.{age} failed -> remove" for age in (3, 2, 1)]
    assert rig.step() == []
