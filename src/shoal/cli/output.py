"""What commands print: rows of a name and a value, or JSON; results on one stream, progress on standard error."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.text import Text

_UNITS = ("kB", "MB", "GB", "TB")
# Less is there before anybody has read what a bar says.
_LEAST_SHOWN_BYTES = 8_000_000


class Format(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


Rows = Sequence[tuple[str, str]]


def show(title: str, rows: Rows, notes: Iterable[str], *, on_stderr: bool = False) -> None:
    """Print a result: what it is, its values, and what is good to know about it."""
    # Lines are never broken: what stands in them is to be copied, and read by other programs.
    console = Console(stderr=on_stderr, highlight=False, markup=False, soft_wrap=True)
    console.print(Text(title, style="bold"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(Text(f"  {name:<{width}}  ", style="dim").append(Text(value, style="not dim")))
    for note in notes:
        console.print(note)


def show_json(value: Mapping[str, Any], *, on_stderr: bool = False) -> None:
    """Print a result as one JSON object."""
    stream = sys.stderr if on_stderr else sys.stdout
    stream.write(json.dumps(value, indent=2) + "\n")


def progress(chunks: Iterable[bytes], total_bytes: int | None, what: str) -> Iterator[bytes]:
    """Yield the chunks, and show how far they have come where a person looks on and it takes long."""
    if not sys.stderr.isatty() or (total_bytes is not None and total_bytes < _LEAST_SHOWN_BYTES):
        yield from chunks
        return
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task(what, total=total_bytes)
        for chunk in chunks:
            yield chunk
            bar.advance(row, len(chunk))


def human_size(size_bytes: int) -> str:
    """Return a size as Docker's command prints sizes: powers of 1000, up to four digits."""
    size, unit = float(size_bytes), "B"
    for larger in _UNITS:
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.4g} {unit}"


def counted(objects: Mapping[str, int]) -> str:
    """Return how many objects there are: `5: 1 cluster, 4 services`. Kinds are in the plural, all made with an s."""
    parts = [f"{count} {kind.removesuffix('s') if count == 1 else kind}" for kind, count in sorted(objects.items())]
    return f"{sum(objects.values())}: {', '.join(parts)}" if parts else "0"


def moment(text: str) -> str:
    """Return a moment as people read it."""
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S UTC")
