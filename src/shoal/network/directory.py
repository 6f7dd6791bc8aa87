"""What the two gossiped tables mean on this node: names, backends of virtual IPs, neighbours. Pure.

In: `records.Changed`, of remote and of own entries alike. Out: lookups, and what has changed since the last time one
asked. What it holds follows from the present entries alone (but for who was disabled a moment ago), whatever came in
between and in whatever order: an entry replaced is all of its former claims taken away and the new ones added (known
fault 5), and what two entries claim stays until both are gone.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from shoal.errors import InvalidArgument
from shoal.network.claims import Kind, Named, ServiceKey, claims, named
from shoal.network.records import ENDPOINTS, PEERS, Address, Changed, EndpointRecord, PeerRecord
from shoal.network.wanted import LINGER, Overlay


@dataclass(frozen=True, slots=True)
class Changes:
    """What may be different now: look it up again. A name is in lower case."""

    names: frozenset[tuple[str, str]] = frozenset()  # network, name
    services: frozenset[ServiceKey] = frozenset()
    neighbours: frozenset[tuple[str, Address]] = frozenset()  # network, address


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class _Counted(Generic[K, V]):
    """Values below keys, each as often as it was added; whatever is there no more leaves no trace."""

    def __init__(self) -> None:
        self.of: dict[K, dict[V, int]] = {}

    def add(self, key: K, value: V) -> None:
        counts = self.of.setdefault(key, {})
        counts[value] = counts.get(value, 0) + 1

    def remove(self, key: K, value: V) -> None:
        counts = self.of[key]
        counts[value] -= 1
        if not counts[value]:
            del counts[value]
            if not counts:
                del self.of[key]


class _Network:
    """The entries of one network, and what they claim."""

    def __init__(self, network: str) -> None:
        self.id = network
        self.endpoints: dict[str, EndpointRecord] = {}
        self.peers: dict[str, PeerRecord] = {}
        self.silent: set[str] = set()  # the keys of peer entries whose nodes are heard no more
        self.lingering: dict[str, float] = {}  # endpoints that have just been disabled, and until when they count
        self.names: dict[str, _Counted[tuple[str, Kind], Address]] = {}
        self.pointers: _Counted[Address, str] = _Counted()
        self.backends: dict[ServiceKey, _Counted[Address, bool]] = {}  # address -> enabled -> how many
        self.places: dict[Address, set[str]] = {}  # the keys of peer entries
        self.neighbours: dict[Address, PeerRecord] = {}  # the entry of each that counts, but for the doubtful
        self.doubtful: set[Address] = set()
        self.answers: dict[str, Named | None] = {}  # of names that were asked; as many as there are names
        self.changed_names: set[tuple[str, str]] = set()
        self.changed_services: set[ServiceKey] = set()
        self.changed_neighbours: set[tuple[str, Address]] = set()

    def empty(self) -> bool:
        return not self.endpoints and not self.peers

    def set_endpoint(self, key: str, record: EndpointRecord | None, now: float) -> None:
        former = self.endpoints.pop(key, None)
        if record is not None:
            self.endpoints[key] = record
        if former == record:
            return
        if record is None or not record.disabled or former is None:
            self.lingering.pop(key, None)
        elif not former.disabled:
            self.lingering[key] = now + LINGER
        elif _backends(self.id, former) != _backends(self.id, record):
            self.lingering.pop(key, None)
        self._set_names(former, record)
        self._set_pointer(former, record)
        self._set_backend(former, record)
        if peer := self.peers.get(key):  # which of several entries counts may be another now
            self.doubtful.update(peer.addresses)

    def set_peer(self, key: str, record: PeerRecord | None) -> None:
        former = self.peers.pop(key, None)
        was_silent = key in self.silent
        self.silent.discard(key)
        if record is not None:
            self.peers[key] = record
        if former == record:
            if record is not None and was_silent:  # which of several entries counts may be another now
                self.doubtful.update(record.addresses)
            return
        for address in dict.fromkeys(former.addresses) if former is not None else ():
            keys = self.places[address]
            keys.remove(key)
            if not keys:
                del self.places[address]
            self.doubtful.add(address)
        for address in record.addresses if record is not None else ():
            self.places.setdefault(address, set()).add(key)
            self.doubtful.add(address)

    def silence_peer(self, key: str) -> None:
        """Keep the place of a container whose node is heard no more, until its end is told.

        It may be the node's network process alone that is stuck: its containers' connections go on.
        """
        if peer := self.peers.get(key):
            self.silent.add(key)
            self.doubtful.update(peer.addresses)

    def _set_names(self, former: EndpointRecord | None, record: EndpointRecord | None) -> None:
        before = claims(former) if former else frozenset()
        after = claims(record) if record else frozenset()
        for claim in after - before:
            self.names.setdefault(claim.name, _Counted()).add((claim.service_id, claim.kind), claim.address)
        for claim in before - after:
            counted = self.names[claim.name]
            counted.remove((claim.service_id, claim.kind), claim.address)
            if not counted.of:
                del self.names[claim.name]
        for claim in before ^ after:
            self.answers.pop(claim.name, None)
            self.changed_names.add((self.id, claim.name))

    def _set_pointer(self, former: EndpointRecord | None, record: EndpointRecord | None) -> None:
        if former and not former.disabled:
            for address in former.addresses:
                self.pointers.remove(address, former.name)
        if record and not record.disabled:
            for address in record.addresses:
                self.pointers.add(address, record.name)

    def _set_backend(self, former: EndpointRecord | None, record: EndpointRecord | None) -> None:
        before = _backends(self.id, former) if former else frozenset()
        after = _backends(self.id, record) if record else frozenset()
        for key, address, enabled in after - before:
            self.backends.setdefault(key, _Counted()).add(address, enabled)
            self.changed_services.add(key)
        for key, address, enabled in before - after:
            counted = self.backends[key]
            counted.remove(address, enabled)
            if not counted.of:
                del self.backends[key]
            self.changed_services.add(key)

    def settle(self) -> None:
        """Say where the doubtful addresses are."""
        for address in self.doubtful:
            record = self.neighbour(address)
            if record == self.neighbours.get(address):
                continue
            self.changed_neighbours.add((self.id, address))
            if record is None:
                del self.neighbours[address]
            else:
                self.neighbours[address] = record
        self.doubtful.clear()

    def expire(self, now: float) -> bool:
        over = [key for key, until in self.lingering.items() if until <= now]
        for key in over:
            del self.lingering[key]
            self.changed_services.update(backend[0] for backend in _backends(self.id, self.endpoints[key]))
        return bool(over)

    def late(self, service: ServiceKey | None = None) -> set[Address]:
        records = [self.endpoints[key] for key in self.lingering]
        if service is None:
            return {address for one in records for address in one.addresses}
        backends = [backend for one in records for backend in _backends(self.id, one)]
        return {address for key, address, _ in backends if key == service}

    def neighbour(self, address: Address) -> PeerRecord | None:
        """Return the entry that counts where several have one address.

        The one whose task takes connections, then one with a task at all: an entry without is what a node left behind.
        Last is one whose node is heard no more.
        """
        keys = self.places.get(address, ())
        return self.peers[max(keys, key=lambda key: (self._weight(key, address), key))] if keys else None

    def _weight(self, key: str, address: Address) -> int:
        if key in self.silent:
            return -1
        record = self.endpoints.get(key)
        return 0 if record is None or address not in record.addresses else 1 if record.disabled else 2


def _backends(network: str, record: EndpointRecord) -> frozenset[tuple[ServiceKey, Address, bool]]:
    """Return behind which virtual services a record is, with which address: one a family, if its service has any."""
    pairs = ((record.vip, record.address), (record.vip6, record.address6)) if record.service_id else ()
    return frozenset(
        (ServiceKey(network, record.service_id, record.ports, vip), address, not record.disabled)
        for vip, address in pairs
        if vip and address
    )


class Directory:
    """Names, backends and neighbours of all networks that this node is on."""

    def __init__(self) -> None:
        self._networks: dict[str, _Network] = {}
        self._ingress: frozenset[str] = frozenset()
        self.generation = 0  # rises whenever an answer may be another than before

    def set_overlays(self, overlays: Iterable[Overlay]) -> None:
        """Tell which networks have no names: ingress only carries (known fault 16)."""
        self.generation += 1
        self._ingress = frozenset(overlay.id for overlay in overlays if overlay.ingress)

    def apply(self, changes: Iterable[Changed], now: float = 0.0) -> None:
        """Take over changed entries. What cannot be read counts as no entry."""
        self.generation += 1
        for change in changes:
            network = self._networks.get(change.network)
            if network is None:
                if change.value is None:
                    continue
                network = self._networks[change.network] = _Network(change.network)
            if change.table == ENDPOINTS:
                network.set_endpoint(change.key, _endpoint(change.value), now)
            elif change.table == PEERS and change.end == "silent":
                network.silence_peer(change.key)
            elif change.table == PEERS:
                network.set_peer(change.key, _peer(change.value))

    def forget(self, network: str) -> None:
        """Drop all entries of a network that this node has left."""
        self.generation += 1
        if book := self._networks.get(network):
            for key in list(book.endpoints):
                book.set_endpoint(key, None, 0.0)
            for key in list(book.peers):
                book.set_peer(key, None)

    def expire(self, now: float) -> set[str]:
        """Let those count no more that were disabled some time ago; return the networks where one did."""
        return {book.id for book in self._networks.values() if book.expire(now)}

    def next_expiry(self) -> float | None:
        """Return when `expire` has something to do; None: nothing."""
        return min((until for book in self._networks.values() for until in book.lingering.values()), default=None)

    def late(self, network: str) -> set[Address]:
        """Return who has been disabled a moment ago, and counts where nobody else is there."""
        book = self._networks.get(network)
        return book.late() if book else set()

    def take_changes(self) -> Changes:
        """Return what has changed since the last call."""
        books = list(self._networks.values())
        for book in books:
            book.settle()
        changes = Changes(
            frozenset(one for book in books if book.id not in self._ingress for one in book.changed_names),
            frozenset(one for book in books for one in book.changed_services),
            frozenset(one for book in books for one in book.changed_neighbours),
        )
        for book in books:
            if book.empty():
                del self._networks[book.id]
            else:
                book.changed_names, book.changed_services, book.changed_neighbours = set(), set(), set()
        return changes

    def named(self, network: str, name: str) -> Named | None:
        """Return the addresses of a name, which is in lower case; None where there is no such name."""
        book = self._networks.get(network)
        if book is None or network in self._ingress:
            return None
        try:
            return book.answers[name]
        except KeyError:
            counted = book.names.get(name)
            if counted is None:  # not kept: a container can ask for any number of names that are none
                return None
            answer = book.answers[name] = named(counted.of)
            return answer

    def pointer(self, network: str, address: Address) -> str | None:
        """Return the name of the container that has an address."""
        book = self._networks.get(network)
        if book is None or network in self._ingress:
            return None
        names = book.pointers.of.get(address)
        return min(names) if names else None

    def services(self, network: str) -> tuple[ServiceKey, ...]:
        """Return the virtual services of a network, in no order."""
        book = self._networks.get(network)
        return tuple(book.backends) if book else ()

    def backends(self, key: ServiceKey) -> dict[Address, bool]:
        """Return the backends of a virtual service, in the order of addresses, and whether each takes connections.

        Empty where there is no such service. Disabled ones have connections that are to end by themselves.
        """
        book = self._networks.get(key.network)
        counted = book.backends.get(key) if book else None
        if book is None or counted is None:
            return {}
        found = {address: True in counted.of[address] for address in sorted(counted.of, key=lambda one: one.packed)}
        if not any(found.values()):
            late = book.late(key)
            found = {address: address in late for address in found}
        return found

    def neighbours(self, network: str) -> Mapping[Address, PeerRecord]:
        """Return where each address of a network is. Own addresses are among them: their tunnel is this node."""
        book = self._networks.get(network)
        if book is None:
            return {}
        book.settle()
        return book.neighbours

    def neighbour(self, network: str, address: Address) -> PeerRecord | None:
        """Return where one address is."""
        book = self._networks.get(network)
        return book.neighbour(address) if book else None

    def endpoints(self, network: str) -> Mapping[str, EndpointRecord]:
        """Return the endpoint records of a network by the ids of their endpoints, for those who show them."""
        book = self._networks.get(network)
        return book.endpoints if book else {}

    def peers(self, network: str) -> Mapping[str, PeerRecord]:
        """Return where the endpoints of a network are, by their ids, for those who show them."""
        book = self._networks.get(network)
        return book.peers if book else {}

    def names(self, network: str) -> tuple[str, ...]:
        """Return all names of a network, in no order."""
        book = self._networks.get(network)
        return tuple(book.names) if book and network not in self._ingress else ()


def _endpoint(value: bytes | None) -> EndpointRecord | None:
    try:
        return None if value is None else EndpointRecord.decode(value)
    except InvalidArgument:
        return None


def _peer(value: bytes | None) -> PeerRecord | None:
    try:
        return None if value is None else PeerRecord.decode(value)
    except InvalidArgument:
        return None
