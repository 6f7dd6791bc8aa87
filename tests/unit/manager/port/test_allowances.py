"""What is too much on a connection, and what is not."""

import pytest

from shoal.manager.port.allowances import ALLOWANCES, UNBOUNDED, Bucket, Ledger, Rate, Role
from shoal.manager.port.frames import END_HEADERS, Frame, Kind


def frame(kind: int, size: int = 0, flags: int = 0) -> Frame:
    return Frame(bytes(9 + size), kind, flags)


CALL = frame(Kind.HEADERS, 100, END_HEADERS)


def first_excess(role: Role, *frames: Frame, rounds: int, every: float = 0.0) -> tuple[int, str] | None:
    """Return the round in which something became too much, and what it was."""
    ledger = Ledger(ALLOWANCES[role], 0.0)
    for number in range(rounds):
        for each in frames:
            excess = ledger.charge(each, number * every)
            if excess is not None:
                return number, excess
    return None


@pytest.mark.parametrize(
    ("frames", "excess"),
    [
        ((CALL,), (100, "calls")),
        ((CALL, frame(Kind.RST_STREAM, 4)), (20, "calls given up")),
        ((frame(Kind.SETTINGS, 6),), (200, "frames without content")),
        ((frame(Kind.PING, 8),), (200, "frames without content")),
        ((frame(Kind.PRIORITY, 5),), (200, "frames without content")),
        ((frame(Kind.WINDOW_UPDATE, 4),), (200, "frames without content")),
        ((frame(Kind.GOAWAY, 8),), (200, "frames without content")),
        ((frame(0xAA, 8),), (200, "frames without content")),
        ((frame(Kind.DATA),), (200, "frames without content")),
        ((frame(Kind.HEADERS, 100), frame(Kind.CONTINUATION, 0, END_HEADERS)), (100, "calls")),
        ((frame(Kind.CONTINUATION),), (200, "frames without content")),
        ((frame(Kind.CONTINUATION, 1000),), (16, "bytes of headers")),
        ((frame(Kind.DATA, 16_000),), (32, "bytes")),
    ],
)
def test_a_stranger_may_send_little(frames: tuple[Frame, ...], excess: tuple[int, str]) -> None:
    assert first_excess(Role.STRANGER, *frames, rounds=1000) == excess


def test_a_stranger_may_join_and_wait() -> None:
    whole = (CALL, frame(Kind.DATA, 1000, 1), frame(Kind.WINDOW_UPDATE, 4), frame(Kind.PING, 8))
    assert first_excess(Role.STRANGER, *whole, rounds=1000, every=0.2) is None


def test_an_agent_is_never_told_to_calm_down() -> None:
    # A status each millisecond for a second, then fifty a second, each answered and acknowledged.
    whole = (CALL, frame(Kind.DATA, 300, 1), *[frame(Kind.WINDOW_UPDATE, 4)] * 2, frame(Kind.PING, 8))
    assert first_excess(Role.WORKER, *whole, rounds=1000, every=0.001) is None
    assert first_excess(Role.WORKER, *whole, rounds=10_000, every=0.02) is None


def test_a_manager_carries_the_calls_of_a_thousand_nodes() -> None:
    whole = (CALL, frame(Kind.DATA, 300, 1), *[frame(Kind.WINDOW_UPDATE, 4)] * 2, frame(Kind.PING, 8))
    assert first_excess(Role.MANAGER, *whole, rounds=10_000, every=0.0005) is None


def test_a_worker_has_limits_too() -> None:
    for each in (CALL, frame(Kind.RST_STREAM, 4), frame(Kind.SETTINGS), frame(Kind.CONTINUATION, 100)):
        assert first_excess(Role.WORKER, each, rounds=25_000) is not None


def test_the_end_of_headers_begins_a_new_count() -> None:
    ledger = Ledger(ALLOWANCES[Role.WORKER], 0.0)
    for _ in range(20):
        assert ledger.charge(frame(Kind.HEADERS, 16_000), 0.0) is None
        assert ledger.charge(frame(Kind.CONTINUATION, 16_000, END_HEADERS), 0.0) is None


def test_the_preface_costs_nothing() -> None:
    assert Ledger(ALLOWANCES[Role.STRANGER], 0.0).charge(Frame(b"x" * 10_000_000), 0.0) is None


def test_a_bucket_fills_up_again_and_no_further() -> None:
    bucket = Bucket(Rate(2, 1))
    assert [bucket.take(1, 0.0) for _ in range(3)] == [True, True, False]
    assert bucket.wait(0.0) == pytest.approx(1.0)
    assert bucket.wait(1.5) == 0.0
    assert [bucket.take(1, 100.0) for _ in range(3)] == [True, True, False]


def test_what_is_unbounded_never_ends() -> None:
    bucket = Bucket(UNBOUNDED)
    assert bucket.take(1e18, 1.0)
    assert bucket.wait(2.0) == 0.0


def test_a_bucket_says_how_long_until_there_is_so_much() -> None:
    bucket = Bucket(Rate(3, 0.5), 0.0)
    assert bucket.lacks(3, 0.0) == 0.0
    bucket.spend(2, 0.0)
    assert bucket.lacks(1, 0.0) == 0.0
    assert bucket.lacks(2, 0.0) == 2.0
    assert bucket.lacks(2, 2.0) == 0.0
    assert bucket.lacks(3, 1000.0) == 0.0
