"""What a node is sent."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.manager.dispatcher.assignments import AssignmentSet, Messages

UPDATE, REMOVE = api.AssignmentChange.UPDATE, api.AssignmentChange.REMOVE
SECRET = api.Secret(id="s1", spec={"data": b"hidden"})
CONFIG = api.Config(id="c1", spec={"data": b"shown"})


def task(task_id: str, state: int, *, desired: int = api.RUNNING, uses: bool = False) -> api.Task:
    made = api.Task(id=task_id, desired_state=desired, status={"state": state})  # type: ignore[arg-type]
    if uses:
        made.spec.container.secrets.add(secret_id="s1")
        made.spec.container.configs.add(config_id="c1")
    return made


def fresh() -> AssignmentSet:
    return AssignmentSet({"s1": SECRET}.get, {"c1": CONFIG}.get)


def told(assignments: AssignmentSet) -> list[tuple[str, str, str]]:
    """Return what would be sent, sorted, because the order in a message has no meaning."""
    rows = []
    for change in assignments.take():
        kind = change.assignment.WhichOneof("item") or ""
        rows.append((kind, getattr(change.assignment, kind).id, "update" if change.action == UPDATE else "remove"))
    return sorted(rows)


def test_a_task_belongs_to_the_set_from_assigned_on() -> None:
    held = fresh()
    held.put(task("t1", api.PENDING))
    assert not held
    held.put(task("t1", api.ASSIGNED))
    assert told(held) == [("task", "t1", "update")]
    assert not held


def test_a_nodes_own_reports_are_not_told_back_to_it() -> None:
    held = fresh()
    held.put(task("t1", api.ASSIGNED))
    held.take()
    held.put(task("t1", api.RUNNING))
    assert told(held) == []
    held.put(task("t1", api.RUNNING, desired=api.SHUTDOWN))
    assert told(held) == [("task", "t1", "update")]


def test_a_task_that_is_still_the_managers_is_told_each_time() -> None:
    held = fresh()
    held.put(task("t1", api.ASSIGNED))
    held.take()
    held.put(task("t1", api.ASSIGNED))
    assert told(held) == [("task", "t1", "update")]


def test_a_deleted_task_is_told_by_its_id_alone() -> None:
    held = fresh()
    held.put(task("t1", api.RUNNING))
    held.take()
    held.drop("t1")
    held.drop("t1")
    changes = held.take()
    assert changes == [api.AssignmentChange(assignment=api.Assignment(task=api.Task(id="t1")), action=REMOVE)]


def test_secrets_and_configs_come_with_the_first_task_and_go_with_the_last() -> None:
    held = fresh()
    held.put(task("t1", api.ASSIGNED, uses=True))
    assert told(held) == [("config", "c1", "update"), ("secret", "s1", "update"), ("task", "t1", "update")]
    held.put(task("t2", api.ASSIGNED, uses=True))
    assert told(held) == [("task", "t2", "update")]
    held.put(task("t1", api.FAILED, uses=True))
    assert told(held) == []
    held.drop("t2")
    assert told(held) == [("config", "c1", "remove"), ("secret", "s1", "remove"), ("task", "t2", "remove")]


def test_a_secret_carries_its_data_and_a_removed_one_only_its_id() -> None:
    held = fresh()
    held.put(task("t1", api.RUNNING, uses=True))
    sent = {change.assignment.WhichOneof("item"): change for change in held.take()}
    assert sent["secret"].assignment.secret == SECRET
    held.put(task("t1", api.COMPLETE, uses=True))
    sent = {change.assignment.WhichOneof("item"): change for change in held.take()}
    assert sent["secret"] == api.AssignmentChange(assignment={"secret": {"id": "s1"}}, action=REMOVE)


def test_a_task_that_has_ended_before_the_stream_opened_brings_nothing_along() -> None:
    held = fresh()
    held.put(task("t1", api.FAILED, uses=True))
    assert told(held) == [("task", "t1", "update")]


def test_references_may_also_be_by_resource() -> None:
    made = task("t1", api.ASSIGNED)
    made.spec.resource_references.add(resource_id="s1", resource_type=api.ResourceType.SECRET)
    made.spec.resource_references.add(resource_id="c1", resource_type=api.ResourceType.CONFIG)
    held = fresh()
    held.put(made)
    assert told(held) == [("config", "c1", "update"), ("secret", "s1", "update"), ("task", "t1", "update")]


def test_a_secret_that_only_its_driver_knows_is_left_out() -> None:
    driven = api.Secret(id="s1")
    driven.spec.driver.name = "vault"
    held = AssignmentSet({"s1": driven}.get, {"c1": CONFIG}.get)
    held.put(task("t1", api.ASSIGNED, uses=True))
    assert told(held) == [("config", "c1", "update"), ("task", "t1", "update")]


steps = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([None, *sorted(api.TaskState.values())]), st.booleans()),
    max_size=30,
)


@given(steps, st.data())
def test_whatever_is_taken_when_a_node_ends_with_what_the_store_has(
    changes: list[tuple[str, int | None, bool]], data: st.DataObject
) -> None:
    """Increments applied one by one, however they were merged, give the same as the first message of a new stream."""
    held = fresh()
    store: dict[str, api.Task] = {}
    node: dict[tuple[str, str], Any] = {}

    def deliver() -> None:
        for change in held.take():
            kind = change.assignment.WhichOneof("item") or ""
            item = getattr(change.assignment, kind)
            if change.action == REMOVE:
                node.pop((kind, item.id), None)
            else:
                node[kind, item.id] = item

    for task_id, state, uses in changes:
        known = store.get(task_id)
        if state is None:
            store.pop(task_id, None)
            held.drop(task_id)
        elif known is None or state >= known.status.state:  # states only grow
            uses = uses if known is None else bool(known.spec.container.secrets)  # and a task's spec never changes
            store[task_id] = task(task_id, state, uses=uses)
            held.put(store[task_id])
        if data.draw(st.booleans()):
            deliver()
    deliver()
    again = fresh()
    again.resync(store.values())
    expected = {(change.assignment.WhichOneof("item"), _id(change)) for change in again.take()}
    assert set(node) == expected
    held.resync(store.values())
    for change in held.take():  # only changes by the manager are sent again
        assert change.assignment.task.status.state <= api.ASSIGNED


def _id(change: api.AssignmentChange) -> str:
    return str(getattr(change.assignment, change.assignment.WhichOneof("item") or "").id)


def test_messages_are_numbered_and_name_what_they_build_on() -> None:
    messages = Messages()
    first, second, third = messages.next([]), messages.next([]), messages.next([])
    assert (first.type, first.applies_to, first.results_in) == (api.AssignmentsMessage.COMPLETE, "", "1")
    assert (second.type, second.applies_to, second.results_in) == (api.AssignmentsMessage.INCREMENTAL, "1", "2")
    assert (third.applies_to, third.results_in) == ("2", "3")


@given(
    st.lists(st.integers(1, 60), max_size=6),
    st.lists(st.sampled_from([api.ASSIGNED, api.RUNNING, api.FAILED]), max_size=6),
    st.integers(0, 3),
    st.booleans(),
)
def test_large_changes_are_split_with_secrets_before_new_tasks(
    sizes: list[int], states: list[int], removed: int, begun: bool
) -> None:
    changes = [api.AssignmentChange(assignment={"task": task(f"t{n}", state)}) for n, state in enumerate(states)]
    changes += [
        api.AssignmentChange(assignment={"secret": {"id": f"s{number}", "spec": {"data": b"x" * size}}})
        for number, size in enumerate(sizes)
    ]
    changes += [
        api.AssignmentChange(assignment={"config": {"id": f"c{number}"}}, action=REMOVE) for number in range(removed)
    ]
    messages = Messages(max_bytes=100)
    before = messages.next([]).results_in if begun else ""
    parts = list(messages.split(changes))
    sent = [change for part in parts for change in part.changes]
    assert sorted(map(_id, sent)) == sorted(map(_id, changes))  # each once
    assert [part.applies_to for part in parts] == [before, *(part.results_in for part in parts[:-1])]
    if sum(change.ByteSize() for change in changes) <= 100:
        assert len(parts) == 1
        return
    running = {_id(change) for change in changes if change.assignment.task.status.state > api.ASSIGNED}
    if not begun:
        assert parts[0].type == api.AssignmentsMessage.COMPLETE
        assert running <= {_id(change) for change in parts[0].changes}
    for part in parts[begun is False :]:
        assert len(part.changes) == 1 or sum(change.ByteSize() for change in part.changes) <= 100
    new = [
        place for place, change in enumerate(sent) if change.assignment.HasField("task") and _id(change) not in running
    ]
    held = [place for place, change in enumerate(sent) if change.assignment.HasField("secret")]
    gone = [place for place, change in enumerate(sent) if change.action == REMOVE]
    assert not new or not held or max(held) < min(new)
    assert not gone or min(gone) > max([*new, *held], default=-1)


def test_a_task_that_is_not_started_yet_has_its_secrets_in_the_first_message() -> None:
    """Its agent has forgotten them with this message, and would find the task's spec wrong."""
    changes = [
        api.AssignmentChange(assignment={"config": {"id": "c0", "spec": {"data": b"x" * 40}}}),
        api.AssignmentChange(assignment={"secret": {"id": "s0", "spec": {"data": b"x" * 40}}}),
        api.AssignmentChange(assignment={"secret": {"id": "s1", "spec": {"data": b"x" * 40}}}),
        api.AssignmentChange(assignment={"config": {"id": "c1", "spec": {"data": b"x" * 40}}}),
        api.AssignmentChange(assignment={"task": task("t1", api.PREPARING, uses=True)}),
    ]
    first, *_ = Messages(max_bytes=180).split(changes)
    assert sorted(map(_id, first.changes)) == ["c1", "s1", "t1"]
