"""Which of the keys that managers send gossip uses."""

import pytest

from shoal.errors import InvalidArgument
from shoal.network.gossip.keys import GOSSIP, IPSEC, ring
from shoal.network.wanted import Key


def keys(*times: int, subsystem: str = GOSSIP) -> list[Key]:
    return [Key(subsystem, f"{time:032x}", time) for time in times]


def raw(time: int) -> bytes:
    return time.to_bytes(16, "big")


def test_second_by_age_encrypts() -> None:
    assert ring(keys(9, 7, 8) + keys(12, 11, 10, subsystem=IPSEC)) == (raw(8), raw(7), raw(9))


def test_no_keys_are_no_ring() -> None:
    assert ring([]) == ()
    assert ring(keys(1, 2, 3, subsystem=IPSEC)) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        keys(1, 2),
        keys(1, 2, 3, 4),
        keys(1, 2, 3) + keys(4, subsystem=IPSEC),
        keys(1, 2, 3, subsystem="networking:other"),
        [*keys(1, 2), Key(GOSSIP, "00" * 15, 3)],
        [*keys(1, 2), Key(GOSSIP, "zz" * 16, 3)],
        [*keys(1, 2), Key(GOSSIP, " 0" * 16, 3)],
    ],
)
def test_set_that_docker_refuses_is_refused(wrong: list[Key]) -> None:
    with pytest.raises(InvalidArgument):
        ring(wrong)
