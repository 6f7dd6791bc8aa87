"""When leftovers are looked for, and that a living engine's are not touched. The host's kernel is one in memory."""

import asyncio
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import pytest

from shoal.errors import MissingProgram, ShoalError
from shoal.network.bridge import OtherBridge
from shoal.network.host_ports.ports import Published
from shoal.network.leftovers.chains import Table, from_nft, from_save
from shoal.network.leftovers.docker import Removal
from shoal.network.leftovers.host import Names
from shoal.network.leftovers.shoals import Name
from shoal.network.leftovers.sweeper import LEGACY_EVERY, Sweeper
from shoal.network.rtnetlink import Link
from tests.unit.network.leftovers.listings import ENGINE_20, nft_json

OWN = "aaaaaaaa"


@dataclass
class Memory:
    """A host: what is in nftables, and in the older tables."""

    tables: set[Name] = field(default_factory=set)
    docker: bool = False
    legacy: bool = False
    installed: bool = True
    links_there: list[Link] = field(default_factory=list)
    changes: int = 1
    looks: list[str] = field(default_factory=list)
    refuses: bool = False
    ended: list[Published] = field(default_factory=list)

    def generation(self) -> int:
        return self.changes

    def names(self) -> Names:
        self.looks.append("names")
        iptables = {("ip", "nat"), ("ip", "filter"), ("ip", "mangle")} if self.docker else set()
        return Names(frozenset(self.tables | iptables), frozenset({("ip", "nat", "DOCKER")} if self.docker else ()))

    def links(self) -> list[Link]:
        return self.links_there

    def read(self, tables: Iterable[Name]) -> list[Table]:
        return [from_nft(nft_json(ENGINE_20, name), family, name) for family, name in tables]

    def remove(self, removals: Iterable[Removal], tables: Collection[Name]) -> None:
        if self.refuses:
            raise ShoalError("busy")
        if list(removals):
            self.docker = False
        self.tables -= set(tables)
        self.changes += 1

    def legacy_families(self) -> list[str]:
        self.looks.append("legacy")
        return ["ip"] if self.legacy else []

    def read_legacy(self, family: str) -> list[Table]:
        if not self.installed:
            raise MissingProgram("iptables-legacy-save", "iptables")
        return from_save(ENGINE_20, family)

    def remove_legacy(self, family: str, removals: Iterable[Removal]) -> None:
        assert list(removals)
        self.legacy = False

    def end_flows(self, ports: Collection[Published]) -> None:
        self.ended += ports

    def remove_meshes(self, gone: Collection[str]) -> list[str]:
        return [f"vxi{one}" for one in gone]


class Site:
    def __init__(self, host: Memory) -> None:
        self.host = host
        self.engines: tuple[int, ...] = ()
        self.now = 0.0
        self.owned: set[str] = set()
        self.sweeper = Sweeper(
            OWN,
            self._owned,
            host,
            living=lambda: self.engines,
            still=lambda which: bool(set(which) & set(self.engines)),
            clock=lambda: self.now,
        )

    def _owned(self, tag: str, bridge: OtherBridge | None) -> bool:
        return tag in self.owned


def test_both_kinds_of_leftovers_go_and_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(Memory(tables={("ip", "docker-bridges"), ("ip", "mine")}, docker=True, legacy=True))
    for _ in range(3):
        site.sweeper.sweep()
        site.now += LEGACY_EVERY
    assert (site.host.docker, site.host.legacy, site.host.tables) == (False, False, {("ip", "mine")})
    assert site.host.ended == [("udp", 8082)] * 2, "once for each kind"
    told = [one for one in caplog.messages if "a Docker Engine left were removed" in one]
    assert len(told) == 7, told


def test_a_living_engines_rules_stay_until_it_ends() -> None:
    site = Site(Memory(tables={("ip", "docker-bridges")}, docker=True, legacy=True))
    site.engines = (7,)
    for _ in range(3):
        site.host.changes += 1  # it writes rules
        site.now += LEGACY_EVERY
        site.sweeper.sweep()
    assert (site.host.docker, site.host.legacy, len(site.host.tables)) == (True, True, 1)
    assert site.host.looks == ["names"], "while it lives it alone is looked at"
    site.engines = ()
    site.sweeper.sweep()
    assert (site.host.docker, site.host.legacy, len(site.host.tables)) == (False, False, 0)


def test_an_engine_that_is_started_again_while_its_end_is_noticed_keeps_its_rules() -> None:
    site = Site(Memory(docker=True))
    site.engines = (7,)
    site.sweeper.sweep()
    site.engines = (8,)
    site.sweeper.sweep()
    assert site.host.docker


def test_at_rest_nothing_is_listed() -> None:
    site = Site(Memory())
    site.sweeper.sweep()
    assert site.host.looks == ["names", "legacy"]
    for _ in range(2):
        site.now += LEGACY_EVERY / 3
        site.sweeper.sweep()
    assert site.host.looks == ["names", "legacy"]
    site.host.changes += 1
    site.sweeper.sweep()
    site.now += LEGACY_EVERY / 3
    site.sweeper.sweep()
    assert site.host.looks == ["names", "legacy", "names", "legacy"]


def test_a_failure_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(Memory(docker=True, refuses=True))

    async def look() -> None:
        await site.sweeper.look()
        await site.sweeper.look()
        site.host.refuses = False
        await site.sweeper.look()

    asyncio.run(look())
    assert [one.message for one in caplog.records if one.levelno == logging.ERROR] == [
        "leftover packet rules cannot be looked for or removed now: busy"
    ]
    assert not site.host.docker


def test_without_iptables_legacy_its_tables_stay(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    site = Site(Memory(legacy=True, installed=False))
    site.sweeper.sweep()
    site.now += LEGACY_EVERY
    site.sweeper.sweep()
    assert site.host.legacy
    assert len([one for one in caplog.messages if "is not looked for" in one]) == 1


def test_tables_of_shoals_that_are_gone_go(caplog: pytest.LogCaptureFixture) -> None:
    host = Memory(
        tables={
            ("ip", "shoal_bbbbbbbb_mesh"),
            ("ip", "shoal_cccccccc"),
            ("ip", f"shoal_{OWN}"),
            ("inet", f"shoal_{OWN}"),
        }
    )
    site = Site(host)
    site.owned = {"cccccccc"}
    site.sweeper.sweep()
    assert host.tables == {("ip", "shoal_cccccccc"), ("ip", f"shoal_{OWN}")}
    assert (
        "packet rules that a shoald that is gone left were removed: table ip shoal_bbbbbbbb_mesh, vxibbbbbbbb"
        in caplog.messages
    )
    assert f"packet rules that an older shoald left were removed: table inet shoal_{OWN}" in caplog.messages


def test_tables_of_a_shoal_whose_containers_run_stay() -> None:
    bridge, port = (
        Link(index, name, master=master, up=True, mtu=1500, mac="", alias="")
        for index, name, master in ((4, "shoalbbbbbbbb", 0), (5, "ve1", 4))
    )
    site = Site(Memory(tables={("ip", "shoal_bbbbbbbb")}, links_there=[bridge, port]))
    site.sweeper.sweep()
    assert site.host.tables
    site.host.links_there.remove(port)
    site.host.changes += 1
    site.sweeper.sweep()
    assert not site.host.tables
