"""What this node writes into the shared tables for its endpoints. Pure.

In: the wanted state, and what was written so far. Out: entries in the order in which they are to be written: a peer
before its endpoint, and away in the reverse order. Docker Engine's rules for both tables: gossip.md, section 3.
"""

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from shoal.network.records import ENDPOINTS, PEERS, Address, EndpointRecord, PeerRecord
from shoal.network.wanted import Endpoint, Sandbox, Wanted

Key = tuple[str, str, str]  # table, network, key
Entries = Mapping[Key, bytes]

_SHORT_ID = 12


def wanted_entries(wanted: Wanted, tunnel: Address, without: Collection[str], written: Entries) -> dict[Key, bytes]:
    """Return all entries that there are to be. `without`: endpoints that are not in the kernel.

    A task's endpoint is told of once it is enabled, and as disabled once it is no more: its name goes, and connections
    that it has may end by themselves.
    """
    found: dict[Key, bytes] = {}
    for sandbox in wanted.sandboxes:
        for endpoint in sandbox.endpoints:
            if endpoint.id in without:
                continue
            peer = PeerRecord(ipaddress.ip_interface(endpoint.address), endpoint.mac, tunnel)
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
    if service is None:
        return EndpointRecord(sandbox.name, address, task_aliases=tuple(dict.fromkeys(own)))
    return EndpointRecord(
        name=sandbox.name,
        address=address,
        service_id=service.id,
        service_name=service.name,
        vip=ipaddress.ip_address(service.vip) if service.vip else None,
        ports=service.ports,
        aliases=service.aliases,
        task_aliases=tuple(dict.fromkeys(own)),
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
