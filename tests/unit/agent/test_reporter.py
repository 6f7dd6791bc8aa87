"""The queue of statuses."""

from shoal.agent.reporter import BATCH_LIMIT, Reporter
from shoal.api import v1 as api


def status(state: int) -> api.TaskStatus:
    return api.TaskStatus(state=state)  # type: ignore[arg-type]


def test_only_the_newest_status_of_a_task_is_reported() -> None:
    reporter = Reporter()
    reporter.put("a", status(api.ACCEPTED))
    reporter.put("b", status(api.ACCEPTED))
    reporter.put("a", status(api.RUNNING))
    reporter.put("a", status(api.READY))
    assert reporter.take() == [("a", status(api.RUNNING)), ("b", status(api.ACCEPTED))]
    assert not reporter


def test_what_was_not_received_comes_first_unless_there_is_news() -> None:
    reporter = Reporter()
    reporter.put("a", status(api.ACCEPTED))
    reporter.put("b", status(api.ACCEPTED))
    batch = reporter.take()
    reporter.put("a", status(api.RUNNING))
    reporter.give_back(batch)
    assert reporter.take() == [("b", status(api.ACCEPTED)), ("a", status(api.RUNNING))]


def test_a_removed_task_is_not_reported() -> None:
    reporter = Reporter()
    reporter.put("a", status(api.ACCEPTED))
    reporter.drop("a")
    assert reporter.take() == []


def test_a_batch_has_a_limit() -> None:
    reporter = Reporter()
    for n in range(BATCH_LIMIT + 1):
        reporter.put(str(n), status(api.ACCEPTED))
    assert len(reporter.take()) == BATCH_LIMIT
    assert len(reporter.take()) == 1
