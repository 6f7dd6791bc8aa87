"""Writes files that must survive a crash: a new file is written beside the old one, flushed and renamed over it.

In: bytes. Out: nothing, or OSError.
"""

import os
import secrets
import shutil
from pathlib import Path


def write_atomic(path: Path, data: bytes, mode: int = 0o600, *, lasting: bool = True) -> None:
    """Replace `path` with `data`. After a crash or on a full disk, either the old or the new file is there, complete.

    Blocks until the file and its folder's entry are on disk. With `lasting` False it waits for the file only, so a
    power failure may bring back the old one. The folder must exist. Raises OSError; then the old file is unchanged and
    no temporary file is left. May be repeated.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(descriptor, mode)  # open() applies the umask
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if lasting:
        sync_folder(path.parent)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`. A single os.write may write only a part: on a full disk, at a quota, after a signal."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk. Only then does a rename or removal in it survive a crash. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove a folder and its content. Files that somebody else removes meanwhile are no error. Raises OSError."""
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
