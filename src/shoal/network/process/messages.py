"""What `shoald` and the network process say to each other: a length, a kind, a JSON text.

Pure. Both are root on one host, but of one version only until the next upgrade, and a socket can break in the middle:
what is no message, or longer than any, is InvalidArgument.
"""

import json
import struct
from dataclasses import dataclass

from shoal.errors import InvalidArgument

# Of shoald's: the wanted state (a `Wanted`), what changed in it since the last one of this connection (`changes.py`),
# what is to be shown ({"what", "network"}), "make way for another program" ({"command": [...]}), "take all away and
# end".
WANTED, CHANGED, SHOW, REPLACE, STOP = "wanted", "changed", "show", "replace", "stop"
# Of the network process's: who it is ({"version", "pid", "changes": whether it understands CHANGED}), what was reached
# (a `Reached`), what was asked for, and why something was not done ({"message"}).
HELLO, REACHED, SHOWN, REFUSED = "hello", "reached", "shown", "refused"
# What can be shown: what is known of a network, what there is of it layer by layer, what was counted.
NETWORK, LAYERS, COUNTS = "network", "layers", "counts"
KINDS = frozenset({WANTED, CHANGED, SHOW, REPLACE, STOP, HELLO, REACHED, SHOWN, REFUSED})

LENGTH = struct.Struct("!I")
# 10,000 sandboxes of ten endpoints each are some 40 MB.
MAX_BYTES = 1 << 27


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `body` is the JSON text of its kind."""

    kind: str
    body: bytes = b"{}"


def encode(message: Message) -> bytes:
    """Return a message as it goes over the socket. InvalidArgument when it is too long."""
    rest = message.kind.encode() + b"\n" + message.body
    if len(rest) > MAX_BYTES:
        raise InvalidArgument(f"a message to the network process would have {len(rest)} bytes")
    return LENGTH.pack(len(rest)) + rest


def length(header: bytes) -> int:
    """Return how many bytes follow a header of four. InvalidArgument when they are too many."""
    (count,) = LENGTH.unpack(header)
    if count > MAX_BYTES:
        raise InvalidArgument(f"a message of the network process would have {count} bytes")
    return int(count)


def decode(rest: bytes) -> Message:
    """Read what follows a header. InvalidArgument for an unknown kind; the body is read by who wants it."""
    kind, newline, body = rest.partition(b"\n")
    name = kind[:40].decode(errors="replace")
    if not newline or name not in KINDS:
        raise InvalidArgument(f"a message of the network process has an unknown kind: {name!r}")
    return Message(name, body)


def fields(message: Message) -> dict[str, object]:
    """Return the body of a small message as an object. InvalidArgument."""
    try:
        value = json.loads(message.body)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body of {message.kind} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidArgument(f"the body of {message.kind} is no object")
    return value


def small(kind: str, **values: object) -> Message:
    """Return a small message."""
    return Message(kind, json.dumps(values).encode())
