"""Values as old msgpack has them, and bytes that are no such values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.network.gossip.msgpack import MAX_ITEMS, Reader, pack_map

FIELDS = st.dictionaries(
    st.text(st.characters(codec="ascii"), max_size=40),
    st.one_of(st.none(), st.booleans(), st.integers(0, 2**64 - 1), st.binary(max_size=300)),
    max_size=15,
)


@given(FIELDS)
def test_what_is_written_is_read_again(fields: dict[str, bool | int | bytes | None]) -> None:
    packed = pack_map(fields)
    reader = Reader(packed + b"rest")
    assert reader.read_map() == fields
    assert reader.offset == len(packed)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    reader = Reader(data)
    try:
        reader.read_map()
    except InvalidArgument:
        return
    assert reader.offset <= len(data)


@pytest.mark.parametrize(
    ("value", "packed"),
    [
        (127, "7f"), (128, "cc80"), (256, "cd0100"), (65536, "ce00010000"), (2**32, "cf0000000100000000"),
        (b"", "a0"), (b"x" * 31, "bf" + "78" * 31), (b"x" * 32, "da0020" + "78" * 32),
        (b"x" * 65536, "db00010000" + "78" * 65536), (None, "c0"), (True, "c3"), (False, "c2"),
    ],
)  # fmt: skip
def test_each_value_has_its_shortest_old_form(value: bool | int | bytes | None, packed: str) -> None:
    assert pack_map({"k": value}).hex() == "81a16b" + packed


@pytest.mark.parametrize(
    ("packed", "value"),
    [
        ("d1012c", 300), ("d20001 1170", 70000), ("d30000000000011170", 70000), ("d0ff", -1), ("ff", -1),
        ("d90161", b"a"), ("c40161", b"a"), ("c5000161", b"a"), ("c60000000161", b"a"), ("cb3ff0000000000000", 1.0),
        ("92c0 01", [None, 1]), ("dc000101", [1]), ("81a16101", {"a": 1}), ("de0001a16101", {"a": 1}),
    ],
)  # fmt: skip
def test_forms_of_other_writers_are_read(packed: str, value: object) -> None:
    assert Reader(bytes.fromhex("81a16b" + packed)).read_map() == {"k": value}


def test_fields_are_sorted_as_go_sorts_them() -> None:
    assert pack_map({"b": 1, "B": 2, "a": 3}).hex() == "83" + "a14202" + "a16103" + "a16201"


@pytest.mark.parametrize(
    "packed",
    ["", "81", "81a1", "8101", "90", "c0", "81a16bc1", "81a16bd4", "81a16bdaffff", "81a16bdbffffffff61", "dfffffffff"],
)
def test_what_is_cut_off_or_unknown_is_refused(packed: str) -> None:
    with pytest.raises(InvalidArgument):
        Reader(bytes.fromhex(packed)).read_map()


def test_nesting_and_counts_have_limits() -> None:
    with pytest.raises(InvalidArgument, match="deep"):
        Reader(bytes.fromhex("81a16b") + b"\x91" * 1000).read_map()
    with pytest.raises(InvalidArgument, match="too many"):
        Reader(b"\xde" + (MAX_ITEMS + 1).to_bytes(2, "big") + b"\xa0\xc0" * 100).read_map()


def test_taking_is_within_the_bytes() -> None:
    reader = Reader(b"abc")
    assert reader.take(2) == b"ab"
    for count in (2, -1):
        with pytest.raises(InvalidArgument):
            reader.take(count)


def test_number_beyond_64_bits_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        pack_map({"k": 1 << 64})
