"""`shoal stack logs`: the output of all tasks of a stack, in the order of its times.

`lines` is pure: from the bytes of the API to lines. Where output is followed, a thread reads each service.
"""

import heapq
import queue
import struct
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

from shoal.cli import client
from shoal.cli.errors import CommandError
from shoal.cli.hosts import Target
from shoal.cli.json_client import Object
from shoal.cli.stack_api import StackApi, identity_of, name_of

_HEADER = struct.Struct(">BxxxL")
_LONGEST_FRAME = 1024 * 1024  # as long as a line may be in shoald
_MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_WAITING = 1000  # lines that readers may be ahead of the terminal
_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """A line that a task wrote, with its time as the API prints it, which sorts as text."""

    at: str
    task: str
    text: str = field(compare=False)
    is_error: bool = field(default=False, compare=False)


def frames(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the frames of a multiplexed stream: the number of its stream, and its bytes. Raises ValueError."""
    waiting = b""
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= _HEADER.size:
            stream, length = _HEADER.unpack_from(waiting)
            if length > _LONGEST_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            if len(waiting) < _HEADER.size + length:
                break
            yield stream, waiting[_HEADER.size : _HEADER.size + length]
            waiting = waiting[_HEADER.size + length :]


def lines(found: Iterable[tuple[int, bytes]], names: Mapping[str, str]) -> Iterator[Line]:
    """Yield the lines of frames that have a time and details before the text. `names` are those of tasks, by id."""
    for stream, data in found:
        at, _, rest = data.decode(errors="replace").partition(" ")
        details, _, text = rest.partition(" ")
        pairs = dict(each.partition("=")[::2] for each in details.split(","))
        task = pairs.get("com.docker.swarm.task.id", "")
        yield Line(at, names.get(task, task), text.rstrip("\n"), stream == 2)


def task_names(tasks: Sequence[Object], services: Sequence[Object]) -> dict[str, str]:
    """Return what tasks are called, by id: service, and slot or node."""
    named = {identity_of(each): name_of(each) for each in services}
    return {
        str(each["ID"]): f"{named.get(str(each.get('ServiceID')), '?')}.{each.get('Slot') or each.get('NodeID', '')}"
        for each in tasks
    }


def show(target: Target, stack: str, tail: str, since: str, *, follow: bool) -> None:
    """Print the output of a stack's tasks. Raises CommandError."""
    api = StackApi(target)
    services = api.of_stack("services", stack)
    if not services:
        raise CommandError(f"nothing is there of stack {stack}")
    names = task_names(api.tasks(stack), services)
    query = {"stdout": "1", "stderr": "1", "timestamps": "1", "details": "1", "tail": tail}
    query |= {"since": since} if since else {}
    printer = _Printer(names)
    if follow:
        for line in _followed(target, services, {**query, "follow": "1"}, names):
            printer.show(line)
        return
    read = [sorted(_read(target, each, query, names)) for each in services]
    for line in heapq.merge(*read):
        printer.show(line)


def _read(target: Target, service: Object, query: dict[str, str], names: Mapping[str, str]) -> Iterator[Line]:
    with client.call(target, "GET", f"/v1.43/services/{identity_of(service)}/logs", query) as answer:
        pieces = client.arriving(answer, target)
        is_raw = (answer.getheader("Content-Type") or _MULTIPLEXED) != _MULTIPLEXED  # a service with a terminal
        try:
            yield from lines(_raw(pieces) if is_raw else frames(pieces), names)
        except ValueError as error:
            raise CommandError(f"the daemon at {target.url} sends no log: {error}") from error


def _raw(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    waiting = b""
    for chunk in chunks:
        *whole, waiting = (waiting + chunk).split(b"\n")
        yield from ((1, each) for each in whole)
        waiting = waiting[-_LONGEST_FRAME:]


def _followed(
    target: Target, services: Sequence[Object], query: dict[str, str], names: Mapping[str, str]
) -> Iterator[Line]:
    """Yield lines of all services as they come, until all have ended."""
    came: queue.Queue[Line | None] = queue.Queue(_WAITING)

    def read(service: Object) -> None:
        try:
            for line in _read(target, service, query, names):
                came.put(line)
        except CommandError as error:
            came.put(Line("", name_of(service), str(error), True))
        finally:
            came.put(None)

    for service in services:
        threading.Thread(target=read, args=(service,), daemon=True).start()
    left = len(services)
    while left:
        line = came.get()
        if line is None:
            left -= 1
        else:
            yield line


class _Printer:
    """Prints lines with the names of their tasks before them, each service in a colour of its own on a terminal."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._width = max(map(len, names.values()), default=0)
        services = sorted({name.rpartition(".")[0] for name in names.values()})
        self._colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(services)}
        self._out = Console(highlight=False, markup=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def show(self, line: Line) -> None:
        text = "".join(letter if letter.isprintable() or letter == "\t" else "\ufffd" for letter in line.text)
        colour = self._colours.get(line.task.rpartition(".")[0], "")
        shown = Text(f"{line.task:<{self._width}} | ", style=colour).append(Text(text, style="default"))
        (self._err if line.is_error else self._out).print(shown)
        sys.stdout.flush()
