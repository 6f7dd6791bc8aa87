"""What is said of a table of tracked connections that fills."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.network.connections import HOLD, Fullness, Level, Table, read

STATISTICS = (
    "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error\n"
    "00000002  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000010 00000001 0\n"
    "00000002  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000002 0\n"
)


def at(percent: int, dropped: int = 0) -> Table:
    return Table(percent * 10, 1000, dropped)


def test_the_kernels_files_are_read() -> None:
    assert read("17\n", "262144\n", STATISTICS) == Table(17, 262144, 19)
    assert read("17\n", "262144\n") == Table(17, 262144)
    for count, limit in (("", ""), ("x", "5"), ("5", "0"), ("5", "-1")):
        assert read(count, limit) is None


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=200))
def test_any_files_are_read_or_not(count: str, limit: str, statistics: str) -> None:
    read(count, limit, statistics)


def test_it_is_said_once_and_taken_back_once_there_is_room() -> None:
    fullness = Fullness()
    said = [fullness.look(at(percent), now) for now, percent in enumerate([10, 89, 90, 95, 89, 91, 100, 99, 100])]
    assert [bool(words) for words in said] == [False, False, True, False, False, False, True, False, False]
    assert "is nearly full (900 of 1000)" in said[2]
    assert "is full (1000 of 1000)" in said[6]
    assert "sysctl -w net.netfilter.nf_conntrack_max=2000" in said[6]
    assert [said[6] in one for one in fullness.warnings] == [True]
    later = 9 + HOLD
    assert fullness.look(at(80), later) == ""
    assert fullness.warnings
    assert fullness.look(at(74), later) == "the table of tracked connections has room again: 740 of 1000"
    assert fullness.warnings == ()
    assert fullness.look(at(74), later) == ""


def test_connections_that_were_lost_between_two_looks_are_said() -> None:
    fullness = Fullness()
    assert fullness.look(at(10, dropped=500), 0.0) == ""  # before this daemon was there
    words = fullness.look(at(80, dropped=507), 10.0)
    assert "is full (800 of 1000, 7 connections were lost)" in words
    assert fullness.level is Level.FULL
    for now in range(20, int(HOLD), 10):  # each moment of it is not said anew
        assert fullness.look(at(80, dropped=507 + now), float(now)) == ""
    assert fullness.look(at(10, dropped=507 + 290), 3 * HOLD).startswith("the table of tracked connections has room")


def test_connections_that_a_table_with_room_loses_are_no_sign_of_a_full_one() -> None:
    fullness = Fullness()
    fullness.look(at(10), 0.0)
    assert fullness.look(at(74, dropped=7), 10.0) == ""
    assert fullness.level is Level.CALM


def test_where_nothing_is_tracked_nothing_is_said() -> None:
    fullness = Fullness()
    fullness.look(at(100), 0.0)
    assert fullness.look(None, 1.0) == ""
    assert (fullness.warnings, fullness.table) == ((), None)
