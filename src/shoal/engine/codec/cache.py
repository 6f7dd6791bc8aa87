"""Keeps the encoded JSON of objects by id and version, so that listing unchanged services costs no encoding."""

from collections import OrderedDict
from typing import Any

from shoal.engine.codec.message import MessageCodec
from shoal.engine.replies import json_bytes

# 8 MB hold about 5,000 services or tasks. Beyond that, the least recently used are dropped and encoded again.
MAX_BYTES = 8 * 1024 * 1024


class EncodedCache:
    """JSON texts of objects whose JSON depends only on their version. At `max_bytes` the least recently used go."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._texts: OrderedDict[str, tuple[int, bytes]] = OrderedDict()  # id -> (version, text)

    def encode(self, codec: MessageCodec[Any], obj: Any) -> bytes:
        """Return the JSON of a stored object."""
        key, version = obj.id, obj.meta.version.index
        kept = self._texts.get(key)
        if kept is not None and kept[0] == version:
            self._texts.move_to_end(key)
            return kept[1]
        text = json_bytes(codec.encode(obj))
        if version:  # An object without a version was never stored and may change without getting another one.
            self._put(key, version, text)
        return text

    def _put(self, key: str, version: int, text: bytes) -> None:
        if len(text) > self._max_bytes // 8:
            return
        old = self._texts.pop(key, None)
        if old is not None:
            self._size_bytes -= len(old[1])
        self._texts[key] = (version, text)
        self._size_bytes += len(text)
        while self._size_bytes > self._max_bytes:
            _, (_, dropped) = self._texts.popitem(last=False)
            self._size_bytes -= len(dropped)


def json_list(texts: list[bytes]) -> bytes:
    """Return a JSON list of encoded JSON values."""
    return b"[" + b",".join(texts) + b"]"
