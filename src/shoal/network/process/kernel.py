"""The kernel's side of this node's networks, on the one thread that switches network namespaces.

In: how overlays and the routing mesh are to look, the virtual IPs of each container. Out: what could not be done. Each
call costs what changed since the last one.
"""

import asyncio
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import TypeVar

from shoal.errors import InvalidArgument, ShoalError
from shoal.network.balancing.balancer import Balancer
from shoal.network.balancing.rules import Virtual
from shoal.network.encryption.encrypter import Encrypter, Unguarded
from shoal.network.encryption.wanted import Encryption, encryption
from shoal.network.kernel.overlays import Overlays
from shoal.network.kernel.state import OverlayState
from shoal.network.kernel.watched import Watched
from shoal.network.mesh.mesher import Mesher
from shoal.network.mesh.mesher6 import Mesher6
from shoal.network.mesh.reserved import ReservedPorts
from shoal.network.mesh.state import Mesh, Meshed, without_ports
from shoal.network.namespaces import Namespaces
from shoal.network.process.examined import Looked
from shoal.network.records import Address
from shoal.network.wanted import Key, Trouble

R = TypeVar("R")


@dataclass(slots=True)
class Counts:
    """What has been done since the start."""

    applied: int = 0  # times that overlays or virtual IPs were made so
    seconds: float = 0.0  # that it took in all
    steps: int = 0  # of overlays: devices, interfaces, sets of neighbours
    repaired: int = 0  # of those: because the kernel was not as it was made
    rules: int = 0  # updates of nftables
    failed: int = 0  # what could not be made, each time that it was tried


class Kernel:
    """Overlays, virtual IPs, the mesh. `folder` is for the overlays' namespaces alone, `tag` is in all names."""

    def __init__(self, folder: Path, tag: str) -> None:
        self._folder = folder
        self.tag = tag
        self._thread = ThreadPoolExecutor(1, "netns")
        self.counts = Counts()

    async def open(self) -> None:
        """Open what is needed. OSError, MissingProgram."""
        await self._run(self._open)

    def _open(self) -> None:
        self._namespaces = Namespaces()
        self._overlays = Overlays(self._folder, self.tag, self._namespaces)
        self._nftables = Watched(self._namespaces)
        self._balancer = Balancer(self._nftables, SystemRandom())
        self._mesher = Mesher(self._nftables, SystemRandom())
        self._mesher6 = Mesher6(self._nftables.run)
        self._ports = ReservedPorts()
        self._encrypter = Encrypter(self._folder.parent / "probe", self.tag, self._namespaces, self._nftables)
        self._encrypted: Encryption | None = None  # as it was last wanted
        self._encrypted_for: tuple[object, ...] = ()  # of what that was reckoned: it costs some time with many peers

    async def close(self) -> None:
        """Close what is open here; the kernel's side stays."""
        await self._run(self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        self._ports.release()
        self._mesher.close()
        self._nftables.close()
        self._overlays.close()
        self._namespaces.close()

    async def _run(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def path_mtu(self, local: Address) -> int:
        """Return the MTU of the device that has this node's address."""
        return await self._run(lambda: self._overlays.path_mtu(local))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.counts.applied += 1
            self.counts.seconds += time.monotonic() - began
            self.counts.steps = self._overlays.steps
            self.counts.rules = self._nftables.updates

    async def cannot_encrypt(self) -> str:
        """Return why this host cannot encrypt; empty where it can."""
        return await self._run(self._encrypter.lacking)

    async def apply(
        self, states: Sequence[OverlayState], keys: Sequence[Key] = (), local: Address | None = None
    ) -> list[Trouble]:
        """Make the overlays so, and no others. `keys` and `local`: with which, and where, encrypted ones are."""
        return await self._run(lambda: self._apply(states, keys, local))

    def _apply(self, states: Sequence[OverlayState], keys: Sequence[Key], local: Address | None) -> list[Trouble]:
        with self._counted():
            troubles = self._made(states, keys, local)
        self.counts.failed += sum(not trouble.bearable for trouble in troubles)
        return troubles

    def _made(self, states: Sequence[OverlayState], keys: Sequence[Key], local: Address | None) -> list[Trouble]:
        words = ""
        if local is None and any(state.encrypted for state in states):
            kept = [state for state in states if not state.encrypted]
            return [*self._overlays.apply(kept), *_of_encrypted(states, "this node is in no swarm that has keys")]
        if local is not None:
            try:
                given = ([state for state in states if state.encrypted], keys, local)
                if self._encrypted is None or self._encrypted_for != given:
                    self._encrypted, self._encrypted_for = encryption(states, keys, local), given
                self._encrypter.prepare(self._encrypted)
            except (Unguarded, InvalidArgument) as error:
                # Never in the clear: they are gone, or are not made.
                kept = [state for state in states if not state.encrypted]
                return [*self._overlays.apply(kept), *_of_encrypted(states, str(error))]
            except (OSError, ShoalError) as error:
                words = str(error)
        troubles = self._overlays.apply(states)
        if self._encrypted is not None and not words:
            try:
                self._encrypter.finish(self._encrypted)
            except (OSError, ShoalError) as error:
                words = str(error)
        return [*troubles, *_of_encrypted(states, words), *_unreached(states, self._encrypter.refused)]

    async def remove(self) -> list[Trouble]:
        """Take all overlays away, and the folder of their namespaces."""

        def work() -> list[Trouble]:
            local = self._encrypted.local if self._encrypted is not None else None
            troubles = self._apply([], (), local)
            if not troubles and self._folder.exists():
                self._folder.rmdir()
            return troubles

        return await self._run(work)

    async def mesh(self, mesh: Mesh) -> Meshed:
        """Make the routing mesh so, but for the ports that another program of this host has. OSError, ShoalError."""

        def work() -> Meshed:
            taken = self._ports.take(mesh.published)
            reachable = without_ports(mesh, taken)
            self._mesher.apply(reachable)
            self._mesher6.apply(reachable)
            self._ports.release(keep=mesh.published.keys() - taken)
            return Meshed(taken, self._mesher.refused)

        return await self._run(work)

    async def no_mesh(self) -> None:
        """Take the routing mesh away, each part whatever another says. OSError, ShoalError; may be repeated."""

        def work() -> None:
            with ExitStack() as parts:  # the last first
                parts.callback(self._ports.release)
                parts.callback(self._mesher.remove, self.tag)
                parts.callback(self._mesher6.remove, self.tag)

        await self._run(work)

    async def look_again(
        self,
        states: Sequence[OverlayState],
        due: Collection[str],
        keys: Sequence[Key] = (),
        local: Address | None = None,
    ) -> list[Trouble]:
        """Read what the kernel has of some of these, and of all encryption; mend what is not as it was made."""

        def work() -> list[Trouble]:
            before = self._overlays.steps
            self._overlays.look_again(due)
            self._encrypter.look_again()
            troubles = self._apply(states, keys, local)
            self.counts.repaired += self._overlays.steps - before
            return troubles

        return await self._run(work)

    async def balance(self, virtuals: Mapping[Path, Mapping[Address, Virtual]]) -> dict[Path, str]:
        """Make the virtual IPs of these namespaces so. Return what could not be done, by namespace."""

        def work() -> dict[Path, str]:
            failed = {}
            with self._counted():
                for netns, wanted in virtuals.items():
                    try:
                        self._balancer.apply(netns, wanted)
                    except (OSError, ShoalError) as error:
                        failed[netns] = str(error)
            self.counts.failed += len(failed)
            return failed

        return await self._run(work)

    async def look(self, overlay: str, namespaces: Sequence[Path]) -> Looked:
        """Return what the kernel has of an overlay and, in these containers' namespaces, of virtual IPs."""

        def work() -> Looked:
            try:
                looked = Looked(self._overlays.look(overlay))
            except (OSError, ShoalError) as error:
                looked = Looked(None, str(error))
            for netns in namespaces:
                try:
                    looked.virtuals[netns] = self._balancer.look(netns)
                except (OSError, ShoalError) as error:
                    looked.failed[netns] = str(error)
            return looked

        return await self._run(work)

    async def forget(self, namespaces: Sequence[Path]) -> None:
        """These containers are gone."""

        def work() -> None:
            for netns in namespaces:
                self._balancer.forget(netns)

        await self._run(work)

    async def others_wrote(self, namespaces: Collection[Path], among: Collection[Path]) -> list[Path]:
        """Return which of these containers' rules somebody else has changed since we wrote there. `among`: all."""

        def work() -> list[Path]:
            self._nftables.keep_only(among)
            self._nftables.tidy()
            return self._nftables.foreign(namespaces)

        return await self._run(work)

    async def write_again(self, texts: Mapping[Path, str]) -> dict[Path, str]:
        """Write these namespaces' virtual IPs, and these texts, again. Return what could not be done."""

        def work() -> dict[Path, str]:
            failed = {}
            for netns, text in texts.items():
                try:
                    with netns.open("rb") as file:
                        self._nftables.accept(file.fileno())
                        self._nftables.run(text, file.fileno())
                    self._balancer.write_again(netns)
                except (OSError, ShoalError) as error:
                    failed[netns] = str(error)
            return failed

        return await self._run(work)

    async def rules(self, netns: Path, text: str) -> None:
        """Carry out a text of nft's language in a namespace. OSError, ShoalError."""

        def work() -> None:
            with netns.open("rb") as file:
                self._nftables.run(text, file.fileno())

        await self._run(work)


def _unreached(states: Sequence[OverlayState], refused: Mapping[Address, int]) -> list[Trouble]:
    """Return what is said of nodes that the kernel takes nothing for: whoever told of them keeps no others apart."""
    if not refused:
        return []
    node, number = next(iter(refused.items()))
    words = f"encryption: {len(refused)} nodes are not reached: {node}: {os.strerror(number)}"
    return [Trouble(state.id, "", words, bearable=True) for state in states if state.encrypted]


def _of_encrypted(states: Sequence[OverlayState], words: str) -> list[Trouble]:
    return [Trouble(state.id, "", f"encryption: {words}") for state in states if state.encrypted and words]
