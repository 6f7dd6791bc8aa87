"""Decompression of what a writer of the same format makes, of bombs, and of any bytes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.network.gossip.lzw import CLEAR, END, FEWEST_BITS, FIRST, MOST_BITS, decompress


def compress(data: bytes) -> bytes:
    """Compress as Go's compress/lzw does: least significant bit first, with a clear code before the table is full."""
    codes: list[tuple[int, int]] = [(CLEAR, FEWEST_BITS)]
    table = {bytes((value,)): value for value in range(256)}
    following, width, prefix = FIRST, FEWEST_BITS, b""
    # The reader learns a code only when it reads the next one, so its code width changes one code later.
    for byte in data:
        longer = prefix + bytes((byte,))
        if longer in table:
            prefix = longer
            continue
        codes.append((table[prefix], width))
        if following == (1 << MOST_BITS) - 1:
            codes.append((CLEAR, width))
            table = {bytes((value,)): value for value in range(256)}
            following, width = FIRST, FEWEST_BITS
        else:
            table[longer] = following
            if following == 1 << width:
                width += 1
            following += 1
        prefix = bytes((byte,))
    if prefix:
        codes.append((table[prefix], width))
        if following == 1 << width and width < MOST_BITS:
            width += 1
    codes.append((END, width))
    bits = held = 0
    out = bytearray()
    for code, size in codes:
        bits |= code << held
        held += size
        while held >= 8:
            out.append(bits & 255)
            bits >>= 8
            held -= 8
    if held:
        out.append(bits & 255)
    return bytes(out)


def test_bytes_of_the_real_one() -> None:
    packed = bytes.fromhex("00a93c1152e48914274fa808246810a1c281050f265c18d16140")
    assert decompress(packed, 100) == b"TOBEORNOT" * 4
    assert compress(b"TOBEORNOT" * 4) == packed


@given(st.one_of(st.binary(max_size=2000), st.text("ab", max_size=3000).map(str.encode)))
def test_what_is_written_is_read_again(data: bytes) -> None:
    assert decompress(compress(data), len(data)) == data


@pytest.mark.parametrize("size", [4000, 20_000, 60_000])
def test_incompressible_data_fills_the_table_many_times(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert decompress(compress(data), size) == data


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        assert len(decompress(data, 1000)) <= 1000
    except InvalidArgument:
        pass


def test_bomb_ends_at_the_limit() -> None:
    bomb = compress(b"\0" * 1_000_000)
    assert len(bomb) < 5_000
    with pytest.raises(InvalidArgument, match="longer than 65536"):
        decompress(bomb, 65_536)


def test_data_without_its_end_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="does not end"):
        decompress(compress(b"hello")[:-2], 100)
