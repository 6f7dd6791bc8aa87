"""Only a container's rows of ps are shown."""

import pytest

from shoal.errors import InvalidArgument
from shoal.runtime.top import choose

PS = """\
UID          PID    PPID  C STIME TTY          TIME CMD
root           1       0  0 07:00 ?        00:00:01 /sbin/init
root          42       1  0 07:01 ?        00:00:00 sh -c  echo  hi
"""


def test_rows_are_chosen_by_pid() -> None:
    titles, rows = choose(PS, frozenset({42}))
    assert titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert rows == [["root", "42", "1", "0", "07:01", "?", "00:00:00", "sh -c  echo  hi"]]


@pytest.mark.parametrize("pid", ["\u00b2", "9" * 5000])
def test_a_command_that_looks_like_more_rows_is_none(pid: str) -> None:
    forged = f"{PS}root 42 1 0 07:01 ? 00:00:00 sh\u2028root {pid} 1 0 07:01 ? 00:00:00 sh\n"
    assert [row[1] for row in choose(forged, frozenset({42}))[1]] == ["42", "42"]


def test_arguments_that_hide_the_pid_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="Couldn't find PID field in ps output"):
        choose("USER CMD\nroot x\n", frozenset({1}))
