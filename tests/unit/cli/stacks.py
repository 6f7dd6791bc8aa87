"""Stacks for the tests of `shoal stack`: files in a folder, and a daemon that only remembers."""

from pathlib import Path

import pytest

from shoal.cli.main import run


def shoal(url: str, *arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        run(["-H", url, "stack", *arguments])
    return end.value.code


def write(folder: Path, **files: str) -> None:
    """Write files; a `_` in a name stands for a dot."""
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
