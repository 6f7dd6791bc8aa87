"""Frames are found by their headers, in whatever pieces the bytes come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.manager.port.frames import END_STREAM, MAX_FRAME_BYTES, PADDED, Frame, Frames, Kind

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + (1).to_bytes(4, "big") + payload


def cut(frames: Frames) -> list[Frame]:
    found = []
    while (each := frames.next()) is not None:
        found.append(each)
    return found


def test_frames_come_out_whole() -> None:
    frames = Frames()
    first, second = frame(Kind.SETTINGS), frame(Kind.DATA, b"abc", END_STREAM)
    frames.add(PREFACE + first + second[:5])
    assert cut(frames) == [Frame(PREFACE), Frame(first, Kind.SETTINGS, 0)]
    frames.add(second[5:])
    assert cut(frames) == [Frame(second, Kind.DATA, END_STREAM)]
    assert len(frames) == 0


def test_a_frame_that_is_too_large_comes_out_as_it_is_for_the_library_to_refuse() -> None:
    frames = Frames()
    frames.add(PREFACE)
    cut(frames)
    begun = (MAX_FRAME_BYTES + 1).to_bytes(3, "big") + bytes(6) + b"begun"
    frames.add(begun)
    assert cut(frames) == [Frame(begun)]


@pytest.mark.parametrize(
    ("data", "empty"),
    [
        (frame(Kind.DATA), True),
        (frame(Kind.DATA, flags=END_STREAM), False),
        (frame(Kind.DATA, b"x"), False),
        (frame(Kind.DATA, b"\x04" + b"\0" * 4, PADDED), True),
        (frame(Kind.DATA, b"\x04" + b"x" + b"\0" * 4, PADDED), False),
        (frame(Kind.DATA, b"", PADDED), True),
        (frame(Kind.PING, b"\0" * 8), False),
    ],
)
def test_data_without_data_is_told(data: bytes, empty: bool) -> None:
    assert Frame(data, data[3], data[4]).is_empty is empty


@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=8),
    st.lists(st.integers(0, 60), max_size=20),
)
def test_pieces_of_any_size_give_the_same_frames(wanted: list[tuple[int, bytes]], sizes: list[int]) -> None:
    data = PREFACE + b"".join(frame(kind, payload) for kind, payload in wanted)
    frames, found = Frames(), list[Frame]()
    for size in [*sizes, len(data)]:
        frames.add(data[:size])
        data = data[size:]
        found += cut(frames)
    told = [each for each in found if each.kind is not None]
    assert [(each.kind, each.data[9:]) for each in told] == wanted
    assert b"".join(each.data for each in found if each.kind is None) == PREFACE
