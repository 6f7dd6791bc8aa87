"""How much work the messages of one caller may make on this manager. Pure.

In: who calls, how much processor time its calls took, the bytes of a message. Out: how long a caller must wait, and how
many parts a message has. `shares` bounds the time of *reading* bytes; this bounds what follows from them: decoding, and
the calls themselves. A message of 4 MiB can have two million empty parts, each of which costs a hundred bytes of memory
and, wherever somebody looks at all of them, a microsecond of the event loop.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from shoal.ca.identity import WORKER_OU
from shoal.errors import Unavailable
from shoal.manager.port.allowances import KIB, MIB, Bucket, Rate
from shoal.manager.port.authorization import AUTHORIZATION

# Seconds of processor time for all calls of one caller: a node, or a host of strangers. A node whose thousand tasks
# start at once takes a tenth of the burst.
LABOUR = Rate(1.0, 0.3)
# Callers whose labour is remembered. The one that has been idle longest is forgotten first.
REMEMBERED = 10_000
# Seconds. Shoal's and Docker's agents give up a call after five seconds. A stream of messages waits longer.
LONGEST_WAIT = 4.0
# Of one caller's messages that wait; more are refused. There may be hundreds of calls, with four mebibytes each.
HELD_BYTES = 32 * MIB

# Of one message, at any depth. Ten thousand statuses with all their fields have 120,000, and a thousand lines of a log
# with thirty labels each 100,000.
MAX_PARTS = 200_000
# A part has at least two bytes, so a shorter message need not be counted.
UNCOUNTED_BYTES = 2 * MAX_PARTS
# Parts that are counted before other work has a turn: three milliseconds.
PARTS_AT_ONCE = 8_192

# Most requests of nodes are a few ids. A call that lasts keeps its request, with whatever unknown fields it has.
SMALL_MESSAGE_BYTES = 64 * KIB
LARGE_MESSAGES: Mapping[str, int] = {
    "/docker.swarmkit.v1.Dispatcher/Session": 128 * KIB,  # twice the largest description (dispatcher/node_states.py)
    "/docker.swarmkit.v1.Dispatcher/UpdateTaskStatus": 4 * MIB,
    "/docker.swarmkit.v1.LogBroker/PublishLogs": 4 * MIB,
    "/shoal.v1.Views/Answer": 4 * MIB,
}


@dataclass(slots=True)
class Account:
    """The labour of one caller, also across its calls. `name` is how an error calls it."""

    name: str
    bucket: Bucket
    held_bytes: int = 0  # of messages that wait

    def spend(self, seconds: float, now: float) -> None:
        """Count processor time that this caller's calls have used."""
        self.bucket.spend(seconds, now)

    def wait(self, now: float) -> float:
        """Return for how many seconds this caller has no time left."""
        return self.bucket.wait(now)

    def refusal(self, now: float) -> Unavailable:
        """Return the error for a message that does not wait."""
        return Unavailable(
            f"{self.name} makes its managers work more than its share: it is heard again in {self.wait(now):.1f} s"
        )


def largest(path: str, of_role: int) -> int:
    """Return how many bytes a message to a method may have on a connection that takes `of_role` bytes of a message."""
    rule = AUTHORIZATION.get(path)
    if rule is not None and rule.units and WORKER_OU not in rule.units:
        return of_role
    return min(of_role, LARGE_MESSAGES.get(path, SMALL_MESSAGE_BYTES))


class Labour:
    """The accounts of all callers."""

    def __init__(self, rate: Rate = LABOUR, remembered: int = REMEMBERED) -> None:
        self._rate = rate
        self._remembered = remembered
        self._accounts: dict[str, Account] = {}

    def account(self, name: str, now: float) -> Account:
        """Return the account of a caller."""
        account = self._accounts.pop(name, None) or Account(name, Bucket(self._rate, now))
        self._accounts[name] = account  # the newest is the last
        if len(self._accounts) > self._remembered:
            del self._accounts[next(iter(self._accounts))]
        return account


class Shape:
    """Which fields of a message are messages themselves."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._messages = {
            field.number: field.message_type
            for field in descriptor.fields
            if field.type == FieldDescriptor.TYPE_MESSAGE
        }
        self._shapes: dict[int, Shape] = {}

    def inner(self, number: int) -> "Shape | None":
        """Return the shape of a field, or None for one that is no message."""
        found = self._shapes.get(number)
        if found is None and number in self._messages:
            found = self._shapes[number] = shape_of(self._messages[number])
        return found


@cache
def shape_of(descriptor: Descriptor) -> Shape:
    """Return the shape of a kind of message."""
    return Shape(descriptor)


def counted(data: bytes, shape: Shape, step: int = PARTS_AT_ONCE) -> Iterator[int]:
    """Yield how many parts of a message were counted so far, after each `step` parts and at its end.

    A part is one field with its value, in the message or in a message within it. Bytes that are no message are counted
    as far as they can be read; decoding them reports the error.
    """
    count, at, end = 0, 0, len(data)
    outer: list[tuple[int, Shape]] = []
    try:
        while at < end or outer:
            if at >= end:
                end, shape = outer.pop()
                continue
            tag = data[at]
            at += 1
            if tag > 127:
                tag, at = _varint(data, at - 1)
            count += 1
            if count % step == 0:
                yield count
            kind = tag & 7
            if kind == 2:
                size = data[at]
                at += 1
                if size > 127:
                    size, at = _varint(data, at - 1)
                inner = shape.inner(tag >> 3)
                if inner is None:
                    at += size
                elif size:
                    outer.append((end, shape))
                    end, shape = at + size, inner
            elif kind == 0:
                while data[at] > 127:
                    at += 1
                at += 1
            else:
                at += _FIXED[kind]
    except (IndexError, KeyError):
        pass
    yield count


# How long values are whose length the kind of the field says. Groups have a mark at both ends.
_FIXED = {1: 8, 3: 0, 4: 0, 5: 4}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to ten bytes and where it ends. Raises IndexError for others."""
    value = 0
    for place in range(10):
        byte = data[at + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise IndexError
