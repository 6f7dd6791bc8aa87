"""The interface of the manager's deciders, and the plan that a decider returns.

A decider is pure: it reads a view of the store and the time, and returns what to change. `cascade` runs several
deciders on one staged transaction; `loop` feeds them and commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from shoal.store.changes import Change, Event
    from shoal.store.memory import View

# A decider cuts a larger plan and returns `look_again_at=now` for the rest. This keeps each etcd transaction small, so
# a service with 10,000 tasks does not block all other writes for a second.
MAX_CHANGES = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """What a decider wants: changes (all are committed, or none), notes to log, and when to call it again.

    `changes` hold copies of objects of the given view, with the same `meta.version`, at most one change for each
    object. The decider must not touch them afterwards: the store keeps them. `look_again_at` is in seconds since 1970
    and replaces the value of earlier plans; None means "only when something changes".
    """

    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    look_again_at: float | None = None


NOTHING = Plan()


class Decider(Protocol):
    """A part of the manager that decides something: orchestrator, allocator, scheduler, reaper, ...

    The contract of `decide`:

    - `view` may be a staged transaction that already holds changes of deciders that ran before in the same pass. It is
      newer than `events`. A decider must not keep it, because it changes after the call.
    - `now` is in seconds since 1970. A decider uses it only to compare and to stamp.
    - `events` are the changes of objects of `kinds` since the last call, with the decider's own changes. Each comes at
      least once and may come twice (staged, then committed), so they only say what to look at again. Empty: the time of
      `look_again_at` has come. None: read everything, and drop every memory that the view can rebuild. None comes with
      the first call, and after a commit failed or a watch lagged, when planned changes may not have happened.
    - A decider does not wait, and uses no random source except an `rng` given to its constructor.
    """

    @property
    def name(self) -> str:
        """Return a short lower-case name for logs, such as `scheduler`. Names are unique in a cascade."""

    @property
    def kinds(self) -> tuple[type, ...]:
        """Return the message classes whose changes wake this decider."""

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return what to change."""
