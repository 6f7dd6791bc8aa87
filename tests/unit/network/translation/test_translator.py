"""In which order the device is made, and when it is made anew; cluster/test_host_ports6 has a real kernel."""

import os
from ipaddress import IPv4Network
from types import TracebackType
from typing import Self

import pytest

from shoal.errors import ShoalError
from shoal.network.rtnetlink import Link, Reply, Request
from shoal.network.translation import bpf, forwarding, translator
from shoal.network.translation.places import Place, place


class Kernel:
    """Links by their names; each request is one that makes, names, or removes one."""

    links: dict[str, Link] = {}  # noqa: RUF012 - one kernel a test
    asked: list[int] = []  # noqa: RUF012

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        pass

    def link(self, name: str) -> Link | None:
        return self.links.get(name)

    def delete_link(self, index: int) -> None:
        Kernel.links = {name: link for name, link in self.links.items() if link.index != index}

    def run(self, *requests: Request) -> list[Reply]:
        for one in requests:
            self.asked.append(one.type)
            if one.type == 16 and b"bridge" in one.body:
                self.links[PLACE.device] = Link(3, PLACE.device, up=True, master=0, mac="02:00:00:00:00:01")
            elif b"translation" in one.body:
                alias = one.body[one.body.index(b"translation") :].rstrip(b"\0").decode()
                self.links[PLACE.device] = Link(3, PLACE.device, up=True, master=0, alias=alias)
        return []


def _place() -> Place:
    found = place("t", "ports", IPv4Network("172.18.0.0/16"))
    assert found is not None
    return found


PLACE = _place()


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    Kernel.links, Kernel.asked = {}, []
    monkeypatch.setattr(translator, "NetlinkSocket", Kernel)
    monkeypatch.setattr(translator, "set_sysctl", lambda name, value: said.append(f"{name}={value}"))
    monkeypatch.setattr(forwarding, "forward", lambda: said.append("forward"))
    monkeypatch.setattr(bpf, "load", lambda code, name: os.open("/dev/null", os.O_RDONLY))
    return said


def test_it_is_made_once_and_forwards_then(kernel: list[str]) -> None:
    translator.make(PLACE)
    assert f"ipv6/conf/{PLACE.device}/accept_ra=0" in kernel
    assert kernel[-1] == "forward"
    count = len(Kernel.asked)
    assert Kernel.asked[-1] == 16  # named last
    assert translator.stands(PLACE.device)
    translator.make(PLACE)
    assert len(Kernel.asked) == count
    translator.remove(PLACE.device)
    translator.remove(PLACE.device)
    assert not translator.stands(PLACE.device)


def test_what_is_half_done_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(code: bytes, name: str) -> int:
        raise ShoalError("no")

    with monkeypatch.context() as patched:
        patched.setattr(bpf, "load", refuse)
        with pytest.raises(ShoalError):
            translator.make(PLACE)
    assert translator.stands(PLACE.device)
    translator.make(PLACE)
    assert Kernel.links[PLACE.device].alias.startswith("translation ")
