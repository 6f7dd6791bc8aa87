from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.api import v1 as api
from shoal.errors import Conflict, InvariantBroken, NotFound, OutOfSequence
from shoal.store.changes import Create, Event, Remove, Update, copy
from shoal.store.memory import Memory, Transaction, View
from tests.unit.store.objects import config, network, node, service, task


def stored(view: View) -> dict[str, api.Service]:
    return {obj.id: obj for obj in view.services.all()}


def test_create_stamps_version_and_times_on_a_copy() -> None:
    memory = Memory(revision=7)
    given_service = service("s", "web")
    transaction = Transaction(memory, now_nanos=5_000_000_001)
    created = transaction.create(given_service)
    assert not given_service.HasField("meta")
    assert created.meta.version.index == 8
    assert (created.meta.created_at.seconds, created.meta.created_at.nanos) == (5, 1)
    assert created.meta.updated_at == created.meta.created_at
    assert transaction.services.get("s") is created


def test_update_keeps_the_time_of_creation() -> None:
    memory = Memory()
    transaction = Transaction(memory, now_nanos=1_000_000_000)
    transaction.create(service("s", "web"))
    memory.commit(transaction)
    changed = copy(stored(memory)["s"])
    changed.pending_delete = True
    changed.meta.ClearField("created_at")
    later = Transaction(memory, now_nanos=2_000_000_000)
    updated = later.update(changed)
    assert (updated.meta.created_at.seconds, updated.meta.updated_at.seconds) == (1, 2)
    assert updated.meta.version.index == 2


def test_an_adopted_object_is_stored_itself() -> None:
    memory = Memory.of([service("s", "web")], revision=4)
    changed = copy(stored(memory)["s"])
    changed.pending_delete = True
    transaction = Transaction(memory, now_nanos=2_000_000_000)
    old = stored(memory)["s"]
    transaction.adopt(changed)
    assert not old.pending_delete
    assert transaction.services.get("s") is changed
    assert (changed.meta.version.index, changed.meta.updated_at.seconds) == (5, 2)
    (event,) = memory.commit(transaction)
    assert (event.obj, event.old) == (changed, old)
    with pytest.raises(OutOfSequence):
        Transaction(memory).adopt(copy(old))
    with pytest.raises(NotFound):
        Transaction(memory).adopt(service("t", "gone"))
    with pytest.raises(InvariantBroken):
        Transaction(memory).adopt(changed)


def test_nothing_is_visible_before_the_commit_and_all_after() -> None:
    memory = Memory.of([service("s", "web"), service("t", "db")], revision=3)
    transaction = Transaction(memory)
    transaction.create(service("u", "new"))
    changed = copy(stored(memory)["s"])
    changed.spec.annotations.name = "www"
    transaction.update(changed)
    transaction.remove(api.Service, "t")
    assert set(stored(memory)) == {"s", "t"}
    assert set(stored(transaction)) == {"s", "u"}
    assert transaction.services.find("name", "web") == []
    assert memory.services.find("name", "www") == []
    assert not transaction.is_empty()
    memory.commit(transaction)
    assert set(stored(memory)) == {"s", "u"}
    assert memory.revision == 4
    assert [obj.id for obj in memory.services.find("name", "www")] == ["s"]


def test_events_tell_first_touch_order_with_old_and_new() -> None:
    memory = Memory.of([service("s", "web"), service("t", "db")])
    old = stored(memory)
    transaction = Transaction(memory)
    transaction.remove(api.Service, "t")
    created = transaction.create(service("u", "new"))
    updated = transaction.update(copy(old["s"]))
    transaction.create(service("gone", "gone"))
    transaction.remove(api.Service, "gone")
    events = memory.commit(transaction)
    assert events == [
        Event("remove", old["t"], old["t"]),
        Event("create", created, None),
        Event("update", updated, old["s"]),
    ]
    assert events[2].old is old["s"]


def test_a_stale_version_is_out_of_sequence() -> None:
    memory = Memory.of([service("s", "web")])
    stale = copy(stored(memory)["s"])
    transaction = Transaction(memory)
    transaction.update(copy(stale))
    with pytest.raises(OutOfSequence, match=r"^update out of sequence$"):
        transaction.update(stale)


def test_what_a_transaction_changed_it_can_change_again() -> None:
    transaction = Transaction(Memory())
    first = copy(transaction.create(service("s", "web")))
    first.pending_delete = True
    assert transaction.update(first).meta.version.index == 1


def test_absent_objects_are_not_found() -> None:
    transaction = Transaction(Memory())
    with pytest.raises(NotFound, match=r"^object does not exist$"):
        transaction.update(service("s", "web"))
    with pytest.raises(NotFound, match=r"^object does not exist$"):
        transaction.remove(api.Service, "s")
    assert transaction.is_empty()


def test_an_id_is_taken_once() -> None:
    transaction = Transaction(Memory.of([task("t")]))
    with pytest.raises(Conflict, match=r"^object already exists$"):
        transaction.create(task("t"))


def test_names_are_unique_without_regard_to_case() -> None:
    transaction = Transaction(Memory.of([service("s", "web"), network("n", "Front"), config("c")]))
    with pytest.raises(Conflict, match=r"^name conflicts with an existing object: service WEB already exists$"):
        transaction.create(service("t", "WEB"))
    with pytest.raises(Conflict, match=r"^name conflicts with an existing object$"):
        transaction.create(network("m", "front"))
    transaction.create(config("front"))  # a name is only taken within its own kind
    transaction.create(service("t", "other"))
    renamed = copy(transaction.services.get("t") or service("t"))
    renamed.spec.annotations.name = "Web"
    with pytest.raises(Conflict):
        transaction.update(renamed)
    transaction.remove(api.Service, "s")
    transaction.update(renamed)


def test_nodes_and_tasks_share_names() -> None:
    transaction = Transaction(Memory())
    transaction.create(node("n", "host"))
    transaction.create(node("m", "host"))
    assert len(transaction.nodes.find("name", "host")) == 2


def test_apply_runs_changes_in_order() -> None:
    memory = Memory.of([service("s", "web"), service("t", "db")])
    transaction = Transaction(memory)
    transaction.apply(
        [Remove(api.Service, "t"), Create(service("u", "db")), Update(copy(stored(memory)["s"]))],
    )
    assert set(stored(transaction)) == {"s", "u"}


def test_settle_gives_the_revision_that_it_was() -> None:
    memory = Memory()
    transaction = Transaction(memory)
    created = transaction.create(service("s", "web"))
    transaction.settle(9)
    memory.commit(transaction)
    assert created.meta.version.index == 9
    assert memory.revision == 9


def test_every_kind_has_its_table() -> None:
    view = Memory()
    kinds = (api.Node, api.Service, api.Task, api.Network, api.Cluster, api.Secret, api.Config)
    tables = [view.nodes, view.services, view.tasks, view.networks, view.clusters, view.secrets, view.configs]
    assert [view.table(kind) for kind in kinds] == tables


ids, names = st.sampled_from("abcd"), st.sampled_from(["x", "X", "y", "z", "w"])
create = st.tuples(st.just("create"), ids, names)
update = st.tuples(st.just("update"), ids, names)
remove = st.tuples(st.just("remove"), ids, names)
batches = st.lists(st.tuples(st.lists(create | update | remove, max_size=8), st.booleans()), max_size=8)


def stage(transaction: Transaction, step: tuple[str, str, str]) -> None:
    action, service_id, name = step
    if action == "remove":
        transaction.remove(api.Service, service_id)
    elif action == "create":
        transaction.create(service(service_id, name))
    else:
        changed = copy(transaction.services.get(service_id) or service(service_id))
        changed.spec.annotations.name = name
        transaction.update(changed)


def stage_model(model: dict[str, str], step: tuple[str, str, str]) -> None:
    """Do the same on a plain dict of names, and raise the errors that must be raised."""
    action, service_id, name = step
    if action != "create" and service_id not in model:
        raise NotFound
    if action == "remove":
        del model[service_id]
        return
    if action == "create" and service_id in model:
        raise Conflict
    if any(name.lower() == taken.lower() for other, taken in model.items() if other != service_id):
        raise Conflict
    model[service_id] = name


def raised_by(run: Callable[[Any, tuple[str, str, str]], None], on: Any, step: tuple[str, str, str]) -> type | None:
    try:
        run(on, step)
    except (Conflict, NotFound) as error:
        return type(error)
    return None


@given(batches)
def test_nested_transactions_do_what_the_same_steps_on_a_dict_do(todo: list[Any]) -> None:
    """Callers' transactions over a batch over the memory: merged changes are visible, dropped ones leave nothing."""
    memory = Memory()
    model: dict[Any, Any] = {}
    batch = Transaction(memory)
    for steps, keep in todo:
        above, above_model = Transaction(batch), dict(model)
        for step in steps:
            assert raised_by(stage, above, step) == raised_by(stage_model, above_model, step)
        assert {obj.id: obj.spec.annotations.name for obj in above.services.all()} == above_model
        if keep:
            batch.merge(above)
            model = above_model
    before = stored(memory)
    events = memory.commit(batch)
    assert {obj.id: obj.spec.annotations.name for obj in memory.services.all()} == model
    for event in events:
        assert event.old is before.pop(event.obj.id, None)
        assert (event.action == "remove") == (event.obj.id not in model)
