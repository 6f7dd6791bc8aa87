"""Which ports are translated for a mesh, and where."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from shoal.errors import ShoalError
from shoal.network.mesh import mesher6 as module
from shoal.network.mesh.mesher6 import Mesher6
from shoal.network.translation import translated
from shoal.network.translation.places import Place, place
from tests.unit.network.mesh.meshes import MESH


class Ports:
    made: list["Ports"] = []  # noqa: RUF012 - one list a test

    def __init__(self, table: str, place: Place, run: object) -> None:
        self.table, self.place, self.applied = table, place, [set[object]()]
        self.made.append(self)

    def apply(self, ports: dict[object, object]) -> None:
        self.applied.append(set(ports))


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Ports]:
    Ports.made = []
    monkeypatch.setattr(module, "TranslatedPorts", Ports)
    return Ports.made


def test_the_meshs_ports_are_translated_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translated, "remove", lambda table, device, run: False)
    mesher = Mesher6(lambda text: "")
    mesher.apply(replace(MESH, translation=None))
    assert not Ports.made
    for subnet in ("172.18.0.0/16", "172.18.0.0/16", "172.19.0.0/16"):
        mesher.apply(replace(MESH, translation=place(MESH.tag, "mesh", IPv4Network(subnet))))
    assert [len(one.applied) for one in Ports.made] == [3, 2]
    assert Ports.made[0].applied[-1] == set(MESH.published)
    assert Ports.made[0].table == MESH.table


def test_without_a_place_what_stood_is_removed_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    removed: list[str] = []
    refuses = [True]

    def remove(table: str, device: str, run: object) -> None:
        removed.append(device)
        if refuses[0]:
            raise ShoalError("busy")

    monkeypatch.setattr(translated, "remove", remove)
    mesher, without = Mesher6(lambda text: ""), replace(MESH, translation=None)
    for _ in range(2):
        mesher.apply(without)  # also of a run before this one
    assert caplog.messages == ["what translated the routing mesh's IPv6 stays: busy"]
    refuses.clear()
    refuses.append(False)
    for _ in range(2):
        mesher.apply(without)
    assert len(removed) == 3
    mesher.apply(replace(MESH, translation=place(MESH.tag, "mesh", IPv4Network("172.18.0.0/16"))))
    mesher.apply(without)
    assert len(removed) == 4


def test_a_nodes_is_removed_by_its_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[tuple[str, str]] = []
    monkeypatch.setattr(translated, "remove", lambda table, device, run: removed.append((table, device)))
    Mesher6(lambda text: "").remove("t1")
    assert removed == [("shoal_t1_mesh", "s64mt1")]
