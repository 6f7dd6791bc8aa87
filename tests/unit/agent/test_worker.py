"""What a message of assignments asks for."""

import pytest

from shoal.agent.worker import Changes, Dependencies, changes, follows
from shoal.api import v1 as api
from shoal.errors import NotFound
from tests.unit.agent.fakes import task

COMPLETE, INCREMENTAL = api.AssignmentsMessage.COMPLETE, api.AssignmentsMessage.INCREMENTAL


def put(**item: object) -> api.AssignmentChange:
    return api.AssignmentChange(assignment=api.Assignment(**item))  # type: ignore[arg-type]


def gone(**item: object) -> api.AssignmentChange:
    return api.AssignmentChange(
        assignment=api.Assignment(**item),  # type: ignore[arg-type]
        action=api.AssignmentChange.REMOVE,
    )


def message(kind: api.AssignmentsMessage.Type, *changed: api.AssignmentChange) -> api.AssignmentsMessage:
    return api.AssignmentsMessage(type=kind, changes=changed)


def test_a_complete_message_removes_what_it_does_not_name() -> None:
    complete = message(COMPLETE, put(task=task("t1")), put(task=task("t3")))
    assert changes(complete, {"t1", "t2"}) == Changes((task("t1"), task("t3")), ("t2",))


def test_an_increment_changes_only_what_it_names() -> None:
    increment = message(INCREMENTAL, put(task=task("t3")), gone(task=api.Task(id="t2")), gone(task=api.Task(id="t9")))
    assert changes(increment, {"t1", "t2"}) == Changes((task("t3"),), ("t2",))


def test_order_inside_a_message_means_nothing() -> None:
    both = [gone(task=api.Task(id="t1")), put(task=task("t1"))]
    assert changes(message(INCREMENTAL, *both), {"t1"}) == changes(message(INCREMENTAL, *both[::-1]), {"t1"})


def test_an_increment_follows_the_message_it_names() -> None:
    increment = api.AssignmentsMessage(type=INCREMENTAL, applies_to="2", results_in="3")
    assert follows(increment, "2")
    assert not follows(increment, "1")
    assert follows(message(COMPLETE), "9")


def test_a_task_sees_only_the_secrets_its_spec_names_and_its_own_copy_first() -> None:
    held = Dependencies()
    own = api.Secret(id="s1.t1", spec={"data": b"own"})
    shared = api.Secret(id="s1", spec={"data": b"shared"})
    other = api.Secret(id="s2")
    held.apply(
        message(COMPLETE, put(secret=own), put(secret=shared), put(secret=other), put(config=api.Config(id="c1")))
    )
    one, two = task("t1"), task("t2")
    for each in (one, two):
        each.spec.container.secrets.add(secret_id="s1")
        each.spec.container.configs.add(config_id="c1")
    assert (held.secret(one, "s1"), held.secret(two, "s1")) == (own, shared)
    assert held.config(one, "c1").id == "c1"
    with pytest.raises(NotFound, match="task not authorized to access secret s2"):
        held.secret(one, "s2")
    held.apply(message(INCREMENTAL, gone(secret=api.Secret(id="s1")), gone(config=api.Config(id="c1"))))
    with pytest.raises(NotFound):
        held.secret(two, "s1")
    with pytest.raises(NotFound):
        held.config(one, "c1")
    held.apply(message(COMPLETE))
    with pytest.raises(NotFound):
        held.secret(one, "s1")
