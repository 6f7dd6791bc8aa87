"""A host that begins to forward goes on listening to routers where it did."""

from pathlib import Path

import pytest

from shoal.network import sysctls
from shoal.network.translation import forwarding


@pytest.fixture
def interfaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    conf = tmp_path / "ipv6" / "conf"
    monkeypatch.setattr(forwarding, "_INTERFACES", conf)
    monkeypatch.setattr(sysctls, "_FOLDER", tmp_path)
    return conf


def put(conf: Path, name: str, accept_ra: str, forwarding: str = "0") -> None:
    (conf / name).mkdir(parents=True)
    for file, value in (("accept_ra", accept_ra), ("forwarding", forwarding), ("disable_ipv6", "0")):
        (conf / name / file).write_text(value + "\n")


def test_who_listened_to_routers_goes_on_and_nobody_else_begins(interfaces: Path) -> None:
    for name, value, routes in (
        ("all", "1", "0"),
        ("default", "1", "0"),
        ("eth0", "1", "0"),
        ("eth1", "0", "0"),
        ("eth2", "2", "0"),
        ("router", "1", "1"),
    ):
        put(interfaces, name, value, routes)
    forwarding.forward()
    found = {folder.name: (folder / "accept_ra").read_text().strip() for folder in interfaces.iterdir()}
    assert found == {"all": "1", "default": "2", "eth0": "2", "eth1": "0", "eth2": "2", "router": "1"}
    assert (interfaces / "all" / "forwarding").read_text() == "1"


def test_a_host_that_forwards_is_left_as_it_is(interfaces: Path) -> None:
    put(interfaces, "all", "1", "1")
    put(interfaces, "eth0", "1", "0")
    forwarding.forward()
    assert (interfaces / "eth0" / "accept_ra").read_text() == "1\n"


def test_a_host_without_ipv6_has_none(interfaces: Path) -> None:
    assert not forwarding.available()
    put(interfaces, "all", "1")
    assert forwarding.available()
    (interfaces / "all" / "disable_ipv6").write_text("1\n")
    assert not forwarding.available()
