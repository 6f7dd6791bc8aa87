"""When an old task stands in the way of its successor."""

from collections.abc import Callable

import pytest

from shoal.api import v1 as api
from shoal.manager.orchestrator.room import holds_up
from shoal.store.memory import Memory
from tests.unit.manager.builders import node, service, task

PORT = api.PortConfig(target_port=80, published_port=8080, publish_mode=api.PortConfig.HOST)


def case(
    change: Callable[[api.Service, api.Node, api.Task, api.Task], None] = lambda *_: None, *more: api.Task
) -> bool:
    web, place = service(), node("a")
    old = task("web.1.old", node="a")
    new = task("web.1.new", api.PENDING)
    for one in (old, new):
        one.endpoint.ports.append(PORT)
    change(web, place, old, new)
    return holds_up(Memory.of([web, place, old, new, *more]), web, old, new)


def test_it_holds_a_port_that_its_successor_waits_for() -> None:
    assert case()


def no_number(web: api.Service, place: api.Node, old: api.Task, new: api.Task) -> None:
    new.endpoint.ports[0].published_port = 0


def has_a_node(web: api.Service, place: api.Node, old: api.Task, new: api.Task) -> None:
    new.status.state = api.ASSIGNED


def drained(web: api.Service, place: api.Node, old: api.Task, new: api.Task) -> None:
    place.spec.availability = api.NodeSpec.DRAIN


def down(web: api.Service, place: api.Node, old: api.Task, new: api.Task) -> None:
    place.status.state = api.NodeStatus.DOWN


def unfit(web: api.Service, place: api.Node, old: api.Task, new: api.Task) -> None:
    web.spec.task.placement.constraints.append("node.id==b")


def elsewhere(web: api.Service, place: api.Node, old: api.Task, new: api.Task) -> None:
    old.node_id = "gone"


@pytest.mark.parametrize("change", [no_number, has_a_node, drained, down, unfit, elsewhere])
def test_its_end_would_help_nobody(change: Callable[..., None]) -> None:
    assert not case(change)


@pytest.mark.parametrize(("limit", "expected"), [(1, True), (2, False), (0, False)])
def test_it_has_the_last_place_of_its_node(limit: int, expected: bool) -> None:
    def limited(web: api.Service, place: api.Node, old: api.Task, new: api.Task) -> None:
        web.spec.task.placement.max_replicas = limit
        no_number(web, place, old, new)

    ended = task("web.2", api.SHUTDOWN, api.SHUTDOWN, node="a")
    other = task("other.1", node="a")
    assert case(limited, ended, other) == expected
