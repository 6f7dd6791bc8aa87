"""The files of secrets and configs, on an ordinary folder: what is mounted, the tests of a cluster look at."""

import os
import stat
from pathlib import Path

import pytest

from shoal.errors import InvalidArgument
from shoal.host import linux
from shoal.runtime import secret_files
from shoal.runtime.types import Mount, SecretFile


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """Note what is mounted, and mount nothing: an ordinary user may not."""
    seen: list[tuple[str, str, int]] = []

    def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
        seen.append((fstype, data, flags))

    def umount(target: str, flags: int = 0) -> None:
        raise FileNotFoundError(2, "nothing is mounted")

    monkeypatch.setattr(linux, "mount", mount)
    monkeypatch.setattr(linux, "umount", umount)
    monkeypatch.setattr(os, "fchown", lambda fd, uid, gid: owners.append((uid, gid)))
    owners.clear()
    return seen


owners: list[tuple[int, int]] = []


def test_files_are_written_before_the_folder_becomes_read_only(
    tmp_path: Path, mounted: list[tuple[str, str, int]]
) -> None:
    files = (
        SecretFile("/run/secrets/a", b"one", 7, 8, 0o400),
        SecretFile("/etc/b", b"two"),
        SecretFile("/etc/c", b"two"),  # the same again is not held twice
    )
    mounts = secret_files.put(tmp_path, files)
    folder = tmp_path / "secrets"
    expected = {"/run/secrets/a": "0", "/etc/b": "1", "/etc/c": "1"}
    assert [(mount.target, mount.source) for mount in mounts] == [
        (target, str(folder / name)) for target, name in expected.items()
    ]
    assert all((mount.type, mount.read_only, mount.non_recursive) == ("bind", True, True) for mount in mounts)
    assert [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())] == [("0", b"one"), ("1", b"two")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in sorted(folder.iterdir())] == [0o400, 0o444]
    assert owners == [(7, 8), (0, 0)]
    private = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    assert mounted == [
        ("ramfs", "mode=0700", private),
        ("", "", linux.MS_REMOUNT | linux.MS_RDONLY | private),
    ]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_container_without_secrets_has_no_folder_for_them(
    tmp_path: Path, mounted: list[tuple[str, str, int]]
) -> None:
    assert secret_files.put(tmp_path, ()) == ()
    assert mounted == []
    assert not list(tmp_path.iterdir())


def test_each_target_is_one_files() -> None:
    one, other = SecretFile("/run/secrets/a", b"1"), SecretFile("/run/secrets/b", b"2")
    secret_files.check_targets([one, other], [Mount("tmpfs", "/run/secrets")])
    for files, mounts in (([one, one], []), ([one], [Mount("tmpfs", "/run/secrets/a/")])):
        with pytest.raises(InvalidArgument, match=r"^Duplicate mount point: /run/secrets/a$"):
            secret_files.check_targets(files, mounts)
