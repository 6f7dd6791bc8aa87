"""How often packet rules have changed: bytes to the kernel, and from it."""

import struct

import pytest

from shoal.errors import InvariantBroken
from shoal.network import generation
from shoal.network.rtnetlink import Reply, attribute


def test_it_is_asked_for_and_read() -> None:
    # As `nft --debug=mnl list tables` sends it: type 0x0a10, flags 5, a header of four bytes.
    assert generation.get().encode(7) == struct.pack("=IHHII", 20, 0x0A10, 5, 7, 0) + bytes(4)
    told = Reply(0x0A0F, 7, bytes(4) + attribute(1, b"\0\0\1\2") + attribute(2, b"\0\0\0\1"))
    assert generation.number([told]) == 258
    with pytest.raises(InvariantBroken):
        generation.number([])
