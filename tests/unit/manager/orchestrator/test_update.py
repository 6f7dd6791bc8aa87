"""Rolling updates and rollbacks, step by step."""

import random
from collections.abc import Callable

import pytest

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.manager.orchestrator import Orchestrator
from shoal.manager.orchestrator.marks import Marks
from shoal.manager.orchestrator.places import Place
from shoal.manager.orchestrator.update import Update
from shoal.store.changes import copy
from shoal.store.memory import Memory
from tests.unit.manager.builders import NOW, Bench, Ids, node, service, task

Change = Callable[[api.ServiceSpec], None]


def web(replicas: int, change: Change | None = None) -> api.Service:
    made = service(replicas=replicas)
    made.spec.task.restart.condition = api.RestartPolicy.ANY
    made.spec.task.restart.delay.CopyFrom(duration(0))
    made.spec.update.parallelism = 1
    made.spec.update.monitor.CopyFrom(duration(5))
    if change:
        change(made.spec)
    return made


def updating(replicas: int, change: Change | None = None) -> Bench:
    """Return a service with all its tasks running that has just been given another image."""
    old = web(replicas, change)
    tasks = [task(f"web.{slot}", node="a", of=old) for slot in range(1, replicas + 1)]
    rig = Bench(Orchestrator(random.Random(1), Ids()), [old, node("a"), *tasks])
    rig.step()
    set_image(rig, "other")
    return rig


def set_image(rig: Bench, image: str) -> None:
    """Change the image as Control does with a new spec."""
    made = copy(now_of(rig))
    made.previous_spec.CopyFrom(made.spec)
    made.previous_spec_version.CopyFrom(made.spec_version)
    made.spec.task.container.image = image
    made.spec_version.index = rig.memory.revision + 10
    made.ClearField("update_status")
    rig.change(made)


def now_of(rig: Bench) -> api.Service:
    found = rig.memory.services.get("web")
    assert found is not None
    return found


def status(rig: Bench) -> tuple[str, str]:
    found = now_of(rig).update_status
    return api.UpdateStatus.UpdateState.Name(found.state).lower(), found.message


def new_leader(rig: Bench) -> None:
    rig.decider, rig.events = Orchestrator(random.Random(1), Ids10()), None


class Ids10(Ids):
    """Ids that another leader gives."""

    def __call__(self) -> str:
        return "x" + super().__call__()


def roll(rig: Bench, task_id: str, old: str) -> None:
    """Let an old task stop and its replacement come up."""
    rig.report(old, api.SHUTDOWN)
    assert f"update {task_id} new -> running" in rig.step()
    rig.report(task_id, api.RUNNING)


def test_stop_first_one_by_one_to_the_end() -> None:
    rig = updating(2)
    assert rig.step() == [
        "update web.1 on a running -> shutdown",
        "create web.1 new -> ready",
        "update web update in progress",
    ]
    assert rig.step() == []
    rig.report("web.1", api.SHUTDOWN)
    assert rig.step() == ["update new1 new -> running"]
    rig.report("new1", api.RUNNING)
    assert rig.step(NOW + 1) == ["update web.2 on a running -> shutdown", "create web.2 new -> ready"]
    roll(rig, "new2", "web.2")
    assert rig.step(NOW + 2) == []
    assert rig.look_again_at == NOW + 7
    assert rig.step(NOW + 7) == ["update web update completed"]
    assert rig.step() == []
    found = now_of(rig).update_status
    assert (found.started_at.seconds, found.completed_at.seconds) == (NOW, NOW + 7)


def test_parallelism_starts_so_many_at_once_and_zero_all() -> None:
    rig = updating(5, lambda spec: setattr(spec.update, "parallelism", 2))
    assert sum(line.startswith("create") for line in rig.step()) == 2
    roll(rig, "new1", "web.1")
    assert sum(line.startswith("create") for line in rig.step()) == 1
    rig = updating(5, lambda spec: setattr(spec.update, "parallelism", 0))
    assert sum(line.startswith("create") for line in rig.step()) == 5


def test_without_a_config_it_is_one_at_a_time_and_watched_five_seconds() -> None:
    rig = updating(2, lambda spec: spec.ClearField("update"))
    assert sum(line.startswith("create") for line in rig.step()) == 1
    roll(rig, "new1", "web.1")
    rig.step()
    roll(rig, "new2", "web.2")
    rig.step()
    assert rig.look_again_at == NOW + 5


def test_delay_is_waited_out_between_slots() -> None:
    rig = updating(2, lambda spec: spec.update.delay.CopyFrom(duration(10)))
    rig.step()
    roll(rig, "new1", "web.1")
    assert rig.step(NOW + 1) == []
    assert rig.look_again_at == NOW + 11
    assert rig.step(NOW + 11) == ["update web.2 on a running -> shutdown", "create web.2 new -> ready"]
    roll(rig, "new2", "web.2")
    rig.step(NOW + 12)
    # The delay of the last slot, then monitoring for delay + 1 s, because the delay is longer than the monitor time.
    assert rig.look_again_at == NOW + 12 + 10 + 11


def test_start_first_stops_the_old_task_when_the_new_one_runs() -> None:
    rig = updating(1, lambda spec: setattr(spec.update, "order", api.UpdateConfig.START_FIRST))
    assert rig.step() == ["create web.1 new -> running", "update web update in progress"]
    rig.report("new1", api.STARTING)
    assert rig.step() == []
    rig.report("new1", api.RUNNING)
    assert rig.step() == ["update web.1 on a running -> shutdown"]


def test_start_first_keeps_the_old_task_while_the_new_one_fails() -> None:
    def start_first(spec: api.ServiceSpec) -> None:
        spec.update.order = api.UpdateConfig.START_FIRST
        spec.update.failure_action = api.UpdateConfig.CONTINUE

    rig = updating(1, start_first)
    rig.step()
    rig.report("new1", api.FAILED)
    assert rig.step() == ["update new1 failed -> shutdown", "create web.1 new -> running"]
    rig.report("new2", api.RUNNING)
    assert rig.step() == ["update web.1 on a running -> shutdown"]


@pytest.mark.parametrize("end", [api.REJECTED, api.FAILED, None])
def test_start_first_never_ends_the_old_task_for_one_that_did_not_run(end: api.TaskState | None) -> None:
    """Known fault 62. `end`: how each new task ends; None: it never gets healthy, and is STARTING for ever."""
    rig = updating(1, lambda spec: setattr(spec.update, "order", api.UpdateConfig.START_FIRST))
    rig.step()
    for _ in range(6):
        made = [one for one in rig.memory.tasks.find("slot", ("web", 1)) if one.id != "web.1"]
        for one in made:
            if end is not None and one.status.state == api.NEW:
                rig.report(one.id, end)
            elif one.status.state == api.NEW:
                rig.report(one.id, api.STARTING)
        rig.step(rig.now + 100)
        old = rig.memory.tasks.get("web.1")
        assert old is not None
        assert old.desired_state == api.RUNNING
    assert status(rig)[0] == ("updating" if end is None else "paused")


def test_start_first_gives_way_where_the_new_task_waits_for_what_the_old_one_has() -> None:
    """known-faults 36: each would wait for the other for ever."""
    port = api.PortConfig(target_port=80, published_port=8080, publish_mode=api.PortConfig.HOST)

    def one_port(spec: api.ServiceSpec) -> None:
        spec.update.order = api.UpdateConfig.START_FIRST
        spec.endpoint.ports.append(port)

    rig = updating(1, one_port)
    old = copy(rig.memory.tasks.get("web.1") or api.Task())
    old.endpoint.ports.append(port)
    rig.change(old)
    rig.step()
    new = copy(rig.memory.tasks.get("new1") or api.Task())
    new.endpoint.ports.append(port)
    new.status.state = api.PENDING  # as the allocator leaves it; the scheduler finds no node
    rig.change(new)
    assert rig.step() == []
    assert rig.look_again_at == NOW + 10
    rig.now = NOW + 10
    said = "update in progress; stop-first where no node has room for both tasks of a place"
    assert rig.step() == ["update web.1 on a running -> shutdown", f"update web {said}"]
    assert rig.step() == []
    rig.report("web.1", api.SHUTDOWN)
    rig.report("new1", api.RUNNING)
    rig.step()
    rig.now += 20
    rig.step()
    assert status(rig) == ("completed", "update completed")


@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_start_first_makes_one_new_task_for_one_whose_node_is_lost(delay: float) -> None:
    def start_first(spec: api.ServiceSpec) -> None:
        spec.update.order = api.UpdateConfig.START_FIRST
        spec.task.restart.delay.CopyFrom(duration(delay))

    rig = updating(1, start_first)
    rig.change(node("a", api.NodeStatus.DOWN))
    lines = rig.step() + rig.step() + rig.step(NOW + delay)
    assert [line for line in lines if line.startswith("create")] == ["create web.1 new -> running"]
    assert "update web.1 on a running -> shutdown" in lines


@pytest.mark.parametrize("seen_running", [False, True])
def test_a_failure_pauses(seen_running: bool) -> None:
    rig = updating(3)
    rig.step()
    rig.report("web.1", api.SHUTDOWN)
    rig.step()
    if seen_running:
        rig.report("new1", api.RUNNING)
        rig.step()
    rig.now += 4.9
    rig.report("new1", api.FAILED)
    lines = rig.step()
    message = "update paused due to failure or early termination of task new1"
    assert f"update web {message}" in lines
    assert status(rig) == ("paused", message)
    assert not now_of(rig).update_status.HasField("completed_at")
    rig.step()
    assert not any("web.3" in line for line in rig.step(NOW + 100))


def test_a_failure_after_the_monitor_time_does_not_count() -> None:
    rig = updating(3)
    rig.step()
    roll(rig, "new1", "web.1")
    rig.step()
    rig.report("new1", api.FAILED)
    rig.step(NOW + 5.1)
    assert status(rig)[0] == "updating"


def test_a_paused_update_resumes_with_the_next_change() -> None:
    rig = updating(2)
    rig.step()
    rig.report("new1", api.REJECTED)
    rig.step()
    assert status(rig)[0] == "paused"
    set_image(rig, "third")
    rig.step()
    assert status(rig) == ("updating", "update in progress")


def test_continue_does_not_even_watch() -> None:
    rig = updating(2, lambda spec: setattr(spec.update, "failure_action", api.UpdateConfig.CONTINUE))
    rig.step()
    rig.report("new1", api.FAILED)
    lines = rig.step()
    assert "update web.2 on a running -> shutdown" in lines
    assert status(rig)[0] == "updating"


def test_the_ratio_must_be_exceeded() -> None:
    def tolerant(spec: api.ServiceSpec) -> None:
        spec.update.max_failure_ratio = 0.7
        spec.update.parallelism = 0

    rig = updating(10, tolerant)
    rig.step()
    for number in range(1, 8):
        rig.report(f"new{number}", api.REJECTED)
    rig.step()
    assert status(rig)[0] == "updating"
    rig.report("new8", api.REJECTED)
    rig.step()
    assert status(rig)[0] == "paused"


def rolling_back(replicas: int = 2, change: Change | None = None) -> Bench:
    def roll_back(spec: api.ServiceSpec) -> None:
        spec.update.failure_action = api.UpdateConfig.ROLLBACK
        spec.rollback.parallelism = 0
        if change:
            change(spec)

    rig = updating(replicas, roll_back)
    rig.step()
    rig.report("web.1", api.SHUTDOWN)
    rig.step()
    rig.report("new1", api.REJECTED)
    return rig


def test_a_failure_rolls_back_to_the_previous_spec() -> None:
    rig = rolling_back()
    rig.step()
    assert status(rig) == (
        "rollback_started",
        "update rolled back due to failure or early termination of task new1",
    )
    assert now_of(rig).spec.task.container.image == "image"
    assert now_of(rig).spec_version.index == 1
    assert not now_of(rig).HasField("previous_spec")
    assert now_of(rig).update_status.started_at.seconds == NOW
    rig.step()
    live = [one for one in rig.memory.tasks.find("slot", ("web", 1)) if one.desired_state <= api.RUNNING]
    assert [one.spec.container.image for one in live] == ["image"]
    rig.report(live[0].id, api.RUNNING)
    rig.step()
    rig.step(NOW + 10)
    assert status(rig) == ("rollback_completed", "rollback completed")


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (api.UpdateConfig.PAUSE, "update paused due to failure or early termination of task {}"),
        (api.UpdateConfig.ROLLBACK, "rollback paused due to failure or early termination of task {}"),
    ],
)
def test_a_rollback_is_never_rolled_back(action: api.UpdateConfig.FailureAction, message: str) -> None:
    rig = rolling_back(change=lambda spec: setattr(spec.rollback, "failure_action", action))
    rig.step()
    rig.step()
    made = next(one for one in rig.memory.tasks.find("slot", ("web", 1)) if one.desired_state <= api.RUNNING)
    rig.report(made.id, api.REJECTED)
    rig.step()
    assert status(rig) == ("rollback_paused", message.format(made.id))


def roll_back(rig: Bench) -> None:
    """Roll back by hand as Control does: the two specs change places."""
    made = copy(now_of(rig))
    made.spec.CopyFrom(now_of(rig).previous_spec)
    made.spec_version.CopyFrom(now_of(rig).previous_spec_version)
    made.previous_spec.CopyFrom(now_of(rig).spec)
    made.previous_spec_version.CopyFrom(now_of(rig).spec_version)
    made.update_status.Clear()
    made.update_status.state = api.UpdateStatus.ROLLBACK_STARTED
    made.update_status.message = "manually requested rollback"
    made.update_status.started_at.seconds = int(rig.now)
    rig.change(made)


def settle(rig: Bench) -> list[str]:
    """Let old tasks stop and new ones come up until the update is over. Return the images that run then."""
    for _ in range(30):
        for one in list(rig.memory.tasks.all()):
            if one.desired_state == api.SHUTDOWN and one.status.state < api.COMPLETE:
                rig.report(one.id, api.SHUTDOWN)
            elif one.desired_state == api.RUNNING and one.status.state < api.RUNNING:
                rig.report(one.id, api.RUNNING)
        rig.step(rig.now + 1)
    live = [one for one in rig.memory.tasks.all() if one.desired_state <= api.RUNNING]
    assert {one.spec_version.index for one in live} == {now_of(rig).spec_version.index}
    return [one.spec.container.image for one in live]


def test_a_rollback_brings_the_former_spec_everywhere_and_a_second_one_the_newer() -> None:
    """Known fault 63: the version was not put back, so tasks of the failed version stayed."""
    rig = updating(3)
    assert settle(rig) == ["other"] * 3
    for image in ("image", "other", "image"):
        roll_back(rig)
        assert settle(rig) == [image] * 3
        assert status(rig) == ("rollback_completed", "rollback completed")


def test_a_change_in_the_middle_starts_over_with_the_new_goal() -> None:
    rig = updating(2)
    rig.step()
    set_image(rig, "third")
    assert rig.step() == [
        "update new1 new -> shutdown",
        "create web.1 new -> running",
        "update web update in progress",
    ]


def test_a_task_that_already_is_what_is_wanted_is_adopted() -> None:
    old = web(1)
    rig = Bench(
        Orchestrator(random.Random(1), Ids()),
        [old, node("a"), task("web.1.old", node="a", of=old), task("web.1.twin", node="a", of=old)],
    )
    assert len(rig.step()) == 1
    live = [one for one in rig.memory.tasks.all() if one.desired_state <= api.RUNNING]
    assert len(live) == 1


def with_waiting_tasks(replicas: int, change: Change | None = None) -> Bench:
    """Return a service that was updated start-first to where no node is, and has just been updated back."""

    def start_first(spec: api.ServiceSpec) -> None:
        spec.update.order = api.UpdateConfig.START_FIRST
        spec.update.parallelism = 0
        if change:
            change(spec)

    rig = updating(replicas, start_first)
    assert sum(line.startswith("create") for line in rig.step()) == replicas
    made = copy(now_of(rig))
    made.spec.update.parallelism = 1
    rig.change(made)
    rig.step()
    set_image(rig, "image")
    return rig


def test_an_update_that_only_stops_tasks_is_told_and_watched() -> None:
    """As SwarmKit's: a place that has two tasks is part of the update, though one of them is what is wanted."""
    rig = with_waiting_tasks(1)
    assert rig.step() == ["update new1 new -> shutdown", "update web update in progress"]
    assert status(rig) == ("updating", "update in progress")
    assert now_of(rig).update_status.started_at.seconds == NOW
    assert rig.step() == []
    assert rig.look_again_at == NOW + 5
    assert rig.step(NOW + 5) == ["update web update completed"]
    assert now_of(rig).update_status.completed_at.seconds == NOW + 5
    assert [one.id for one in rig.memory.tasks.all() if one.desired_state <= api.RUNNING] == ["web.1"]


def test_an_update_that_only_stops_tasks_takes_so_many_at_once_and_waits_between() -> None:
    rig = with_waiting_tasks(3, lambda spec: spec.update.delay.CopyFrom(duration(10)))
    assert rig.step() == ["update new1 new -> shutdown", "update web update in progress"]
    assert rig.step() == []
    assert rig.look_again_at == NOW + 10
    assert rig.step(NOW + 10) == ["update new2 new -> shutdown"]
    rig.step()
    assert rig.step(NOW + 20) == ["update new3 new -> shutdown"]
    rig.step()
    assert rig.look_again_at == NOW + 20 + 10 + 11
    assert rig.step(NOW + 41) == ["update web update completed"]


def test_an_update_that_only_stops_tasks_goes_through_all_places_at_once_without_a_delay() -> None:
    rig = with_waiting_tasks(3)
    lines = rig.step() + rig.step() + rig.step() + rig.step()
    assert [line for line in lines if "shutdown" in line] == [f"update new{slot} new -> shutdown" for slot in (1, 2, 3)]
    assert rig.look_again_at == NOW + 5


def test_the_failure_of_a_task_that_was_kept_is_none_of_the_update() -> None:
    rig = with_waiting_tasks(1)
    rig.step()
    rig.step()
    rig.report("web.1", api.FAILED)
    assert "create web.1 new -> running" in rig.step()
    assert status(rig)[0] == "updating"
    rig.step()
    rig.step(NOW + 5)
    assert status(rig)[0] == "completed"


def test_a_rollback_that_only_stops_tasks_is_watched_too() -> None:
    def start_first(spec: api.ServiceSpec) -> None:
        spec.update.order = api.UpdateConfig.START_FIRST
        spec.rollback.monitor.CopyFrom(duration(7))

    rig = updating(2, start_first)
    rig.step()
    roll_back(rig)
    assert rig.step() == ["update new1 new -> shutdown"]
    assert rig.step() == []
    assert rig.step(NOW + 7) == ["update web rollback completed"]


def test_a_kept_task_that_waits_is_started_once_at_any_time_of_the_clock() -> None:
    """An instant is stored in nanoseconds and may be later than the float that it was made of."""
    for fraction in range(50):
        made = web(1)
        marks = Marks("web.1", start_at=NOW + 100)
        waiting = task("web.2", api.READY, api.READY, node="a", of=made, created_at=NOW, marks=marks)
        waiting.slot = 1
        outdated = task("web.1", node="a", of=web(1, lambda spec: setattr(spec.task, "force_update", 1)), version=9)
        rig = Bench(Orchestrator(random.Random(1), Ids()), [made, node("a"), waiting, outdated])
        assert rig.step(NOW + 0.02 + fraction / 7) == [
            "update web.1 on a running -> shutdown",
            "update web.2 on a ready -> ready",
            "update web update in progress",
        ]
        assert rig.step() == []
        rig.report("web.1", api.SHUTDOWN)
        assert rig.step(rig.now + 1) == ["update web.2 on a ready -> running"]


def test_a_new_leader_completes_at_once_when_everything_was_stopped() -> None:
    rig = with_waiting_tasks(1)
    rig.step()
    new_leader(rig)
    assert rig.step() == ["update web update completed"]


def test_scaling_during_an_update_goes_on_with_it() -> None:
    rig = updating(3)
    rig.step()
    made = copy(now_of(rig))
    made.spec.replicated.replicas = 4
    made.spec_version.index += 1
    made.ClearField("update_status")
    rig.change(made)
    lines = rig.step()
    assert "create web.4 new -> running" in lines
    # web.1 is still starting, and only one at a time is updated.
    assert not any("web.2" in line for line in lines)
    roll(rig, "new1", "web.1")
    assert "update web.2 on a running -> shutdown" in rig.step()


def test_a_place_that_comes_within_reach_is_taken_in_unless_it_has_what_is_wanted() -> None:
    """As a slot that was one too many when the update began: its task ended, and its own policy does not restart it."""
    made = web(3)
    made.spec_version.index = 9
    made.spec.task.container.image = "other"
    view = Memory.of([made, node("a")])
    old, new = task("web.1", node="a", of=web(3)), task("web.2", node="a", of=made)
    dead = task("web.3", api.FAILED, api.SHUTDOWN, node="a", of=web(3))
    update = Update(view, made, {Place(1): [old]})
    assert update.holds(Place(1))
    update.add(view, made, Place(2), [new])
    update.add(view, made, Place(3), [dead])
    assert not update.holds(Place(2))
    assert update.holds(Place(3))


def test_a_new_leader_goes_on_and_counts_what_is_in_flight() -> None:
    rig = updating(3)
    rig.step()
    new_leader(rig)
    assert rig.step() == []
    rig.report("web.1", api.SHUTDOWN)
    assert rig.step() == ["update new1 new -> running"]
    rig.report("new1", api.FAILED)
    assert "update web update paused due to failure or early termination of task new1" in rig.step()


def test_a_new_leader_watches_the_last_slot_to_its_end() -> None:
    rig = updating(1)
    rig.step()
    roll(rig, "new1", "web.1")
    rig.step()
    new_leader(rig)
    rig.step(NOW + 3)
    assert status(rig)[0] == "updating"
    assert rig.look_again_at == NOW + 5
    rig.step(NOW + 5)
    assert status(rig)[0] == "completed"


def test_a_plan_that_was_not_committed_leaves_no_trace() -> None:
    rig = updating(3)
    lost = rig.decider.decide(rig.memory, NOW, rig.events)
    assert len(lost.changes) == 3
    rig.events = None
    assert [line.split()[0] for line in rig.step()] == ["update", "create", "update"]
    made = [one for one in rig.memory.tasks.all() if one.id.startswith("new")]
    assert len(made) == 1


def test_nothing_to_replace_completes_at_once() -> None:
    made = web(1)
    made.update_status.state = api.UpdateStatus.ROLLBACK_STARTED
    made.update_status.message = "manually requested rollback"
    rig = Bench(Orchestrator(random.Random(1), Ids()), [made, node("a"), task("web.1", node="a", of=made)])
    assert rig.step() == ["update web rollback completed"]


def test_a_change_of_labels_is_no_update() -> None:
    old = web(1)
    rig = Bench(Orchestrator(random.Random(1), Ids()), [old, node("a"), task("web.1", node="a", of=old)])
    rig.step()
    made = copy(now_of(rig))
    made.spec.annotations.labels["a"] = "b"
    made.spec_version.index = 9
    rig.change(made)
    assert rig.step() == []
    assert not now_of(rig).HasField("update_status")
