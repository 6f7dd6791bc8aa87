"""Several deciders on one staged transaction, each answering what those before it changed.

A new service is: tasks made, addresses given, nodes picked. As three commits that is three times an etcd `fsync` and
three wake-ups before a node hears of a task; as a cascade it is one. In comes a transaction and what happened since the
last pass, out go changes staged in that transaction. Committing, waiting and logging are `manager/deciding/loop.py`'s.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shoal.api import states
from shoal.api import v1 as api
from shoal.errors import InvariantBroken
from shoal.manager.deciding.plan import Decider
from shoal.store.changes import Change, Create, Event, Object, Remove, Update
from shoal.store.memory import Transaction

# Orchestrator, allocator, scheduler settle in two rounds. What has not settled after eight is two deciders that undo
# one another, or honest work that may as well go on after a commit.
MAX_ROUNDS = 8

# Beyond this a pass commits what it has and goes on in the next one: see `plan.MAX_CHANGES`.
MAX_STAGED = 1000

FIRST_RETRY = 0.1
LAST_RETRY = 30.0


class DeciderFailed(Exception):
    """A decider raised, or planned what cannot be applied; whatever the pass staged must be dropped."""

    def __init__(self, decider: str) -> None:
        self.decider = decider
        super().__init__(f"{decider} failed")


@dataclass
class _Seat:
    """What is kept of one decider between calls."""

    decider: Decider
    kinds: frozenset[type]
    events: list[Event] | None = None  # not yet told; None: it must read everything
    foreign: bool = False  # whether some of `events` are not its own doing in this pass
    look_again_at: float | None = None
    failures: int = 0
    not_before: float = 0.0

    @property
    def owner(self) -> str:
        """Return the part that it is in the table of task states."""
        return self.decider.name if self.decider.name in (states.ALLOCATOR, states.SCHEDULER) else states.MANAGER

    def is_due(self, now: float) -> bool:
        """Return whether there is something to tell it, or its own time has come."""
        if now < self.not_before:
            return False
        return self.events is None or self.foreign or (self.look_again_at is not None and self.look_again_at <= now)

    def due_at(self) -> float | None:
        """Return when it wants to be called though nothing happens."""
        if self.events is None or self.foreign:
            return self.not_before
        return None if self.look_again_at is None else max(self.not_before, self.look_again_at)

    def tell(self, event: Event, *, own: bool) -> None:
        """Keep an event for the next call, if it is of a kind that the decider wants."""
        if self.events is not None and type(event.obj) in self.kinds:
            self.events.append(event)
            self.foreign = self.foreign or not own

    def forget(self) -> None:
        """Make it read everything at the next call."""
        self.events, self.foreign = None, False


@dataclass
class Outcome:
    """What a pass did: how many changes it staged, and what to log once they hold."""

    staged: int = 0
    notes: list[str] = field(default_factory=list)


class Cascade:
    """Deciders that are run in order, over and over, until none of them has anything to add.

    A decider is told of its own changes together with others', but is not called for its own alone: those come back
    from the store after the commit. If a commit fails, `forget` makes all of them read everything again.
    """

    def __init__(self, deciders: Iterable[Decider]) -> None:
        self._seats = [_Seat(decider, frozenset(decider.kinds)) for decider in deciders]

    @property
    def kinds(self) -> frozenset[type]:
        """Return every message class that wakes one of the deciders."""
        return frozenset[type]().union(*(seat.kinds for seat in self._seats))

    def is_due(self, now: float) -> bool:
        """Return whether some decider has something to hear or to do."""
        return any(seat.is_due(now) for seat in self._seats)

    def next_look(self) -> float | None:
        """Return when to run a pass although nothing happens; None: not before something does."""
        looks = (seat.due_at() for seat in self._seats)
        return min((look for look in looks if look is not None), default=None)

    def tell(self, events: Iterable[Event]) -> None:
        """Take in what was committed, by whomever."""
        for event in events:
            for seat in self._seats:
                seat.tell(event, own=False)

    def forget(self) -> None:
        """Make every decider read everything: a commit failed, or events were lost."""
        for seat in self._seats:
            seat.forget()

    def run(self, transaction: Transaction, now: float) -> Outcome:
        """Run one pass and stage what the deciders want. Raises DeciderFailed; then drop the transaction."""
        outcome = Outcome()
        for _round in range(MAX_ROUNDS):
            before = outcome.staged
            for seat in self._seats:
                if seat.is_due(now):
                    self._run_one(seat, transaction, now, outcome)
            if outcome.staged == before or outcome.staged >= MAX_STAGED:
                break
        return outcome

    def settle(self, now: float) -> None:
        """Note that what the last pass staged holds."""
        for seat in self._seats:
            if now >= seat.not_before:
                seat.failures = 0
            if seat.events is not None and not seat.foreign:
                seat.events.clear()  # its own changes alone, which the store tells again

    def excuse(self, name: str, now: float) -> tuple[float, int]:
        """Keep a failed decider out for a while that grows each time. All read everything again.

        Returns the length of that while, and how often in a row the decider has failed.
        """
        self.forget()
        seat = next(seat for seat in self._seats if seat.decider.name == name)
        seat.failures += 1
        delay = min(LAST_RETRY, FIRST_RETRY * 2 ** min(seat.failures - 1, 16))
        seat.not_before = now + delay
        return float(delay), seat.failures

    def _run_one(self, seat: _Seat, transaction: Transaction, now: float, outcome: Outcome) -> None:
        events: Sequence[Event] | None = seat.events
        seat.events, seat.foreign = [], False
        try:
            plan = seat.decider.decide(transaction, now, events)
            told = [_stage(transaction, change, seat.owner) for change in plan.changes]
        except Exception as error:
            # Supervised: one decider's bug must not stop the others. `loop.run` logs it and keeps this one out a while.
            raise DeciderFailed(seat.decider.name) from error
        seat.look_again_at = plan.look_again_at
        outcome.notes.extend(plan.notes)
        outcome.staged += len(told)
        for event in told:
            for other in self._seats:
                other.tell(event, own=other is seat)


def _stage(transaction: Transaction, change: Change, owner: str) -> Event:
    """Apply a change to the transaction and return it as the others will hear of it.

    Raises InvariantBroken where `owner` may not move the task so.
    """
    match change:
        case Create(obj):
            return Event("create", transaction.create(obj), None)
        case Update(obj):
            old: Object | None = transaction.table(type(obj)).get(obj.id)
            if isinstance(obj, api.Task) and isinstance(old, api.Task):
                states.check_move(old.status.state, obj.status.state, owner)
            transaction.adopt(obj)
            return Event("update", obj, old)
        case Remove(kind, object_id):
            last: Object | None = transaction.table(kind).get(object_id)
            transaction.remove(kind, object_id)
            if last is None:
                raise InvariantBroken("the store removed what was not there")
            return Event("remove", last, last)
