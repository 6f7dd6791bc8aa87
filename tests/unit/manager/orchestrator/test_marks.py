"""The marks of its origin on a task."""

from shoal.api import v1 as api
from shoal.manager.orchestrator.marks import Marks, read, write


def test_marks_survive_and_are_replaced() -> None:
    task = api.Task()
    assert read(task) == Marks()
    first = Marks(replaces="old", start_at=1234.5, by_update=True, failures=3)
    write(task, first)
    assert read(api.Task.FromString(task.SerializeToString())) == first
    write(task, Marks(failures=1))
    assert read(task) == Marks(failures=1)


def test_other_indices_stay() -> None:
    task = api.Task()
    task.annotations.indices.add(key="mine", val="x")
    write(task, Marks(replaces="a"))
    write(task, Marks())
    assert [(entry.key, entry.val) for entry in task.annotations.indices] == [("mine", "x")]


def test_damaged_numbers_count_as_none() -> None:
    task = api.Task()
    task.annotations.indices.add(key="shoal.start-at", val="soon")
    assert read(task) == Marks()
