"""What a process leaves: by default nothing."""

from shoal.network.process.parts import Legacy


def test_a_legacy_may_be_empty() -> None:
    assert Legacy() == Legacy({}, {})
