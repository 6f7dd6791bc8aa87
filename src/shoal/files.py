"""Files that must survive: written beside the old one, flushed, renamed over it. In: bytes. Out: nothing or OSError."""

import os
import secrets
import shutil
from pathlib import Path


def write_atomic(path: Path, data: bytes, mode: int = 0o600, *, lasting: bool = True) -> None:
    """Replace `path` by `data`, so that after a crash or a full disk the old or the new file is there, whole.

    Blocks until both the file and its folder's entry are on disk; not `lasting`: until the file is, so that a loss of
    power may bring back the old one. The folder must exist. Raises OSError, with the old file as it was and no
    temporary file left. May be repeated.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(descriptor, mode)  # open() takes the umask away from what was asked for
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
    """Write all of it. os.write may write less and say so: at the end of a disk, of a quota, after a signal."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk: a rename or a removal in it holds only after that. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it; what somebody else removes at the same moment is no error. Raises OSError."""
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
