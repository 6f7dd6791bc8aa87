"""A NetworkDB with a memberlist that records the requests, and the messages of peers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from shoal.api.gen import networkdb_pb2 as pb
from shoal.network.networkdb import messages
from shoal.network.networkdb.networkdb import NetworkDB
from shoal.network.networkdb.rejoining import Contact

SELF = "0123456789ab"
NET = "net"
TABLE = "endpoint_table"


@dataclass(frozen=True)
class Peer:
    name: str
    address: str = ""
    port: int = 7946
    answered: bool = True


class Wire:
    """The requests to memberlist."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bool]] = []
        self.joined: list[Contact] = []
        self.told: list[tuple[str, bytes, int]] = []

    def send(self, name: str, message: bytes, reliable: bool) -> None:
        self.sent.append((name, message, reliable))

    def tell(self, name: str, message: bytes, number: int) -> None:
        self.told.append((name, message, number))

    def join(self, contacts: Sequence[Contact]) -> None:
        self.joined += contacts

    def packets(self) -> list[bytes]:
        """Return and clear the packets that were sent."""
        found = [message for _, message, reliable in self.sent if not reliable]
        self.sent = [sent for sent in self.sent if sent[2]]
        return found

    def syncs(self) -> list[tuple[str, pb.BulkSyncMessage]]:
        """Return and clear the bulk syncs that were sent, with their receivers."""
        found = []
        for name, message, reliable in self.sent:
            outer = messages.unwrap(message)
            if reliable and outer is not None and outer[0] == pb.GossipMessage.BULK_SYNC:
                sync = messages.read_bulk_sync(outer[1])
                assert sync is not None
                found.append((name, sync))
        self.sent = [sent for sent in self.sent if not sent[2]]
        return found


def database(
    *peers: str, networks: Sequence[str] = (NET,), contacts: tuple[Contact, ...] = (), name: str = SELF
) -> tuple[NetworkDB, Wire]:
    """Return a NetworkDB on these networks, with peers that are on them. Its queues are empty."""
    wire = Wire()
    db = NetworkDB(name, wire, random.Random(1), 0.0, contacts)
    for network in networks:
        db.join_network(network, 0.0)
    for peer in peers:
        db.member_joined(Peer(peer, peer), 0.0)
        for network in networks:
            db.heard(on(peer, 1, network), 0.0)
    for _ in range(4):  # a node that joins a network asks three others
        db.tick(0.0)
        for peer, sync in wire.syncs():
            db.heard(messages.bulk_sync(sync.l_time + 1, False, peer, sync.networks, messages.EMPTY_COMPOUND), 0.0)
    while db.broadcasts(3, 1400, 0.0):
        pass
    wire.sent.clear()
    wire.joined.clear()
    return db, wire


def on(node: str, l_time: int, network: str = NET) -> bytes:
    return messages.network_event(pb.NetworkEvent.JOIN, l_time, node, network)


def off(node: str, l_time: int, network: str = NET) -> bytes:
    return messages.network_event(pb.NetworkEvent.LEAVE, l_time, node, network)


def create(node: str, l_time: int, key: str, value: bytes = b"v") -> bytes:
    return messages.table_event(messages.CREATE, l_time, node, NET, TABLE, key, value)


def update(node: str, l_time: int, key: str, value: bytes = b"u") -> bytes:
    return messages.table_event(messages.UPDATE, l_time, node, NET, TABLE, key, value)


def delete(node: str, l_time: int, key: str, residual: int = 1800) -> bytes:
    return messages.table_event(messages.DELETE, l_time, node, NET, TABLE, key, b"", residual)


def sync(node: str, l_time: int, *events: bytes, unsolicited: bool = False) -> bytes:
    return messages.bulk_sync(l_time, unsolicited, node, [NET], messages.compound(events))


def events_in(packet: bytes) -> list[pb.TableEvent]:
    """Return the table events of a compound."""
    outer = messages.unwrap(packet)
    assert outer is not None
    found = []
    for part in messages.parts(outer[1]) or []:
        inner = messages.unwrap(part)
        event = messages.read_table_event(inner[1]) if inner is not None else None
        assert event is not None
        found.append(event)
    return found


def told(db: NetworkDB) -> dict[str, tuple[bytes | None, bytes | None]]:
    """Return and clear the changes by key: former and new value."""
    return {change.key: (change.former, change.value) for change in db.take_changes()}


def dump(db: NetworkDB, wire: Wire, now: float) -> dict[str, pb.TableEvent]:
    """Return all entries as a bulk sync has them. The node `asker` asks for it, and must be a member."""
    wire.sent.clear()
    db.heard(sync("asker", 0, unsolicited=True), now)
    (_, answer), *_ = [found for found in wire.syncs() if found[0] == "asker"]
    return {event.key: event for event in events_in(answer.payload)}
