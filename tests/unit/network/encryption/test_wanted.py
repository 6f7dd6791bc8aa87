"""From keys and peers to associations and policies, as Docker Engine has them."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from shoal.errors import InvalidArgument
from shoal.network.encryption.wanted import MOST_PEERS, Encryption, Policy, encryption, primary_first, spi
from shoal.network.kernel.state import OverlayState, Segment
from shoal.network.wanted import Key

HERE, THERE = ip_address("192.168.1.10"), ip_address("192.168.1.11")
KEYS = [Key("networking:ipsec", f"{number:032x}", number) for number in (9, 7, 8)]
GOSSIP = [Key("networking:gossip", "00" * 16, number) for number in (1, 2, 3)]
STATE = OverlayState(
    "n1", 1424, HERE, 4790, (Segment(4097, ()), Segment(4098, ())), forwarding={(4097, "02:42:0a:00:01:06"): THERE},
    encrypted=True,
)  # fmt: skip


def test_an_spi_is_dockers() -> None:
    """Computed by Docker's code (gossip.md section 6)."""
    assert spi(HERE, THERE, 7) == 0x640767A3
    assert spi(THERE, HERE, 7) == 0x1BFAFCEF


def test_the_second_key_by_age_encrypts() -> None:
    assert [tag for tag, _ in primary_first([*GOSSIP, *KEYS])] == [8, 7, 9]
    assert primary_first([replace(key, lamport_time=key.lamport_time + (1 << 32)) for key in KEYS])[0][0] == 8


@pytest.mark.parametrize("keys", [GOSSIP, KEYS[:2], [*KEYS, *KEYS], [replace(KEYS[0], key="x"), *KEYS[1:]]])
def test_a_set_of_keys_that_is_none_is_refused(keys: list[Key]) -> None:
    with pytest.raises(InvalidArgument):
        encryption([STATE], keys, HERE)


def test_what_comes_may_have_any_key_and_what_leaves_has_the_primary_one() -> None:
    made = encryption([STATE], KEYS, HERE)
    assert (made.local, made.port, set(made.vnis)) == (HERE, 4790, {4097, 4098})
    into = {(one.spi, one.key[-1]) for one in made.associations if one.destination == HERE}
    assert into == {(spi(THERE, HERE, tag), tag) for tag in (7, 8, 9)}
    (out,) = [one for one in made.associations if one.source == HERE]
    assert (out.destination, out.spi, out.key[-1]) == (THERE, spi(HERE, THERE, 8), 8)
    assert made.policies == {Policy(HERE, THERE, 4790, out.spi)}
    assert "key" not in repr(out)


def test_networks_in_the_clear_need_no_keys() -> None:
    assert encryption([replace(STATE, encrypted=False)], (), HERE) == Encryption(HERE)


def test_there_is_a_limit_to_the_nodes() -> None:
    many = {(4097, str(number)): ip_address(0x0A000000 + number) for number in range(MOST_PEERS + 1)}
    made = encryption([replace(STATE, forwarding=many)], KEYS, HERE)
    assert len(made.policies) == MOST_PEERS
