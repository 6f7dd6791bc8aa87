"""Encrypts what is written to etcd, with keys that only managers have.

In: an etcd key and a plain value. Out: the value sealed by AES-256-GCM, bound to its etcd key, so that no value can be
moved to another name. Each sealed value names the key that opens it: keys can be rotated by sealing anew. How keys are
made, kept and handed over is the caller's part.
"""

import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shoal.errors import DamagedState, InvalidArgument

KEY_SIZE_BYTES = 32
# Nonces are random, which NIST SP 800-38D allows for 2**32 values under one key: 50 days of 1,000 changes a second
# without a pause. Rotating the key resets it.
_NONCE_SIZE_BYTES = 12
_TAG_SIZE_BYTES = 16
_FORMAT = 1
_HEADER_SIZE_BYTES = 2
OVERHEAD_BYTES = _HEADER_SIZE_BYTES + _NONCE_SIZE_BYTES + _TAG_SIZE_BYTES
MAX_KEY_ID = 255


class Sealer:
    """Seals with one data key, and opens with any key that it knows."""

    def __init__(self, keys: Mapping[int, bytes], current: int) -> None:
        """Take the data keys by id (0..255), 32 bytes each, and the id of the one to seal with."""
        for key_id, key in keys.items():
            if not 0 <= key_id <= MAX_KEY_ID or len(key) != KEY_SIZE_BYTES:
                raise InvalidArgument(f"data key {key_id} must have an id of 0 to 255 and {KEY_SIZE_BYTES} bytes")
        if current not in keys:
            raise InvalidArgument(f"data key {current} is to be used but was not given")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current = self._ciphers[current]
        self._header = bytes((_FORMAT, current))

    def seal(self, key: bytes, value: bytes) -> bytes:
        """Return the sealed value, which opens only with the data key and under this etcd key.

        `OVERHEAD_BYTES` longer.
        """
        nonce = os.urandom(_NONCE_SIZE_BYTES)
        return self._header + nonce + self._current.encrypt(nonce, value, self._header + key)

    def open(self, key: bytes, sealed: bytes) -> bytes:
        """Return the plain value. Raises DamagedState, which names the etcd key, if it cannot be opened."""
        if len(sealed) < OVERHEAD_BYTES or sealed[0] != _FORMAT:
            raise _damaged(key, "it is not a sealed value")
        cipher = self._ciphers.get(sealed[1])
        if cipher is None:
            raise _damaged(key, f"it was sealed with data key {sealed[1]}, which this manager does not have")
        header, nonce = sealed[:_HEADER_SIZE_BYTES], sealed[_HEADER_SIZE_BYTES : _HEADER_SIZE_BYTES + _NONCE_SIZE_BYTES]
        try:
            return cipher.decrypt(nonce, sealed[_HEADER_SIZE_BYTES + _NONCE_SIZE_BYTES :], header + key)
        except InvalidTag as error:
            raise _damaged(key, "it does not open with this manager's data key") from error


def _damaged(key: bytes, reason: str) -> DamagedState:
    return DamagedState(f"etcd key {key.decode(errors='replace')}", reason)
