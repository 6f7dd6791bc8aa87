"""What a connection sends in one turn of the loop."""

import asyncio
from typing import cast

from shoal.manager.port.outgoing import MANY_BYTES, Outgoing


class Transport:
    """Notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 7

    def get_extra_info(self, name: str) -> str:
        return f"the {name}"


def made() -> tuple[Transport, Outgoing]:
    transport = Transport()
    return transport, Outgoing(cast(asyncio.Transport, transport))


async def test_what_is_sent_in_one_turn_is_written_at_once_and_in_order() -> None:
    transport, outgoing = made()
    for data in (b"a", b"", b"b"):
        outgoing.write(data)
    assert transport.written == []
    assert outgoing.get_write_buffer_size() == 2 + 7
    await asyncio.sleep(0)
    assert transport.written == [b"ab"]
    outgoing.write(b"c")
    await asyncio.sleep(0)
    assert transport.written == [b"ab", b"c"]


async def test_much_is_written_now_so_that_the_transport_can_make_the_sender_wait() -> None:
    transport, outgoing = made()
    outgoing.write(b"x" * (MANY_BYTES - 1))
    assert transport.written == []
    outgoing.write(b"y")
    assert [len(data) for data in transport.written] == [MANY_BYTES]
    await asyncio.sleep(0)
    assert len(transport.written) == 1


async def test_what_waits_is_sent_before_the_end_and_nothing_after_it() -> None:
    transport, outgoing = made()
    outgoing.write(b"goodbye")
    outgoing.close()
    assert (transport.written, transport.closed) == ([b"goodbye"], True)
    outgoing.write(b"late")
    await asyncio.sleep(0)
    assert transport.written == [b"goodbye"]


async def test_it_is_the_transport_for_all_else() -> None:
    assert made()[1].get_extra_info("socket") == "the socket"
