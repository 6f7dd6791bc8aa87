"""DNS questions from bytes, and replies to bytes. Pure.

By hand, and not by a library: one question and perhaps an OPT record (RFC 6891) are all that is read, ten times quicker
so, and never in more time than the message is long (docs/decisions/0026-dns-messages.md). The bytes come from a
container and are hostile: whatever they are, `read` returns.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

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
_BEHIND_NAME = struct.Struct("!HHIH")  # type, class, TTL, length of data
# A question has no more records behind it (miekg/dns, acceptfunc.go): OPT and a signature are two additional ones.
_MOST_ANSWERS, _MOST_AUTHORITIES, _MOST_ADDITIONAL = 1, 1, 2
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
    made = Question(message, number, flags, section, kind, name)
    if answers or authorities or additional:
        if answers > _MOST_ANSWERS or authorities > _MOST_AUTHORITIES or additional > _MOST_ADDITIONAL:
            return refusal(message, FORMERR)
        for at in range(answers + authorities + additional):
            after = _read_record(made, end, additional=at >= answers + authorities)
            if after is None:
                return refusal(message, FORMERR)
            end = after
    if end < len(message):
        made.message = message[:end]
    return made


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


@lru_cache(maxsize=1024)  # a few hundred names are asked again and again
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


def _read_record(made: Question, at: int, *, additional: bool) -> int | None:
    """Take over what an OPT record says; any other record is passed by. Return where it ends, None where it is none."""
    message = made.message
    behind = _behind_name(message, at)
    if behind is None or behind + _BEHIND_NAME.size > len(message):
        return None
    kind, size, extended, length = _BEHIND_NAME.unpack_from(message, behind)
    end: int = behind + _BEHIND_NAME.size + length
    if end > len(message):
        return None
    if kind == OPT:
        if made.edns or not additional or behind != at + 1:  # twice, in the wrong place, or with a name
            return None
        made.edns, made.edns_version = True, extended >> 16 & 0xFF
        made.size = min(max(size, PLAIN_LIMIT), UDP_LIMIT)
    return end


def _behind_name(message: bytes, at: int) -> int | None:
    """Return where a name ends. Where a pointer leads is nobody's business here."""
    while at < len(message):
        length = message[at]
        if length >= 0xC0:
            return at + 2
        if length > 63:
            return None
        at += length + 1
        if not length:
            return at
    return None


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
    """Return a reply, whose records have the question's name and type. `records`: their data, all of one length."""
    flags = QR | RA | question.flags & (RD | CD) | code & 0x0F | (TC if truncated else 0)
    parts = [_HEADER.pack(question.id, flags, 1, len(records), 0, 1 if question.edns else 0), question.section]
    if records:
        before = _RECORD.pack(_POINTER, question.kind, IN, ttl, len(records[0]))
        parts += (before, before.join(records))
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
