"""Reads the LZW that memberlist compresses with: GIF's kind, least significant bit first, eight-bit literals.

Pure. Only reading: what we send is not compressed, which every receiver accepts. Source: gossip.md 1.6.
"""

from shoal.errors import InvalidArgument

CLEAR, END, FIRST = 256, 257, 258
FEWEST_BITS, MOST_BITS = 9, 12
_FULL = 1 << MOST_BITS
_LITERALS = [bytes((value,)) for value in range(256)] + [b"", b""]


def decompress(data: bytes, limit: int) -> bytes:
    """Return what was compressed. InvalidArgument where it is damaged, does not end or would be over `limit` bytes."""
    table = _LITERALS.copy()
    output: list[bytes] = []
    size = bits = held = 0
    width = FEWEST_BITS
    mask = (1 << width) - 1
    last = b""
    for byte in data:
        bits |= byte << held
        held += 8
        if held < width:
            continue
        code = bits & mask
        bits >>= width
        held -= width
        if code < CLEAR:
            entry = table[code]
        elif code == CLEAR:
            table = _LITERALS.copy()
            width = FEWEST_BITS
            mask = (1 << width) - 1
            last = b""
            continue
        elif code == END:
            return b"".join(output)
        elif code < len(table):
            entry = table[code]
        elif code == len(table) and last and code < _FULL:
            entry = last + last[:1]
        else:
            raise InvalidArgument("compressed data has a code that was never given")
        size += len(entry)
        if size > limit:
            raise InvalidArgument(f"compressed data is longer than {limit} bytes")
        output.append(entry)
        if last and len(table) < _FULL:
            table.append(last + entry[:1])
        if len(table) > mask and width < MOST_BITS:
            width += 1
            mask = (1 << width) - 1
        last = entry
    raise InvalidArgument("compressed data does not end")
