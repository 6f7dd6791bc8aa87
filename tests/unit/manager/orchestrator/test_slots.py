"""Which slots come next, and which go first."""

from shoal.api import v1 as api
from shoal.manager.orchestrator.places import Place, by_place
from shoal.manager.orchestrator.slots import Taken, keep_order
from tests.unit.manager.builders import service, task


def slots(*numbers: int) -> list[Place]:
    return [Place(number) for number in numbers]


def test_free_slots_are_the_lowest_from_one() -> None:
    assert Taken([]).free(2) == slots(1, 2)
    assert Taken(slots(1, 3, 4)).free(3) == slots(2, 5, 6)
    assert Taken(slots(1)).free(0) == []
    assert Taken(slots(1)).free(-2) == []


def test_slots_that_are_filled_and_freed_are_counted() -> None:
    taken = Taken(slots(1, 2, 3))
    assert taken.free(1) == slots(4)
    taken.note(Place(2), is_filled=False)
    taken.note(Place(2), is_filled=False)
    assert (len(taken), taken.free(2)) == (2, slots(2, 4))
    taken.note(Place(2), is_filled=True)
    taken.note(Place(4), is_filled=True)
    assert (len(taken), taken.free(1)) == (4, slots(5))


def test_running_tasks_then_balance_then_low_slots_decide_who_stays() -> None:
    tasks = [
        task("web.1", node="a"),
        task("web.2", node="a"),
        task("web.3", node="b"),
        task("web.4", api.PENDING),
        task("web.5", api.STARTING, node="c"),
    ]
    assert keep_order(by_place(service(), tasks)) == slots(1, 3, 5, 2, 4)
