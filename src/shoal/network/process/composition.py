"""Makes the parts of the network process and joins them: talk with others, tables, directory, names, kernel, mesh.

One task at a time changes anything here. What others' entries change is taken over as it comes, many together.
"""

import asyncio
import contextlib
import ipaddress
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from shoal.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound, ShoalError
from shoal.network.claims import ServiceKey
from shoal.network.directory import Directory
from shoal.network.kernel.state import Made, OverlayState
from shoal.network.names.answers import asker
from shoal.network.names.outside import HostServers
from shoal.network.names.redirect import redirect
from shoal.network.names.server import NameServer
from shoal.network.names.sockets import Listening, Opener
from shoal.network.process import entries, memory
from shoal.network.process.balances import Balances
from shoal.network.process.counts import counts
from shoal.network.process.differences import Attached, Differences, differences
from shoal.network.process.early import TCP, UDP
from shoal.network.process.examined import MOST_CONTAINERS, containers_on, examined
from shoal.network.process.former import Former, entries_of, former_of, values_of, written_by
from shoal.network.process.kernel import Kernel
from shoal.network.process.lookout import Lookout
from shoal.network.process.memory import Memory
from shoal.network.process.meshwork import Meshwork
from shoal.network.process.parts import Legacy, Parts
from shoal.network.process.rounds import Rounds
from shoal.network.process.shown import shown
from shoal.network.process.talk import Talk
from shoal.network.records import Address
from shoal.network.wanted import Key, Overlay, Sandbox, Trouble, Wanted

log = logging.getLogger(__name__)

# At each look at the kernel, which is every 3 s: 24 overlays in ten seconds. One is read whole, and with 200 containers
# on it has some 1,000 entries.
OVERLAYS_AT_ONCE = 8
RESOLV_CONF = Path("/etc/resolv.conf")
FORGET_EVERY = 1.0
# What others write is kept soon, for a small part of the time: what a killed process had not kept its next one lacks.
KEEP_PAUSE = 0.05  # seconds, at least
KEEP_RETRY = 1.0
KEEP_SHARE = 20  # a pause is so many times as long as the writing before it


class NodeNetwork:
    """All of this node's networks."""

    def __init__(self, folder: Path, kernel: Kernel, opener: Opener, group: asyncio.TaskGroup, legacy: Legacy) -> None:
        self._folder = folder
        self._memory = Memory()
        self._began = asyncio.get_running_loop().time()
        self._unkept = asyncio.Event()
        self._kernel = kernel
        self._mesh = Meshwork(kernel)
        self._opener = opener
        self._news = asyncio.Event()
        self._changing = asyncio.Lock()
        self._legacy = dict(legacy.descriptors)
        was = former_of(legacy.values)
        self._talk = Talk(group, self._news.set, _sockets(self._legacy), was)
        self._directory = Directory()
        self._names = NameServer(self._directory, group, HostServers(RESOLV_CONF))
        self._wanted = Wanted(0)
        self._broken_off = False  # what was wanted last was not made to its end
        self._place: tuple[object, ...] = ()  # where the kernel's side of all networks is made from
        self._attached = Attached()
        self._joined: set[str] = set()
        self._written = entries.Written()
        self._without: set[str] = set()  # endpoints that could not be made
        self._keys: dict[entries.Key, str] = {}  # the present keys of entries that were away for a while
        self._written_as = ""  # the name in gossip under which they were
        self._made: dict[str, Made] = {}
        self._states: dict[str, OverlayState] = {}
        self._troubles: dict[str, list[Trouble]] = {}  # by network, of its kernel state
        self._standing: list[Trouble] = []  # of the last wanted state, but for the mesh's
        self._told: tuple[Trouble, ...] = ()  # the mesh's that shoald knows
        self._mtu = 0
        self._cannot_encrypt = ""
        self._balances = Balances(self._directory)
        if was is not None:
            self._resume(was)
        self._lookout, self._overlay_rounds = Lookout(kernel, self._names), Rounds(OVERLAYS_AT_ONCE)
        self._unbalanced: set[str] = set()  # containers without some of their virtual IPs

    def _resume(self, was: Former) -> None:
        """Have all that this node had in the tables, before anybody is heard who tells of it."""
        tables, now = self._talk.tables, self._talk.now
        for network in was.joined:
            tables.join_network(network, now)
        for entry in was.entries:
            tables.put(entry.table, entry.network, entry.used, bytes.fromhex(entry.value), now)
            if entry.used != entry.key:
                self._keys[entry.table, entry.network, entry.key] = entry.used
        self._joined, self._written_as = set(was.joined), self._talk.name
        self._written = entries.Written(written_by(was.entries))

    # What shoald wants.

    async def apply(self, wanted: Wanted) -> Sequence[Trouble]:
        """Make it so. What did not change since the last time is not touched, but for what failed then."""
        async with self._changing:
            recalled = None if self._wanted.revision else await asyncio.to_thread(memory.load, self._folder)
            former, self._wanted = self._wanted, wanted
            whole, self._broken_off = self._broken_off, True
            troubles: list[Trouble] = []
            if words := await self._talk.set_gossip(wanted.gossip):
                troubles.append(Trouble("", "gossip", words))
            if wanted.gossip != former.gossip:
                await self._look_at_path()
            if any(overlay.encrypted for overlay in wanted.overlays):
                self._cannot_encrypt = await self._kernel.cannot_encrypt()
            whole |= self._moved()
            changed = differences(former.overlays, self._attached.all, wanted, everything=whole)
            for sandbox in changed.gone:
                self._names.stop(sandbox.container)
            if changed.gone:
                await self._kernel.forget([Path(one.netns) for one in changed.gone])
            self._attached.change(changed.sandboxes, changed.gone)
            self._take_part()
            if changed.overlays:
                self._directory.set_overlays(wanted.overlays)
            if recalled is not None:
                known = self._memory.recall(recalled, [overlay.id for overlay in wanted.overlays], self._talk.now)
                self._directory.apply(known, self._talk.now)
            # The kernel's side first: an address is told of when it can be reached.
            self._look_up(changed.networks)
            troubles += await self._make_overlays()
            troubles += await self._serve_names(changed.sandboxes)
            self._write(changed, {one.endpoint for one in troubles if one.endpoint and not one.bearable})
            troubles += await self._settle(changed)
            self._standing, self._told = troubles, self._mesh.troubles
            self._broken_off = False
            return [*troubles, *self._told]

    async def _look_at_path(self) -> None:
        if self._wanted.gossip is not None:
            self._mtu = await self._kernel.path_mtu(self._tunnel(self._wanted))

    def _moved(self) -> bool:
        """Return whether all networks are to be made from another place than last time, and remember this one."""
        gossip = self._wanted.gossip
        former = self._place
        port = gossip.vxlan_port if gossip is not None else 0
        self._place = (self._talk.name, self._mtu, self._tunnel(self._wanted), port, self._cannot_encrypt)
        return former != self._place

    def _tunnel(self, wanted: Wanted) -> Address:
        return ipaddress.ip_address(wanted.gossip.data_path if wanted.gossip is not None else "127.0.0.1")

    def _take_part(self) -> None:
        talk, tables = self._talk, self._talk.tables
        if self._written_as != talk.name:  # another node in gossip, of which nobody knows anything yet
            for network in self._written.networks():
                self._directory.forget(network)
            self._written, self._written_as, self._joined, self._keys = entries.Written(), talk.name, set(), {}
        networks = {overlay.id for overlay in self._wanted.overlays}
        for network in self._joined - networks:
            tables.leave_network(network, talk.now)
            self._directory.forget(network)
        for network in networks:
            tables.join_network(network, talk.now)
        self._joined = networks

    def _write(self, changed: Differences, without: set[str]) -> None:
        sandboxes = {one.container: one for one in changed.sandboxes}
        if doubtful := without ^ self._without:  # could not be made before, or cannot any more
            sandboxes |= {
                one.container: one
                for one in self._wanted.sandboxes
                if any(endpoint.id in doubtful for endpoint in one.endpoints)
            }
        self._without = without
        # Those that are gone now, and those whose end came to nothing last time.
        gone = [container for container in self._written.containers() if container not in self._attached.all]
        tunnel = self._tunnel(self._wanted)
        own = entries.node_entries(self._wanted.overlays, tunnel, self._talk.name)
        steps = self._written.change(own, sandboxes.values(), gone, tunnel, self._joined, without)
        for (table, network, key), value in steps:
            self._write_one(table, network, key, value)
        self._talk.changed()

    def _write_one(self, table: str, network: str, key: str, value: bytes | None) -> None:
        """Write an entry, or take it away. A key that was taken away is never used again, as nodes remember its end."""
        talk = self._talk
        used = self._keys.get((table, network, key), key)
        if value is None:
            talk.tables.delete(table, network, used, talk.now)
            self._keys.pop((table, network, key), None)
            return
        try:
            talk.tables.put(table, network, used, value, talk.now)
        except Conflict:
            fresh = self._keys[table, network, key] = secrets.token_hex(32)
            talk.tables.put(table, network, fresh, value, talk.now)

    def _is_on(self, network: str) -> bool:
        return any(overlay.id == network for overlay in self._wanted.overlays)

    # The kernel.

    def _look_up(self, networks: Collection[str], changed: Collection[tuple[str, Address]] = ()) -> bool:
        """Say anew how these networks are to look in the kernel; return whether any is to look otherwise.

        `changed` are the networks' addresses of which others have told since the last time.
        """
        # Ingress is the mesh's to make, once ports are published.
        overlays = {overlay.id: overlay for overlay in self._wanted.overlays if not overlay.ingress}
        for network in self._made.keys() - overlays.keys():
            del self._made[network]
            self._states.pop(network, None)
            self._troubles.pop(network, None)
        addresses: dict[str, list[Address]] = {}
        for network, address in changed:
            addresses.setdefault(network, []).append(address)
        former = dict(self._states)
        for network in networks:
            if (overlay := overlays.get(network)) is not None:
                self._look_up_one(overlay, addresses.get(network, ()))
        return any(self._states.get(network) is not former.get(network) for network in networks)

    def _look_up_one(self, overlay: Overlay, changed: Iterable[Address]) -> None:
        gossip = self._wanted.gossip
        made = self._made.setdefault(overlay.id, Made())
        try:
            self._states[overlay.id], self._troubles[overlay.id] = made.state(
                overlay,
                self._attached.endpoints(overlay.id),
                self._directory.neighbours(overlay.id),
                changed,
                local=self._tunnel(self._wanted),
                vxlan_port=gossip.vxlan_port if gossip is not None else 4789,
                path_mtu=self._mtu,
                cannot_encrypt=self._cannot_encrypt,
            )
        except (InvalidArgument, FailedPrecondition) as error:
            self._made[overlay.id] = Made()  # it may have missed what was told
            self._states.pop(overlay.id, None)
            self._troubles[overlay.id] = [Trouble(overlay.id, "", str(error))]

    async def _make_overlays(self) -> list[Trouble]:
        troubles = [trouble for found in self._troubles.values() for trouble in found]
        return troubles + await self._kernel.apply(list(self._states.values()), *self._secrets())

    def _secrets(self) -> tuple[Sequence[Key], Address | None]:
        """Return the keys of encrypted networks, and where packets leave from; None: this node is in no swarm."""
        gossip = self._wanted.gossip
        return (gossip.keys, self._tunnel(self._wanted)) if gossip is not None else ((), None)

    # Names.

    async def _serve_names(self, sandboxes: Iterable[Sandbox]) -> list[Trouble]:
        troubles, served = [], self._names.served()
        for sandbox in sandboxes:
            if sandbox.container in served:
                self._names.update(asker(sandbox, self._wanted.overlays))
        for sandbox in self._wanted.sandboxes:
            if sandbox.container in served:
                continue
            who = asker(sandbox, self._wanted.overlays)
            try:
                listening = self._inherited(sandbox) or await self._opener.open(Path(sandbox.netns))
                self._names.serve(who, listening)
                await self._kernel.rules(Path(sandbox.netns), redirect(*listening.ports))
            except (OSError, ShoalError) as error:
                log.warning("container %s has no names: %s", sandbox.container[:12], error)
                self._names.stop(sandbox.container)
                troubles += [Trouble(one.network, one.id, f"names: {error}") for one in sandbox.endpoints[:1]]
        for number in self._legacy.values():  # of containers that are gone
            Listening.from_descriptors(number, number).close()
        self._legacy.clear()
        return troubles

    def _inherited(self, sandbox: Sandbox) -> Listening | None:
        udp = self._legacy.pop(f"udp {sandbox.container}", None)
        tcp = self._legacy.pop(f"tcp {sandbox.container}", None)
        return Listening.from_descriptors(udp, tcp) if udp is not None and tcp is not None else None

    # What others change.

    async def follow(self) -> None:
        """Take over what others write, until cancelled; forget in time what is no longer confirmed."""
        while True:
            times = [self._directory.next_expiry(), self._talk.now + FORGET_EVERY if self._memory.waits else None]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min((at for at in times if at is not None), default=None)):
                    await self._news.wait()
            self._news.clear()
            async with self._changing:
                self._forget()
                for trouble in await self._settle(None):
                    log.warning("network %s: %s", trouble.network, trouble.message)

    def _forget(self) -> None:
        now = self._talk.now
        if (self._talk.others or now >= self._began + memory.ALONE) and (ended := self._memory.forget(now)):
            self._directory.apply(ended, now)

    async def remember(self) -> None:
        """Keep what others have written for the next run, until cancelled."""
        loop = asyncio.get_running_loop()
        pause = KEEP_PAUSE
        while True:
            await self._unkept.wait()
            self._unkept.clear()
            began = loop.time()
            try:
                await asyncio.to_thread(memory.keep, self._folder, self._memory.text())
                pause = max(KEEP_PAUSE, KEEP_SHARE * (loop.time() - began))
            except OSError as error:  # only a process that is started anew misses it
                log.error("what other nodes wrote is not kept for the next start: %s", error)
                self._unkept.set()
                pause = KEEP_RETRY
            await asyncio.sleep(pause)

    async def _settle(self, wanted: Differences | None) -> list[Trouble]:
        """Bring kernel and virtual IPs to what the tables say, and containers to what of them is `wanted` now."""
        if heard := self._memory.hear(self._talk.tables.take_changes(), self._talk.name, self._talk.now):
            self._unkept.set()
            self._directory.apply(heard, self._talk.now)
        expired = self._directory.expire(self._talk.now)
        meshed = {overlay.id for overlay in self._wanted.overlays if overlay.ingress}
        changes = self._directory.take_changes()
        troubles: list[Trouble] = []
        networks = {network for network, _ in changes.neighbours}
        # What this node has written itself changes nothing there.
        if self._look_up(networks, changes.neighbours):
            troubles += await self._make_overlays()
        if wanted is not None or changes.services:
            troubles += await self._balance(wanted, changes.services)
        touched = expired | networks
        touched |= {change.network for change in heard} | {service.network for service in changes.services}
        if wanted is not None or touched & meshed:
            await self._mesh.settle(self._wanted, self._directory, nodes=self._talk.addresses(), path_mtu=self._mtu)
        return troubles

    async def _balance(self, wanted: Differences | None, services: Iterable[ServiceKey]) -> list[Trouble]:
        # A network of which nothing can be made (its subnets are none) is not balanced either.
        made = [overlay for overlay in self._wanted.overlays if overlay.id in self._states]
        sandboxes = [
            one for network in self._balances.change(made, services) for one in self._attached.sandboxes(network)
        ]
        if wanted is not None:
            self._unbalanced &= self._attached.all.keys()
            sandboxes += [*wanted.sandboxes, *(self._attached.all[one] for one in self._unbalanced)]
        once = {sandbox.container: sandbox for sandbox in sandboxes}
        chosen = {Path(sandbox.netns): sandbox for sandbox in once.values()}
        failed = await self._kernel.balance({netns: self._balances.virtuals(one) for netns, one in chosen.items()})
        self._unbalanced -= once.keys()
        self._unbalanced |= {chosen[netns].container for netns in failed}
        return [
            Trouble(endpoint.network, endpoint.id, f"virtual IPs: {words}")
            for netns, words in failed.items()
            for endpoint in chosen[netns].endpoints[:1]
        ]

    # The rest of what a server asks of its parts.

    def others(self) -> int:
        """Return how many other nodes gossip."""
        return self._talk.others

    async def verify(self) -> Sequence[Trouble] | None:
        """Mend what others changed in the kernel."""
        async with self._changing:
            former = self._mtu
            await self._look_at_path()
            if self._mtu != former:
                self._moved()
                self._look_up(self._joined)
            due = self._overlay_rounds.due(self._states, asyncio.get_running_loop().time())
            troubles = await self._kernel.look_again(list(self._states.values()), due, *self._secrets())
            troubles += await self._lookout.look(self._attached.all)
            await self._mesh.look_again(self._wanted)
            if not troubles and self._mesh.troubles == self._told:
                return None
            self._told = self._mesh.troubles
            return [*(troubles or self._standing), *self._told]

    async def show(self, network: str) -> Mapping[str, Any]:
        """Return what is known of a network: its nodes, and its containers by the ids of their endpoints."""
        if not self._is_on(network):
            raise NotFound(f"network {network} is not on this node")
        nodes = [(name, address or self._own_address()) for name, address in self._talk.tables.peer_addresses(network)]
        return shown(network, nodes, self._directory)

    async def examine(self, network: str) -> Mapping[str, Any]:
        """Return what there is of a network on this node, layer by layer."""
        overlay = next((one for one in self._wanted.overlays if one.id == network), None)
        if overlay is None:
            raise NotFound(f"network {network} is not on this node")
        async with self._changing:
            sandboxes = containers_on(network, self._wanted.sandboxes)
            wanted = {Path(one.netns): self._balances.virtuals(one).values() for one in sandboxes[:MOST_CONTAINERS]}
            return examined(
                overlay,
                sandboxes,
                directory=self._directory,
                state=self._states.get(network),
                virtuals=wanted,
                looked=await self._kernel.look(network, list(wanted)),
                served=self._names.served(),
                troubles=self._troubles.get(network, ()),
            )

    def counts(self) -> Mapping[str, Any]:
        """Return what has been counted since the start, and how much there is."""
        talk = self._talk
        return counts(
            self._wanted,
            sum(map(len, self._troubles.values())),
            talk.counts(),
            talk.tables.statistics(),
            {**asdict(self._names.counts), "waiting": self._names.waiting},
            asdict(self._kernel.counts),
        )

    def _own_address(self) -> str:
        return self._wanted.gossip.advertise if self._wanted.gossip is not None else ""

    def bequeath(self) -> Legacy:
        """Leave gossip and names to a successor, with their sockets; the kernel's side stays as it is."""
        descriptors: dict[str, int] = {}
        for container in self._names.served():
            udp, tcp = self._names.release(container).descriptors
            descriptors |= {f"udp {container}": udp, f"tcp {container}": tcp}
        left = self._talk.leave_to_successor()
        if left is None:
            return Legacy({}, descriptors)
        try:
            memory.keep(self._folder, self._memory.text())
        except OSError as error:
            log.error("what other nodes wrote last is not kept for the successor: %s", error)
        who, (udp_socket, tcp_socket) = left
        who = replace(who, joined=tuple(self._joined), entries=entries_of(self._written.all, self._keys))
        return Legacy(values_of(who), descriptors | {UDP: udp_socket.fileno(), TCP: tcp_socket.fileno()})

    async def remove(self) -> None:
        """Leave the gossip and take all away."""
        async with self._changing:
            for container in self._names.served():
                self._names.stop(container)
            await self._talk.leave()
            (self._folder / memory.FILE).unlink(missing_ok=True)
            try:
                await self._mesh.remove()
            except (OSError, ShoalError) as error:
                log.error("the routing mesh is left in the kernel: %s", error)
            for trouble in await self._kernel.remove():
                log.error("network %s is left in the kernel: %s", trouble.network, trouble.message)


def _sockets(legacy: dict[str, int]) -> tuple[socket.socket, socket.socket] | None:
    """Take gossip's sockets, where they were left."""
    udp, tcp = (socket.socket(fileno=legacy.pop(name)) if name in legacy else None for name in (UDP, TCP))
    for sock in (udp, tcp):
        if sock is not None:
            sock.setblocking(False)
            sock.set_inheritable(False)
    return (udp, tcp) if udp is not None and tcp is not None else None


@asynccontextmanager
async def compose(folder: Path, tag: str, legacy: Legacy) -> AsyncIterator[Parts]:
    """Make the parts, going on with what a former program left; end them. OSError, MissingProgram."""
    kernel, opener = Kernel(folder / "overlays", tag), Opener()
    try:
        await kernel.open()
        try:
            async with asyncio.TaskGroup() as group:
                network = NodeNetwork(folder, kernel, opener, group, legacy)
                tasks = [
                    group.create_task(network.follow(), name="others' entries"),
                    group.create_task(network.remember(), name="memory of others"),
                ]
                try:
                    yield network
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            await kernel.close()
    finally:
        opener.close()
