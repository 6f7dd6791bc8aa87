"""Formats sizes, counts, instants and long texts for people, and shows progress on standard error."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

_UNITS = ("kB", "MB", "GB", "TB")
# Fewer bytes are transferred before anybody can read a progress bar.
_LEAST_SHOWN_BYTES = 8_000_000


def progress(chunks: Iterable[bytes], total_bytes: int | None, what: str) -> Iterator[bytes]:
    """Yield the chunks. Show a progress bar if standard error is a terminal and there is much to transfer."""
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
    """Return a size in the format of Docker's command: powers of 1000, up to four digits."""
    size, unit = float(size_bytes), "B"
    for larger in _UNITS:
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.4g} {unit}"


def counted(objects: Mapping[str, int]) -> str:
    """Return the number of objects: `5: 1 cluster, 4 services`. All kinds are plurals that end in s."""
    parts = [f"{count} {kind.removesuffix('s') if count == 1 else kind}" for kind, count in sorted(objects.items())]
    return f"{sum(objects.values())}: {', '.join(parts)}" if parts else "0"


def moment(text: str) -> str:
    """Return an instant of the API in a readable form. A text that is no instant is returned unchanged."""
    try:
        found = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    return found.replace(tzinfo=None).isoformat(" ", "seconds") + " UTC"


def shortened(length: int) -> Callable[[str], str]:
    """Return a function that shortens a text to `length` letters, the last of them `…`, as Docker's command does."""
    return lambda text: text if len(text) <= length else text[: length - 1] + "…"


def short_id(text: str) -> str:
    """Return the first 12 characters of an id, which is how Docker's command shows ids."""
    return text[:12]


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts names as people do: `web.2` before `web.10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,18})", text)]
