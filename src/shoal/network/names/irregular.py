"""Questions that have other records behind them (TSIG, several additional ones): read by dnslib. Pure.

Resolvers in containers send none of these, so that the library, which takes 3 MiB, is imported when the first comes.
"""

import struct

from shoal.errors import InvalidArgument

_OPT = 41


def edns(message: bytes) -> tuple[int, int] | None:
    """Return the size and version of the OPT record, None without one. InvalidArgument for what is no message."""
    import dnslib

    try:
        record = dnslib.DNSRecord.parse(message)
    # What bytes that are no message end in, found by fuzzing: records are read by classes of the library, each with
    # failures of its own, and names that point at names by recursion.
    except (
        dnslib.DNSError,
        dnslib.buffer.BufferError,
        dnslib.label.DNSLabelError,
        struct.error,
        RecursionError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise InvalidArgument(f"no DNS message: {error}") from error
    found = [one for one in record.ar if one.rtype == _OPT]
    if len(found) > 1:
        raise InvalidArgument("a DNS message has more than one OPT record")
    return (int(found[0].rclass), int(found[0].ttl) >> 16 & 0xFF) if found else None
