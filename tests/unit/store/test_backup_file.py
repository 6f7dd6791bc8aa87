import contextlib
import hashlib
import json
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.store.backup_file import ABOUT, FILE, OBJECT, About, DamagedBackup, Decoder, Encoder, Record, Summary

WHO = About(7, 1_700_000_000.0, cluster_id="c", node_id="n", hostname="host", made_by="0.1.0", is_locked=False)
RECORDS = [
    Record(FILE, b"key", b"secret"),
    Record(OBJECT, b"objects/services/s", b"x" * 3000),
    *(Record(OBJECT, b"objects/tasks/t%d" % number, b"") for number in range(3)),
]


def made(records: list[Record] = RECORDS, about: About = WHO) -> tuple[bytes, Summary]:
    encoder = Encoder()
    data = encoder.begin() + encoder.records(records)
    last, summary = encoder.end(about)
    return data + last, summary


def decoded(data: bytes, step: int = 1000) -> tuple[list[Record], Summary]:
    decoder, found = Decoder(), []
    for at in range(0, len(data), step):
        found += decoder.feed(data[at : at + step])
    return found, decoder.end()


@given(st.integers(1, 4000))
def test_what_was_written_is_read_in_pieces_of_any_size(step: int) -> None:
    data, summary = made()
    found, read = decoded(data, step)
    assert found[:-1] == RECORDS
    assert found[-1].kind == ABOUT
    assert read == summary
    assert (summary.objects, summary.total, summary.size_bytes) == ({"services": 1, "tasks": 3}, 4, len(data))
    assert summary.about == WHO


@given(st.data())
def test_a_file_that_was_changed_anywhere_is_refused(choice: st.DataObject) -> None:
    data, _ = made()
    at = choice.draw(st.integers(0, len(data) - 1))
    flipped = data[:at] + bytes([data[at] ^ choice.draw(st.integers(1, 255))]) + data[at + 1 :]
    with pytest.raises(DamagedBackup):
        decoded(flipped)


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=50))
def test_a_file_that_was_cut_short_or_made_longer_is_refused(length: int, more: bytes) -> None:
    data, _ = made()
    for wrong in (data[: length % len(data)], data + more):
        with pytest.raises(DamagedBackup):
            decoded(wrong)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "no backup of a swarm"),
        (b"x", "no backup of a swarm"),
        (b"PK\x03\x04" + b"x" * 100, "no backup of a swarm"),
        (b"shoal back", "cut short"),
        (b"shoal backup 1\n", "cut short"),
        (b"shoal backup 2\n" + b"x" * 100, "a format that this version does not know"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, text: str) -> None:
    with pytest.raises(DamagedBackup, match=text):
        decoded(data)


def test_an_absurd_length_fills_no_memory() -> None:
    decoder = Decoder()
    with pytest.raises(DamagedBackup, match="damaged"):
        decoder.feed(b"shoal backup 1\n" + b"o" + b"\0\0\0\1" + b"\x7f" + b"\0" * 7 + b"x" * 100)


def sealed(*records: Record) -> bytes:
    """Return a file whose digest is right, whatever is in it."""
    encoder = Encoder()
    data = encoder.begin() + encoder.records(records)
    return data + hashlib.sha256(data).digest()


def about(**changes: object) -> Record:
    told = {name: getattr(WHO, name) for name in About.__slots__}
    return Record(ABOUT, b"", json.dumps({**told, **changes}).encode())


def test_a_file_with_the_right_digest_is_read() -> None:
    assert decoded(sealed(*RECORDS, about()))[1].about == WHO


@pytest.mark.parametrize(
    "told",
    [
        {"version": "7"},
        {"version": True},
        {"version": -1},
        {"version": 2**63},
        {"taken_at": 1e300},
        {"taken_at": None},
        {"taken_at": 10**400},
        {"taken_at": True},
        {"hostname": 7},
        {"hostname": "x" * 2000},
        {"is_locked": "yes"},
    ],
)
def test_what_nobody_says_of_a_backup_is_refused_though_its_digest_is_right(told: dict[str, object]) -> None:
    with pytest.raises(DamagedBackup):
        decoded(sealed(about(**told)))


@pytest.mark.parametrize("text", [b"{}", b"[]", b'"x"', b"7", b"", b"[" * 60_000, b'{"version": ' + b"9" * 5000 + b"}"])
def test_facts_that_are_none_are_refused_though_the_digest_is_right(text: bytes) -> None:
    with pytest.raises(DamagedBackup):
        decoded(sealed(Record(ABOUT, b"", text)))


@pytest.mark.parametrize(
    "records",
    [
        [about()] * 2,
        [about(), RECORDS[0]],
        [RECORDS[0], RECORDS[0], about()],
        [RECORDS[1], RECORDS[1], about()],
        [RECORDS[3], RECORDS[1], about()],  # not in order
        [Record(OBJECT, b"", b""), about()],
        [*(Record(FILE, b"file %d" % number, b"") for number in range(100)), about()],
        [*(Record(OBJECT, b"objects/%05d/x" % number, b"") for number in range(1000)), about()],
        [Record(b"z", b"", b""), about()],
        [],
    ],
    ids=[
        "facts twice",
        "after the facts",
        "file twice",
        "object twice",
        "order",
        "no name",
        "files",
        "kinds",
        "kind",
        "0",
    ],
)
def test_what_no_swarm_writes_is_refused_though_the_digest_is_right(records: list[Record]) -> None:
    with pytest.raises(DamagedBackup):
        decoded(sealed(*records))


@pytest.mark.parametrize(("kind", "size"), [(FILE, 2 << 20), (OBJECT, 5 << 20), (ABOUT, 1 << 20), (b"z", 1)])
def test_a_length_is_refused_before_so_much_is_read(kind: bytes, size: int) -> None:
    decoder = Decoder()
    with pytest.raises(DamagedBackup):
        decoder.feed(b"shoal backup 1\n" + struct.pack(">cIQ", kind, 1, size) + b"x" * 100)


def test_millions_of_empty_objects_take_little_memory_and_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.store.backup_file._MAX_OBJECTS", 50_000)
    decoder = Decoder()
    decoder.feed(b"shoal backup 1\n")

    def feed() -> None:
        for at in range(0, 100_000, 1000):
            names = [b"objects/tasks/%09d" % number for number in range(at, at + 1000)]
            decoder.feed(b"".join(struct.pack(">cIQ", OBJECT, len(name), 0) + name for name in names))

    tracemalloc.start()
    try:
        with pytest.raises(DamagedBackup):
            feed()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@given(st.lists(st.tuples(st.sampled_from([FILE, OBJECT, ABOUT, b"?"]), st.binary(max_size=9), st.binary(max_size=9))))
def test_any_records_are_read_or_refused(records: list[tuple[bytes, bytes, bytes]]) -> None:
    with contextlib.suppress(DamagedBackup):
        decoded(sealed(*(Record(*each) for each in records), about()), step=7)


@given(st.binary(max_size=200))
def test_any_bytes_after_the_first_are_refused(data: bytes) -> None:
    with pytest.raises(DamagedBackup):
        decoded(b"shoal backup 1\n" + data)


def test_it_is_shown_with_names_in_dockers_manner() -> None:
    _, summary = made()
    shown = summary.shown()
    assert shown.pop("Digest") == f"sha256:{summary.digest}"
    assert shown == {
        "ClusterID": "c", "NodeID": "n", "Hostname": "host", "TakenAt": "2023-11-14T22:13:20.000+00:00",
        "MadeBy": "0.1.0", "Locked": False, "Version": 7, "Objects": {"services": 1, "tasks": 3},
        "Size": summary.size_bytes,
    }  # fmt: skip
