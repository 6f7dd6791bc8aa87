"""The changes of one plan."""

from shoal.api import v1 as api
from shoal.manager.deciding.draft import Draft
from shoal.manager.deciding.plan import MAX_CHANGES
from shoal.store.changes import Create, Remove, Update
from shoal.store.memory import Memory
from tests.unit.manager.builders import NOW, task


def test_an_object_is_changed_once_with_its_last_value() -> None:
    draft = Draft(Memory(), NOW)
    draft.create(task("web.1", api.NEW))
    draft.update(task("web.1", api.PENDING))
    draft.update(task("web.2", api.NEW))
    draft.update(task("web.2", api.PENDING))
    draft.remove_task("web.3")
    assert draft.changes() == (
        Create(task("web.1", api.PENDING)),
        Update(task("web.2", api.PENDING)),
        Remove(api.Task, "web.3"),
    )
    assert draft.touches("web.2")
    assert not draft.touches("web.4")


def test_it_is_full_at_the_limit_of_a_plan() -> None:
    draft = Draft(Memory(), NOW)
    assert draft.room == MAX_CHANGES
    for number in range(MAX_CHANGES):
        assert not draft.is_full
        draft.remove_task(str(number))
    assert draft.is_full
    assert draft.room == 0


def test_desired_states_are_only_raised_and_as_far_as_there_is_room() -> None:
    draft = Draft(Memory(), NOW)
    web = task("web.1")
    assert draft.set_all_desired([web, task("web.2", desired=api.REMOVE)], api.REMOVE)
    assert draft.changes() == (Update(task("web.1", desired=api.REMOVE)),)
    assert web.desired_state == api.RUNNING
    many = [task(f"web.{number}") for number in range(MAX_CHANGES + 1)]
    assert not draft.set_all_desired(many, api.SHUTDOWN)
    assert draft.room == 0


def test_it_knows_which_places_it_fills() -> None:
    draft = Draft(Memory(), NOW)
    draft.create(api.Task(id="a", service_id="web", slot=1))
    draft.create(api.Task(id="b", service_id="each", node_id="n"))
    assert draft.fills("web", (1, ""))
    assert draft.fills("each", (0, "n"))
    assert not draft.fills("each", (0, ""))
    assert not draft.fills("web", (2, ""))
