"""What one endpoint record claims on its network, and what is answered when several claim one name. Pure.

A name is answered from the claims that there are, never from the order in which they came. Source of who claims what:
gossip.md 3.3 (libnetwork's service_common.go).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from shoal.network.records import Address, EndpointRecord
from shoal.network.wanted import Port


class Kind(Enum):
    """As what an address is claimed for a name."""

    OWN = "own"  # of a container, or in a list of all tasks
    PLAIN = "plain"  # of a task of a service without virtual IP
    BEHIND = "behind"  # of a task of a service with one
    VIP = "vip"  # the virtual IP, by a task that takes connections
    IDLE_VIP = "idle vip"  # the virtual IP, by a task that takes none (any more)


@dataclass(frozen=True, slots=True)
class Claim:
    """One address for one name. `service_id` is empty for Kind.OWN."""

    name: str  # in lower case
    kind: Kind
    address: Address
    service_id: str = ""


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """What tells one virtual service of a network from another.

    Docker's key has the ports in their order, and no virtual IP. With it here, a service whose virtual IP has changed
    is two for a while, and neither is given the other's address.
    """

    network: str
    service_id: str
    ports: tuple[Port, ...]
    vip: Address


@dataclass(frozen=True, slots=True)
class Named:
    """The addresses of a name, each once, as they stand in an answer."""

    v4: tuple[bytes, ...] = ()
    v6: tuple[bytes, ...] = ()


Claimed = Mapping[tuple[str, Kind], Mapping[Address, int]]  # (service_id, kind) -> address -> how many claim it


def key_of(name: str) -> str | None:
    """Return a name as it is looked up; None where no question can hold it."""
    # DNS folds the case of ASCII alone; Docker finds no other name either.
    return name.lower() if name.isascii() and 0 < len(name) <= 253 else None


def claims(record: EndpointRecord) -> frozenset[Claim]:
    """Return all names that a record claims."""
    return frozenset(_claims(record))


def _claims(record: EndpointRecord) -> Iterator[Claim]:
    if not record.disabled:
        for name in (record.name, *record.task_aliases):
            for address in record.addresses:
                yield from _claim(name, Kind.OWN, address)
    if not record.service_id:
        return
    for name in (record.service_name, *record.aliases):
        if not name:
            continue
        if not record.disabled:
            kind = Kind.BEHIND if record.vip else Kind.PLAIN
            for address in record.addresses:
                yield from _claim(f"tasks.{name}", Kind.OWN, address)
                yield from _claim(name, kind, address, record.service_id)
        kind = Kind.IDLE_VIP if record.disabled else Kind.VIP
        for vip in (record.vip, record.vip6):
            if vip:
                yield from _claim(name, kind, vip, record.service_id)


def _claim(name: str, kind: Kind, address: Address, service_id: str = "") -> Iterator[Claim]:
    key = key_of(name)
    if key:
        yield Claim(key, kind, address, service_id)


def named(claimed: Claimed) -> Named | None:
    """Return what a name is answered with; None where nobody claims it."""
    found: set[Address] = set()
    for service_id in {service_id for service_id, _ in claimed}:
        found.update(_of_service(service_id, claimed))
    if not found:
        return None
    ordered = sorted(found, key=lambda address: address.packed)
    return Named(
        tuple(address.packed for address in ordered if address.version == 4),
        tuple(address.packed for address in ordered if address.version == 6),
    )


def _of_service(service_id: str, claimed: Claimed) -> set[Address]:
    def of(kind: Kind) -> set[Address]:
        return set(claimed.get((service_id, kind), ()))

    if not service_id:
        return of(Kind.OWN)
    # Between `vip` and `dnsrr`, both ways, tasks of both kinds run: the tasks' own addresses are right throughout,
    # and the virtual IP is nobody's any more, or not yet behind all (moby/moby#38575).
    if plain := of(Kind.PLAIN):
        return plain | of(Kind.BEHIND)
    # A virtual IP that only tasks on their way out claim may be the service's former one.
    return of(Kind.VIP) or of(Kind.IDLE_VIP)
