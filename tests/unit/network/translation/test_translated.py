"""When rules are written, and that IPv4 goes on where they cannot be."""

import logging
from ipaddress import IPv4Network, IPv6Address, IPv6Network

import pytest

from shoal.errors import ShoalError
from shoal.network.translation import forwarding, translator
from shoal.network.translation import translated as module
from shoal.network.translation.places import Place, place
from shoal.network.translation.rules import Bridge
from shoal.network.translation.translated import TranslatedPorts


def _place() -> Place:
    found = place("t", "ports", IPv4Network("172.18.0.0/16"))
    assert found is not None
    return found


class Host:
    """A host's devices and its one table."""

    def __init__(self) -> None:
        self.devices: set[str] = set()
        self.table = ""
        self.generation = 1
        self.written = 0
        self.refuses = ""
        self.foreign = False
        self.ended: list[set[tuple[str, int]]] = []

    def run(self, text: str) -> str:
        if text.startswith("list"):
            if not self.table:
                raise ShoalError("No such file or directory")
            return self.table
        if self.foreign and "delete table" not in text:
            raise ShoalError("File exists")
        self.foreign = False
        head, _, tail = text.rpartition("delete table ip6 shoal_t_ports\n")
        self.table = tail if head else text
        self.generation += 1
        self.written += 1
        return ""

    def make(self, place: Place) -> None:
        if self.refuses:
            raise ShoalError(self.refuses)
        self.devices.add(place.device)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr(translator, "make", made.make)
    monkeypatch.setattr(translator, "stands", made.devices.__contains__)
    monkeypatch.setattr(translator, "remove", made.devices.discard)
    monkeypatch.setattr(forwarding, "available", lambda: True)
    monkeypatch.setattr(module, "_has_table", lambda table: bool(made.table))
    monkeypatch.setattr(module, "_generation", lambda: made.generation)
    return made


@pytest.fixture
def ports(host: Host, monkeypatch: pytest.MonkeyPatch) -> TranslatedPorts:
    made = TranslatedPorts("shoal_t_ports", _place(), host.run)
    monkeypatch.setattr(made, "_end_flows", lambda changed, answered=(): host.ended.append({*changed, *answered}))
    return made


def test_it_stands_until_there_is_no_port(host: Host, ports: TranslatedPorts) -> None:
    ports.apply({("tcp", 80)})
    assert host.devices == {"s64pt"}
    assert "tcp . 80" in host.table
    ports.apply({("tcp", 80)})
    assert host.written == 1
    ports.apply({("tcp", 80), ("udp", 53)})
    assert host.ended == [{("tcp", 80)}, {("udp", 53)}]
    ports.apply(())
    assert (host.devices, host.table) == (set(), "")
    written = host.written
    ports.apply(())
    assert host.written == written


def test_the_rules_go_also_where_somebody_has_removed_the_device(host: Host, ports: TranslatedPorts) -> None:
    ports.apply({("tcp", 80)})
    host.devices.clear()
    ports.apply(())
    assert host.table == ""
    written = host.written
    ports.apply(())
    assert host.written == written


def test_what_others_change_is_mended_and_other_tables_are_not_looked_at(host: Host, ports: TranslatedPorts) -> None:
    ports.apply({("tcp", 80)})
    host.generation += 1  # somebody else's table
    ports.apply({("tcp", 80)})
    assert host.written == 1
    for damage in ("", "something else"):
        host.table, host.generation = damage, host.generation + 1
        ports.apply({("tcp", 80)})
        assert "tcp . 80" in host.table


def test_rules_of_the_run_before_end_no_flow(host: Host, ports: TranslatedPorts) -> None:
    host.table = "as it was"
    ports.apply({("udp", 53)})
    assert host.ended == [set()]


def test_a_table_that_somebody_made_in_our_name_gives_way(host: Host, ports: TranslatedPorts) -> None:
    host.foreign = True
    ports.apply({("tcp", 80)})
    assert "tcp . 80" in host.table


def test_a_kernel_that_cannot_is_told_of_once_and_asked_again(
    host: Host, ports: TranslatedPorts, caplog: pytest.LogCaptureFixture
) -> None:
    host.refuses = "no such thing"
    with caplog.at_level(logging.WARNING):
        ports.apply({("tcp", 80)})
        ports.apply({("tcp", 80)})
    assert caplog.messages == ["published ports do not answer over IPv6: no such thing"]
    host.refuses = ""
    ports.apply({("tcp", 80)})
    assert "tcp . 80" in host.table


def test_a_host_without_ipv6_is_left_alone(host: Host, ports: TranslatedPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "available", lambda: False)
    ports.apply({("tcp", 80)})
    assert not host.written
    assert not host.devices


def test_what_leads_to_a_container_itself_is_written_and_ends_with_it(host: Host, ports: TranslatedPorts) -> None:
    there = IPv6Address("fd00::5")
    made = TranslatedPorts("shoal_t_ports", _place(), host.run, Bridge("shoalt", IPv6Network("fd00::/64")))
    ended: list[set[object]] = []
    made._end_flows = lambda changed, answered=(): ended.append({*changed, *answered})  # type: ignore[method-assign]
    assert made.apply({("tcp", 80)})
    assert made.apply({("tcp", 80)}, {("tcp", 80): (there, 81)})
    assert "tcp . 80 : fd00::5 . 81" in host.table
    assert made.apply({("tcp", 80)})
    assert ended[-1] == {there}
    host.refuses = "no"
    assert not made.apply({("tcp", 80)})
    host.refuses = ""
    assert not made.apply(())
