"""How this node is to encrypt: security associations and policies from keys and peers. Pure.

ESP in transport mode between the data path addresses of two nodes, for VXLAN packets of encrypted networks alone. The
key is the swarm's, so that two nodes need no exchange: each direction of each pair has an SPI of its own, which is part
of the nonce. Source: moby libnetwork/drivers/overlay/encryption.go, as in gossip.md 4.5.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from shoal.errors import InvalidArgument
from shoal.network.gossip.keys import IPSEC, key_bytes
from shoal.network.kernel.state import OverlayState
from shoal.network.rtnetlink import Address
from shoal.network.wanted import Key

MARK = REQUEST_ID = 0xD0C4E3
COUNT = 3  # the one before, the one in use, the one to come
# Four associations each: a node that has turned could tell of any number. What goes to others is dropped.
MOST_PEERS = 4096
_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193


@dataclass(frozen=True, slots=True)
class Association:
    """Packets from one address to another under an SPI, and their key. Its `repr` hides it."""

    source: Address
    destination: Address
    spi: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Policy:
    """Marked packets to a UDP port of another node leave under this SPI."""

    source: Address
    destination: Address
    port: int
    spi: int


@dataclass(frozen=True, slots=True)
class Encryption:
    """All of this node. Without VXLAN ids nothing is encrypted."""

    local: Address
    port: int = 0  # VXLAN's
    vnis: frozenset[int] = frozenset()
    associations: frozenset[Association] = frozenset()
    policies: frozenset[Policy] = frozenset()


def primary_first(keys: Iterable[Key]) -> tuple[tuple[int, bytes], ...]:
    """Return the tags and keys for IPsec, the one that encrypts first; InvalidArgument where that is no set of keys.

    The second by age encrypts, as in gossip: all nodes know it by then.
    """
    ours = sorted((key for key in keys if key.subsystem == IPSEC), key=lambda key: key.lamport_time)
    if len(ours) != COUNT:
        raise InvalidArgument(f"the swarm gave {len(ours)} keys for encrypted networks, not {COUNT}")
    oldest, primary, newest = ((key.lamport_time & 0xFFFFFFFF, key_bytes(key.key)) for key in ours)
    return primary, oldest, newest


def spi(source: Address, destination: Address, tag: int) -> int:
    """Return the SPI of packets from one node to another under a key: FNV-1a of the three."""
    value = _FNV_OFFSET
    for byte in (*_long(source), *tag.to_bytes(4, "big"), *_long(destination)):
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return value


def _long(address: Address) -> bytes:
    return address.packed if address.version == 6 else ipaddress.IPv6Address(f"::ffff:{address}").packed


def encryption(states: Iterable[OverlayState], keys: Sequence[Key], local: Address) -> Encryption:
    """Return how this node is to encrypt for its encrypted overlays. InvalidArgument where it cannot.

    Whoever sends with a key of yesterday or of tomorrow is understood; what leaves has the primary one.
    """
    encrypted = [state for state in states if state.encrypted]
    if not encrypted:
        return Encryption(local)
    port = encrypted[0].port
    tagged = primary_first(keys)
    vnis = frozenset(segment.vni for state in encrypted for segment in state.segments)
    peers = sorted({node for state in encrypted for node in state.forwarding.values()}, key=lambda node: node.packed)
    associations: set[Association] = set()
    policies: set[Policy] = set()
    for peer in peers[:MOST_PEERS]:
        associations.update(Association(peer, local, spi(peer, local, tag), key) for tag, key in tagged)
        tag, key = tagged[0]
        out = Association(local, peer, spi(local, peer, tag), key)
        associations.add(out)
        policies.add(Policy(local, peer, port, out.spi))
    return Encryption(local, port, vnis, frozenset(associations), frozenset(policies))
