"""What every decider of the manager looks like, and what it returns.

A decider is pure: it reads a view of the store and the time, and says what to change. `cascade` runs several of
them on one staged transaction, `loop` feeds them and commits. Nothing here reads a clock or waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from shoal.store.changes import Change, Event
    from shoal.store.memory import View

# A plan that would be larger is cut by its decider, which returns `look_again_at=now` for the rest: one etcd
# transaction stays small, so that a service with 10,000 tasks does not stop every other write for a second.
MAX_CHANGES = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """What a decider wants: changes that hold together or not at all, what to log, when to ask again.

    `changes` are made from copies of the objects of the view that was given (so `meta.version` is theirs), and given
    away: the store keeps them. At most one change an object. `look_again_at` is in seconds since 1970, replaces what
    the decider's earlier plans said, and None means "only when something changes".
    """

    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    look_again_at: float | None = None


NOTHING = Plan()


class Decider(Protocol):
    """One of the manager's minds: orchestrator, allocator, scheduler, reaper, ...

    The contract of `decide`:

    - `view` may be a staged transaction that holds changes of deciders that ran before in the same pass; it is the
      truth, and newer than what `events` say of an object. It is not kept: after the call it goes on changing.
    - `now` is in seconds since 1970 and only ever used for comparing and stamping.
    - `events` are what happened to objects of `kinds` since the last call, the decider's own changes included, each
      at least once and possibly twice (staged, then committed): take them as hints of what to look at again.
      Empty: the time of `look_again_at` has come. None: read everything, drop every memory that the view can rebuild;
      that is the first call, and the one after a commit failed or a watch lagged, so what was planned did not happen.
    - Nothing is waited for, and no random source is used but the `rng` given at construction.
    """

    @property
    def name(self) -> str:
        """Return a short lower-case word for logs: `replicated`, `scheduler`."""

    @property
    def kinds(self) -> tuple[type, ...]:
        """Return the message classes whose changes wake this decider."""

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return what to change, given everything that is known."""
