"""Identifiers of swarm objects.

Source: SwarmKit identity/randomid.go: 17 random bytes with the top bit set, in base 36, without the first digit.
"""

import secrets
from collections.abc import Callable

ID_LENGTH = 25
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    """Return a non-negative number in base 36, digits before lower-case letters."""
    digits: list[str] = []
    while number:
        number, rest = divmod(number, 36)
        digits.append(_DIGITS[rest])
    return "".join(reversed(digits)) or "0"


def new_id(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a fresh object id: 25 characters of `[0-9a-z]`."""
    raw = bytearray(random_bytes(17))
    raw[0] |= 0x80
    return base36(int.from_bytes(raw, "big"))[1 : ID_LENGTH + 1]
