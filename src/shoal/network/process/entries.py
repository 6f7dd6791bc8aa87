"""What this node writes into the shared tables for its endpoints. Pure.

In: containers as they are wanted, and what was written of them so far. Out: entries in the order in which they are to
be written: a peer before its endpoint, and away in the reverse order. Docker Engine's rules for both tables: gossip.md,
section 3.
"""

import ipaddress
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256

from shoal.network.addresses import mac_address
from shoal.network.records import ENDPOINTS, PEERS, Address, EndpointRecord, PeerRecord
from shoal.network.wanted import Endpoint, Overlay, Sandbox

Key = tuple[str, str, str]  # table, network, key
Entries = Mapping[Key, bytes]

_SHORT_ID = 12
_NODE = ""  # what is written of no container


class Written:
    """What this node has written, by container; at first what its former program had."""

    def __init__(self, former: Mapping[str, Entries] | None = None) -> None:
        self._entries: dict[str, Entries] = dict(former or {})

    @property
    def all(self) -> Mapping[str, Entries]:
        """By container."""
        return self._entries

    def networks(self) -> set[str]:
        """Return the networks on which something is written."""
        return {key[1] for entries in self._entries.values() for key in entries}

    def containers(self) -> list[str]:
        """Return the containers of which something may be written."""
        return [container for container in self._entries if container != _NODE]

    def change(
        self,
        node: Entries,
        sandboxes: Iterable[Sandbox],
        gone: Iterable[str],
        tunnel: Address,
        on: Container[str],
        without: set[str],
    ) -> list[tuple[Key, bytes | None]]:
        """Return what is to be written, for containers that are others now or `gone`; None: the entry goes.

        `node` is what this node has of its own, whole.

        `on` are the networks that this node is on: what was written on others went with them. `without`: endpoints
        that are not in the kernel.
        """
        former = dict(self._entries.get(_NODE, {}))
        self._entries[_NODE] = {key: value for key, value in node.items() if key[1] in on}
        for container in gone:
            former.update(self._entries.pop(container, {}))
        wanted = dict(self._entries[_NODE])
        for sandbox in sandboxes:
            written = self._entries.get(sandbox.container, {})
            former.update(written)
            found = sandbox_entries(sandbox, tunnel, on, without, written)
            self._entries[sandbox.container] = found
            wanted.update(found)
        return list(steps({key: value for key, value in former.items() if key[1] in on}, wanted))


def node_entries(overlays: Iterable[Overlay], tunnel: Address, node: str) -> dict[Key, bytes]:
    """Return the entries of the node itself, which has this name in gossip: its own address on ingress.

    From there come connections that other nodes are to answer.
    """
    found: dict[Key, bytes] = {}
    for overlay in overlays:
        if overlay.ingress and overlay.node_address:
            address = ipaddress.ip_interface(overlay.node_address)
            # Nobody else's: this node has another name whenever its gossip begins anew.
            name = sha256(f"{node} {overlay.id} {address}".encode()).hexdigest()
            found[PEERS, overlay.id, name] = PeerRecord(address, mac_address(address.ip), tunnel).encode()
    return found


def sandbox_entries(
    sandbox: Sandbox, tunnel: Address, on: Container[str], without: Collection[str], written: Entries
) -> dict[Key, bytes]:
    """Return all entries that there are to be of a container, of which these are `written`.

    A task's endpoint is told of once it is enabled, and as disabled once it is no more: its name goes, and connections
    that it has may end by themselves.
    """
    found: dict[Key, bytes] = {}
    for endpoint in sandbox.endpoints:
        if endpoint.id in without or endpoint.network not in on:
            continue
        second = ipaddress.IPv6Interface(endpoint.address6) if endpoint.address6 else None
        peer = PeerRecord(ipaddress.ip_interface(endpoint.address), endpoint.mac, tunnel, second)
        found[PEERS, endpoint.network, endpoint.id] = peer.encode()
        key = (ENDPOINTS, endpoint.network, endpoint.id)
        if endpoint.enabled or key in written:
            record = replace(_record(sandbox, endpoint), disabled=not endpoint.enabled)
            found[key] = record.encode()
    return found


def _record(sandbox: Sandbox, endpoint: Endpoint) -> EndpointRecord:
    service = endpoint.service
    own = (sandbox.container[:_SHORT_ID], *((sandbox.hostname,) if sandbox.hostname else ()), *endpoint.aliases)
    address = ipaddress.ip_interface(endpoint.address).ip
    second = ipaddress.IPv6Interface(endpoint.address6).ip if endpoint.address6 else None
    if service is None:
        return EndpointRecord(sandbox.name, address, task_aliases=tuple(dict.fromkeys(own)), address6=second)
    return EndpointRecord(
        name=sandbox.name,
        address=address,
        service_id=service.id,
        service_name=service.name,
        vip=ipaddress.ip_address(service.vip) if service.vip else None,
        ports=service.ports,
        aliases=service.aliases,
        task_aliases=tuple(dict.fromkeys(own)),
        keeps_source=bool(service.ports) and service.keeps_source,
        address6=second,
        vip6=ipaddress.IPv6Address(service.vip6) if service.vip6 and second else None,
    )


def steps(written: Entries, entries: Entries) -> Iterator[tuple[Key, bytes | None]]:
    """Yield what leads from one to the other; None: the entry goes.

    A peer's entry never changes: Docker Engine takes a change for a deletion. Another place is another endpoint.
    """
    for table in (ENDPOINTS, PEERS):
        yield from ((key, None) for key in written if key[0] == table and key not in entries)
    for table in (PEERS, ENDPOINTS):
        for key, value in entries.items():
            if key[0] == table and written.get(key) != value:
                yield key, value
