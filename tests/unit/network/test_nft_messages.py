"""Which tables the kernel's notices are about."""

import struct

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
