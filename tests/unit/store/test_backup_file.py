import json

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


@pytest.mark.parametrize(
    "about", [{}, [], "x", {"version": "7", "taken_at": 1.0}, {"version": 7, "taken_at": 1e300}, {"version": 7}]
)
def test_what_nobody_says_of_a_backup_is_refused_though_its_digest_is_right(about: object) -> None:
    encoder = Encoder()
    data = encoder.begin() + encoder.records([Record(ABOUT, b"", json.dumps(about).encode())])
    with pytest.raises(DamagedBackup):
        decoded(data + encoder.end(WHO)[0])


def test_it_is_shown_with_names_in_dockers_manner() -> None:
    _, summary = made()
    shown = summary.shown()
    assert shown.pop("Digest") == f"sha256:{summary.digest}"
    assert shown == {
        "ClusterID": "c", "NodeID": "n", "Hostname": "host", "TakenAt": "2023-11-14T22:13:20.000+00:00",
        "MadeBy": "0.1.0", "Locked": False, "Version": 7, "Objects": {"services": 1, "tasks": 3},
        "Size": summary.size_bytes,
    }  # fmt: skip
