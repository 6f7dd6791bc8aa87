from functools import partial

import pytest

from shoal.api import v1 as api
from shoal.errors import Conflict, DamagedState, ShoalError
from shoal.store.batch import FULL_CHANGES, MAX_CHANGES, Batch, decoded, encoded, key_of
from shoal.store.changes import copy
from shoal.store.memory import Memory, Transaction
from shoal.store.tables import KINDS
from tests.unit.store.objects import config, service, task

TOO_LARGE = r"^raft: raft message is too large and can't be sent$"


def batch(memory: Memory | None = None) -> Batch:
    memory = memory or Memory()
    return Batch(memory, version=memory.revision + 1, now_nanos=0)


def test_every_kind_goes_out_and_comes_back_with_the_revision_it_got() -> None:
    for kind in KINDS:
        obj = kind(id="id1", meta=api.Meta(version=api.Version(index=3)))
        key = key_of(kind, "id1")
        value = encoded(obj)
        assert obj.meta.version.index == 3
        assert not kind.FromString(value).meta.HasField("version")
        back = decoded(key, value, 9)
        assert back.meta.version.index == 9
        back.meta.version.index = 3
        assert back == obj


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"objects/dogs/a", b""),
        (b"objects/tasks/a", b"\xff\xff"),
        (b"objects/tasks/a", encoded(task("b"))),
        (b"a", b""),
    ],
)
def test_what_is_not_ours_is_named(key: bytes, value: bytes) -> None:
    with pytest.raises(DamagedState, match=f"etcd key {key.decode()} is damaged"):
        decoded(key, value, 1)


def test_callers_see_those_before_them() -> None:
    todo = batch()
    todo.stage(lambda transaction: transaction.create(service("s", "web")))
    with pytest.raises(Conflict):
        todo.stage(lambda transaction: transaction.create(service("t", "web")))
    found = todo.stage(lambda transaction: [obj.id for obj in transaction.services.find("name", "web")])
    assert found == ["s"]
    assert list(todo.ops) == [b"objects/services/s"]


def test_one_that_raises_leaves_nothing() -> None:
    todo = batch()

    def half(transaction: Transaction) -> None:
        transaction.create(service("s", "web"))
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        todo.stage(half)
    assert todo.ops == {}
    assert todo.transaction.is_empty()


def test_a_key_is_written_once_with_its_last_value() -> None:
    memory = Memory.of([service("s", "web"), service("t", "db")])
    todo = batch(memory)
    for flag in (True, False):
        todo.stage(partial(lambda flag, transaction: transaction.update(changed(transaction, flag)), flag))
    todo.stage(lambda transaction: transaction.remove(api.Service, "t"))
    assert list(todo.ops) == [b"objects/services/s", b"objects/services/t"]
    assert not api.Service.FromString(todo.ops[b"objects/services/s"] or b"").pending_delete
    assert todo.ops[b"objects/services/t"] is None


def changed(transaction: Transaction, flag: bool) -> api.Service:
    found = copy(transaction.services.get("s") or service("s"))
    found.pending_delete = flag
    return found


def test_one_object_may_not_be_larger_than_a_raft_message_of_swarms() -> None:
    with pytest.raises(ShoalError, match=TOO_LARGE):
        batch().stage(lambda transaction: transaction.create(config("c", b"x" * 1_600_000)))


def test_one_caller_may_not_want_more_than_a_transaction_carries() -> None:
    todo = batch()
    with pytest.raises(ShoalError, match=TOO_LARGE):
        todo.stage(lambda transaction: [transaction.create(config(f"c{n}", b"x" * 1_000_000)) for n in range(8)])
    assert todo.ops == {}
    with pytest.raises(ShoalError, match=TOO_LARGE):
        todo.stage(lambda transaction: [transaction.create(task(f"t{n}")) for n in range(MAX_CHANGES + 1)])
    assert not todo.is_full()


def test_a_batch_is_full_by_number_or_by_size() -> None:
    by_number, by_size = batch(), batch()
    by_number.stage(lambda transaction: [transaction.create(task(f"t{n}")) for n in range(FULL_CHANGES)])
    assert by_number.is_full()
    by_size.stage(lambda transaction: transaction.create(config("c", b"x" * 1_100_000)))
    assert by_size.is_full()
