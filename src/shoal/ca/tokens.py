"""Join tokens and unlock keys: the two texts that people copy between hosts.

A token names the swarm, by the digest of its root certificates, and proves the right to join it. Source of the formats:
SwarmKit ca/config.go, manager/encryption/encryption.go.
"""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from shoal.api.ids import base36
from shoal.errors import InvalidArgument

DIGEST_WIDTH = 50  # base 36 digits that hold 256 bits
SECRET_WIDTH = 25  # base 36 digits that hold 128 bits
_SECRET_BYTES = 16
_UNLOCK_PREFIX = "SWMKEY-1-"
KEK_BYTES = 32
_UNPADDED = re.compile(r"[A-Za-z0-9+/]*")
_BASE36 = re.compile(r"[0-9a-z]+")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A parsed join token. `digest` is the SHA-256 of the root bundle's PEM bytes as 64 hex digits."""

    digest: str
    secret: str = field(repr=False)
    fips: bool = False


def root_digest(root_pem: bytes) -> str:
    """Return the SHA-256 of a root bundle, over its exact PEM bytes, as 64 hex digits."""
    return hashlib.sha256(root_pem).hexdigest()


def new_token(root_pem: bytes, *, fips: bool = False) -> str:
    """Return a new join token for the swarm with this root bundle."""
    digest = base36(int(root_digest(root_pem), 16)).rjust(DIGEST_WIDTH, "0")
    secret = base36(int.from_bytes(secrets.token_bytes(_SECRET_BYTES), "big")).rjust(SECRET_WIDTH, "0")
    return f"SWMTKN-2-1-{digest}-{secret}" if fips else f"SWMTKN-1-{digest}-{secret}"


def parse_token(text: str) -> JoinToken:
    """Return a parsed join token. Raises InvalidArgument (`invalid join token`) for any other text."""
    match text.split("-"):
        case ["SWMTKN", "1", digest, secret]:
            fips = False
        case ["SWMTKN", "2", "0" | "1" as flag, digest, secret]:
            fips = flag == "1"
        case _:
            raise InvalidArgument("invalid join token")
    if len(digest) != DIGEST_WIDTH or len(secret) != SECRET_WIDTH or not _BASE36.fullmatch(digest + secret):
        raise InvalidArgument("invalid join token")
    number = int(digest, 36)
    if number.bit_length() > 256 or int(secret, 36).bit_length() > 8 * _SECRET_BYTES:
        raise InvalidArgument("invalid join token")
    return JoinToken(f"{number:064x}", secret, fips)


def same_token(given: str, held: str) -> bool:
    """Return whether two tokens are the same, in constant time. An empty `held` token equals none."""
    return bool(held) and hmac.compare_digest(given.encode(), held.encode())


def new_kek() -> bytes:
    """Return a new key-encryption key."""
    return secrets.token_bytes(KEK_BYTES)


def unlock_key(kek: bytes) -> str:
    """Return the text that a person types to unlock a manager whose key file `kek` seals."""
    return _UNLOCK_PREFIX + base64.b64encode(kek).decode().rstrip("=")


def parse_unlock_key(text: str) -> bytes:
    """Return the key-encryption key of an unlock key's text. Raises InvalidArgument.

    Its length is not checked, because a key of a wrong length opens no key file. Source: SwarmKit manager/encryption
    (`ParseHumanReadableKey`, Go's base64 without padding).
    """
    encoded = text.removeprefix(_UNLOCK_PREFIX).replace("\r", "").replace("\n", "")
    if not text.startswith(_UNLOCK_PREFIX) or not _UNPADDED.fullmatch(encoded) or len(encoded) % 4 == 1:
        raise InvalidArgument("invalid key string")
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4))
