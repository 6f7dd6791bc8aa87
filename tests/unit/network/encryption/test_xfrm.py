"""Bytes for the kernel's XFRM, laid out as linux/xfrm.h says; that the kernel takes them shows in tests/cluster."""

from ipaddress import ip_address
from itertools import product

import pytest

from shoal.network.encryption import xfrm
from shoal.network.encryption.wanted import Association, Policy
from shoal.network.rtnetlink import Reply, attributes

KEY = bytes(range(16))
PAIRS = [("192.168.1.10", "192.168.1.11"), ("fd00::1", "fd00::2")]


def association(pair: tuple[str, str] = PAIRS[0]) -> Association:
    return Association(ip_address(pair[0]), ip_address(pair[1]), 0x640767A3, KEY)


def policy(pair: tuple[str, str] = PAIRS[0]) -> Policy:
    return Policy(ip_address(pair[0]), ip_address(pair[1]), 4789, 0x640767A3)


def test_an_association_is_esp_in_transport_mode_with_dockers_cipher() -> None:
    request = xfrm.add_association(association())
    body = request.body
    assert request.type == xfrm.NEW_ASSOCIATION
    # struct xfrm_usersa_info: 224 bytes; destination, SPI and protocol at 56, source at 80, the rest at 208.
    assert body[56:60] == ip_address("192.168.1.11").packed
    assert body[72:77] == bytes.fromhex("640767a3") + bytes([50])
    assert body[80:84] == ip_address("192.168.1.10").packed
    assert body[208:217] == (0xD0C4E3).to_bytes(4, "little") + (2).to_bytes(2, "little") + bytes([0, 0, 0])
    (kind, cipher), *others = attributes(body[224:]).items()
    assert (kind, others) == (18, [])
    assert cipher[:64].rstrip(b"\0") == b"rfc4106(gcm(aes))"
    assert cipher[64:72] == (160).to_bytes(4, "little") + (64).to_bytes(4, "little")
    assert cipher[72:] == KEY + bytes.fromhex("640767a3")


def test_a_policy_is_for_marked_packets_to_a_port() -> None:
    body = xfrm.set_policy(policy()).body
    # struct xfrm_userpolicy_info: 168 bytes; the selector's ports at 32, its lengths at 42; the direction at 160.
    assert (body[:4], body[16:20]) == (ip_address("192.168.1.11").packed, ip_address("192.168.1.10").packed)
    assert body[32:36] == (4789).to_bytes(2, "big") + b"\xff\xff"
    assert body[40:45] == (2).to_bytes(2, "little") + bytes([32, 32, 17])
    assert body[160] == 1
    given = attributes(body[168:])
    assert given[21] == (0xD0C4E3).to_bytes(4, "little") + b"\xff" * 4
    assert len(given[5]) == 64
    assert given[5][16:21] == bytes.fromhex("640767a3") + bytes([50])


@pytest.mark.parametrize("pair", PAIRS)
def test_what_was_made_reads_the_same_again(pair: tuple[str, str]) -> None:
    made = Reply(xfrm.NEW_ASSOCIATION, 1, xfrm.add_association(association(pair)).body)
    assert xfrm.associations([made]) == [association(pair)]
    ruled = Reply(xfrm.NEW_POLICY, 1, xfrm.set_policy(policy(pair)).body)
    assert xfrm.policies([ruled]) == [policy(pair)]


def test_what_is_not_ours_is_left_alone() -> None:
    body = bytearray(xfrm.add_association(association()).body)
    body[208] ^= 1  # another request id
    assert xfrm.associations([Reply(xfrm.NEW_ASSOCIATION, 1, bytes(body)), Reply(2, 1, b"")]) == []
    ruled = xfrm.set_policy(policy()).body
    for at, bit in product((44, 168 + 4 + 44, len(ruled) - 8), (1,)):  # protocol, request id, mark
        changed = bytearray(ruled)
        changed[at] ^= bit
        assert xfrm.policies([Reply(xfrm.NEW_POLICY, 1, bytes(changed))]) == []


def test_one_is_removed_by_destination_and_spi_and_the_other_by_its_packets() -> None:
    gone = xfrm.delete_association(association())
    assert (gone.type, len(gone.body)) == (xfrm.DEL_ASSOCIATION, 24)
    assert gone.body[:4] == ip_address("192.168.1.11").packed
    assert gone.body[16:23] == bytes.fromhex("640767a3") + (2).to_bytes(2, "little") + bytes([50])
    lost = xfrm.delete_policy(policy())
    assert lost.body[:56] == xfrm.set_policy(policy()).body[:56]
    assert lost.body[60] == 1
    assert set(attributes(lost.body[64:])) == {21}
