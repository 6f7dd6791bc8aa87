"""How the result of a probe changes a container's health."""

from dataclasses import replace

import pytest

from shoal.runtime.health import Verdict, arguments, judge, pause
from shoal.runtime.types import Container, ContainerConfig, Health, HealthConfig, Phase, Probe

CONFIG = HealthConfig(("CMD", "x"), retries=2, start_period=10.0)
YOUNG = Container("a", ContainerConfig("a", "a"), "i", Phase.RUNNING, 0.0, started_at=100.0, health=Health.STARTING)


def probe(code: int, at: float) -> Probe:
    return Probe(at, at + 1, code, "")


def test_one_success_heals() -> None:
    ill = replace(YOUNG, health=Health.UNHEALTHY, failing_streak=9)
    assert judge(ill, probe(0, 500), CONFIG) == Verdict(Health.HEALTHY, 0)


def test_failures_in_the_start_period_do_not_count() -> None:
    assert judge(YOUNG, probe(1, 105), CONFIG) == Verdict(Health.STARTING, 0)
    assert judge(YOUNG, probe(1, 111), CONFIG) == Verdict(Health.STARTING, 1)
    well = replace(YOUNG, health=Health.HEALTHY)
    assert judge(well, probe(1, 105), CONFIG) == Verdict(Health.HEALTHY, 1)


def test_enough_failures_in_a_row_are_an_illness() -> None:
    assert judge(replace(YOUNG, failing_streak=1), probe(-1, 111), CONFIG) == Verdict(Health.UNHEALTHY, 2)
    assert judge(replace(YOUNG, failing_streak=1), probe(1, 111), replace(CONFIG, retries=0)).health is Health.STARTING


def test_a_starting_container_is_asked_more_often() -> None:
    assert pause(YOUNG, CONFIG, 105.0) == 5.0
    assert pause(YOUNG, CONFIG, 111.0) == 30.0
    assert pause(YOUNG, replace(CONFIG, interval=1.0), 105.0) == 1.0
    assert pause(replace(YOUNG, health=Health.HEALTHY), CONFIG, 105.0) == 30.0


@pytest.mark.parametrize(
    ("test", "args"),
    [(("CMD", "a", "b"), ("a", "b")), (("CMD-SHELL", "a || b"), ("/bin/sh", "-c", "a || b"))],
)
def test_what_is_run(test: tuple[str, ...], args: tuple[str, ...]) -> None:
    assert arguments(HealthConfig(test)) == args
