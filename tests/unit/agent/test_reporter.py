"""The queue of statuses."""

from shoal.agent.reporter import BATCH_LIMIT, PASSING, PAUSE_EACH, PAUSE_MOST, Reporter
from shoal.api import v1 as api


def status(state: int) -> api.TaskStatus:
    return api.TaskStatus(state=state)  # type: ignore[arg-type]


def test_only_the_newest_status_of_a_task_is_reported() -> None:
    reporter = Reporter()
    reporter.put("a", status(api.ACCEPTED), 0.0)
    reporter.put("b", status(api.ACCEPTED), 0.0)
    reporter.put("a", status(api.RUNNING), 0.0)
    reporter.put("a", status(api.READY), 0.0)
    assert reporter.take(0.0) == [("a", status(api.RUNNING)), ("b", status(api.ACCEPTED))]
    assert not reporter


def test_what_was_not_received_comes_first_unless_there_is_news() -> None:
    reporter = Reporter()
    reporter.put("a", status(api.ACCEPTED), 0.0)
    reporter.put("b", status(api.ACCEPTED), 0.0)
    batch = reporter.take(0.0)
    reporter.put("a", status(api.RUNNING), 0.0)
    reporter.give_back(batch)
    assert reporter.take(0.0) == [("b", status(api.ACCEPTED)), ("a", status(api.RUNNING))]


def test_a_removed_task_is_not_reported() -> None:
    reporter = Reporter()
    reporter.put("a", status(api.ACCEPTED), 0.0)
    reporter.drop("a")
    assert reporter.take(0.0) == []


def test_a_batch_has_a_limit() -> None:
    reporter = Reporter()
    for n in range(BATCH_LIMIT + 1):
        reporter.put(str(n), status(api.ACCEPTED), 0.0)
    assert len(reporter.take(0.0)) == BATCH_LIMIT
    assert len(reporter.take(0.0)) == 1


def test_nothing_to_report_is_never_due() -> None:
    reporter = Reporter()
    assert reporter.due_at is None
    reporter.put("a", status(api.ACCEPTED), 1.0)
    reporter.drop("a")
    assert reporter.due_at is None


def test_a_passing_status_waits_for_the_next_one_of_its_task() -> None:
    reporter = Reporter()
    reporter.put("a", status(api.PREPARING), 1.0, passing=True)
    assert reporter.due_at == 1.0 + PASSING
    reporter.put("a", status(api.STARTING), 1.05, passing=True)
    assert reporter.due_at == 1.0 + PASSING
    reporter.put("a", status(api.RUNNING), 1.06)
    assert reporter.due_at == 1.06
    assert reporter.take(1.06) == [("a", status(api.RUNNING))]


def test_a_status_that_others_wait_for_takes_passing_ones_along() -> None:
    reporter = Reporter()
    reporter.put("a", status(api.PREPARING), 1.0, passing=True)
    reporter.put("b", status(api.RUNNING), 1.01)
    assert reporter.take(1.01) == [("a", status(api.PREPARING)), ("b", status(api.RUNNING))]


def test_the_more_tasks_are_on_their_way_the_longer_is_the_pause() -> None:
    reporter = Reporter()
    for n in range(3):
        reporter.put(str(n), status(api.PREPARING), 1.0, passing=True)
    reporter.take(1.0)
    reporter.put("0", status(api.RUNNING), 1.0)
    assert reporter.due_at == 1.0 + 3 * PAUSE_EACH
    for n in range(1000):
        reporter.put(str(n), status(api.PREPARING), 1.0, passing=True)
    reporter.take(2.0)
    reporter.put("0", status(api.RUNNING), 2.0)
    assert reporter.due_at == 2.0 + PAUSE_MOST
    for n in range(1000):
        reporter.drop(str(n))
    reporter.take(3.0)
    reporter.put("a", status(api.RUNNING), 3.0)
    assert reporter.due_at == 3.0 + PAUSE_EACH


def test_reports_follow_each_other_with_a_pause() -> None:
    reporter = Reporter()
    reporter.put("a", status(api.RUNNING), 1.0)
    reporter.take(1.0)
    reporter.put("b", status(api.RUNNING), 1.001)
    assert reporter.due_at == 1.0 + PAUSE_EACH


def test_what_a_batch_left_or_a_manager_did_not_receive_is_due_after_the_pause() -> None:
    reporter = Reporter()
    reporter.put("a", status(api.PREPARING), 1.0, passing=True)
    batch = reporter.take(1.0)
    reporter.give_back(batch)
    assert reporter.due_at == 1.0 + PAUSE_EACH
