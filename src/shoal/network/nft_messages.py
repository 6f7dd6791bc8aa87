"""Messages to and from the kernel's nftables, as bytes: whether a table is there, and which tables somebody changed.

Pure. Layouts and numbers: linux/netfilter/nfnetlink.h, nf_tables.h. What is in a table is libnftables' matter
(`network/kernel/nftables.py`).
"""

import struct
from collections.abc import Iterable

from shoal.network.rtnetlink import ACK, AF_INET, Reply, Request, attribute, attributes

GROUP = 7  # NFNLGRP_NFTABLES: whoever has joined it is told of each change
_SUBSYSTEM = 10
_GET_TABLE = (_SUBSYSTEM << 8) | 1
_HEADER = struct.Struct("=BBH")  # family, version, resource
# In messages of tables, chains, rules, sets and elements alike: the table's name.
_TABLE = 1


def get_table(name: str) -> Request:
    """Ask for a table of IPv4. OSError with ENOENT is the answer where there is none."""
    return Request(_GET_TABLE, ACK, _HEADER.pack(AF_INET, 0, 0) + attribute(_TABLE, name.encode() + b"\0"))


def changed_tables(replies: Iterable[Reply]) -> set[str]:
    """Return the names of the tables, of whichever family, that notices are about."""
    found = set()
    for reply in replies:
        if reply.type >> 8 == _SUBSYSTEM:
            name = attributes(reply.body[_HEADER.size :]).get(_TABLE, b"").rstrip(b"\0")
            if name:
                found.add(name.decode(errors="replace"))
    return found
