"""The file that a command reads or writes. `-` is standard input or output. A file is written whole or not at all."""

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shoal.cli.errors import CommandError, reason
from shoal.files import sync_folder

STANDARD = "-"
CHUNK_BYTES = 256 * 1024


@contextlib.contextmanager
def written(name: str) -> Iterator[Callable[[bytes], object]]:
    """Enter with a function that writes to a new file, which only its owner can read.

    The new file replaces an old one when the block ends without an error; otherwise the old one stays. Raises
    CommandError.
    """
    if name == STANDARD:
        with _standard_output() as write:
            yield write
        return
    path = _replaceable(name)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with _told(name):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:

            def write(data: bytes) -> None:
                with _told(name):
                    file.write(data)

            yield write
            with _told(name):
                file.flush()
                os.fsync(file.fileno())
        with _told(name):
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _replaceable(name: str) -> Path:
    """Return where the file goes: to a link's target, not the link. Raises CommandError for anything but a file."""
    with _told(name):
        path = Path(name).resolve()
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return path
        if stat.S_ISDIR(mode):
            raise CommandError(f"{name}: is a directory: name a file in it")
        if not stat.S_ISREG(mode):
            raise CommandError(f"{name}: is no regular file: give - to write to standard output")
    return path


@contextlib.contextmanager
def _standard_output() -> Iterator[Callable[[bytes], object]]:
    if sys.stdout.isatty():
        raise CommandError("a backup is not for a terminal: name a file, or send standard output somewhere")
    with _told("standard output"):
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()


@dataclass(frozen=True, slots=True)
class Source:
    """An open file, to be read once. `size_bytes` is None if it is not known before the end."""

    name: str
    file: BinaryIO
    size_bytes: int | None

    def pieces(self) -> Iterator[bytes]:
        """Yield its content. Raises CommandError."""
        with _told(self.name):
            while chunk := self.file.read(CHUNK_BYTES):
                yield chunk


@contextlib.contextmanager
def opened(name: str) -> Iterator[Source]:
    """Enter with a file to be read. Raises CommandError."""
    if name == STANDARD:
        yield Source("standard input", sys.stdin.buffer, None)
        return
    with _told(name):
        file = open(name, "rb")  # noqa: SIM115 - closed below; errors inside the block are not about this file
    with file:
        status = os.fstat(file.fileno())
        yield Source(name, file, status.st_size if stat.S_ISREG(status.st_mode) else None)


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandError(f"{name}: {reason(error)}") from error
