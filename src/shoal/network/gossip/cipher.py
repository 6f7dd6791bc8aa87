"""Encrypts and decrypts with the swarm's gossip keys: AES-GCM, as memberlist frames it.

Pure but for the random bytes that it is given. Source: gossip.md 1.5.
"""

from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shoal.errors import InvalidArgument

NONCE, TAG, BLOCK = 12, 16, 16
OVERHEAD = 1 + NONCE + TAG
VERSION = 1  # what we send; 0 is padded to blocks and has the same cipher
MAX_KEYS = 8  # each costs an attempt for whatever cannot be decrypted; managers hand out three

RandomBytes = Callable[[int], bytes]


class Keyring:
    """The keys: the first encrypts, each may decrypt. Values, never changed."""

    def __init__(self, keys: Sequence[bytes], random_bytes: RandomBytes) -> None:
        if not 0 < len(keys) <= MAX_KEYS:
            raise InvalidArgument(f"a keyring has 1 to {MAX_KEYS} keys, not {len(keys)}")
        if any(len(key) not in (16, 24, 32) for key in keys):
            raise InvalidArgument("a gossip key has 16, 24 or 32 bytes")
        self.keys = tuple(dict.fromkeys(keys))
        self._ciphers = [AESGCM(key) for key in self.keys]
        self._random_bytes = random_bytes

    def encrypt(self, plain: bytes, aad: bytes = b"") -> bytes:
        """Return the message, `OVERHEAD` bytes longer."""
        nonce = self._random_bytes(NONCE)
        return bytes((VERSION,)) + nonce + self._ciphers[0].encrypt(nonce, plain, aad)

    def decrypt(self, data: bytes, aad: bytes = b"") -> bytes:
        """Return what was encrypted with one of the keys. InvalidArgument for everything else."""
        if len(data) < OVERHEAD:
            raise InvalidArgument("too short for an encrypted message")
        if data[0] > VERSION:
            raise InvalidArgument(f"a message is encrypted in a way that is not known: {data[0]}")
        nonce, sealed = data[1 : 1 + NONCE], data[1 + NONCE :]
        for cipher in self._ciphers:
            try:
                plain = cipher.decrypt(nonce, sealed, aad)
            except InvalidTag:
                continue
            return plain if data[0] else _without_padding(plain)
        raise InvalidArgument("no key of the swarm decrypts a message")


def _without_padding(plain: bytes) -> bytes:
    count = plain[-1] if plain else 0
    if not 0 < count <= BLOCK or count > len(plain) or plain[-count:] != bytes((count,)) * count:
        raise InvalidArgument("a message is not padded as it should be")
    return plain[:-count]
