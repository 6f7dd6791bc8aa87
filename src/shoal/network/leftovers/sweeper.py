"""Removes what Docker Engines and Shoals that are gone left of packet rules on this host: at the start, and in time.

In: this daemon's tag, and who still has an owner. Out: lines in the log. At rest a look is one question to the kernel;
rules are listed only after somebody changed some, and while an engine lives only its process is looked at.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from shoal.errors import MissingProgram, ShoalError
from shoal.network.bridge import OtherBridge, other_bridges
from shoal.network.host_ports.ports import Published
from shoal.network.leftovers import docker, engines, shoals
from shoal.network.leftovers.chains import Table
from shoal.network.leftovers.docker import Removal
from shoal.network.leftovers.host import Host, Names
from shoal.network.leftovers.shoals import Name
from shoal.network.rtnetlink import Link

log = logging.getLogger(__name__)

EVERY = 5.0
# Nothing tells of changes in the older kind of tables: they are listed so often, where there are any.
LEGACY_EVERY = 15.0


class Kernel(Protocol):
    """leftovers.host.Host."""

    def generation(self) -> int: ...
    def names(self) -> Names: ...
    def links(self) -> list[Link]: ...
    def read(self, tables: Iterable[Name]) -> list[Table]: ...
    def remove(self, removals: Iterable[Removal], tables: Collection[Name]) -> None: ...
    def legacy_families(self) -> list[str]: ...
    def read_legacy(self, family: str) -> list[Table]: ...
    def remove_legacy(self, family: str, removals: Iterable[Removal]) -> None: ...
    def end_flows(self, ports: Collection[Published]) -> None: ...
    def remove_meshes(self, gone: Collection[str]) -> list[str]: ...


class Sweeper:
    """Looks for leftovers. `owned`: whether somebody still answers for another daemon's tag; the bridge is None where
    that daemon has none."""

    def __init__(
        self,
        tag: str,
        owned: Callable[[str, OtherBridge | None], bool],
        host: Kernel | None = None,
        living: Callable[[], tuple[int, ...]] = engines.living,
        still: Callable[[Iterable[int]], bool] = engines.still,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tag = tag
        self._owned = owned
        self._host: Kernel = host or Host()
        self._living, self._still = living, still
        self._clock = clock
        self._engines: tuple[int, ...] = ()  # they live, and there are rules of theirs
        self._generation: int | None = None
        self._legacy_at = 0.0
        self._first = True
        self._said: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Look once. What cannot be removed is said once, and tried again."""
        try:
            await asyncio.to_thread(self.sweep)
        except (OSError, ShoalError) as error:
            self._generation = None
            self._say(logging.ERROR, f"leftover packet rules cannot be looked for or removed now: {error}")

    def sweep(self) -> None:
        """Look once. Blocks. OSError, ShoalError."""
        if self._engines:
            if self._still(self._engines):
                return
            self._engines, self._generation, self._legacy_at = (), None, 0.0
        generation, now = self._host.generation(), self._clock()
        legacy = self._first or now >= self._legacy_at
        if generation == self._generation and not legacy:
            return
        if legacy:
            self._legacy_at = now + LEGACY_EVERY
        if generation != self._generation:
            names = self._host.names()
            self._shoals(names)
            self._docker(names)
        if legacy and not self._engines:
            self._docker_legacy()
        self._first = False
        self._generation = generation

    def _docker(self, names: Names) -> None:
        whole = sorted(docker.TABLES & names.tables)
        if not names.dockers and not whole:
            return
        self._engines = self._living()
        if self._engines:
            return
        tables = self._host.read(names.dockers)
        removals = docker.decide(tables)
        if removals or whole:
            self._host.remove(removals, whole)
        self._host.end_flows(docker.led(removals))
        self._tell(removals, docker.closed(tables))
        if whole:
            self._removed("a Docker Engine", ", ".join(f"table {family} {name}" for family, name in whole))

    def _docker_legacy(self) -> None:
        for family in self._host.legacy_families():
            try:
                tables = self._host.read_legacy(family)
            except MissingProgram as error:
                self._say(logging.INFO, f"what Docker may have left in iptables-legacy is not looked for: {error}")
                return
            removals = docker.decide(tables)
            closed = docker.closed(tables)
            if not removals and not closed:
                continue
            self._engines = self._engines or self._living()
            if self._engines:
                return
            if removals:
                self._host.remove_legacy(family, removals)
            self._host.end_flows(docker.led(removals))
            self._tell(removals, closed)

    def _tell(self, removals: Iterable[Removal], closed: Iterable[Table]) -> None:
        for one in removals:
            self._removed("a Docker Engine", str(one))
        for table in closed:
            command = {"ip": "iptables", "ip6": "ip6tables"}[table.family] + ("-legacy" if table.legacy else "-nft")
            self._say(
                logging.WARNING,
                f"the policy of FORWARD is DROP in {command}, perhaps since Docker ran here, and others have rules "
                f"there: it stays. Where containers do not reach the outside: {command} -P FORWARD ACCEPT",
            )

    def _shoals(self, names: Names) -> None:
        links: list[Link] | None = None
        left: list[Name] = []
        if self._first:
            links = self._host.links()
            left = shoals.left_by_former(names.tables, self._tag, [link.name for link in links])
            if left:
                self._host.remove((), left)
                self._removed("an older shoald", _list(left))
        if {shoals.tag(name) for _, name in names.tables} <= {"", self._tag}:
            return
        others = {one.tag: one for one in other_bridges(links or self._host.links(), f"shoal{self._tag}")}
        busy = engines.networks_processes()

        def has_owner(tag: str) -> bool:
            bridge = others.get(tag)
            return tag in busy or (bridge is not None and bridge.ports > 0) or self._owned(tag, bridge)

        left = shoals.left_by_others(names.tables, self._tag, has_owner)
        if left:
            devices = self._host.remove_meshes({shoals.tag(name) for _, name in left})
            # A table at a device goes with it.
            there = self._host.names().tables
            self._host.remove((), [one for one in left if one in there])
            self._removed("a shoald that is gone", ", ".join([_list(left), *devices]))

    def _removed(self, whose: str, what: str) -> None:
        log.warning("packet rules that %s left were removed: %s", whose, what)

    def _say(self, level: int, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            log.log(level, "%s", words)


def _list(tables: Iterable[Name]) -> str:
    return ", ".join(f"table {family} {name}" for family, name in tables)
