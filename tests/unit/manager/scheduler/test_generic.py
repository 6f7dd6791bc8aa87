"""Generic resources: named and counted."""

from shoal.api import v1 as api
from shoal.manager.scheduler.generic import Stock


def named(kind: str, value: str) -> api.GenericResource:
    return api.GenericResource(named_resource_spec=api.NamedGenericResource(kind=kind, value=value))


def counted(kind: str, value: int) -> api.GenericResource:
    return api.GenericResource(discrete_resource_spec=api.DiscreteGenericResource(kind=kind, value=value))


def test_the_first_named_values_are_given() -> None:
    stock = Stock([named("gpu", "a"), named("gpu", "b"), named("gpu", "c")])
    picked = stock.pick([("gpu", 2)])
    assert picked == [named("gpu", "a"), named("gpu", "b")]
    stock.take(picked)
    assert not stock.has("gpu", 2)
    assert stock.pick([("gpu", 1)]) == [named("gpu", "c")]


def test_counts_are_given_as_counts() -> None:
    stock = Stock([counted("ssd", 3)])
    assert stock.has("ssd", 3)
    assert not stock.has("ssd", 4)
    assert not stock.has("gpu", 1)
    stock.take(stock.pick([("ssd", 2)]))
    assert stock.has("ssd", 1)
    assert not stock.has("ssd", 2)


def test_what_the_node_no_longer_offers_in_this_form_is_passed_over() -> None:
    stock = Stock([counted("gpu", 1)])
    stock.take([named("gpu", "a"), named("fpga", "x")])
    assert stock.has("gpu", 1)
    assert not stock.holds(named("gpu", "a"))
    assert stock.holds(counted("gpu", 1))
