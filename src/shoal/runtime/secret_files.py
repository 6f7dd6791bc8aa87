"""The files of a container that hold secrets and configs: in memory that is never swapped, until the container is gone.

In: a container's bundle and its `SecretFile`s. Out: bind mounts for the OCI config. Blocking; for worker threads.

    <bundle>/secrets            a ramfs, mode 0700, read-only once it is filled
    <bundle>/secrets/0, 1, ...  a file for each content, owner and mode

The files are written before the container has a root of its own to follow links in: only the OCI runtime mounts them
there, inside the container's root. Why a ramfs: docs/decisions/0035-secrets.md.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from shoal.errors import InvalidArgument
from shoal.files import write_all
from shoal.host import linux
from shoal.runtime import rootfs
from shoal.runtime.types import Mount, SecretFile

FOLDER = "secrets"
_FLAGS = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC


def put(bundle: Path, files: Sequence[SecretFile]) -> tuple[Mount, ...]:
    """Write the files, and return the mounts that show them in the container. May be repeated: it begins anew."""
    take_away(bundle)
    if not files:
        return ()
    folder = bundle / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    linux.mount("ramfs", str(folder), "ramfs", _FLAGS, "mode=0700")
    made: dict[tuple[bytes, int, int, int], Path] = {}
    mounts = []
    for file in files:
        key = (file.data, file.uid, file.gid, file.mode)
        if key not in made:
            made[key] = folder / str(len(made))
            _write(made[key], file)
        source = str(made[key])
        mounts.append(Mount("bind", file.target, source, read_only=True, propagation="rprivate", non_recursive=True))
    # The mount itself, not only the container's view of it: there is nobody who still has to write.
    linux.mount("", str(folder), flags=linux.MS_REMOUNT | linux.MS_RDONLY | _FLAGS)
    return tuple(mounts)


def take_away(bundle: Path) -> None:
    """Unmount the files: with the last mount of a ramfs its content is gone. May be repeated."""
    rootfs.unmount(bundle / FOLDER)


def check_targets(files: Sequence[SecretFile], mounts: Sequence[Mount]) -> None:
    """Raise InvalidArgument, in Docker's words for mounts, where two files, or a file and a mount, have one target."""
    taken = {mount.target.rstrip("/") for mount in mounts}
    for file in files:
        if file.target in taken:
            raise InvalidArgument(f"Duplicate mount point: {file.target}")
        taken.add(file.target)


def _write(path: Path, file: SecretFile) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, file.data)
        os.fchown(fd, file.uid, file.gid)
        os.fchmod(fd, file.mode)  # after the owner: a change of owner may take bits from the mode
    finally:
        os.close(fd)
