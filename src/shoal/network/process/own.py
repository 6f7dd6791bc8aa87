"""What this node has in the shared tables: the networks that it is on, and its own entries there."""

import secrets
from collections.abc import Collection, Iterable

from shoal.errors import Conflict
from shoal.network.process.entries import Entries, Key, Written, node_entries
from shoal.network.process.former import Entry, Former, entries_of, written_by
from shoal.network.process.talk import Talk
from shoal.network.records import Address
from shoal.network.wanted import Overlay, Sandbox, Wanted


class Own:
    """This node's own part of the tables. At first it is that of the program whose place this one takes."""

    def __init__(self, talk: Talk, was: Former | None) -> None:
        self._talk = talk
        self._written = Written()
        self._written_as = ""  # the name in gossip under which that is
        self._without: set[str] = set()  # endpoints that could not be made
        self._keys: dict[Key, str] = {}  # the present keys of entries that were away for a while
        self.networks: set[str] = set()
        """Those that this node is on."""
        if was is not None:
            self._resume(was)

    def _resume(self, was: Former) -> None:
        """Have all that this node had in the tables, before anybody is heard who tells of it."""
        tables, now = self._talk.tables, self._talk.now
        for network in was.joined:
            tables.join_network(network, now)
        for entry in was.entries:
            tables.put(entry.table, entry.network, entry.used, bytes.fromhex(entry.value), now)
            if entry.used != entry.key:
                self._keys[entry.table, entry.network, entry.key] = entry.used
        self.networks, self._written_as = set(was.joined), self._talk.name
        self._written = Written(written_by(was.entries))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What a successor goes on with."""
        return entries_of(self._written.all, self._keys)

    def take_part(self, networks: Collection[str]) -> set[str]:
        """Be on these networks. Return those of which nothing that others told counts any longer."""
        talk, tables = self._talk, self._talk.tables
        forgotten: set[str] = set()
        if self._written_as != talk.name:  # another node in gossip, of which nobody knows anything yet
            forgotten |= self._written.networks()
            self._written, self._written_as, self._keys, self.networks = Written(), talk.name, {}, set()
        for network in self.networks.difference(networks):
            tables.leave_network(network, talk.now)
            forgotten.add(network)
        for network in networks:
            tables.join_network(network, talk.now)
        self.networks = set(networks)
        return forgotten

    def write(
        self,
        wanted: Wanted,
        changed: Iterable[Sandbox],
        attached: Collection[str],
        *,
        tunnel: Address,
        without: set[str],
    ) -> None:
        """Write what is other than before of the node and of `changed` containers, and take away what is gone.

        `attached` are all containers that there are. `without`: endpoints that are not in the kernel.
        """
        sandboxes = {one.container: one for one in changed}
        if doubtful := without ^ self._without:  # could not be made before, or cannot any more
            sandboxes |= {
                one.container: one
                for one in wanted.sandboxes
                if any(endpoint.id in doubtful for endpoint in one.endpoints)
            }
        self._without = without
        # Those that are gone now, and those whose end came to nothing last time.
        gone = [container for container in self._written.containers() if container not in attached]
        own = self._of_the_node(wanted.overlays, tunnel)
        for key, value in self._written.change(own, sandboxes.values(), gone, tunnel, self.networks, without):
            self._write_one(key, value)
        self._talk.changed()

    def _of_the_node(self, overlays: Iterable[Overlay], tunnel: Address) -> Entries:
        return node_entries(overlays, tunnel, self._talk.name)

    def _write_one(self, at: Key, value: bytes | None) -> None:
        """Write an entry, or take it away. A key that was taken away is never used again, as nodes remember its end."""
        talk, (table, network, key) = self._talk, at
        used = self._keys.get(at, key)
        if value is None:
            talk.tables.delete(table, network, used, talk.now)
            self._keys.pop(at, None)
            return
        try:
            talk.tables.put(table, network, used, value, talk.now)
        except Conflict:
            fresh = self._keys[at] = secrets.token_hex(32)
            talk.tables.put(table, network, fresh, value, talk.now)
