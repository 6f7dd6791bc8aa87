"""Asks our own etcd for the members of its cluster by its peer port, which answers also without a quorum.

In: the socket where it listens for peers. Out: members by node id. etcd answers from what it has applied itself; its
client's port serves only once most members are there, which may need to be let in first.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shoal.errors import Unavailable
from shoal.json_text import read_json
from shoal.store.etcd_config import UNIX

# Seconds. etcd answers at once, or it does not run.
TIMEOUT = 1.0
MAX_ANSWER_BYTES = 1024 * 1024
_REQUEST = b"GET /members HTTP/1.0\r\nHost: localhost\r\n\r\n"


async def members(etcd: Path) -> dict[str, int]:
    """Return each member's id in etcd by its node's id. Raises Unavailable if etcd does not answer."""
    try:
        async with asyncio.timeout(TIMEOUT):
            listed = await _asked(etcd)
            # A member's URL is known from the beginning, its name once it has started.
            return {each["peerURLs"][0].removeprefix(UNIX).rpartition(":")[0]: int(each["id"]) for each in listed}
    except (OSError, TimeoutError, ValueError, KeyError, TypeError, AttributeError, IndexError) as fault:
        raise Unavailable(f"etcd does not say who its members are: {str(fault) or type(fault).__name__}") from fault


async def status(etcd: Path, request: bytes) -> int:
    """Send a request to etcd and return the status of its answer. Raises Unavailable if it does not answer."""
    try:
        async with asyncio.timeout(TIMEOUT):
            with short_path(etcd) as path:
                reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(request)
                return int((await reader.readline()).split(b" ")[1])
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, ValueError, IndexError) as fault:
        raise Unavailable(f"etcd does not answer: {str(fault) or type(fault).__name__}") from fault


async def _asked(etcd: Path) -> list[Any]:
    with short_path(etcd) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(_REQUEST)
        answer = b""
        while len(answer) <= MAX_ANSWER_BYTES and (part := await reader.read(65536)):
            answer += part
            found = _read(answer)
            if found is not None:  # not waiting for etcd to close the connection saves half a second
                return found
    finally:
        writer.transport.abort()
    raise ValueError("its answer is none")


def _read(answer: bytes) -> list[Any] | None:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not body.rstrip().endswith(b"]"):
        return None
    if head.split(b" ")[1] != b"200":
        raise ValueError(head.split(b"\r\n")[0].decode(errors="replace"))
    try:
        found = read_json(body)
    except ValueError:
        return None  # it is still incomplete
    return found if isinstance(found, list) else None


@contextmanager
def short_path(socket_path: Path) -> Iterator[str]:
    """Yield a path to a socket that is short enough for a socket address, even if the folder's path is long."""
    handle = os.open(socket_path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{socket_path.name}"
    finally:
        os.close(handle)
