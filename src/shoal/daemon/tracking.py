"""Looks now and then whether the host's table of tracked connections is full.

Out: a `Fullness` that the API and the metrics read; a line in the log when it changes.
"""

import asyncio
import logging
from pathlib import Path

from shoal.network.connections import Fullness, Level, Table, read

log = logging.getLogger(__name__)

EVERY = 10.0  # seconds
_SETTINGS = Path("/proc/sys/net/netfilter")
_STATISTICS = Path("/proc/net/stat/nf_conntrack")


def look(settings: Path = _SETTINGS, statistics: Path = _STATISTICS) -> Table | None:
    """Return what the kernel says of the table; None while it tracks nothing."""
    try:
        count = (settings / "nf_conntrack_count").read_text()
        limit = (settings / "nf_conntrack_max").read_text()
    except OSError:
        return None
    try:
        return read(count, limit, statistics.read_text())
    except OSError:  # a kernel without these
        return read(count, limit)


async def watch(fullness: Fullness) -> None:
    """Look until cancelled."""
    while True:
        if words := fullness.look(look(), asyncio.get_running_loop().time()):
            log.log(logging.WARNING if fullness.level is not Level.CALM else logging.INFO, "%s", words)
        await asyncio.sleep(EVERY)
