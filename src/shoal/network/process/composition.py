"""Makes the parts of the network process and joins them: talk with others, tables, directory, names, kernel, mesh.

One task at a time changes anything here. What others' entries change is taken over as it comes, many together.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from shoal.errors import NotFound, ShoalError
from shoal.network.claims import ServiceKey
from shoal.network.directory import Directory
from shoal.network.names.answers import asker
from shoal.network.names.outside import HostServers
from shoal.network.names.redirect import redirect
from shoal.network.names.server import NameServer
from shoal.network.names.sockets import Listening, Opener
from shoal.network.process import memory
from shoal.network.process.balances import Balances
from shoal.network.process.confirmed import Confirmed
from shoal.network.process.counts import counts
from shoal.network.process.differences import Attached, Differences, differences
from shoal.network.process.early import TCP, UDP
from shoal.network.process.examined import MOST_CONTAINERS, containers_on, examined
from shoal.network.process.former import former_of, values_of
from shoal.network.process.keeper import Keeper
from shoal.network.process.kernel import Kernel
from shoal.network.process.layout import Layout, Underlay
from shoal.network.process.lookout import Lookout
from shoal.network.process.memory import Memory
from shoal.network.process.meshwork import Meshwork
from shoal.network.process.own import Own
from shoal.network.process.parts import Legacy, Parts
from shoal.network.process.rounds import Rounds
from shoal.network.process.shown import shown
from shoal.network.process.talk import Talk
from shoal.network.records import Address
from shoal.network.wanted import Key, Sandbox, Trouble, Wanted
from shoal.repeats import Repeats

log = logging.getLogger(__name__)

# At each look at the kernel, which is every 3 s: 24 overlays in ten seconds. One is read whole, and with 200 containers
# on it has some 1,000 entries.
OVERLAYS_AT_ONCE = 8
NOWHERE = ipaddress.ip_address("127.0.0.1")  # no other node is reached from here
DEFAULT_PORT = 4789
RESOLV_CONF = Path("/etc/resolv.conf")
FORGET_EVERY = 1.0


class NodeNetwork:
    """All of this node's networks."""

    def __init__(self, folder: Path, kernel: Kernel, opener: Opener, group: asyncio.TaskGroup, legacy: Legacy) -> None:
        self._folder = folder
        self._memory = Memory()
        self.keeper = Keeper(folder, self._memory)
        self._began = asyncio.get_running_loop().time()
        self._kernel = kernel
        self._mesh = Meshwork(kernel)
        self._opener = opener
        self._news = asyncio.Event()
        self._changing = asyncio.Lock()
        self._legacy = dict(legacy.descriptors)
        was = former_of(legacy.values)
        self._confirmed, self._heard = Confirmed(), asyncio.Event()
        self._talk = Talk(group, self._news.set, _sockets(self._legacy), was, self._heard.set)
        self._directory = Directory()
        self._names = NameServer(self._directory, group, HostServers(RESOLV_CONF))
        self._wanted = Wanted(0)
        self._broken_off = False  # what was wanted last was not made to its end
        self._attached = Attached()
        self._own = Own(self._talk, was)
        self._layout = Layout(self._directory, self._attached)
        self._standing: list[Trouble] = []  # of the last wanted state, but for those that may be mended by others' word
        self._told: tuple[Trouble, ...] = ()  # these, of which shoald knows: the mesh's, and what is bearable
        self._repeats = Repeats(log)
        self._underlay = Underlay("", NOWHERE, DEFAULT_PORT, 0, "")
        self._balances = Balances(self._directory)
        self._lookout, self._overlay_rounds = Lookout(kernel, self._names), Rounds(OVERLAYS_AT_ONCE)
        self._unbalanced: set[str] = set()  # containers without some of their virtual IPs

    # What shoald wants.

    async def apply(self, wanted: Wanted) -> Sequence[Trouble]:
        """Make it so. What did not change since the last time is not touched, but for what failed then."""
        async with self._changing:
            try:
                return await self._apply(wanted)
            finally:
                self._confirmed.wrote(wanted.revision, self._talk.name, self._talk.tables.written)
                self._heard.set()

    async def told(self, after: int) -> int:
        """Wait until the others have confirmed what they were told for a wanted state later than `after`."""
        while (revision := self._confirmed.up_to(self._talk.name, self._talk.tables.told)) <= after:
            self._heard.clear()
            await self._heard.wait()
        return revision

    async def _apply(self, wanted: Wanted) -> Sequence[Trouble]:
        recalled = None if self._wanted.revision else await asyncio.to_thread(memory.load, self._folder)
        former, self._wanted = self._wanted, wanted
        whole, self._broken_off = self._broken_off, True
        troubles: list[Trouble] = []
        if words := await self._talk.set_gossip(wanted.gossip):
            troubles.append(Trouble("", "gossip", words))
        path_mtu, cannot_encrypt = self._underlay.path_mtu, self._underlay.cannot_encrypt
        if wanted.gossip != former.gossip:
            path_mtu = await self._path_mtu()
        if any(overlay.encrypted for overlay in wanted.overlays):
            cannot_encrypt = await self._kernel.cannot_encrypt()
        whole |= self._moved(path_mtu, cannot_encrypt)
        changed = differences(former.overlays, self._attached.all, wanted, everything=whole)
        for sandbox in changed.gone:
            self._names.stop(sandbox.container)
        if changed.gone:
            await self._kernel.forget([Path(one.netns) for one in changed.gone])
        self._attached.change(changed.sandboxes, changed.gone)
        for network in self._own.take_part({overlay.id for overlay in wanted.overlays}):
            self._directory.forget(network)
        if changed.overlays:
            self._directory.set_overlays(wanted.overlays)
        if recalled is not None:
            known = self._memory.recall(recalled, [overlay.id for overlay in wanted.overlays], self._talk.now)
            self._directory.apply(known, self._talk.now)
        # The kernel's side first: an address is told of when it can be reached.
        self._layout.update(wanted.overlays, self._underlay, changed.networks)
        troubles += await self._make_overlays()
        troubles += await self._serve_names(changed.sandboxes)
        self._own.write(
            wanted,
            changed.sandboxes,
            self._attached.all.keys(),
            tunnel=self._underlay.local,
            without={one.endpoint for one in troubles if one.endpoint and not one.bearable},
        )
        troubles += await self._settle(changed)
        self._standing = [trouble for trouble in troubles if not trouble.bearable]
        self._told = (*_bearable(troubles), *self._mesh.troubles)
        self._broken_off = False
        return [*self._standing, *self._told]

    async def _path_mtu(self) -> int:
        gossip = self._wanted.gossip
        if gossip is None:
            return self._underlay.path_mtu
        return await self._kernel.path_mtu(ipaddress.ip_address(gossip.data_path))

    def _moved(self, path_mtu: int, cannot_encrypt: str) -> bool:
        """Return whether all networks are to be made on another underlay than last time, and remember this one."""
        gossip, former = self._wanted.gossip, self._underlay
        local = ipaddress.ip_address(gossip.data_path) if gossip is not None else NOWHERE
        port = gossip.vxlan_port if gossip is not None else DEFAULT_PORT
        self._underlay = Underlay(self._talk.name, local, port, path_mtu, cannot_encrypt)
        return self._underlay != former

    def _is_on(self, network: str) -> bool:
        return any(overlay.id == network for overlay in self._wanted.overlays)

    # The kernel.

    async def _make_overlays(self) -> list[Trouble]:
        states = list(self._layout.states.values())
        return self._layout.troubles() + await self._kernel.apply(states, *self._secrets())

    def _secrets(self) -> tuple[Sequence[Key], Address | None]:
        """Return the keys of encrypted networks, and where packets leave from; None: this node is in no swarm."""
        gossip = self._wanted.gossip
        return (gossip.keys, self._underlay.local) if gossip is not None else ((), None)

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
                for trouble in dict.fromkeys(await self._settle(None)):
                    if trouble.bearable:  # by what others write, each time that they write
                        kind = ("bearable", trouble.network)
                        self._repeats.log(logging.WARNING, kind, "network %s: %s", trouble.network, trouble.message)
                    else:
                        log.warning("network %s: %s", trouble.network, trouble.message)

    def _forget(self) -> None:
        now = self._talk.now
        if (self._talk.others or now >= self._began + memory.ALONE) and (ended := self._memory.forget(now)):
            self._directory.apply(ended, now)

    async def _settle(self, wanted: Differences | None) -> list[Trouble]:
        """Bring kernel and virtual IPs to what the tables say, and containers to what of them is `wanted` now."""
        owed = self._talk.take_owed()
        if heard := self._memory.hear(self._talk.tables.take_changes(), self._talk.name, self._talk.now):
            self.keeper.note()
            self._directory.apply(heard, self._talk.now)
        expired = self._directory.expire(self._talk.now)
        meshed = {overlay.id for overlay in self._wanted.overlays if overlay.ingress}
        changes = self._directory.take_changes()
        troubles: list[Trouble] = []
        networks = {network for network, _ in changes.neighbours}
        # What this node has written itself changes nothing there.
        if self._layout.update(self._wanted.overlays, self._underlay, networks, changes.neighbours):
            troubles += await self._make_overlays()
        if wanted is not None or changes.services:
            troubles += await self._balance(wanted, changes.services)
        touched = expired | networks
        touched |= {change.network for change in heard} | {service.network for service in changes.services}
        if wanted is not None or touched & meshed:
            await self._mesh.settle(
                self._wanted, self._directory, nodes=self._talk.addresses(), path_mtu=self._underlay.path_mtu
            )
        self._talk.acknowledge(owed)
        return troubles

    async def _balance(self, wanted: Differences | None, services: Iterable[ServiceKey]) -> list[Trouble]:
        # A network of which nothing can be made (its subnets are none) is not balanced either.
        made = [overlay for overlay in self._wanted.overlays if overlay.id in self._layout.states]
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
            path_mtu = await self._path_mtu()
            if path_mtu != self._underlay.path_mtu and self._moved(path_mtu, self._underlay.cannot_encrypt):
                self._layout.update(self._wanted.overlays, self._underlay, self._own.networks)
            states = self._layout.states
            due = self._overlay_rounds.due(states, asyncio.get_running_loop().time())
            troubles = await self._kernel.look_again(list(states.values()), due, *self._secrets())
            troubles += await self._lookout.look(self._attached.all)
            await self._mesh.look_again(self._wanted)
            told = (*_bearable(troubles), *self._mesh.troubles)
            failed = [trouble for trouble in troubles if not trouble.bearable]
            if not failed and told == self._told:
                return None
            self._told = told
            return [*(failed or self._standing), *told]

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
                state=self._layout.states.get(network),
                virtuals=wanted,
                looked=await self._kernel.look(network, list(wanted)),
                served=self._names.served(),
                troubles=[*self._layout.troubles(network), *self._told],
            )

    def counts(self) -> Mapping[str, Any]:
        """Return what has been counted since the start, and how much there is."""
        talk = self._talk
        return counts(
            self._wanted,
            len(self._layout.troubles()),
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
        who = replace(who, joined=tuple(self._own.networks), entries=self._own.entries)
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


def _bearable(troubles: Iterable[Trouble]) -> tuple[Trouble, ...]:
    return tuple(dict.fromkeys(trouble for trouble in troubles if trouble.bearable))


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
                    group.create_task(network.keeper.run(), name="memory of others"),
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
