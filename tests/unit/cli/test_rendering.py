import json

import pytest

from shoal.cli.rendering import Column, Format, How, Listing, Result, render

Captured = pytest.CaptureFixture[str]

LONG = "f" * 200
RESULT = Result("Title [x]", [("a", "1"), ("longer", LONG)], [f"note {LONG}"], {"A": 1})
LISTING = Listing(
    (Column("ID", "ID", short=lambda text: text[:2]), Column("HOW MANY", "Count", text=lambda count: f"{count} x")),
    [{"ID": "abcd", "Count": 2}, {"ID": LONG, "Count": 10}],
)


def test_a_result_is_its_values_below_each_other_and_long_lines_are_not_broken(capsys: Captured) -> None:
    render(RESULT, How())
    assert capsys.readouterr().out.splitlines() == ["Title [x]", "  a       1", f"  longer  {LONG}", f"note {LONG}"]


def test_a_listing_is_a_table_with_short_values(capsys: Captured) -> None:
    render(LISTING, How())
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["ID   HOW MANY", "ab   2 x", "ff   10 x"]


def test_nothing_is_shortened_where_that_was_asked(capsys: Captured) -> None:
    render(LISTING, How(no_trunc=True))
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["ID", "HOW", "MANY"],
        ["abcd", "2", "x"],
        [LONG, "10", "x"],
    ]


def test_an_empty_listing_is_its_headings(capsys: Captured) -> None:
    render(Listing(LISTING.columns, []), How())
    assert capsys.readouterr().out.split() == ["ID", "HOW", "MANY"]


@pytest.mark.parametrize(("shown", "value"), [(RESULT, {"A": 1}), (LISTING, list(LISTING.rows))])
def test_json_is_one_value_with_nothing_shortened(capsys: Captured, shown: Result | Listing, value: object) -> None:
    render(shown, How(Format.JSON), on_stderr=True)
    told = capsys.readouterr()
    assert told.out == ""
    assert json.loads(told.err) == value


def test_quiet_is_nothing_of_a_result_and_the_ids_of_a_listing(capsys: Captured) -> None:
    render(RESULT, How(Format.JSON, quiet=True))
    assert capsys.readouterr().out == ""
    render(LISTING, How(quiet=True))
    assert capsys.readouterr().out == f"abcd\n{LONG}\n"


@pytest.mark.parametrize("how", [How(), How(quiet=True), How(no_trunc=True)])
def test_what_a_daemon_says_moves_no_cursor(capsys: Captured, how: How) -> None:
    evil = "\x1b[2J\r\nx\x9b[bold]"
    render(Listing((Column("ID", "ID"),), [{"ID": evil}]), how)
    render(Result(evil, [("a", evil)], [evil], {}), how)
    out = capsys.readouterr().out
    assert not {"\x1b", "\r", "\x9b"} & set(out)
    assert "�[2J��x�[bold]" in out


def test_nor_does_a_heading(capsys: Captured) -> None:
    render(Listing((Column("\x1b[2JNODE\x9b", "ID"),), [{"ID": "a"}]), How())
    assert capsys.readouterr().out.splitlines()[0].rstrip() == "\ufffd[2JNODE\ufffd"
