"""What is started, restarted and replaced in a place. Input: views; output: whole plans."""

import random
from itertools import pairwise

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.manager.orchestrator import Orchestrator
from shoal.manager.orchestrator.marks import Marks, read
from shoal.store.changes import Object
from tests.unit.manager.builders import NOW, Bench, Ids, node, service, task

NODES = [node("a"), node("b")]


def bench(*objects: Object) -> Bench:
    return Bench(Orchestrator(random.Random(1), Ids()), [*NODES, *objects])


def at_once(made: api.Service) -> None:
    made.spec.task.restart.condition = api.RestartPolicy.ANY
    made.spec.task.restart.delay.CopyFrom(duration(0))


def test_without_delay_an_ended_task_is_replaced_in_the_same_plan() -> None:
    web = service(change=at_once)
    rig = bench(web, task("web.1", node="a", of=web))
    rig.step()
    rig.report("web.1", api.FAILED)
    assert rig.step() == ["update web.1 on a failed -> shutdown", "create web.1 new -> running"]
    assert rig.step() == []
    assert rig.look_again_at is None


def test_with_a_delay_the_replacement_gets_ready_and_waits() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    rig.report("web.1", api.FAILED)
    assert rig.step() == ["update web.1 on a failed -> shutdown", "create web.1 new -> ready"]
    assert rig.look_again_at == NOW + 5.0
    assert rig.step(NOW + 4.9) == []
    assert rig.look_again_at == NOW + 5.0
    assert rig.step(NOW + 5.0) == ["update new1 new -> running"]


def test_a_new_leader_waits_out_the_same_delay() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    rig.report("web.1", api.FAILED)
    rig.step()
    rig.decider, rig.events = Orchestrator(random.Random(1), Ids()), None
    assert rig.step(NOW + 3.0) == []
    assert rig.look_again_at == NOW + 5.0


def test_a_replacement_that_fails_while_it_waits_is_not_hurried() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    rig.report("web.1", api.FAILED)
    rig.step()
    rig.report("new1", api.REJECTED)
    assert rig.step(NOW + 1.0) == []
    assert rig.look_again_at == NOW + 5.0
    assert rig.step(NOW + 5.0) == ["update new1 rejected -> shutdown", "create web.1 new -> ready"]


def test_an_image_that_is_nowhere_is_asked_for_ever_more_slowly() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    waits: list[float] = []
    last = "web.1"
    for number in range(1, 8):
        rig.report(last, api.REJECTED)
        assert "create web.1 new -> ready" in rig.step()
        assert rig.look_again_at is not None
        waits.append(rig.look_again_at - rig.now)
        last = f"new{number}"
        assert rig.step(rig.look_again_at) == [f"update {last} new -> running"]
    assert waits[0] == 5.0
    assert all(48 <= wait <= 60 for wait in waits[4:])
    assert all(later > sooner for sooner, later in pairwise(waits[:4]))


def test_a_lost_nodes_tasks_are_replaced() -> None:
    web = service(replicas=2, change=at_once)
    rig = bench(web, task("web.1", node="a", of=web), task("web.2", node="b", of=web))
    rig.step()
    rig.change(node("a", api.NodeStatus.DOWN))
    assert rig.step() == ["update web.1 on a running -> shutdown", "create web.1 new -> running"]


def test_a_drained_nodes_replacements_wait_for_the_old_tasks() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    drained = node("a")
    drained.spec.availability = api.NodeSpec.DRAIN
    rig.change(drained)
    assert rig.step() == ["update web.1 on a running -> shutdown", "create web.1 new -> ready"]
    assert rig.look_again_at == NOW + 60.0
    rig.report("web.1", api.SHUTDOWN)
    assert rig.step(NOW + 1.0) == ["update new1 new -> running"]
    assert rig.look_again_at is None


def test_a_task_that_does_not_stop_is_waited_for_a_minute() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    drained = node("a")
    drained.spec.availability = api.NodeSpec.DRAIN
    rig.change(drained)
    rig.step()
    assert rig.step(NOW + 59.0) == []
    assert rig.step(NOW + 60.0) == ["update new1 new -> running"]


def test_paused_and_unknown_nodes_keep_their_tasks() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    paused = node("a", api.NodeStatus.UNKNOWN)
    paused.spec.availability = api.NodeSpec.PAUSE
    rig.change(paused)
    assert rig.step() == []


def test_a_used_up_budget_leaves_the_slot_to_its_dead_task() -> None:
    def once(made: api.Service) -> None:
        at_once(made)
        made.spec.task.restart.max_attempts = 1

    web = service(change=once)
    rig = bench(web, task("web.1", node="a", of=web))
    rig.step()
    rig.report("web.1", api.FAILED)
    assert rig.step() == ["update web.1 on a failed -> shutdown", "create web.1 new -> running"]
    rig.report("new1", api.FAILED)
    assert rig.step(NOW + 1) == ["update new1 failed -> shutdown"]
    rig.decider, rig.events = Orchestrator(random.Random(1), Ids()), None
    assert rig.step() == []


def test_the_replacement_knows_what_it_replaces() -> None:
    rig = bench(service(), task("web.1", node="a"))
    rig.step()
    drained = node("a")
    drained.spec.availability = api.NodeSpec.DRAIN
    rig.change(drained)
    rig.step()
    made = rig.memory.tasks.get("new1")
    assert made is not None
    assert read(made) == Marks(replaces="web.1", start_at=NOW)
