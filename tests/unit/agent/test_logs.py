"""Which lines a subscription asks for."""

import pytest

from shoal.agent.executor import container_config
from shoal.agent.logs import BYTES_PER_SECOND, Throttle, attributes, log_options, selects
from shoal.api import v1 as api
from shoal.errors import InvalidArgument
from shoal.runtime.types import LogOptions
from tests.unit.agent.fakes import NODE, task


@pytest.mark.parametrize(
    ("tail", "lines"),
    [(0, None), (-1, 0), (-11, 10)],
)
def test_tail_counts_down_from_minus_one(tail: int, lines: int | None) -> None:
    assert log_options(api.LogSubscriptionOptions(tail=tail)) == LogOptions(tail=lines)


def test_options_are_carried_over() -> None:
    asked = api.LogSubscriptionOptions(streams=[api.LOG_STREAM_STDERR], follow=True)
    asked.since.seconds, asked.since.nanos = 5, 7
    assert log_options(asked) == LogOptions(stdout=False, follow=True, since_nanos=5_000_000_007)
    with pytest.raises(InvalidArgument):
        log_options(api.LogSubscriptionOptions(tail=3))


def test_a_selector_unites_services_nodes_and_tasks() -> None:
    assert selects(api.LogSelector(service_ids=["s1"]), task())
    assert selects(api.LogSelector(task_ids=["t1"], service_ids=["s9"]), task())
    assert selects(api.LogSelector(node_ids=["node-1"]), task())
    assert not selects(api.LogSelector(service_ids=["s9"]), task())


def test_details_are_what_the_log_driver_was_asked_for() -> None:
    made = task()
    made.spec.container.env.extend(["A=1", "B=2", "C=3"])
    made.spec.container.labels["team"] = "blue"
    made.spec.log_driver.options.update({"env": "A,NONE", "env-regex": "^C", "labels": "team"})
    assert attributes(made, container_config(made, NODE)) == [
        api.LogAttr(key="A", value="1"),
        api.LogAttr(key="C", value="3"),
        api.LogAttr(key="team", value="blue"),
    ]


def test_ten_megabytes_a_second_may_pass() -> None:
    throttle = Throttle(0.0)
    assert throttle.delay(BYTES_PER_SECOND, 0.0) == 0.0
    assert throttle.delay(BYTES_PER_SECOND // 2, 0.0) == 0.5
    assert throttle.delay(0, 10.0) == 0.0
