"""Prints the result of every command, one object or a listing, as text, as JSON, or in short form.

In: a `Result` or a `Listing`, and the flags. Out: text on standard output, or on standard error if the command's data
goes to standard output. Control characters are replaced in text output, because an error's text may come from any
worker.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wider than any line. Lines are never wrapped, because people copy from them and programs read them.
_WIDTH = 1_000_000
_GAP = 3  # spaces between columns, as in Docker's tables


class Format(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print the result.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
QuietListOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print IDs alone.")]
NoTruncOption = Annotated[bool, typer.Option("--no-trunc", help="Shorten nothing.")]


@dataclass(frozen=True, slots=True)
class How:
    """The flags about a command's output."""

    form: Format = Format.TEXT
    quiet: bool = False
    no_trunc: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did: a title, rows of names and values, and notes. `value` is the same for JSON."""

    title: str
    rows: Sequence[tuple[str, str]]
    notes: Sequence[str]
    value: Mapping[str, Any]


def whole(text: str) -> str:
    """Return a text unshortened."""
    return text


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the key of its value in a row, how that becomes text, is shortened, and looks."""

    heading: str
    key: str
    text: Callable[[Any], str] = str
    short: Callable[[str], str] = whole
    style: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows in their order. The first column identifies a row; `--quiet` prints only this one."""

    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]


def render(shown: Result | Listing, how: How, *, on_stderr: bool = False) -> None:
    """Print a result or a listing as the flags in `how` say."""
    stream = sys.stderr if on_stderr else sys.stdout
    if how.quiet:
        if isinstance(shown, Listing):
            for row in shown.rows:
                stream.write(_printable(shown.columns[0].text(row[shown.columns[0].key])) + "\n")
        return
    if how.form is Format.JSON:
        value = shown.value if isinstance(shown, Result) else list(shown.rows)
        stream.write(json.dumps(value, indent=2) + "\n")
        return
    console = Console(stderr=on_stderr, highlight=False, markup=False, soft_wrap=True, width=_WIDTH)
    if isinstance(shown, Listing):
        console.print(_table(shown, how))
    else:
        _print_result(shown, console)


def _print_result(result: Result, console: Console) -> None:
    console.print(Text(_printable(result.title), style="bold"))
    width = max(len(name) for name, _ in result.rows)
    for name, value in result.rows:
        console.print(Text(f"  {name:<{width}}  ", style="dim").append(Text(_printable(value), style="not dim")))
    for note in result.notes:
        console.print(_printable(note))


def _table(listing: Listing, how: How) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column in listing.columns:
        table.add_column(_printable(column.heading), no_wrap=True)
    for row in listing.rows:
        table.add_row(*(Text(_cell(column, row, how), style=column.style) for column in listing.columns))
    return table


def _cell(column: Column, row: Mapping[str, Any], how: How) -> str:
    text = _printable(column.text(row[column.key]))
    return text if how.no_trunc else column.short(text)


def _printable(text: str) -> str:
    """Replace the characters that would move a terminal's cursor or change its colours."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
