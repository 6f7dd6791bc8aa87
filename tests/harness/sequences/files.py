"""Reads a sequence from its data file. `tests/interop/sequences/README.md` describes the format."""

import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "interop" / "sequences"

# Every command of a sequence returns at once; the file says what to wait for. An image that is not here is not looked
# for in a registry. busybox's sleep, as process 1, ignores SIGTERM.
ALWAYS = {
    ("service", "create"): ("--detach", "--no-resolve-image", "--stop-signal=KILL"),
    ("service", "update"): ("--detach", "--no-resolve-image"),
    ("service", "scale"): ("--detach",),
    ("service", "rollback"): ("--detach",),
}


@dataclass(frozen=True, slots=True)
class Run:
    """A docker command. Its exit code and its output are compared."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words)


@dataclass(frozen=True, slots=True)
class Wait:
    """Conditions on a service that must all be true at the same time before the sequence goes on."""

    service: str
    running: int | None = None  # tasks that run, and whose desired state is to run
    states: dict[str, int] = field(default_factory=dict)  # tasks in a state, whatever their desired state
    tasks: int | None = None  # all tasks, with the history
    update: str | None = None  # the state of the update
    message: str | None = None  # the beginning of the update's message
    error: str | None = None  # the beginning of some task's error
    gone: bool = False  # neither the service nor any of its tasks is there


@dataclass(frozen=True, slots=True)
class Look:
    """A step at which the swarm, once at rest, is compared, in addition to the end."""

    name: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A known difference: a pattern of paths, and why it is right."""

    at: str
    reason: str
    before: int = 0  # only with Docker Engines before this major version; 0: with every version


@dataclass(frozen=True, slots=True)
class Sequence:
    """The contents of one file. `name` is the file's name."""

    name: str
    title: str
    steps: tuple[Run | Wait | Look, ...]
    differences: tuple[Difference, ...] = ()
    nodes: int = 1
    alone: bool = False  # whether it changes nodes or the swarm
    any_place: bool = False  # whether it is chance which slot or node it hits
    lacking: str = ""  # what Shoal does not have yet, so that the test is expected to fail

    def differences_to(self, engine: str) -> tuple[Difference, ...]:
        """Return the known differences from Docker Engines of a version."""
        major = int(engine.partition(".")[0])
        return tuple(one for one in self.differences if not one.before or major < one.before)

    def service(self, name: str) -> str:
        """Return a service's name in the swarm: `@web` becomes a name of this sequence's own."""
        return name.replace("@", f"{self.name}--")


def read(path: Path) -> Sequence:
    """Return the sequence in a file. Raises ValueError, TypeError or KeyError if the file has no valid sequence."""
    told = tomllib.loads(path.read_text())
    steps = tuple(_step(step) for step in told.pop("steps"))
    differences = tuple(Difference(**difference) for difference in told.pop("differs", ()))
    made = Sequence(name=path.stem, steps=steps, differences=differences, **told)
    if made.nodes > 1 and not made.alone:
        raise ValueError(f"{path.name}: on several nodes a sequence is alone")
    return made


def _step(told: dict[str, Any]) -> Run | Wait | Look:
    kinds = [kind for kind in ("run", "wait", "look") if kind in told]
    if len(kinds) != 1:
        raise ValueError(f"a step is one of run, wait and look: {told}")
    if kinds == ["wait"]:
        return Wait(service=told.pop("wait"), **told)
    (kind, value), *more = told.items()
    if more:
        raise ValueError(f"not known of a step: {more}")
    return Look(value) if kind == "look" else Run(tuple(shlex.split(value)))


def arguments(sequence: Sequence, command: Run, hostnames: dict[str, str]) -> list[str]:
    """Return docker's arguments for a command, with this sequence's own names and the nodes' hostnames."""
    words = list(command.words)
    always = ALWAYS.get((words[0], words[1]), ())
    if "--rollback" in words:
        always = ("--detach",)  # docker accepts no flag of an update together with it
    flags = [flag for flag in always if flag.partition("=")[0] not in words]
    words[2:2] = flags
    made = []
    for word in words:
        word = sequence.service(word)
        for told, name in hostnames.items():
            word = word.replace(told, name)
        made.append(word)
    return made


def every() -> list[Sequence]:
    """Return all sequences, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.toml"))]
