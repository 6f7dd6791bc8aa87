"""nftables in containers' namespaces, and whether somebody else writes there. Blocking; one thread uses it.

The kernel counts the changes of each namespace's rules; that number is all that is looked at, and it costs a question.
A container that may change its rules, and does, hurts itself alone: libnftables lists what chains and sets there are
before each change, so that where there are too many, nothing is written.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shoal.errors import ShoalError
from shoal.network import nft_messages
from shoal.network.kernel.nftables import Nftables
from shoal.network.namespaces import Namespaces
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import Address, Reply, Request

# Tables, and chains and sets in them. Listing one costs about a kilobyte for a moment; Docker in a container has some
# fifty.
MOST_OBJECTS = 10_000
# Messages of 32 KiB with up to some 400 virtual IPs each. A container has as many as its networks have services.
MOST_MESSAGES = 64


@dataclass(slots=True)
class _Seen:
    generation: int  # when we had written
    foreign: bool = False  # somebody else has written before that


class Watched(Nftables):
    """Also says in which namespaces others have written since we did."""

    def __init__(self, namespaces: Namespaces) -> None:
        super().__init__(namespaces)
        self._seen: dict[int, _Seen] = {}  # by the namespace's inode

    def run(self, text: str, netns: int | None = None, *, json: bool = False) -> str:
        """As `Nftables.run`. ShoalError where there is too much in a container's namespace."""
        if netns is None or json:
            return super().run(text, netns, json=json)
        inode = os.fstat(netns).st_ino
        before = self._generation(netns)
        seen = self._seen.get(inode)
        if seen is None or seen.generation != before:
            self._require_few(netns)
        said = super().run(text, netns)
        after = self._generation(netns)
        foreign = after != before + 1 or (seen is not None and (seen.foreign or seen.generation != before))
        self._seen[inode] = _Seen(after, foreign)
        return said

    def _generation(self, netns: int) -> int:
        return nft_messages.generation(self.socket(netns).run(nft_messages.get_generation()))

    def _require_few(self, netns: int) -> None:
        count = nft_messages.objects(self.ask(netns, nft_messages.list_tables(), MOST_OBJECTS))
        if count > MOST_OBJECTS:
            raise ShoalError(f"there are {count} chains and sets of others in the container's network namespace")

    def ask(self, netns: int, request: Request, most: int) -> list[Reply]:
        """Ask in a container's namespace. ShoalError where there is more than so many messages of it."""
        try:
            return self.socket(netns).run(request, most=most)
        except ShoalError:
            self.drop_socket(netns)
            raise

    def addresses(self, netns: int, table: str, maps: Iterable[str]) -> set[Address] | None:
        """Return the addresses in maps of a table, None where there is no such table. ShoalError for too many."""
        found: set[Address] = set()
        for name in maps:
            try:
                found.update(
                    nft_messages.addresses(self.ask(netns, nft_messages.list_elements(table, name), MOST_MESSAGES))
                )
            except FileNotFoundError:
                return None
        return found

    def foreign(self, namespaces: Iterable[Path]) -> list[Path]:
        """Return those in which somebody else has written since we did. One that is gone is left out."""
        found = []
        for path in namespaces:
            try:
                with path.open("rb") as file:
                    seen, now = self._seen.get(os.fstat(file.fileno()).st_ino), self._look(file.fileno())
            except FileNotFoundError:
                continue
            if seen is None or seen.foreign or seen.generation != now:
                found.append(path)
        return found

    def _look(self, netns: int) -> int:
        """Return the generation, without a context and a socket that are kept."""
        with self._namespaces.inside(netns):
            socket = NetlinkSocket(netfilter=True)
        with socket:
            return nft_messages.generation(socket.run(nft_messages.get_generation()))

    def accept(self, netns: int) -> None:
        """All of ours is about to be written anew: what others wrote so far is no matter any more."""
        self._require_few(netns)
        self._seen[os.fstat(netns).st_ino] = _Seen(self._generation(netns))

    def keep_only(self, namespaces: Iterable[Path]) -> None:
        """Forget all other namespaces: they are gone."""
        kept = set()
        for path in namespaces:
            with suppress(FileNotFoundError):
                kept.add(path.stat().st_ino)
        self._seen = {inode: seen for inode, seen in self._seen.items() if inode in kept}
