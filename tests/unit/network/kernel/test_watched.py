"""Whether others write in a namespace: with a kernel that only counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast

import pytest

from shoal.errors import ShoalError
from shoal.network.kernel import nftables, watched
from shoal.network.kernel.watched import MOST_OBJECTS, Watched
from shoal.network.namespaces import Namespaces
from shoal.network.rtnetlink import Reply, Request, attribute


class Kernel:
    """One namespace: how often its rules changed, how many things there are in its tables, and no element."""

    generation = 1
    objects = 3

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, request: Request, most: int | None = None) -> list[Reply]:
        if request.type == 0xA10:
            return [Reply(0xA0F, 1, bytes(4) + attribute(1, self.generation.to_bytes(4, "big")))]
        if request.type == 0xA01:
            return [Reply(0xA00, 1, bytes(4) + attribute(3, self.objects.to_bytes(4, "big")))]
        raise FileNotFoundError

    def write(self, text: str) -> None:
        self.texts.append(text)
        self.generation += 1


class Here:
    @contextmanager
    def inside(self, netns: int) -> Iterator[None]:
        yield


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(watched, "NetlinkSocket", lambda netfilter: kernel)
    monkeypatch.setattr(nftables, "_load", lambda: None)
    monkeypatch.setattr(nftables.Nftables, "run", lambda self, text, netns=None, *, json=False: kernel.write(text))
    return kernel


def test_only_what_others_write_is_foreign(kernel: Kernel, tmp_path: Path) -> None:
    tables = Watched(cast("Namespaces", Here()))
    path = tmp_path / "ns"
    path.touch()
    assert tables.foreign([path, tmp_path / "none"]) == [path]  # nothing is known of it yet
    with path.open("rb") as file:
        tables.run("one", file.fileno())
        tables.run("two", file.fileno())
        assert tables.foreign([path]) == []
        kernel.generation += 1
        assert tables.foreign([path]) == [path]
        tables.run("three", file.fileno())
        assert tables.foreign([path]) == [path]  # what others wrote before is not undone by that
        tables.accept(file.fileno())
        tables.run("all of it", file.fileno())
        assert tables.foreign([path]) == []
        assert tables.addresses(file.fileno(), "shoal_vips", ["vips4"]) is None
    tables.keep_only([tmp_path / "none"])
    assert tables.foreign([path]) == [path]


def test_where_a_container_has_made_too_much_nothing_is_written(kernel: Kernel, tmp_path: Path) -> None:
    tables = Watched(cast("Namespaces", Here()))
    path = tmp_path / "ns"
    path.touch()
    with path.open("rb") as file:
        tables.run("one", file.fileno())
        kernel.generation, kernel.objects = 7, MOST_OBJECTS + 1
        for _ in range(2):
            with pytest.raises(ShoalError, match="chains and sets of others"):
                tables.run("two", file.fileno())
        with pytest.raises(ShoalError, match="chains and sets of others"):
            tables.accept(file.fileno())
        assert kernel.texts == ["one"]
        kernel.objects = 3
        tables.run("two", file.fileno())
    assert kernel.texts == ["one", "two"]
