from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.store.tables import INDEXES, MemoryTable, StagedTable, Table
from tests.unit.store.objects import node, service, task

tasks = st.builds(
    task,
    id=st.sampled_from("abcdef"),
    service_id=st.sampled_from(["", "s", "t"]),
    slot=st.integers(0, 2),
    node_id=st.sampled_from(["", "m", "n"]),
    desired_state=st.sampled_from([api.RUNNING, api.SHUTDOWN]),
)
# A change: an object is stored, or an id is removed.
steps = st.lists(tasks | st.sampled_from("abcdef"), max_size=30)

KEYS: dict[str, list[Hashable]] = {
    "service_id": ["", "s", "t", "nobody"],
    "node_id": ["", "m", "n"],
    "slot": [(service_id, slot) for service_id in ("", "s", "t") for slot in (0, 1, 2)],
}


def assert_holds(table: Table[api.Task], model: dict[str, api.Task]) -> None:
    """Check that the table has what the model has, by every way of reading it."""
    assert len(table) == len(model)
    assert sorted(table.all(), key=lambda obj: obj.id) == sorted(model.values(), key=lambda obj: obj.id)
    for task_id in "abcdef":
        assert table.get(task_id) == model.get(task_id)
    for index, keys in KEYS.items():
        for key in keys:
            expected = [obj for obj in model.values() if INDEXES[api.Task][index](obj) == key]
            found = table.find(index, key)
            assert sorted(obj.id for obj in found) == sorted(obj.id for obj in expected)
            assert all(obj is table.get(obj.id) for obj in found)


def run(table: MemoryTable[api.Task] | StagedTable[api.Task], model: dict[str, api.Task], todo: list[object]) -> None:
    for step in todo:
        if isinstance(step, api.Task):
            table.put(step)
            model[step.id] = step
        else:
            table.discard(str(step))
            model.pop(str(step), None)


@given(steps)
def test_indexes_say_what_a_search_of_all_objects_says(todo: list[object]) -> None:
    table: MemoryTable[api.Task] = MemoryTable(api.Task)
    model: dict[str, api.Task] = {}
    run(table, model, todo)
    assert_holds(table, model)


@given(steps, steps, steps)
def test_staged_tables_show_their_changes_over_those_below(
    below: list[object], middle: list[object], above: list[object]
) -> None:
    base: MemoryTable[api.Task] = MemoryTable(api.Task)
    base_model: dict[str, api.Task] = {}
    run(base, base_model, below)
    first, first_model = StagedTable(api.Task, base), dict(base_model)
    run(first, first_model, middle)
    second, second_model = StagedTable(api.Task, first), dict(first_model)
    run(second, second_model, above)
    assert_holds(second, second_model)
    assert_holds(first, first_model)
    assert_holds(base, base_model)


def test_put_and_discard_return_what_was_there() -> None:
    table: MemoryTable[api.Task] = MemoryTable(api.Task)
    one, two = task("a", slot=1), task("a", slot=2)
    assert table.put(one) is None
    assert table.put(two) is one
    assert table.discard("a") is two
    assert table.discard("a") is None


def test_an_index_keeps_no_key_that_nothing_has() -> None:
    table: MemoryTable[api.Task] = MemoryTable(api.Task)
    for number in range(100):
        table.put(task("a", slot=number))
    assert [len(ids_of) for ids_of in table._indexes.values()] == [1, 1, 1]
    table.discard("a")
    assert not any(table._indexes.values())


def test_names_are_found_in_any_case() -> None:
    services: MemoryTable[api.Service] = MemoryTable(api.Service)
    services.put(service("s", "Web"))
    assert [obj.id for obj in services.find("name", "web")] == ["s"]
    assert [obj.id for obj in services.find("name", "WEB")] == ["s"]
    nodes: MemoryTable[api.Node] = MemoryTable(api.Node)
    nodes.put(node("n", "Host-1", api.MANAGER))
    assert [obj.id for obj in nodes.find("name", "host-1")] == ["n"]
    assert [obj.id for obj in nodes.find("role", api.MANAGER)] == ["n"]
    assert nodes.find("role", api.WORKER) == []


def test_an_index_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        MemoryTable(api.Task).find("colour", "red")
    with pytest.raises(KeyError):
        StagedTable(api.Task, MemoryTable(api.Task)).find("colour", "red")


def test_the_keys_of_a_task_are_those_of_its_indexes() -> None:
    task = api.Task(id="t", service_id="s", node_id="n", slot=3)
    table: MemoryTable[api.Task] = MemoryTable(api.Task)
    table.put(task)
    for index, key_of in INDEXES[api.Task].items():
        assert table.find(index, key_of(task)) == [task]
    moved = api.Task(id="t", service_id="s", node_id="n", slot=4)
    table.put(moved)
    assert table.find("slot", ("s", 3)) == []
    assert table.find("slot", ("s", 4)) == table.find("node_id", "n") == table.find("service_id", "s") == [moved]
