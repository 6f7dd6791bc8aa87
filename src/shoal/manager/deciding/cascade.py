"""Runs several deciders on one staged transaction. Each sees the changes of those before it.

For a new service, tasks are created, addresses given and nodes picked. As three commits this would cost three etcd
`fsync`s and three wake-ups before a node learns of a task; as a cascade it costs one. In: a transaction, and the events
since the last pass. Out: changes staged in that transaction. `loop` commits, waits and logs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shoal.api import states
from shoal.api import v1 as api
from shoal.errors import InvariantBroken
from shoal.manager.deciding.plan import Decider
from shoal.store.changes import Change, Create, Event, Object, Update
from shoal.store.memory import Transaction

# Orchestrator, allocator and scheduler settle in two rounds. If eight rounds are not enough, two deciders undo each
# other's changes, or there is much work that can go on after a commit.
MAX_ROUNDS = 8

# After this many changes a pass ends and commits them; the next pass goes on. See `plan.MAX_CHANGES`.
MAX_STAGED = 1000

FIRST_RETRY = 0.1  # seconds
LAST_RETRY = 30.0  # seconds


class DeciderFailed(Exception):
    """A decider raised, or planned a change that cannot be applied. The transaction of the pass must be dropped."""

    def __init__(self, decider: str) -> None:
        self.decider = decider
        super().__init__(f"{decider} failed")


@dataclass
class _Seat:
    """A decider and its state between calls."""

    decider: Decider
    kinds: frozenset[type]
    events: list[Event] | None = None  # for the next call; None: the decider must read everything
    foreign: bool = False  # whether some of `events` are not its own changes of this pass
    look_again_at: float | None = None
    failures: int = 0
    not_before: float = 0.0

    @property
    def owner(self) -> str:
        """Return the decider's name in the table of task states."""
        return self.decider.name if self.decider.name in (states.ALLOCATOR, states.SCHEDULER) else states.MANAGER

    def is_due(self, now: float) -> bool:
        """Return whether the decider has events to hear, or asked to be called by now."""
        if now < self.not_before:
            return False
        return self.events is None or self.foreign or (self.look_again_at is not None and self.look_again_at <= now)

    def due_at(self) -> float | None:
        """Return when to call the decider even if nothing happens; None: not before something does."""
        if self.events is None or self.foreign:
            return self.not_before
        return None if self.look_again_at is None else max(self.not_before, self.look_again_at)

    def tell(self, events: list[Event], kinds: set[type], *, own: bool) -> None:
        """Keep events, which are of these kinds, for the next call, if the decider wants events of their kind."""
        if self.events is None or self.kinds.isdisjoint(kinds):
            return
        if kinds <= self.kinds:
            self.events += events
        else:
            self.events += [event for event in events if type(event.obj) in self.kinds]
        self.foreign = self.foreign or not own

    def forget(self) -> None:
        """Make the decider read everything at the next call."""
        self.events, self.foreign = None, False


@dataclass
class Outcome:
    """The result of a pass: how many changes it staged, and what to log after the commit."""

    staged: int = 0
    notes: list[str] = field(default_factory=list)


class Cascade:
    """Runs deciders in order, again and again, until none of them changes anything.

    A decider is not called for its own changes alone: they come back from the store after the commit. When it is called
    for other events, it hears of its own changes too. After a failed commit, call `forget`: all deciders then read
    everything again.
    """

    def __init__(self, deciders: Iterable[Decider]) -> None:
        self._seats = [_Seat(decider, frozenset(decider.kinds)) for decider in deciders]

    @property
    def kinds(self) -> frozenset[type]:
        """Return every message class that wakes one of the deciders."""
        return frozenset[type]().union(*(seat.kinds for seat in self._seats))

    def is_due(self, now: float) -> bool:
        """Return whether a decider has events to hear, or asked to be called by now."""
        return any(seat.is_due(now) for seat in self._seats)

    def next_look(self) -> float | None:
        """Return when to run a pass even if nothing happens; None: not before something does."""
        looks = (seat.due_at() for seat in self._seats)
        return min((look for look in looks if look is not None), default=None)

    def tell(self, events: Iterable[Event]) -> None:
        """Hand committed changes to the deciders, whoever made them."""
        self._tell(list(events), None)

    def forget(self) -> None:
        """Make every decider read everything, because a commit failed or events were lost."""
        for seat in self._seats:
            seat.forget()

    def run(self, transaction: Transaction, now: float) -> Outcome:
        """Run one pass and stage the deciders' changes. Raises DeciderFailed; then the transaction must be dropped."""
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
        """Note that the changes of the last pass were committed."""
        for seat in self._seats:
            if now >= seat.not_before:
                seat.failures = 0
            if seat.events is not None and not seat.foreign:
                seat.events.clear()  # only its own changes, which the store tells again

    def excuse(self, name: str, now: float) -> tuple[float, int]:
        """Do not call a failed decider for a time that grows with each failure. All deciders read everything again.

        Returns that time in seconds, and how often in a row the decider has failed.
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
            # A bug in one decider must not stop the others. `loop.run` logs it and does not call this one for a while.
            raise DeciderFailed(seat.decider.name) from error
        seat.look_again_at = plan.look_again_at
        outcome.notes.extend(plan.notes)
        outcome.staged += len(told)
        self._tell(told, seat)

    def _tell(self, events: list[Event], teller: _Seat | None) -> None:
        kinds = {type(event.obj) for event in events}
        for seat in self._seats:
            seat.tell(events, kinds, own=seat is teller)


def _stage(transaction: Transaction, change: Change, owner: str) -> Event:
    """Apply a change to the transaction and return the event for the other deciders.

    Raises InvariantBroken when `owner` may not move the task to its new state.
    """
    if isinstance(change, Update):
        obj = change.obj
        if isinstance(obj, api.Task):
            before = transaction.tasks.get(obj.id)
            if before is not None:
                states.check_move(before.status.state, obj.status.state, owner)
        return Event("update", obj, transaction.adopt(obj))
    if isinstance(change, Create):
        return Event("create", transaction.create(change.obj), None)
    last: Object | None = transaction.table(change.kind).get(change.id)
    transaction.remove(change.kind, change.id)
    if last is None:
        raise InvariantBroken("the store removed what was not there")
    return Event("remove", last, last)
