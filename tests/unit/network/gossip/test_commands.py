"""Commands are values."""

from shoal.network.gossip.commands import Ask, Send


def test_equal_commands_are_equal() -> None:
    assert Send("10.0.0.1", 7946, b"x") == Send("10.0.0.1", 7946, b"x")
    assert Ask(1, "10.0.0.1", 7946, b"x", True, 10.0) != Ask(2, "10.0.0.1", 7946, b"x", True, 10.0)
