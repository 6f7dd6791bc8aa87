"""Overlays made by steps, with places that only remember them: what is tried again, what is told, what is asked."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import ClassVar, cast

import pytest

from shoal.errors import ShoalError
from shoal.network.kernel import overlays, plan
from shoal.network.kernel.overlays import Overlays
from shoal.network.kernel.state import OverlayState, Port, Seen, Segment
from shoal.network.kernel.workplace import RefusedPeers
from shoal.network.namespaces import Namespaces
from shoal.network.wanted import Trouble


class Place:
    """A place that is what was made of it."""

    there: ClassVar[dict[str, Seen]] = {}
    steps: ClassVar[list[tuple[str, str]]] = []
    looked: ClassVar[list[str]] = []
    failing: ClassVar[dict[str, Exception]] = {}  # by kinds of steps

    def __init__(self, path: Path, *_: object) -> None:
        self.name = path.name

    def observe(self) -> Seen:
        self.looked.append(self.name)
        return self.there.setdefault(self.name, Seen())

    def carry_out(self, step: plan.Step) -> None:
        kind = type(step).__name__
        self.steps.append((self.name, kind))
        if kind in self.failing:
            raise self.failing[kind]

    def close(self) -> None:
        pass


class Socket:
    def close(self) -> None:
        pass


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Overlays]:
    monkeypatch.setattr(overlays, "Workplace", Place)
    monkeypatch.setattr(overlays, "NetlinkSocket", Socket)
    monkeypatch.setattr(overlays, "_NEIGHBOURS", {})
    Place.there, Place.steps, Place.looked, Place.failing = {}, [], [], {}
    made = Overlays(tmp_path / "overlays", "t1", cast(Namespaces, None))
    yield made
    made.close()


def state(tmp_path: Path, name: str = "net") -> OverlayState:
    segment = Segment(4097, (ip_interface("10.0.1.1/24"),))
    port = Port("a" * 64, str(tmp_path), "eth0", ip_interface("10.0.1.5/24"), "02:42:0a:00:01:05", 4097)
    return OverlayState(name, 1450, ip_address("192.0.2.1"), 4789, (segment,), (port,))


def test_what_is_reached_is_not_looked_at_again(made: Overlays, tmp_path: Path) -> None:
    assert made.apply([state(tmp_path)]) == []
    assert [kind for _, kind in Place.steps] == ["MakeNamespace", "MakeSegment", "MakePort"]
    assert made.apply([state(tmp_path)]) == []
    assert made.apply([replace(state(tmp_path), mtu=1230)]) == []
    assert [kind for _, kind in Place.steps[3:]] == ["ResizeSegment", "ChangePort"]
    assert Place.looked == ["net"]
    made.look_again(["net", "another"])
    assert made.apply([replace(state(tmp_path), mtu=1230)]) == []
    assert Place.looked == ["net", "net"]


def test_a_step_that_fails_keeps_no_other_from_being_done(made: Overlays, tmp_path: Path) -> None:
    Place.failing = {"MakeSegment": OSError(errno.ENOSPC, "No space left on device")}
    found = made.apply([state(tmp_path), state(tmp_path, "two")])
    assert found == [Trouble("net", "", "No space left on device"), Trouble("two", "", "No space left on device")]
    assert Place.steps.count(("two", "MakePort")) == 1
    Place.failing = {"ChangePort": ShoalError("the container has no eth0 any more")}
    both = [replace(state(tmp_path, name), mtu=1230) for name in ("net", "two")]
    assert [trouble.endpoint for trouble in made.apply(both)] == ["a" * 64] * 2
    Place.failing = {}
    assert made.apply(both) == []


def test_what_others_tell_and_the_kernel_refuses_is_said_and_fails_no_container(made: Overlays, tmp_path: Path) -> None:
    """One forged record ended every start on its network, on all nodes."""
    entry, mac = (4097, "00:00:00:00:00:00"), "02:42:0a:00:01:06"
    wanted = replace(state(tmp_path), forwarding={entry: ip_address("192.0.2.2"), (4097, mac): ip_address("192.0.2.2")})
    said = Trouble(
        "net", "", "1 entries of other nodes are refused: 00:00:00:00:00:00: Operation not supported", bearable=True
    )
    Place.failing = {"SetPeers": RefusedPeers({entry: errno.EOPNOTSUPP})}
    assert made.apply([wanted]) == [said]
    assert [kind for _, kind in Place.steps] == ["MakeNamespace", "MakeSegment", "SetPeers", "MakePort"]
    assert made.apply([wanted]) == [said]
    assert len(Place.steps) == 4  # it is not tried each time
    without = replace(wanted, forwarding={(4097, mac): ip_address("192.0.2.2")})
    Place.failing = {}
    assert made.apply([without]) == []
    made.look_again(["net"])
    Place.there["net"] = Seen()
    Place.failing = {"SetPeers": RefusedPeers({entry: errno.ENOBUFS})}
    assert [one.bearable for one in made.apply([wanted])] == [True]
    Place.failing = {}
    Place.there["net"] = Seen()
    assert made.apply([wanted]) == []  # there was no room, and is now


def test_without_a_namespace_nothing_is_made_in_it(made: Overlays, tmp_path: Path) -> None:
    Place.failing = {"MakeNamespace": OSError(errno.EMFILE, "Too many open files")}
    assert made.apply([state(tmp_path)]) == [Trouble("net", "", "Too many open files")]
    assert {kind for _, kind in Place.steps} == {"MakeNamespace"}


def test_what_an_earlier_process_left_is_removed_and_forgotten(made: Overlays, tmp_path: Path) -> None:
    folder = tmp_path / "overlays"
    folder.mkdir()
    for name in ("old", "after-a-restart-of-the-host"):
        (folder / name).touch()
    Place.there = {"old": Seen(namespace=True)}
    assert made.apply([state(tmp_path)]) == []
    assert Place.steps[0] == ("old", "DropNamespace")
    assert list(folder.iterdir()) == []
    assert sorted(Place.looked) == ["after-a-restart-of-the-host", "net", "old"]


def test_an_overlay_that_cannot_be_removed_is_tried_again(made: Overlays, tmp_path: Path) -> None:
    made.apply([state(tmp_path)])
    Place.failing = {"DropNamespace": OSError(errno.EIO, "Input/output error")}
    assert made.apply([]) == [Trouble("net", "", "Input/output error")]
    Place.failing = {}
    assert made.apply([]) == []
    assert Place.steps[-1] == ("net", "DropNamespace")


def test_a_container_whose_namespace_is_not_there_is_told(made: Overlays, tmp_path: Path) -> None:
    wanted = state(tmp_path)
    (port,) = wanted.ports
    missing = replace(wanted, ports=(replace(port, netns=str(tmp_path / "none")),))
    assert made.apply([missing]) == [Trouble("net", "a" * 64, f"{tmp_path / 'none'}: No such file or directory")]
    assert made.apply([wanted]) == []
