from collections.abc import Callable

import pytest

from shoal.api import v1 as api
from shoal.errors import InvariantBroken
from shoal.manager.deciding.cascade import MAX_ROUNDS, Cascade, DeciderFailed
from shoal.manager.deciding.plan import Plan
from shoal.store.changes import Create, Event, Remove, Update, copy
from shoal.store.memory import Memory, Transaction, View
from tests.unit.manager.deciders import Recorder, chain, move, service


def staged(transaction: Transaction) -> dict[str, int]:
    return {event.obj.id: event.obj.status.state for event in transaction.events() if isinstance(event.obj, api.Task)}


def test_new_service_is_assigned_in_one_pass() -> None:
    transaction = Transaction(Memory.of([service("web", 2)]))
    outcome = Cascade(chain()).run(transaction, 0.0)
    assert staged(transaction) == {"web.1": api.ASSIGNED, "web.2": api.ASSIGNED}
    assert outcome.staged == 6
    assert [event.action for event in transaction.events()] == ["create", "create"]


def test_order_of_deciders_costs_rounds_and_not_passes() -> None:
    transaction = Transaction(Memory.of([service("web", 1)]))
    Cascade(reversed(chain())).run(transaction, 0.0)
    assert staged(transaction) == {"web.1": api.ASSIGNED}


def test_decider_hears_of_others_changes_and_of_its_own_with_them() -> None:
    deciders = chain()
    Cascade(deciders).run(Transaction(Memory.of([service("web", 1)])), 0.0)
    orchestrator, allocator, scheduler = deciders
    assert orchestrator.heard == [None, ("web.1", "web.1", "web.1")]
    assert allocator.heard == [None, ("web.1", "web.1")]
    assert scheduler.heard == [None]  # nobody changed anything after it, so its own changes come back from the store


def test_decider_is_told_only_of_its_kinds() -> None:
    nodes = Recorder("nodes", (api.Node,))
    cascade = Cascade([nodes])
    cascade.run(Transaction(Memory()), 0.0)
    cascade.tell([Event("create", api.Task(id="t"), None)])
    assert not cascade.is_due(0.0)
    cascade.tell([Event("create", api.Node(id="n"), None)])
    assert cascade.is_due(0.0)
    cascade.run(Transaction(Memory()), 0.0)
    assert nodes.heard == [None, ("n",)]


def test_decider_is_called_again_at_the_time_it_asked_for() -> None:
    waiting = Recorder("waiting", answer=lambda view, now: Plan(look_again_at=5.0 if now < 5 else None))
    cascade = Cascade([waiting])
    cascade.run(Transaction(Memory()), 1.0)
    assert (cascade.is_due(4.9), cascade.next_look(), cascade.is_due(5.0)) == (False, 5.0, True)
    cascade.run(Transaction(Memory()), 5.0)
    assert waiting.heard == [None, ()]
    assert cascade.next_look() is None


def test_events_in_between_keep_the_time_that_the_last_plan_names() -> None:
    waiting = Recorder("waiting", answer=lambda view, now: Plan(look_again_at=5.0))
    cascade = Cascade([waiting])
    cascade.run(Transaction(Memory()), 1.0)
    cascade.tell([Event("create", api.Task(id="t"), None)])
    assert cascade.next_look() == 0.0
    cascade.run(Transaction(Memory()), 2.0)
    assert cascade.next_look() == 5.0


def test_own_changes_are_dropped_when_they_hold_and_told_again_by_the_store() -> None:
    mover = Recorder("allocator", answer=move(api.NEW, api.PENDING))
    cascade = Cascade([mover])
    memory = Memory.of([api.Task(id="t")])
    transaction = Transaction(memory)
    cascade.run(transaction, 0.0)
    assert not cascade.is_due(0.0)
    cascade.settle(0.0)
    cascade.tell(memory.commit(transaction))
    cascade.run(Transaction(memory), 0.0)
    assert mover.heard == [None, ("t",)]


def test_forgetting_makes_all_read_everything() -> None:
    deciders = chain()
    cascade = Cascade(deciders)
    cascade.run(Transaction(Memory.of([service("web", 1)])), 0.0)
    cascade.forget()
    assert cascade.next_look() == 0.0
    again = Transaction(Memory.of([service("web", 1)]))  # the commit failed, so nothing of the first pass is there
    cascade.run(again, 0.0)
    assert staged(again) == {"web.1": api.ASSIGNED}
    assert [decider.heard.count(None) for decider in deciders] == [2, 2, 2]


def test_two_deciders_that_undo_each_other_end_after_some_rounds() -> None:
    there, back = Recorder("there", answer=want(api.RUNNING)), Recorder("back", answer=want(api.SHUTDOWN))
    outcome = Cascade([there, back]).run(Transaction(Memory.of([api.Task(id="t")])), 0.0)
    assert outcome.staged == 2 * MAX_ROUNDS


def want(desired: api.TaskState) -> Callable[[View, float], Plan]:
    """Answer as a decider that gives every task this desired state."""

    def answer(view: View, now: float) -> Plan:
        changed = [copy(task) for task in view.tasks.all() if task.desired_state != desired]
        for task in changed:
            task.desired_state = desired
        return Plan(tuple(map(Update, changed)))

    return answer


@pytest.mark.parametrize(
    ("name", "after", "may"),
    [
        ("allocator", api.PENDING, True),
        ("scheduler", api.PENDING, False),
        ("orchestrator", api.PENDING, False),
        ("allocator", api.RUNNING, False),
        ("enforcer", api.REJECTED, False),
        ("allocator", 700, False),
    ],
)
def test_a_decider_moves_tasks_as_the_table_of_states_says_and_fails_else(name: str, after: int, may: bool) -> None:
    cascade = Cascade([Recorder(name, answer=move(api.NEW, after))])  # type: ignore[arg-type]
    transaction = Transaction(Memory.of([api.Task(id="t")]))
    if may:
        cascade.run(transaction, 0.0)
        assert staged(transaction) == {"t": after}
        return
    with pytest.raises(DeciderFailed) as raised:
        cascade.run(transaction, 0.0)
    assert isinstance(raised.value.__cause__, InvariantBroken)
    assert transaction.is_empty()


def test_large_plans_are_cut_into_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.manager.deciding.cascade.MAX_STAGED", 10)

    def four_at_a_time(view: View, now: float) -> Plan:
        have = len(view.tasks)
        return Plan(tuple(Create(api.Task(id=str(have + n))) for n in range(min(4, 100 - have))), look_again_at=now)

    cascade = Cascade([Recorder("cut", answer=four_at_a_time)])
    transaction = Transaction(Memory())
    assert cascade.run(transaction, 0.0).staged == 12
    assert cascade.is_due(0.0)


def test_failed_decider_names_itself_and_is_kept_out_for_longer_each_time() -> None:
    broken = Recorder("broken", answer=lambda view, now: Plan((Update(api.Task(id="not there")),)))
    healthy = Recorder("allocator", answer=move(api.NEW, api.PENDING))
    cascade = Cascade([broken, healthy])
    memory = Memory.of([api.Task(id="t")])
    delays = []
    now = 0.0
    for _ in range(3):
        with pytest.raises(DeciderFailed, match="broken failed") as raised:
            cascade.run(Transaction(memory), now)
        assert raised.value.decider == "broken"
        delays.append(cascade.excuse("broken", now)[0])
        transaction = Transaction(memory)
        cascade.run(transaction, now)
        assert staged(transaction) == {"t": api.PENDING}
        cascade.settle(now)
        now += delays[-1]
        assert cascade.next_look() == now
    assert delays == [0.1, 0.2, 0.4]


def test_recovered_decider_starts_its_delays_over() -> None:
    moody = Recorder("moody", answer=lambda view, now: Plan((Remove(api.Task, "gone"),)) if now < 1 else Plan())
    cascade = Cascade([moody])
    with pytest.raises(DeciderFailed):
        cascade.run(Transaction(Memory()), 0.0)
    assert cascade.excuse("moody", 0.0) == (0.1, 1)
    cascade.run(Transaction(Memory()), 1.0)
    cascade.settle(1.0)
    assert cascade.excuse("moody", 1.0) == (0.1, 1)


def test_removal_is_told_with_the_last_value() -> None:
    task = api.Task(id="t", slot=3)
    remover = Recorder(
        "remover", answer=lambda view, now: Plan((Remove(api.Task, "t"),) if view.tasks.get("t") is not None else ())
    )
    told: list[Event] = []
    listener = Recorder("listener")
    cascade = Cascade([listener, remover])
    original = listener.decide
    listener.decide = lambda view, now, events: told.extend(events or ()) or original(view, now, events)  # type: ignore[method-assign,func-returns-value]
    cascade.run(Transaction(Memory.of([task])), 0.0)
    assert told == [Event("remove", task, task)]


def test_later_decider_updates_what_an_earlier_one_created() -> None:
    transaction = Transaction(Memory.of([service("web", 1)]))
    cascade = Cascade(chain())
    cascade.run(transaction, 0.0)
    changed = copy(next(iter(transaction.tasks.all())))
    transaction.update(changed)  # its version is the staged one
