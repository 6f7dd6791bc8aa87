"""Waits until the services of a stack run as they should, and says what became of each.

`verdict` decides, from a service as the API shows it and how long it has been well; `wait` asks again and again.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shoal.cli.errors import CommandError
from shoal.cli.json_client import Object
from shoal.cli.stack_api import StackApi, identity_of
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


def verdict(service: Object, well_for: float) -> Verdict:
    """Return how far a service is, that has had all its tasks for so many seconds."""
    update = service.get("UpdateStatus") or {}
    state, status = str(update.get("State", "")), service.get("ServiceStatus") or {}
    running, desired = int(status.get("RunningTasks", 0)), int(status.get("DesiredTasks", 0))
    completed = int(status.get("CompletedTasks", 0))
    if state in _FAILED:
        why = str(update.get("Message", "")) or state
        word = {"paused": "the update was paused"}.get(state, "it was rolled back")
        return Verdict(state.replace("_", " "), failed=f"{word}: {why}")
    mode = service.get("Spec", {}).get("Mode", {})
    if "ReplicatedJob" in mode or "GlobalJob" in mode:
        total = int((mode.get("ReplicatedJob") or {}).get("TotalCompletions") or desired or 1)
        return Verdict(f"{completed}/{total} completed", done=completed >= total)
    text = f"{running}/{desired} running"
    if state == "updating":
        return Verdict(f"{text}, updating")
    # A global service that is new has no tasks yet, and so wants none for a moment.
    wants_none = not desired and "Global" not in mode
    is_well = running >= desired
    return Verdict(text, done=is_well and (state == "completed" or well_for >= STABLE or wants_none))


def is_well(service: Object) -> bool:
    """Return whether a service has all its tasks at this moment."""
    status = service.get("ServiceStatus") or {}
    return int(status.get("RunningTasks", 0)) >= int(status.get("DesiredTasks", 0))


Show = Callable[[Sequence[tuple[str, str]]], None]


def wait(api: StackApi, stack: str, services: Mapping[str, str], show: Show) -> None:
    """Wait until all services run as they should. Raises CommandError with the reasons of those that will not."""
    well_since: dict[str, float] = {}
    open_, failed = dict(services), dict[str, str]()
    texts = dict.fromkeys(services, "waiting")
    while open_:
        now = time.monotonic()
        there = {identity_of(each): each for each in _statuses(api, stack)}
        for name, identity in list(open_.items()):
            service = there.get(identity)
            if service is None:
                failed[name] = "it was removed"
                del open_[name]
                continue
            if is_well(service):
                well_since.setdefault(name, now)
            else:
                well_since.pop(name, None)
            found = verdict(service, now - well_since.get(name, now))
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
