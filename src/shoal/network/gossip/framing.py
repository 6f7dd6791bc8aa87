"""From a datagram or a stream to messages, and back: encryption, checksum, compression, messages in one packet.

Pure. Everything that comes in is bounded here, before and after it is decrypted and decompressed; InvalidArgument for
what is refused. What we send is neither compressed nor has a checksum of its own: both are accepted, and the cipher
authenticates already. Labels are not Docker's and refused. Source: gossip.md 1.3, 1.4, 1.6.
"""

import struct
import zlib
from collections.abc import Sequence

from shoal.errors import InvalidArgument
from shoal.network.gossip import lzw
from shoal.network.gossip.cipher import OVERHEAD, Keyring
from shoal.network.gossip.messages import Kind
from shoal.network.gossip.msgpack import Reader, pack_map

MAX_DATAGRAM = 65_536  # UDP has no more; also what one may hold decompressed
# Docker's limit is 20 MiB. 8 hold the push/pull of a few thousand nodes on a hundred networks each, and the records of
# 30,000 tasks; what is larger would be held in memory whole, by a process that has 30 MiB.
MAX_STREAM = 8 << 20
MAX_PLAIN_STREAM = 16 << 20  # the same, decompressed
MAX_PARTS = 256  # messages of one datagram, in all its layers: one compound of 255 is the most that anybody sends
MAX_LAYERS = 3  # compressed, compound, and one to spare: nobody sends more
HEADER = 5  # of a stream: the kind, and how long what follows is
COMPOUND_HEADER, PART_HEADER = 2, 2
MAX_COMPOUND = 255

_LENGTH = struct.Struct(">I")
_PART = struct.Struct(">H")


def compound(parts: Sequence[bytes]) -> bytes:
    """Return messages as one; a single one as it is. At most `MAX_COMPOUND`, each shorter than 64 KiB."""
    if len(parts) == 1:
        return parts[0]
    lengths = b"".join(_PART.pack(len(part)) for part in parts)
    return bytes((Kind.COMPOUND, len(parts))) + lengths + b"".join(parts)


def open_datagram(keyring: Keyring, data: bytes) -> bytes:
    """Return the message in a datagram, which may have others in it."""
    if len(data) > MAX_DATAGRAM:
        raise InvalidArgument("a datagram is too long")
    plain = keyring.decrypt(data)
    if plain[:1] == bytes((Kind.HAS_CRC,)):
        if len(plain) < HEADER or _LENGTH.unpack_from(plain, 1)[0] != zlib.crc32(plain[HEADER:]):
            raise InvalidArgument("a datagram's checksum is wrong")
        return plain[HEADER:]
    return plain


def unpack(message: bytes) -> list[bytes]:
    """Return the messages in the message of a datagram, without those that are cut off at its end."""
    found: list[bytes] = []
    _unpack(message, found, [MAX_DATAGRAM], 0)
    return found


def _unpack(message: bytes, found: list[bytes], left: list[int], layer: int) -> None:
    if not message:
        raise InvalidArgument("a message is empty")
    kind = message[0]
    if kind not in (Kind.COMPRESS, Kind.COMPOUND):
        if len(found) == MAX_PARTS:
            raise InvalidArgument("a datagram has too many messages")
        found.append(message)
        return
    if layer == MAX_LAYERS:
        raise InvalidArgument("messages are nested too deep")
    if kind == Kind.COMPRESS:
        plain = _decompress(message, left[0])
        left[0] -= len(plain)
        _unpack(plain, found, left, layer + 1)
        return
    for part in _parts(message):
        _unpack(part, found, left, layer + 1)


def _parts(message: bytes) -> list[bytes]:
    if len(message) < COMPOUND_HEADER:
        raise InvalidArgument("a compound message has no count")
    count = message[1]
    start = COMPOUND_HEADER + count * PART_HEADER
    if len(message) < start:
        raise InvalidArgument("a compound message is cut off")
    parts = []
    for number in range(count):
        (length,) = _PART.unpack_from(message, COMPOUND_HEADER + number * PART_HEADER)
        if start + length > len(message):
            break
        if length:
            parts.append(message[start : start + length])
        start += length
    return parts


def _decompress(message: bytes, limit: int) -> bytes:
    fields = Reader(message, 1).read_map()
    packed = fields.get("Buf")
    if fields.get("Algo", 0) != 0 or not isinstance(packed, bytes):
        raise InvalidArgument("a message is compressed in a way that is not known")
    return lzw.decompress(packed, limit)


def seal_datagram(keyring: Keyring, message: bytes) -> bytes:
    """Return the datagram that carries a message."""
    return keyring.encrypt(message)


def seal_stream(keyring: Keyring, message: bytes) -> bytes:
    """Return all bytes of a stream that carries a message."""
    header = bytes((Kind.ENCRYPT,)) + _LENGTH.pack(len(message) + OVERHEAD)
    return header + keyring.encrypt(message, header)


def stream_length(header: bytes) -> int:
    """Return how many bytes follow the header of a stream. InvalidArgument where it is none, or promises too much."""
    if len(header) != HEADER or header[0] != Kind.ENCRYPT:
        raise InvalidArgument("a stream is not encrypted")
    length = int(_LENGTH.unpack_from(header, 1)[0])
    if not OVERHEAD < length <= MAX_STREAM:
        raise InvalidArgument(f"a stream says that it has {length} bytes")
    return length


def open_stream(keyring: Keyring, header: bytes, body: bytes) -> bytes:
    """Return the message of a stream, decompressed."""
    plain = keyring.decrypt(body, header)
    if plain[:1] == bytes((Kind.COMPRESS,)):
        plain = _decompress(plain, MAX_PLAIN_STREAM)
    if not plain:
        raise InvalidArgument("a message is empty")
    return plain


def user_stream(message: bytes) -> bytes:
    """Return the message that carries a user's by TCP."""
    return bytes((Kind.USER,)) + pack_map({"UserMsgLen": len(message)}) + message


def read_user_stream(message: bytes) -> bytes:
    """Return the user's message in one that came by TCP."""
    reader = Reader(message, 1)
    length = reader.read_map().get("UserMsgLen", 0)
    if not isinstance(length, int):
        raise InvalidArgument("a user's message has no length")
    return reader.take(length)


def error_text(message: bytes) -> str:
    """Return what a peer says went wrong (kind 13), short and printable."""
    text = Reader(message, 1).read_map().get("Error")
    return ascii(text.decode(errors="replace")[:200]) if isinstance(text, bytes) else "an error without text"
