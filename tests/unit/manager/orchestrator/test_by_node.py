"""Global services and global jobs: which nodes have a task, and what happens to it when the node changes."""

import random
from collections.abc import Callable

import pytest

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.manager.deciding.plan import MAX_CHANGES
from shoal.manager.orchestrator import Orchestrator
from shoal.manager.orchestrator.by_node import may_matter
from shoal.manager.orchestrator.marks import read
from shoal.store.changes import Event, Object, copy
from tests.unit.manager.builders import NOW, Bench, Ids, everywhere, global_job, node, service, task

PAUSE, DRAIN, ACTIVE = api.NodeSpec.PAUSE, api.NodeSpec.DRAIN, api.NodeSpec.ACTIVE


def bench(*objects: Object) -> Bench:
    return Bench(Orchestrator(random.Random(1), Ids()), objects)


def available(name: str, availability: api.NodeSpec.Availability) -> api.Node:
    made = node(name)
    made.spec.availability = availability
    return made


def each(change: Callable[[api.Service], None] | None = None, version: int = 1) -> api.Service:
    def both(made: api.Service) -> None:
        everywhere(made)
        made.spec.task.restart.condition = api.RestartPolicy.ANY
        made.spec.task.restart.delay.CopyFrom(duration(0))
        if change:
            change(made)

    return service("each", version=version, change=both)


def on_ssd(made: api.Service) -> None:
    made.spec.task.placement.constraints.append("node.labels.disk==ssd")


def never_again(made: api.Service) -> None:
    made.spec.task.restart.condition = api.RestartPolicy.NONE


def other_image(rig: Bench, service_id: str = "each") -> None:
    found = rig.memory.services.get(service_id)
    assert found is not None
    made = copy(found)
    made.spec.task.container.image = "other"
    made.spec_version.index += 10
    rig.change(made)


def test_each_node_that_may_have_one_gets_a_task() -> None:
    """Known fault 64: tasks were made for nodes that do not fit or are down, and waited there."""
    rig = bench(
        each(on_ssd),
        node("a", labels={"disk": "ssd"}),
        node("b"),
        node("c", api.NodeStatus.DOWN, labels={"disk": "ssd"}),
        node("d", api.NodeStatus.UNKNOWN, labels={"disk": "ssd"}),
        node("e", labels={"disk": "SSD"}),
    )
    assert rig.step() == ["create each.0 on a new -> running", "create each.0 on e new -> running"]
    assert rig.step() == []


def test_a_node_that_comes_gets_its_task_whatever_others_have() -> None:
    """Known fault 65: a node that joins later was left out of a global job."""
    rig = bench(each(), each_job("nightly"), service(replicas=1), node("a"))
    rig.step()
    rig.change(node("b", api.NodeStatus.UNKNOWN))
    assert rig.step() == []
    rig.change(node("b"))
    assert rig.step() == ["create each.0 on b new -> running", "create nightly.0 on b new -> complete"]


def each_job(
    name: str = "nightly", iteration: int = 0, change: Callable[[api.Service], None] | None = None
) -> api.Service:
    def both(made: api.Service) -> None:
        global_job(made, iteration)
        made.spec.task.restart.condition = api.RestartPolicy.ANY
        made.spec.task.restart.delay.CopyFrom(duration(0))
        if change:
            change(made)

    return service(name, change=both)


@pytest.mark.parametrize("availability", [DRAIN, PAUSE])
def test_drained_nodes_lose_their_task_and_paused_ones_keep_it(availability: api.NodeSpec.Availability) -> None:
    rig = bench(each(), node("a"), task("each.0", node="a", of=each()))
    assert rig.step() == []
    rig.change(available("a", availability))
    assert rig.step() == (["update each.0 on a running -> shutdown"] if availability == DRAIN else [])
    assert rig.step() == []


def test_a_node_that_is_active_again_gets_a_new_task_once_the_old_one_has_stopped() -> None:
    rig = bench(each(), available("a", DRAIN), task("each.0", desired=api.SHUTDOWN, node="a", of=each()))
    assert rig.step() == []
    rig.change(node("a"))
    assert rig.step() == ["create each.0 on a new -> ready"]
    rig.report("each.0", api.SHUTDOWN)
    assert rig.step() == ["update new1 on a new -> running"]


def test_on_a_paused_node_nothing_is_restarted_or_begun() -> None:
    rig = bench(each(), node("a"), available("b", PAUSE), task("each.0", node="a", of=each()))
    rig.step()
    rig.change(available("a", PAUSE))
    rig.step()
    rig.report("each.0", api.FAILED)
    assert rig.step() == ["update each.0 on a failed -> shutdown"]
    assert rig.step() == []
    rig.change(node("a"))
    assert rig.step() == ["create each.0 on a new -> running"]


def test_a_task_that_waits_out_its_delay_starts_although_its_node_was_paused_meanwhile() -> None:
    slow = each(lambda made: made.spec.task.restart.delay.CopyFrom(duration(5)))
    rig = bench(slow, node("a"), task("each.0", node="a", of=slow))
    rig.step()
    rig.report("each.0", api.FAILED)
    assert rig.step() == ["update each.0 on a failed -> shutdown", "create each.0 on a new -> ready"]
    rig.change(available("a", PAUSE))
    assert rig.step() == []
    assert rig.step(NOW + 5) == ["update new1 on a new -> running"]


def test_a_node_that_left_takes_its_tasks_along_and_a_job_remembers_what_it_did() -> None:
    nightly = each_job()
    rig = bench(
        each(),
        nightly,
        node("a"),
        task("each.0", node="a", of=each()),
        task("each.0.old", api.FAILED, api.SHUTDOWN, node="a", of=each()),
        task("nightly.0", api.COMPLETE, api.COMPLETE, node="a", of=nightly),
    )
    assert rig.step() == []
    rig.apply(lambda tx: tx.remove(api.Node, "a"))
    assert sorted(rig.step()) == [
        "update each.0 on a running -> remove",
        "update each.0.old on a failed -> remove",
    ]


def test_what_no_longer_fits_is_the_enforcers_and_is_not_made_again() -> None:
    rig = bench(each(on_ssd), node("a", labels={"disk": "ssd"}), task("each.0", node="a", of=each(on_ssd)))
    rig.step()
    rig.change(node("a"))
    assert rig.step() == []
    rig.report("each.0", api.REJECTED)
    assert rig.step() == ["update each.0 on a rejected -> shutdown"]
    assert rig.step() == []
    rig.change(node("a", labels={"disk": "ssd"}))
    assert rig.step() == ["create each.0 on a new -> running"]


def test_what_never_got_to_a_node_that_no_longer_fits_is_given_up_at_once() -> None:
    waiting = task("each.0", api.PENDING, node="a", of=each(on_ssd))
    rig = bench(each(on_ssd), node("a", labels={"disk": "ssd"}), waiting)
    rig.step()
    rig.change(node("a"))
    assert rig.step() == ["update each.0 on a pending -> shutdown"]


def test_a_new_constraint_ends_tasks_elsewhere() -> None:
    rig = bench(each(), node("a", labels={"disk": "ssd"}), node("b"))
    rig.step()
    changed = each(on_ssd, version=2)
    changed.spec_version.index = 99
    rig.change(changed)
    assert rig.step() == ["update new2 on b new -> shutdown"]


def test_a_failed_task_is_replaced_on_its_node() -> None:
    rig = bench(
        each(), node("a"), node("b"), task("each.0", node="a", of=each()), task("each.0.b", node="b", of=each())
    )
    rig.step()
    rig.report("each.0.b", api.FAILED)
    assert rig.step() == ["update each.0.b on b failed -> shutdown", "create each.0 on b new -> running"]


def test_an_update_goes_from_node_to_node_and_leaves_out_those_out_of_reach() -> None:
    """Known fault 64,

    moby/swarmkit#1570, #2321: updates waited for ever for nodes that were down, drained or paused.
    """
    tasks = [task(f"each.0.{name}", node=name, of=each()) for name in "abcd"]
    rig = bench(each(), node("a"), node("b"), node("c"), available("d", PAUSE), *tasks)
    rig.step()
    other_image(rig)
    assert rig.step() == [
        "update each.0.a on a running -> shutdown",
        "create each.0 on a new -> ready",
        "update each update in progress",
    ]
    rig.change(node("a", api.NodeStatus.DOWN))
    assert rig.step() == [
        "update new1 on a new -> shutdown",
        "update each.0.b on b running -> shutdown",
        "create each.0 on b new -> ready",
    ]
    rig.change(available("c", DRAIN))
    assert rig.step() == ["update each.0.c on c running -> shutdown"]
    rig.report("each.0.b", api.SHUTDOWN)
    assert rig.step() == ["update new2 on b new -> running"]
    rig.report("new2", api.RUNNING)
    rig.step()
    assert rig.step(NOW + 5) == ["update each update completed"]
    rig.change(node("d"))
    assert rig.step() == ["update each.0.d on d running -> shutdown", "create each.0 on d new -> ready"]
    assert read(rig.memory.tasks.get("new3") or api.Task()).by_update is False


def test_an_update_waits_for_what_it_has_begun_on_a_node_that_is_paused_and_for_nothing_else() -> None:
    for state, goes_on in ((api.PENDING, True), (api.PREPARING, False)):
        rig = on_nodes("ab")
        rig.step()
        rig.report("new1", state)
        rig.change(available("a", PAUSE))
        assert any("each.0.b" in line for line in rig.step()) is goes_on
        rig.report("each.0.a", api.SHUTDOWN)
        rig.report("new1", api.RUNNING)
        assert any("each.0.b" in line for line in rig.step()) is not goes_on


def test_an_update_waits_for_what_it_has_begun_on_a_node_that_is_no_longer_paused() -> None:
    rig = on_nodes("abc")
    rig.step()
    rig.report("new1", api.PENDING)
    rig.change(available("a", PAUSE))
    assert any("each.0.b" in line for line in rig.step())
    rig.change(node("a"))
    rig.step()
    rig.report("each.0.b", api.SHUTDOWN)
    rig.step()
    rig.report("new2", api.RUNNING)
    assert not any("each.0.c" in line for line in rig.step())
    rig.report("each.0.a", api.SHUTDOWN)
    rig.step()
    rig.report("new1", api.RUNNING)
    assert any("each.0.c" in line for line in rig.step())


def test_a_node_that_is_back_amid_an_update_takes_its_turn() -> None:
    tasks = [task(f"each.0.{name}", node=name, of=each()) for name in "ab"]
    rig = bench(each(), node("a"), available("b", PAUSE), *tasks)
    rig.step()
    other_image(rig)
    rig.step()
    rig.change(node("b"))
    assert rig.step() == []
    rig.report("each.0.a", api.SHUTDOWN)
    rig.step()
    rig.report("new1", api.RUNNING)
    assert rig.step() == ["update each.0.b on b running -> shutdown", "create each.0 on b new -> ready"]


def test_an_update_reaches_a_node_whose_task_may_not_be_restarted() -> None:
    """Known fault 64,

    moby/swarmkit#2288: with restart policy none, a node that had failed once was never touched again.
    """
    made = each(never_again)
    rig = bench(made, node("a"), task("each.0", node="a", of=made))
    rig.step()
    rig.report("each.0", api.FAILED)
    assert rig.step() == ["update each.0 on a failed -> shutdown"]
    assert rig.step() == []
    other_image(rig)
    assert rig.step() == ["create each.0 on a new -> running", "update each update in progress"]


def on_nodes(names: str, change: Callable[[api.Service], None] | None = None) -> Bench:
    """Return a global service that runs on nodes, and has just been given another image."""

    def watched(made: api.Service) -> None:
        made.spec.update.parallelism = 1
        made.spec.update.monitor.CopyFrom(duration(5))
        if change:
            change(made)

    made = each(watched)
    tasks = [task(f"each.0.{name}", node=name, of=made) for name in names]
    rig = bench(made, *(node(name) for name in names), *tasks)
    assert rig.step() == []
    update_spec(rig, "other")
    return rig


def update_spec(rig: Bench, image: str) -> None:
    """Change a spec as Control does."""
    made = copy(status_of(rig))
    made.previous_spec.CopyFrom(made.spec)
    made.previous_spec_version.CopyFrom(made.spec_version)
    made.spec.task.container.image = image
    made.spec_version.index += 10
    made.ClearField("update_status")
    rig.change(made)


def status_of(rig: Bench) -> api.Service:
    found = rig.memory.services.get("each")
    assert found is not None
    return found


@pytest.mark.parametrize(("parallelism", "begun"), [(1, 1), (2, 2), (0, 3)])
def test_parallelism_counts_nodes(parallelism: int, begun: int) -> None:
    rig = on_nodes("abc", lambda made: setattr(made.spec.update, "parallelism", parallelism))
    assert sum(line.startswith("create") for line in rig.step()) == begun


def test_start_first_has_two_tasks_on_a_node_until_the_new_one_is_healthy() -> None:
    """Known fault 62. A task with a health check is STARTING until the check succeeds, and only then RUNNING."""
    rig = on_nodes("ab", lambda made: setattr(made.spec.update, "order", api.UpdateConfig.START_FIRST))
    assert rig.step() == ["create each.0 on a new -> running", "update each update in progress"]
    rig.report("new1", api.STARTING)
    assert rig.step() == []
    rig.report("new1", api.RUNNING)
    assert rig.step() == ["update each.0.a on a running -> shutdown", "create each.0 on b new -> running"]


def test_a_failure_on_a_node_pauses_the_update_and_the_next_change_resumes_it() -> None:
    rig = on_nodes("ab")
    rig.step()
    rig.report("new1", api.REJECTED)
    rig.step()
    assert status_of(rig).update_status.state == api.UpdateStatus.PAUSED
    assert not any("each.0.b" in line for line in rig.step(NOW + 100))
    update_spec(rig, "third")
    rig.step()
    assert status_of(rig).update_status.message == "update in progress"


def test_a_failure_on_a_node_rolls_the_update_back() -> None:
    rig = on_nodes("ab", lambda made: setattr(made.spec.update, "failure_action", api.UpdateConfig.ROLLBACK))
    rig.step()
    rig.report("each.0.a", api.SHUTDOWN)
    rig.step()
    rig.report("new1", api.FAILED)
    rig.step()
    update = status_of(rig).update_status
    assert update.message == "update rolled back due to failure or early termination of task new1"
    rig.step()
    (live,) = [one for one in rig.memory.tasks.find("node_id", "a") if one.desired_state <= api.RUNNING]
    assert live.spec.container.image == "image"
    rig.report(live.id, api.RUNNING)
    rig.step()
    rig.step(NOW + 10)
    assert status_of(rig).update_status.message == "rollback completed"
    assert rig.memory.tasks.get("each.0.b") is not None


def test_a_rollback_by_hand_goes_from_node_to_node() -> None:
    rig = on_nodes("ab", lambda made: setattr(made.spec.update, "parallelism", 0))
    rig.step()
    for name, number in (("a", 1), ("b", 2)):
        rig.report(f"each.0.{name}", api.SHUTDOWN)
        rig.step()
        rig.report(f"new{number}", api.RUNNING)
    rig.step()
    rig.step(NOW + 5)
    made = copy(status_of(rig))
    made.spec.CopyFrom(status_of(rig).previous_spec)
    made.spec_version.CopyFrom(status_of(rig).previous_spec_version)
    made.update_status.state = api.UpdateStatus.ROLLBACK_STARTED
    made.update_status.message = "manually requested rollback"
    rig.change(made)
    # Without a rollback config one task at a time is rolled back.
    assert rig.step() == ["update new1 on a running -> shutdown", "create each.0 on a new -> ready"]


def test_a_change_amid_an_update_starts_over_on_every_node() -> None:
    rig = on_nodes("ab")
    rig.step()
    update_spec(rig, "third")
    assert rig.step() == [
        "update new1 on a new -> shutdown",
        "create each.0 on a new -> running",
        "update each update in progress",
    ]


def test_a_forced_update_replaces_tasks_although_nothing_else_changed() -> None:
    rig = on_nodes("a")
    update_spec(rig, "image")
    made = copy(status_of(rig))
    made.spec.task.force_update += 1
    rig.change(made)
    assert "create each.0 on a new -> ready" in rig.step()


def test_the_platforms_of_the_image_decide_as_well() -> None:
    """SwarmKit also makes a task for each node on which the image cannot run, and it waits there for ever."""

    def for_arm(made: api.Service) -> None:
        made.spec.task.placement.platforms.add(os="linux", architecture="arm64")

    def has(name: str, architecture: str) -> api.Node:
        made = node(name)
        made.description.platform.CopyFrom(api.Platform(os="linux", architecture=architecture))
        return made

    rig = bench(each(for_arm), has("a", "aarch64"), has("b", "x86_64"))
    assert rig.step() == ["create each.0 on a new -> running"]
    rig.change(has("b", "arm64"))
    assert rig.step() == ["create each.0 on b new -> running"]


def test_drains_do_not_use_up_the_attempts_of_a_service() -> None:
    def twice(made: api.Service) -> None:
        made.spec.task.restart.max_attempts = 2

    made = each(twice)
    rig = bench(made, node("a"))
    rig.step()
    for number in (1, 2, 3):
        rig.report(f"new{number}", api.RUNNING)
        rig.step(rig.now + 1)
        rig.change(available("a", DRAIN))
        rig.step(rig.now + 1)
        rig.report(f"new{number}", api.SHUTDOWN)
        rig.step(rig.now + 1)
        rig.change(node("a"))
        assert rig.step(rig.now + 1) == ["create each.0 on a new -> running"]
    for number, begun in ((4, True), (5, True), (6, False)):
        rig.report(f"new{number}", api.FAILED)
        assert len(rig.step(rig.now + 100)) == 1 + begun


def test_a_job_runs_once_on_each_node_and_again_when_it_is_told_to() -> None:
    """Known fault 65."""
    nightly = each_job()
    rig = bench(nightly, node("a"), node("b"))
    rig.step()
    rig.report("new1", api.COMPLETE)
    rig.report("new2", api.FAILED)
    assert rig.step() == ["update new2 on b failed -> shutdown", "create nightly.0 on b new -> complete"]
    rig.change(available("a", DRAIN))
    assert rig.step() == []
    rig.change(node("a"))
    assert rig.step() == []
    rig.change(each_job(iteration=1))
    assert rig.step() == [
        "update new1 on a complete -> remove",
        "create nightly.0 on a new -> complete",
        "update new2 on b failed -> remove",
        "update new3 on b new -> remove",
        "create nightly.0 on b new -> complete",
    ]
    made = rig.memory.tasks.get("new5")
    assert made is not None
    assert made.job_iteration.index == 1


def test_a_job_is_tried_as_often_as_it_may_be() -> None:
    def once(made: api.Service) -> None:
        made.spec.task.restart.max_attempts = 1

    rig = bench(each_job(change=once), node("a"))
    rig.step()
    rig.report("new1", api.FAILED)
    assert len(rig.step(NOW + 10)) == 2
    rig.report("new2", api.FAILED)
    assert rig.step(NOW + 20) == ["update new2 on a failed -> shutdown"]
    rig.change(node("a", labels={"any": "change"}))
    assert rig.step() == []


def test_a_job_that_a_drain_cut_short_begins_anew_when_the_node_is_back() -> None:
    rig = bench(each_job(), node("a"))
    rig.step()
    rig.report("new1", api.RUNNING)
    rig.change(available("a", DRAIN))
    assert rig.step() == ["update new1 on a running -> shutdown"]
    rig.report("new1", api.SHUTDOWN)
    assert rig.step() == []
    rig.change(node("a"))
    assert rig.step() == ["create nightly.0 on a new -> complete"]


def test_what_is_too_much_for_a_plan_goes_into_the_next() -> None:
    rig = bench(each(), *(node(f"n{number:04}") for number in range(MAX_CHANGES + 2)))
    assert len(rig.step()) == MAX_CHANGES
    assert rig.look_again_at == NOW
    assert len(rig.step()) == 2
    assert rig.step() == []


def test_only_what_a_node_is_matters_not_when_it_was_heard_of() -> None:
    old, heard, down = node("a"), node("a"), node("a", api.NodeStatus.DOWN)
    heard.status.message = "alive"
    assert not may_matter(Event("update", heard, old))
    for change in (down, available("a", PAUSE), node("a", labels={"x": "y"})):
        assert may_matter(Event("update", change, old))
    assert may_matter(Event("create", old, None))
    assert may_matter(Event("remove", old, old))
    assert not may_matter(Event("create", service(), None))


def test_a_job_that_completed_although_its_node_was_taken_for_down_is_not_done_again() -> None:
    rig = bench(each_job(), node("a"))
    rig.step()
    rig.report("new1", api.RUNNING)
    rig.change(node("a", api.NodeStatus.DOWN))
    assert rig.step() == ["update new1 on a running -> shutdown"]
    rig.change(node("a"))
    assert rig.step() == ["create nightly.0 on a new -> ready"]
    rig.report("new1", api.COMPLETE)
    assert rig.step() == ["update new2 on a new -> shutdown"]
    rig.report("new2", api.SHUTDOWN)
    assert rig.step() == []
    rig.change(node("a", labels={"any": "change"}))
    assert rig.step() == []
    rig.decider, rig.events = Orchestrator(random.Random(1), Ids()), None
    assert rig.step() == []


def test_a_job_that_completed_while_its_node_was_taken_for_down_is_not_done_again() -> None:
    rig = bench(each_job(), node("a"))
    rig.step()
    rig.report("new1", api.RUNNING)
    rig.change(node("a", api.NodeStatus.DOWN))
    rig.step()
    rig.report("new1", api.COMPLETE)
    rig.change(node("a"))
    assert rig.step() == []
