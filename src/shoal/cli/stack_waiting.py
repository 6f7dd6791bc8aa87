"""Waits until the services of a stack run as they should, and says what became of each.

`verdict` decides, from a service as the API shows it, what became of its tasks if they may end for good, and how long
it has been so; `wait` asks again and again.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from shoal.cli.errors import CommandError
from shoal.cli.json_client import Object
from shoal.cli.stack_api import StackApi, identity_of
from shoal.cli.stack_ends import Ends, ends, is_job, may_end
from shoal.compose.convert.namespace import STACK

POLL = 0.5  # seconds
STABLE = 5.0  # seconds that new tasks must have run, as with Docker's command
_FAILED = ("rollback_started", "rollback_paused", "rollback_completed", "paused")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far a service is. `failed` is the reason of one that will not get there."""

    text: str
    done: bool = False
    failed: str = ""


class Rest(Enum):
    """How a service is at this moment; it must stay so for a while to count."""

    MOVING = auto()
    WELL = auto()  # all its tasks run, or have completed and are not started again
    SETTLED = auto()  # some tasks failed and are not started again, and all others run or have completed


def rest(service: Object, of: Ends | None) -> Rest:
    """Return how a service is at this moment. `of` is what became of its tasks, if they may end for good."""
    running, _ = _counts(service)
    completed, total = _completed(service, of)
    given_up, others = (of.given_up, of.others) if of is not None else (0, 0)
    if is_job(service):
        if completed >= max(total, 1):
            return Rest.WELL
        running = 0  # what runs has still to complete
    elif running + completed >= total and others <= running:
        return Rest.WELL
    is_settled = given_up and running + completed + given_up >= total and others <= running
    return Rest.SETTLED if is_settled else Rest.MOVING


def verdict(service: Object, of: Ends | None, held_for: float) -> Verdict:
    """Return how far a service is, that has been as `rest` says for so many seconds."""
    update = service.get("UpdateStatus") or {}
    state = str(update.get("State", ""))
    if state in _FAILED:
        why = str(update.get("Message", "")) or state
        word = {"paused": "the update was paused"}.get(state, "it was rolled back")
        return Verdict(state.replace("_", " "), failed=f"{word}: {why}")
    now, (running, desired), (completed, total) = rest(service, of), _counts(service), _completed(service, of)
    if is_job(service):
        text = f"{completed}/{max(total, 1)} completed"
        return Verdict(text, done=now is Rest.WELL, failed=_given_up(of, total, now, held_for))
    text = f"{running}/{total} running" + (f", {completed} completed" if completed else "")
    if state == "updating":
        return Verdict(f"{text}, updating")
    # A global service that is new has no tasks yet, and so wants none for a moment.
    wants_none = not desired and not completed and "Global" not in _mode(service)
    done = now is Rest.WELL and (state == "completed" or held_for >= STABLE or wants_none)
    return Verdict(text, done=done, failed=_given_up(of, total, now, held_for))


def _given_up(of: Ends | None, total: int, now: Rest, held_for: float) -> str:
    # A task that is about to be replaced, by an update that has not begun say, looks the same for a moment.
    if of is None or now is not Rest.SETTLED or held_for < STABLE:
        return ""
    return f"{of.given_up} of {total} tasks failed and are not started again: {of.why}"


def _mode(service: Object) -> Mapping[str, Any]:
    found = (service.get("Spec") or {}).get("Mode")
    return found if isinstance(found, dict) else {}


def _counts(service: Object) -> tuple[int, int]:
    status = service.get("ServiceStatus") or {}
    return int(status.get("RunningTasks", 0)), int(status.get("DesiredTasks", 0))


def _completed(service: Object, of: Ends | None) -> tuple[int, int]:
    """Return how many tasks have completed and are not started again, and how many should, or should run."""
    mode, (_, desired) = _mode(service), _counts(service)
    given_up = of.given_up if of is not None else 0
    if is_job(service):
        completed = int((service.get("ServiceStatus") or {}).get("CompletedTasks", 0))
        # Of a global job the swarm counts as desired what has still to be done.
        wanted = int((mode.get("ReplicatedJob") or {}).get("TotalCompletions") or 0)
        return completed, completed + desired + given_up if "GlobalJob" in mode else wanted or desired
    completed = of.completed if of is not None else 0
    return completed, desired + completed + given_up if "Global" in mode else desired


Show = Callable[[Sequence[tuple[str, str]]], None]


def wait(api: StackApi, stack: str, services: Mapping[str, str], show: Show) -> None:
    """Wait until all services run as they should. Raises CommandError with the reasons of those that will not."""
    since: dict[str, tuple[Rest, float]] = {}
    open_, failed = dict(services), dict[str, str]()
    texts = dict.fromkeys(services, "waiting")
    while open_:
        now = time.monotonic()
        there = {identity_of(each): each for each in _statuses(api, stack)}
        ending = any(may_end(there[identity]) for identity in open_.values() if identity in there)
        tasks = api.tasks(stack) if ending else []
        for name, identity in list(open_.items()):
            service = there.get(identity)
            if service is None:
                failed[name] = "it was removed"
                del open_[name]
                continue
            of = ends(service, tasks) if may_end(service) else None
            now_at = rest(service, of)
            if since.get(name, (None, now))[0] is not now_at:
                since[name] = now_at, now
            found = verdict(service, of, now - since[name][1])
            texts[name] = found.text
            if found.failed:
                failed[name] = found.failed
            if found.done or found.failed:
                del open_[name]
        show(sorted(texts.items()))
        if open_:
            time.sleep(POLL)
    if failed:
        raise CommandError("; ".join(f"{name}: {why}" for name, why in sorted(failed.items())))


def _statuses(api: StackApi, stack: str) -> list[Object]:
    return api.json.many("/services", {"label": [f"{STACK}={stack}"]}, {"status": "true"})


def shower(quiet: bool) -> Show:
    """Return what shows how far services are: a view that is drawn anew on a terminal, else a line for each change."""
    last: dict[str, str] = {}
    drawn = 0

    def show(rows: Sequence[tuple[str, str]]) -> None:
        nonlocal drawn
        if quiet:
            return
        if sys.stderr.isatty():
            sys.stderr.write((f"\x1b[{drawn}A" if drawn else "") + "".join(f"\x1b[K{n}: {t}\n" for n, t in rows))
            drawn = len(rows)
        else:
            sys.stderr.write("".join(f"{name}: {text}\n" for name, text in rows if last.get(name) != text))
        sys.stderr.flush()
        last.update(rows)

    return show
