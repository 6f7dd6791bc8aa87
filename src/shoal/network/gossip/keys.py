"""Which of the keys that managers hand out gossip uses, and which of them encrypts.

Pure. Source: gossip.md 2.10.
"""

from collections.abc import Sequence

from shoal.errors import InvalidArgument
from shoal.network.wanted import Key

GOSSIP, IPSEC = "networking:gossip", "networking:ipsec"
COUNT = 3  # the one before, the one in use, the one to come
_HEX = 32  # digits of a key


def ring(keys: Sequence[Key]) -> tuple[bytes, ...]:
    """Return the keys of gossip, the one that encrypts first; none where there are none.

    The second by age encrypts: the oldest is there for stragglers, and the newest only until all have it. A set that
    Docker Engine would refuse is refused whole (InvalidArgument): other keys than those of all others' help nobody.
    """
    for subsystem in {key.subsystem for key in keys}:
        if subsystem not in (GOSSIP, IPSEC):
            raise InvalidArgument(f"there are no network keys for {subsystem[:64]!r}")
        if (count := sum(key.subsystem == subsystem for key in keys)) != COUNT:
            raise InvalidArgument(f"there must be {COUNT} keys for {subsystem}, not {count}")
    ours = sorted((key for key in keys if key.subsystem == GOSSIP), key=lambda key: key.lamport_time)
    if not ours:
        return ()
    oldest, primary, newest = (key_bytes(key.key) for key in ours)
    return primary, oldest, newest


def key_bytes(text: str) -> bytes:
    """Return a key from its hex digits. InvalidArgument."""
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise InvalidArgument("a network key is not written in hex digits") from error
    if len(text) != _HEX or len(key) * 2 != _HEX:
        raise InvalidArgument(f"a network key has {_HEX} hex digits")
    return key
