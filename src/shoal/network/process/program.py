"""The program: `python -m shoal.network.process.program --folder DIR --tag TAG [--inherit N]`.

One at a time serves a folder, by a lock in it. `--inherit` is the number of a descriptor that a former program left:
JSON with its values and the numbers of its other descriptors, the lock and the listening socket among them.
"""

import argparse
import asyncio
import fcntl
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shoal.network.process import connection
from shoal.network.process.composition import compose
from shoal.network.process.inheritance import INHERIT, bequest, inherited
from shoal.network.process.parts import Legacy
from shoal.network.process.server import NetworkServer

log = logging.getLogger(__name__)

LOCK = "lock"
ANOTHER_SERVES = 3  # exit code


class InUse(Exception):
    """Another process serves the folder."""


def lock(folder: Path) -> int:
    """Return a descriptor that holds the folder for one process at a time. InUse."""
    held = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(held)
        raise InUse(str(folder)) from error
    return held


def replace(command: Sequence[str], values: Mapping[str, Any], descriptors: Mapping[str, int]) -> None:
    """Become another program, which inherits. OSError when there is no such program: then this one goes on."""
    number = bequest(values, descriptors)
    try:
        os.execv(command[0], [*command, INHERIT, str(number)])
    except OSError:
        os.close(number)
        raise


async def serve(folder: Path, tag: str, legacy: Legacy) -> None:
    """Be the network process of a folder until told to end."""
    descriptors = dict(legacy.descriptors)
    held = descriptors.pop("lock") if "lock" in descriptors else lock(folder)
    sock = socket.socket(fileno=descriptors.pop("socket")) if "socket" in descriptors else connection.listen(folder)

    def make_way(command: Sequence[str], left: Legacy) -> None:
        replace(command, left.values, {**left.descriptors, "lock": held, "socket": sock.fileno()})

    async with compose(folder, tag, Legacy(legacy.values, descriptors)) as parts:
        server = NetworkServer(folder, sock, parts, make_way)
        log.info("the network process %d serves %s", os.getpid(), folder)
        await server.run()
    sock.close()
    os.close(held)


def main(arguments: Sequence[str]) -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(prog="shoal-network", description="Shoal's network process; shoald starts it.")
    parser.add_argument("--folder", type=Path, required=True, help="where its socket and its lock lie")
    parser.add_argument("--tag", required=True, help="what is in the names of all that it makes")
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument(INHERIT, type=int, default=-1, help="the descriptor of what a former program left")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=given.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # What shoald's terminal sends to its group is not for this process; nor is the end of who reads our words.
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    # Two sockets a container, one a published port: more than the 1,024 that a shell gives.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    legacy = inherited(given.inherit) if given.inherit >= 0 else Legacy()
    try:
        asyncio.run(serve(given.folder, given.tag, legacy))
    except InUse:
        return ANOTHER_SERVES  # shoald connects to that one
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
