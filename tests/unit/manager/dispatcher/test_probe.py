"""Any answer of a kernel counts, silence does not."""

import socket

from shoal.manager.dispatcher.probe import host_answers, target_of


async def test_listener_and_refusal_are_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert await host_answers("127.0.0.1", port, 5.0)
    assert await host_answers("127.0.0.1", port, 5.0), "nobody listens there any more: the kernel says so"


async def test_silence_is_none() -> None:
    # A listener with a full queue: the kernel drops new connections.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address: tuple[str, int] = listener.getsockname()
        with socket.create_connection(address):
            assert not await host_answers(*address, 0.2)


async def test_what_is_no_address_is_no_answer() -> None:
    assert not await host_answers("::ffff:0:0:0:1", 1, 0.2)


def test_managers_are_asked_where_they_manage_and_others_where_they_gossip() -> None:
    assert target_of("192.0.2.1", "") == ("192.0.2.1", 7946)
    assert target_of("192.0.2.1", "192.0.2.9:2377") == ("192.0.2.9", 2377)
    assert target_of("", "[2001:db8::1]:4000") == ("2001:db8::1", 4000)
    assert target_of("", "") is None
    assert target_of("192.0.2.1", "nonsense") is None
