"""Plays a sequence to a swarm and records the result."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.harness.sequences.files import Look, Run, Sequence, Wait, arguments
from tests.harness.sequences.state import (
    Snapshot,
    in_motion,
    picture,
    seen,
    service_of,
    tasks_of,
    text,
)
from tests.harness.sequences.swarms import Swarm

# A swarm is at rest after this many seconds without a change. Docker's reaper works every quarter of a second.
AT_REST = 1.5
# The number of sequences that play at once in each swarm. More make the machine so busy that Docker's agent is late.
TOGETHER = 8
FAULT = "fault"


@dataclass(slots=True)
class Record:
    """The result of a sequence: each command's answer, a picture for each look, and `fault` if it got stuck.

    `engine` is the version that the manager reports.
    """

    told: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    took: float = 0.0
    engine: str = ""


def holds(wait: Wait, sequence: Sequence, snapshot: Snapshot) -> bool:
    """Return whether the conditions of a `Wait` hold."""
    name = sequence.service(wait.service)
    service, tasks = service_of(name, snapshot), tasks_of(name, snapshot)
    if wait.gone:
        return service is None and not tasks
    update = (service or {}).get("UpdateStatus") or {}
    states = [task["Status"]["State"] for task in tasks]
    meant = [task for task in tasks if task["DesiredState"] == "running"]
    running = [task for task in meant if task["Status"]["State"] == "running"]
    wrong = [
        wait.running is not None and len(running) != wait.running,
        any(states.count(state) != number for state, number in wait.states.items()),
        wait.tasks is not None and len(tasks) != wait.tasks,
        wait.update is not None and update.get("State") != wait.update,
        wait.message is not None and not update.get("Message", "").startswith(wait.message),
        wait.error is not None and not any(t["Status"].get("Err", "").startswith(wait.error) for t in tasks),
    ]
    return not any(wrong)


class _Stuck(Exception):
    """A sequence waits for something that does not happen."""


class Player:
    """One sequence in one swarm."""

    def __init__(self, sequence: Sequence, swarm: Swarm) -> None:
        self._sequence = sequence
        self._swarm = swarm

    def play(self) -> Record:
        """Run the steps, look at the end, remove the services."""
        record = Record(engine=self._swarm.engine)
        began = time.monotonic()
        try:
            for number, step in enumerate((*self._sequence.steps, Look("end")), 1):
                self._take(step, number, record)
        except _Stuck as stuck:
            record.fault = str(stuck)
        self._clean()
        record.took = time.monotonic() - began
        return record

    def _take(self, step: Run | Wait | Look, number: int, record: Record) -> None:
        if isinstance(step, Run):
            code, out, err = self._swarm.docker(*arguments(self._sequence, step, self._swarm.hostnames))
            told = {"exit": code, "out": self._text(out), "err": self._text(err)}
            record.told[f"{number} {step}"] = told
        elif isinstance(step, Wait):
            came, last = self._swarm.watcher.wait(lambda snapshot: holds(step, self._sequence, snapshot))
            if not came:
                raise _Stuck(f"step {number}: {step} did not come; seen last:\n{self._shown(last)}")
        else:
            record.told[step.name] = self._look(step)

    def _look(self, look: Look) -> Any:
        shown: Any = None
        since = 0.0

        def rests(snapshot: Snapshot) -> bool:
            nonlocal shown, since
            ours = seen(self._sequence, snapshot)
            now = picture(self._sequence, ours, self._swarm.hostnames)
            if now != shown or in_motion(ours):
                shown, since = now, time.monotonic()
            return time.monotonic() - since >= AT_REST

        came, last = self._swarm.watcher.wait(rests)
        if not came:
            raise _Stuck(f"no rest at {look.name!r}; seen last:\n{self._shown(last)}")
        return shown

    def _text(self, words: str) -> str:
        return text(words, self._sequence, self._swarm.hostnames)

    def _shown(self, snapshot: Snapshot) -> str:
        shown = picture(self._sequence, seen(self._sequence, snapshot), self._swarm.hostnames)
        short = {
            name: {key: part[key] for key in ("gone", "update", "tasks") if key in part}
            for name, part in shown.items()
            if name != "nodes"
        }
        return json.dumps(short, indent=1)

    def _clean(self) -> None:
        _, last = self._swarm.watcher.wait(lambda _: True)
        names = [service["Spec"]["Name"] for service in seen(self._sequence, last).services]
        if names:
            self._swarm.docker("service", "rm", *names)
        if self._sequence.alone:
            self._swarm.watcher.wait(lambda snapshot: not seen(self._sequence, snapshot).tasks)
            self._swarm.restore()


def play(sequences: list[Sequence], swarm: Swarm) -> dict[str, Record]:
    """Play sequences to a swarm: first those that may run together, then the others one by one. Returns the results by
    name.
    """
    with ThreadPoolExecutor(TOGETHER) as pool:
        together = [sequence for sequence in sequences if not sequence.alone]
        played = pool.map(lambda sequence: Player(sequence, swarm).play(), together)
        records = {sequence.name: record for sequence, record in zip(together, played, strict=True)}
    return records | {sequence.name: Player(sequence, swarm).play() for sequence in sequences if sequence.alone}


def play_to_all(sequences: list[Sequence], swarms: list[Swarm]) -> dict[str, dict[str, Record]]:
    """Play to each swarm the sequences of its size, in all swarms at the same time. Returns the results by name and
    kind.
    """
    with ThreadPoolExecutor(len(swarms)) as pool:
        waiting = [
            (swarm, pool.submit(play, [one for one in sequences if one.nodes == len(swarm.hosts)], swarm))
            for swarm in swarms
        ]
        played: dict[str, dict[str, Record]] = {sequence.name: {} for sequence in sequences}
        for swarm, future in waiting:
            for name, record in future.result().items():
                played[name][swarm.kind] = record
    return played
