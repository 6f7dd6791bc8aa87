"""Messages to and from the kernel's XFRM, as bytes: security associations and policies. Pure.

Layouts and numbers: linux/xfrm.h, in the host's order but for ports and SPIs. The cipher is Docker's: AES-128 in Galois
counter mode (RFC 4106), whose salt is the SPI, with 8 bytes of proof.
"""

import struct
import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from shoal.network.encryption.wanted import MARK, REQUEST_ID, Association, Policy
from shoal.network.rtnetlink import (
    ACK,
    AF_INET,
    AF_INET6,
    CREATE,
    DUMP,
    EXCLUSIVE,
    Address,
    Reply,
    Request,
    attribute,
    attributes,
)

NEW_ASSOCIATION, DEL_ASSOCIATION, GET_ASSOCIATION = 0x10, 0x11, 0x12
NEW_POLICY, DEL_POLICY, GET_POLICY, UPDATE_POLICY = 0x13, 0x14, 0x15, 0x19
_TEMPLATE, _AEAD, _MARK = 5, 18, 21  # XFRMA_
_ESP, _UDP, _TRANSPORT, _OUT = 50, 17, 0, 1
_CIPHER, _KEY_BYTES, _SALTED_BITS, _PROOF_BITS = b"rfc4106(gcm(aes))", 16, 160, 64
_ANY = (1 << 32) - 1
_ORDER = sys.byteorder
_NO_LIMIT = (1 << 64) - 1

_SELECTOR = struct.Struct("=16s16s4HHBBB3xiI")
_LIFETIME = struct.Struct("=12Q")  # four limits soft and hard, four counts: none of ours
_ASSOCIATION = struct.Struct("=16s4sBxxx16s96s12xIIHBBB7x")  # after the selector
_ASSOCIATION_ID = struct.Struct("=16s4sHBx")
_POLICY = struct.Struct("=96sIIBBBB4x")  # after the selector
_POLICY_ID = struct.Struct("=IBxxx")  # after the selector
_TEMPLATE_BODY = struct.Struct("=16s4sBxxxHxx16sIBBBxIII")
_AEAD_HEAD = struct.Struct("=64sII")
_NEVER = _LIFETIME.pack(*[_NO_LIMIT] * 4, *[0] * 8)


def _family(address: Address) -> int:
    return AF_INET if address.version == 4 else AF_INET6


def _long(address: Address) -> bytes:
    return address.packed.ljust(16, b"\0")


def _address(packed: bytes, family: int) -> Address:
    return IPv4Address(packed[:4]) if family == AF_INET else IPv6Address(packed)


def _spi(number: int) -> bytes:
    return number.to_bytes(4, "big")


def add_association(one: Association) -> Request:
    """Make an association; EEXIST where there is one under this SPI."""
    family = _family(one.source)
    body = _SELECTOR.pack(bytes(16), bytes(16), 0, 0, 0, 0, family, 0, 0, 0, 0, 0)
    # No window against replays: a node that starts anew counts from 1 again, under the same key.
    body += _ASSOCIATION.pack(
        _long(one.destination), _spi(one.spi), _ESP, _long(one.source), _NEVER, 0, REQUEST_ID, family, _TRANSPORT, 0, 0
    )
    key = one.key + _spi(one.spi)
    body += attribute(_AEAD, _AEAD_HEAD.pack(_CIPHER, _SALTED_BITS, _PROOF_BITS) + key)
    return Request(NEW_ASSOCIATION, ACK | CREATE | EXCLUSIVE, body)


def delete_association(one: Association) -> Request:
    """Remove an association."""
    body = _ASSOCIATION_ID.pack(_long(one.destination), _spi(one.spi), _family(one.destination), _ESP)
    return Request(DEL_ASSOCIATION, ACK, body)


def list_associations() -> Request:
    """Ask for all associations."""
    return Request(GET_ASSOCIATION, DUMP, b"")


def associations(replies: Iterable[Reply]) -> list[Association]:
    """Read the answers to `list_associations`: those with our request id."""
    found = []
    for reply in replies:
        if reply.type != NEW_ASSOCIATION:
            continue
        destination, spi, protocol, source, _, _, request_id, family, *_ = _ASSOCIATION.unpack_from(
            reply.body, _SELECTOR.size
        )
        if request_id == REQUEST_ID and protocol == _ESP:
            cipher = attributes(reply.body[_SELECTOR.size + _ASSOCIATION.size :]).get(_AEAD, b"")
            key = cipher[_AEAD_HEAD.size :][:_KEY_BYTES]
            number = int.from_bytes(spi, "big")
            found.append(Association(_address(source, family), _address(destination, family), number, key))
    return found


def _selector(policy: Policy) -> bytes:
    bits = policy.destination.max_prefixlen
    port = int.from_bytes(policy.port.to_bytes(2, "big"), _ORDER)
    return _SELECTOR.pack(
        _long(policy.destination), _long(policy.source), port, 0xFFFF, 0, 0, _family(policy.source), bits, bits, _UDP,
        0, 0,
    )  # fmt: skip


def _marked() -> bytes:
    return attribute(_MARK, struct.pack("=II", MARK, _ANY))


def set_policy(policy: Policy) -> Request:
    """Make a policy, in the place of one for the same packets."""
    family = _family(policy.source)
    body = _selector(policy) + _POLICY.pack(_NEVER, 0, 0, _OUT, 0, 0, 0)
    template = _TEMPLATE_BODY.pack(
        _long(policy.destination), _spi(policy.spi), _ESP, family, _long(policy.source), REQUEST_ID, _TRANSPORT, 0, 0,
        _ANY, _ANY, _ANY,
    )  # fmt: skip
    return Request(UPDATE_POLICY, ACK | CREATE, body + attribute(_TEMPLATE, template) + _marked())


def delete_policy(policy: Policy) -> Request:
    """Remove a policy, whatever its SPI."""
    return Request(DEL_POLICY, ACK, _selector(policy) + _POLICY_ID.pack(0, _OUT) + _marked())


def list_policies() -> Request:
    """Ask for all policies."""
    return Request(GET_POLICY, DUMP, b"")


def policies(replies: Iterable[Reply]) -> list[Policy]:
    """Read the answers to `list_policies`: those of ours, by mark and template."""
    found = []
    for reply in replies:
        if reply.type != NEW_POLICY:
            continue
        destination, source, port, _, _, _, family, _, _, protocol, _, _ = _SELECTOR.unpack_from(reply.body)
        given = attributes(reply.body[_SELECTOR.size + _POLICY.size :])
        template, mark = given.get(_TEMPLATE, b""), given.get(_MARK, b"")
        if protocol != _UDP or mark != struct.pack("=II", MARK, _ANY) or len(template) != _TEMPLATE_BODY.size:
            continue
        _, spi, _, _, _, request_id, *_ = _TEMPLATE_BODY.unpack(template)
        if request_id == REQUEST_ID:
            number = int.from_bytes(port.to_bytes(2, _ORDER), "big")
            found.append(
                Policy(_address(source, family), _address(destination, family), number, int.from_bytes(spi, "big"))
            )
    return found
