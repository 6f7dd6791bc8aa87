"""DNS questions from bytes, and replies to bytes: the short path for what resolvers really send. Pure.

One question, and behind it nothing or one OPT record (RFC 6891): that is what every resolver sends, and it is read here
by hand, ten times quicker than by a library. A question that has other records is given to `irregular`. The bytes come
from a container and are hostile: whatever they are, `read` returns.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from shoal.errors import InvalidArgument
from shoal.network.names import irregular

A, PTR, MX, AAAA, OPT = 1, 12, 15, 28, 41
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

TTL = 600  # seconds: libnetwork's respTTL
QR, TC, RD, RA, CD = 0x8000, 0x0200, 0x0100, 0x0080, 0x0010
OPCODE = 0x7800

# What a client can be sent by UDP that says nothing of its own, the most that it can say (a datagram's payload), and
# what goes through TCP.
PLAIN_LIMIT, UDP_LIMIT, TCP_LIMIT = 512, 65_507, 65_535
# What we say that we take by UDP: the size that the DNS flag day of 2020 settled on.
_OWN_SIZE = 1232

_HEADER = struct.Struct("!6H")
_TWO = struct.Struct("!HH")
_EDNS = struct.Struct("!BHHIH")  # root, type, size, extended rcode with version and flags, length of options
_POINTER = b"\xc0\x0c"  # to the question's name, which is always at 12
_RECORD = struct.Struct("!2sHHIH")


@dataclass(slots=True)
class Question:
    """A question that can be answered or asked outside."""

    message: bytes  # as it came, without what is behind its end
    id: int
    flags: int
    section: bytes  # the question's own bytes: name, type, class
    kind: int
    # In lower case, without the last dot. None: no directory can have it (of another class, or not ASCII, or with a dot
    # inside a label).
    name: str | None
    edns: bool = False
    edns_version: int = 0
    size: int = PLAIN_LIMIT  # the largest reply by UDP

    @property
    def end(self) -> int:
        """Where the question section ends in the message."""
        return 12 + len(self.section)


def read(message: bytes) -> Question | bytes | None:
    """Return the question, or the reply to what is none, or None for what deserves no reply.

    Who is refused with what: miekg/dns, which Docker uses (acceptfunc.go).
    """
    if len(message) < 12:
        return None
    number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(message)
    if flags & QR:
        return None  # a reply: two servers would answer each other for ever
    if flags & OPCODE:
        return refusal(message, NOTIMP)
    section = section_at(message) if questions == 1 else None
    if section is None:
        return refusal(message, FORMERR)
    kind, family = _TWO.unpack_from(section, len(section) - 4)
    end = 12 + len(section)
    name = _name(section) if family == IN else None
    if not answers and not authorities:
        if not additional:
            return Question(message if end == len(message) else message[:end], number, flags, section, kind, name)
        if additional == 1 and (edns := _edns(message, end)):
            end, size, version = edns
            cut = message if end == len(message) else message[:end]
            return Question(cut, number, flags, section, kind, name, True, version, size)
    try:
        found = irregular.edns(message)
    except InvalidArgument:
        return refusal(message, FORMERR)
    if found is None:
        return Question(message, number, flags, section, kind, name)
    size, version = found
    return Question(message, number, flags, section, kind, name, True, version, _within(size))


def section_at(message: bytes) -> bytes | None:
    """Return the bytes of the first question, name, type and class; None where they are none."""
    at = 12
    length = len(message)
    while at < length:
        label = message[at]
        if not label:
            # A name has 255 bytes at most (RFC 1035), with the last zero.
            return message[12 : at + 5] if at + 5 <= length and at <= 12 + 254 else None
        if label > 63:  # a pointer: there is no earlier name that it could lead to
            return None
        at += label + 1
    return None


def _name(section: bytes) -> str | None:
    labels = []
    at = 0
    while label := section[at]:
        labels.append(section[at + 1 : at + 1 + label])
        at += label + 1
    name = b".".join(labels)
    if not name.isascii() or name.count(b".") != len(labels) - 1:
        return None  # the root, too, which has no labels
    return name.lower().decode("ascii")


def _edns(message: bytes, at: int) -> tuple[int, int, int] | None:
    """Return the end of an OPT record, the size and the version that it tells; None where there is none."""
    if len(message) < at + _EDNS.size:
        return None
    root, kind, size, extended, length = _EDNS.unpack_from(message, at)
    end = at + _EDNS.size + length
    if root or kind != OPT or end > len(message):
        return None
    return end, _within(size), extended >> 16 & 0xFF


def _within(size: int) -> int:
    return min(max(size, PLAIN_LIMIT), UDP_LIMIT)


def refusal(message: bytes, code: int) -> bytes:
    """Return the reply to a message of which no more than the header counts."""
    number, flags = _TWO.unpack_from(message)
    return _HEADER.pack(number, QR | flags & (OPCODE | RD | CD) | code, 0, 0, 0, 0)


def room(question: Question, limit: int, size: int) -> int:
    """Return how many records with so many bytes of data fit into a reply."""
    return (limit - question.end - (_EDNS.size if question.edns else 0)) // (_RECORD.size + size)


def reply(
    question: Question, code: int = NOERROR, records: Sequence[bytes] = (), *, truncated: bool = False, ttl: int = TTL
) -> bytes:
    """Return a reply, whose records have the question's name and type. `records`: their data."""
    flags = QR | RA | question.flags & (RD | CD) | code & 0x0F | (TC if truncated else 0)
    parts = [_HEADER.pack(question.id, flags, 1, len(records), 0, 1 if question.edns else 0), question.section]
    for data in records:
        parts.append(_RECORD.pack(_POINTER, question.kind, IN, ttl, len(data)))
        parts.append(data)
    if question.edns:
        parts.append(_EDNS.pack(0, OPT, _OWN_SIZE, code >> 4 << 24, 0))
    return b"".join(parts)


def wire_name(name: str) -> bytes | None:
    """Return a name as it stands in a record; None where it cannot stand there."""
    try:
        labels = [label.encode("ascii") for label in name.split(".")]
    except UnicodeEncodeError:
        return None
    if not all(0 < len(label) <= 63 for label in labels):
        return None
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return wire if len(wire) <= 255 else None
