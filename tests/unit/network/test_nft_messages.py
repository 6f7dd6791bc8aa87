"""What nf_tables says, read from bytes as a kernel sends them, and from whatever else may come."""

import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from shoal.network import nft_messages
from shoal.network.nft_messages import changed_tables, get_table
from shoal.network.rtnetlink import Reply, attribute

HEADER = struct.pack("=BBH", 2, 0, 0)


def notice(kind: int, name: bytes) -> Reply:
    return Reply(kind, 0, HEADER + attribute(1, name))


def test_each_kind_of_notice_names_its_table() -> None:
    chain, table = (10 << 8) | 3, (10 << 8) | 2
    assert changed_tables([notice(table, b"shoal_a\0"), notice(chain, b"other\0")]) == {"shoal_a", "other"}


def test_what_names_none_is_none() -> None:
    generation = Reply((10 << 8) | 15, 0, HEADER + attribute(2, b"\0\0\0\1"))
    assert changed_tables([generation, notice((1 << 8) | 2, b"shoal_a\0"), Reply((10 << 8) | 0, 0, b"")]) == set()


def test_a_table_is_asked_for_by_its_name() -> None:
    request = get_table("shoal_a")
    assert (request.type, request.body) == ((10 << 8) | 1, HEADER + attribute(1, b"shoal_a\0"))


def element(packed: bytes) -> bytes:
    return attribute(1, attribute(1, attribute(1, packed)))


def test_answers_are_read() -> None:
    assert nft_messages.generation([Reply(0xA0F, 1, bytes(4) + attribute(1, b"\0\0\1\2"))]) == 258
    tables = [Reply(0xA00, 1, bytes(4) + attribute(1, b"a\0") + attribute(3, b"\0\0\0\5"))] * 2
    assert nft_messages.objects(tables) == 12
    four, six = ip_address("10.0.1.3"), ip_address("fd00::3")
    told = bytes(4) + attribute(1, b"t\0") + attribute(0x8003, element(four.packed) + element(six.packed))
    assert list(nft_messages.addresses([Reply(0xA0C, 1, told)])) == [four, six]


def test_other_answers_are_none() -> None:
    other = [Reply(0x10, 1, bytes(4) + attribute(1, b"\0\0\1\2"))]
    assert (nft_messages.generation(other), nft_messages.objects(other), list(nft_messages.addresses(other))) == (
        0,
        0,
        [],
    )
    assert nft_messages.generation([Reply(0xA0F, 1, bytes(4))]) == 0


@given(st.binary(max_size=80), st.sampled_from([0xA00, 0xA0C, 0xA0F]))
def test_whatever_comes_is_read(body: bytes, kind: int) -> None:
    replies = [Reply(kind, 1, body)]
    assert nft_messages.generation(replies) >= 0
    assert nft_messages.objects(replies) >= 0
    assert all(address.version in (4, 6) for address in nft_messages.addresses(replies))


def test_questions_name_what_they_ask_for() -> None:
    assert nft_messages.get_generation().type == 0xA10
    assert nft_messages.list_tables().type == 0xA01
    assert nft_messages.list_elements("shoal_vips", "vips4").body.count(b"vips") == 2


def test_how_often_rules_have_changed_is_asked_for_as_nft_does() -> None:
    # As `nft --debug=mnl list tables` sends it: type 0x0a10, flags 5, a header of four bytes.
    assert nft_messages.get_generation().encode(7) == struct.pack("=IHHII", 20, 0x0A10, 5, 7, 0) + bytes(4)


def test_tables_and_chains_are_named_with_their_families() -> None:
    six = struct.pack("=BBH", 10, 0, 0)
    table = Reply(0xA00, 1, six + attribute(1, b"filter\0"))
    chain = Reply(0xA03, 1, HEADER + attribute(1, b"nat\0") + attribute(3, b"DOCKER\0"))
    odd = Reply(0xA03, 1, b"")
    assert nft_messages.tables([table, chain, odd]) == {("ip6", "filter")}
    assert nft_messages.chains([table, chain, odd]) == {("ip", "nat", "DOCKER")}
