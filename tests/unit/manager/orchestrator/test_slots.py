"""Which slots come next, and which go first."""

from shoal.api import v1 as api
from shoal.manager.orchestrator.places import Place, by_place
from shoal.manager.orchestrator.slots import free_slots, keep_order
from tests.unit.manager.builders import service, task


def slots(*numbers: int) -> list[Place]:
    return [Place(number) for number in numbers]


def test_free_slots_are_the_lowest_from_one() -> None:
    assert free_slots([], 2) == slots(1, 2)
    assert free_slots(slots(1, 3, 4), 3) == slots(2, 5, 6)
    assert free_slots(slots(1), 0) == []
    assert free_slots(slots(1), -2) == []


def test_running_tasks_then_balance_then_low_slots_decide_who_stays() -> None:
    tasks = [
        task("web.1", node="a"),
        task("web.2", node="a"),
        task("web.3", node="b"),
        task("web.4", api.PENDING),
        task("web.5", api.STARTING, node="c"),
    ]
    assert keep_order(by_place(service(), tasks)) == slots(1, 3, 5, 2, 4)
