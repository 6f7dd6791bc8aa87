"""How long a node on which a service keeps failing is avoided."""

from shoal.manager.scheduler.failures import FAILURE_WINDOW, Failures, Group

WEB, NEXT = Group("web", 1), Group("web", 2)


def test_five_failures_within_five_minutes_make_a_bad_node() -> None:
    failures = Failures()
    for number in range(5):
        for _ in range(2):  # A task that is reported twice counts once.
            failures.note(WEB, "a", f"web.{number}", 1000.0 + number)
        assert failures.count(WEB, "a", 1010.0) == number + 1
        assert failures.bad_nodes(WEB, 1010.0) == ({"a": 5} if number == 4 else {})
    assert failures.bad_nodes(NEXT, 1010.0) == {}
    assert failures.bad_nodes(WEB, 1000.0 + FAILURE_WINDOW) == {"a": 5}
    assert failures.bad_nodes(WEB, 1000.0 + FAILURE_WINDOW + 1) == {}


def test_old_failures_are_forgotten_for_good() -> None:
    failures = Failures()
    for number in range(5):
        failures.note(WEB, "a", f"web.{number}", 1000.0)
    failures.forget_old(1000.0 + 2 * FAILURE_WINDOW)
    assert failures.count(WEB, "a", 1000.0) == 0
