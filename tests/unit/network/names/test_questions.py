"""Questions from bytes and replies to bytes. dnslib, an independent library, reads and writes the same."""

import random
import struct

import dnslib
import pytest
from dnslib import EDNS0, QTYPE, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.network.names import questions
from shoal.network.names.questions import AAAA, FORMERR, NOTIMP, PTR, UDP_LIMIT, A, Question, read, reply, wire_name

labels = st.one_of(st.text("azAZ09-_", min_size=1, max_size=4), st.sampled_from(["a" * 63, "Web", "tasks"]))
names = st.lists(labels, min_size=1, max_size=5).map(".".join).filter(lambda name: len(name) <= 253)
fewer = settings(max_examples=50)
kinds = st.sampled_from([1, 28, 12, 15, 33, 16, 65, 255, 2, 6])


def asked(name: str, kind: int = A, **fields: int) -> bytes:
    record = DNSRecord(DNSHeader(id=7, rd=1, **fields), q=DNSQuestion(name, kind))
    return bytes(record.pack())


def question(message: bytes) -> Question:
    found = read(message)
    assert isinstance(found, Question)
    return found


def test_a_plain_question() -> None:
    message = asked("Web.Net", AAAA)
    assert read(message) == Question(message, 7, 0x0100, b"\3Web\3Net\0\0\x1c\0\1", AAAA, "web.net")


@given(names, kinds, st.integers(0, 65535), st.booleans(), st.booleans())
def test_dnslib_and_the_short_path_agree_on_questions(name: str, kind: int, number: int, rd: bool, cd: bool) -> None:
    header = DNSHeader(id=number, rd=int(rd), cd=int(cd), aa=0, ra=0)
    message = bytes(DNSRecord(header, q=DNSQuestion(name, kind)).pack())
    found = question(message)
    theirs = DNSRecord.parse(message)
    assert found.name == str(theirs.q.qname).rstrip(".").lower()
    assert (found.id, found.kind) == (theirs.header.id, theirs.q.qtype)
    assert found.message == message
    assert (bool(found.flags & 0x0100), bool(found.flags & 0x0010)) == (rd, cd)


@fewer
@given(names, kinds, st.integers(0, 65535), st.integers(0, 255), st.booleans(), st.binary(max_size=40))
def test_dnslib_and_the_short_path_agree_on_edns(
    name: str, kind: int, size: int, version: int, dnssec: bool, option: bytes
) -> None:
    made = DNSRecord(DNSHeader(id=7), q=DNSQuestion(name, kind))
    made.add_ar(
        EDNS0(udp_len=size, version=version, flags="do" if dnssec else "", opts=[dnslib.EDNSOption(10, option)])
    )
    message = bytes(made.pack())
    found = question(message)
    assert (found.edns, found.edns_version) == (True, version)
    assert found.size == min(max(size, 512), UDP_LIMIT)
    assert found.message == message
    theirs = DNSRecord.parse(message).ar[0]
    assert (theirs.rclass, theirs.ttl >> 16 & 0xFF) == (size, version)


def test_other_records_behind_the_question_are_passed_by() -> None:
    made = DNSRecord(DNSHeader(id=7), q=DNSQuestion("web"))
    made.add_ar(dnslib.RR("x", QTYPE.TXT, rdata=dnslib.TXT("y")), EDNS0(udp_len=4000))
    found = question(bytes(made.pack()))
    assert (found.edns, found.size, found.name) == (True, 4000, "web")
    made = DNSRecord(DNSHeader(id=7), q=DNSQuestion("web"), rr=[dnslib.RR("x", QTYPE.A, rdata=dnslib.A("1.2.3.4"))])
    assert not question(bytes(made.pack())).edns
    for wrong in ([EDNS0(), EDNS0()], [dnslib.RR("x", rdata=dnslib.A("1.2.3.4"))] * 3, [dnslib.RR("x", 41, rdata=[])]):
        made = DNSRecord(DNSHeader(id=7), q=DNSQuestion("web"), ar=wrong)
        assert read(bytes(made.pack())) == questions.refusal(bytes(made.pack()), FORMERR)


def test_what_is_no_question_is_refused_or_ignored() -> None:
    good = asked("web")
    assert read(good[:11]) is None
    assert read(asked("web", qr=1)) is None
    notify = asked("web", opcode=4)
    assert read(notify) == questions.refusal(notify, NOTIMP)
    assert DNSRecord.parse(questions.refusal(notify, NOTIMP)).header.opcode == 4
    for bad in (
        good[:-1],  # cut off
        good[:4] + b"\0\2" + good[6:],  # two questions, of which one is there
        good[:4] + b"\0\0" + good[6:],
        good[:12] + b"\xc0\x0c\0\1\0\1",  # a name that points at itself
        good[:12] + b"\x40" + bytes(70),
        good[:12] + b"\x3f" * 300,
        good[:12] + b"\1a" * 127 + b"\1b\0\0\1\0\1",  # 257 bytes of name
    ):
        answer = read(bad)
        assert isinstance(answer, bytes)
        assert DNSRecord.parse(answer).header.rcode == FORMERR
    longest = good[:12] + b"\1a" * 127 + b"\0\0\1\0\1"  # 255 bytes
    assert question(longest).name == ".".join("a" * 127)


def test_names_that_no_directory_has() -> None:
    head = asked("web")[:12]
    assert question(head + b"\0\0\1\0\1").name is None  # the root
    assert question(head + b"\3a.b\0\0\1\0\1").name is None  # a dot inside a label is no end of it
    assert question(head + b"\3\xffab\0\0\1\0\1").name is None
    assert question(head + b"\3web\0\0\1\0\3").name is None  # class CHAOS


def test_what_is_behind_the_end_is_cut_off() -> None:
    message = asked("web")
    assert question(message + b"rest").message == message


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(message: bytes) -> None:
    read(message)


@given(st.binary(max_size=80), st.integers(0, 3), st.integers(0, 3), st.integers(0, 300))
def test_bytes_that_begin_like_a_question_are_read_without_an_error(
    rest: bytes, answers: int, additional: int, cut: int
) -> None:
    start = struct.pack("!6H", 1, 0x0100, 1, answers, 0, additional) + b"\3web\0\0\1\0\1"
    read((start + rest)[:cut])


@fewer
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_a_message_with_some_bytes_changed_is_read_without_an_error(seed: int, changes: int) -> None:
    rng = random.Random(seed)
    made = DNSRecord(DNSHeader(id=7), q=DNSQuestion("a.web"))
    made.add_ar(dnslib.RR("x.web", QTYPE.SRV, rdata=dnslib.SRV(1, 2, 3, "y.web")), EDNS0(udp_len=4000))
    message = bytearray(made.pack())
    for _ in range(changes):
        message[rng.randrange(4, len(message))] = rng.randrange(256)
    read(bytes(message))


def test_names_that_point_at_names_are_not_followed() -> None:
    """A library that follows them takes 1,000 steps for each name."""
    start = struct.pack("!6H", 1, 0, 1, 0, 0, 2) + b"\1a\0\0\1\0\1"
    chain = b"".join(struct.pack("!H", 0xC000 | (18 + 2 * n)) for n in range(500))
    text = b"\xc0\x20\0\x10\0\1\0\0\0\0" + len(chain).to_bytes(2, "big") + chain
    assert isinstance(read(start + text + b"\0\0\x29\x10\0\0\0\0\0\0\0"), Question)


def test_dnslib_reads_replies_as_they_are_meant() -> None:
    addresses = [bytes([10, 0, 0, n]) for n in range(3)]
    theirs = DNSRecord.parse(reply(question(asked("Web", A, cd=1)), records=addresses))
    head = theirs.header
    assert (head.id, head.qr, head.aa, head.tc, head.rd, head.ra, head.cd, head.rcode) == (7, 1, 0, 0, 1, 1, 1, 0)
    assert str(theirs.q.qname) == "Web."  # as it was asked
    assert [(str(one.rname), one.rtype, one.rclass, one.ttl, str(one.rdata)) for one in theirs.rr] == [
        ("Web.", A, 1, 600, f"10.0.0.{n}") for n in range(3)
    ]
    assert not theirs.ar


def test_a_reply_to_edns_has_an_opt_record() -> None:
    made = DNSRecord(DNSHeader(id=7), q=DNSQuestion("web"))
    made.add_ar(EDNS0(udp_len=4096))
    message = question(bytes(made.pack()))
    theirs = DNSRecord.parse(reply(message, questions.BADVERS))
    assert (theirs.header.rcode, theirs.ar[0].rtype, theirs.ar[0].ttl >> 24) == (0, 41, 1)
    assert theirs.ar[0].rclass == 1232


@fewer
@given(names, st.integers(0, 80), st.booleans(), st.integers(512, 1500), st.sampled_from([A, AAAA]))
def test_as_many_records_as_fit_are_no_longer_than_the_limit(
    name: str, count: int, edns: bool, limit: int, kind: int
) -> None:
    made = DNSRecord(DNSHeader(id=7), q=DNSQuestion(name, kind))
    if edns:
        made.add_ar(EDNS0(udp_len=limit))
    found = question(bytes(made.pack()))
    size = 4 if kind == A else 16
    fit = questions.room(found, limit, size)
    assert fit > 0
    assert (
        len(reply(found, records=[bytes(size)] * fit)) <= limit < len(reply(found, records=[bytes(size)] * (fit + 1)))
    )
    theirs = DNSRecord.parse(reply(found, records=[bytes(size)] * min(count, fit), truncated=count > fit))
    assert len(theirs.rr) == min(count, fit)
    assert bool(theirs.header.tc) == (count > fit)


@fewer
@given(names)
def test_dnslib_writes_names_alike(name: str) -> None:
    buffer = dnslib.DNSBuffer()
    buffer.encode_name(name)
    assert wire_name(name) == bytes(buffer.data)


@pytest.mark.parametrize("name", ["", "a..b", ".a", "a" * 64, "ü", ".".join(["a" * 63] * 4)])
def test_names_that_cannot_stand_in_a_record(name: str) -> None:
    assert wire_name(name) is None


def test_a_pointer_record_holds_a_whole_name() -> None:
    wire = wire_name("web.1.net")
    assert wire
    theirs = DNSRecord.parse(reply(question(asked("3.1.0.10.in-addr.arpa", PTR)), records=[wire]))
    assert str(theirs.rr[0].rdata) == "web.1.net."
