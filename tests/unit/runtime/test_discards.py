"""Folders of removed containers are removed at once, or with the next one."""

import errno
from pathlib import Path
from typing import Any, cast

import pytest

from shoal.errors import ShoalError
from shoal.runtime import bundle
from shoal.runtime.discards import Discards
from tests.unit.runtime.part_fakes import Site


def made(site: Site, *ids: str) -> None:
    for one in ids:
        site.folder(one).mkdir(parents=True)
        (site.folder(one) / "config.json").touch()


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), ShoalError("it is mounted")])
def test_what_cannot_be_removed_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    site = Site(tmp_path)
    made(site, "a", "b")
    failing, removed = [error], []

    def remove(_: object, id: str) -> None:  # noqa: A002
        if failing:
            raise failing.pop()
        removed.append(id)

    monkeypatch.setattr(bundle, "remove", remove)
    discards = Discards(cast(Any, site))
    with pytest.raises(type(error)):
        discards.discard("a", site.folder("a"))
    discards.discard("b", site.folder("b"))
    assert removed == ["b", "a"]
    assert list((tmp_path / "data").iterdir()) == []


def test_what_still_cannot_be_removed_is_told_and_hinders_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path)
    made(site, "a", "b")

    def remove(_: object, id: str) -> None:  # noqa: A002
        if id == "a":
            raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(bundle, "remove", remove)
    discards = Discards(cast(Any, site))
    with pytest.raises(OSError, match="busy"):
        discards.discard("a", site.folder("a"))
    discards.discard("b", site.folder("b"))
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["a.removing"]
    assert "what is left of container a cannot be removed yet" in caplog.text


def test_a_folder_that_is_gone_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path)
    monkeypatch.setattr(bundle, "remove", lambda site, id: None)  # noqa: A006
    Discards(cast(Any, site)).discard("a", site.folder("a"))
