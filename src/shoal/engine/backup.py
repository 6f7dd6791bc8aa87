"""Saves and restores the swarm over HTTP, on paths of our own, which Docker does not have.

    GET  /shoal/v1/swarm/backup     the file, with its length; 503 as Docker's calls where no manager runs
    POST /shoal/v1/swarm/restore    the file as the body; `listenAddr`, `advertiseAddr`, `dataPathAddr` in the query

While a backup is sent or received, it lies in a file without a name on the data root's disk. That file vanishes
whatever happens. So the client may be slow, and hears at once if there is no quorum; only a piece at a time is in
memory.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import BinaryIO

from aiohttp import web

from shoal.engine.replies import json_reply
from shoal.engine.requests import Call
from shoal.engine.streams import end_with_daemon
from shoal.errors import InvalidArgument, Unavailable
from shoal.node import refusals
from shoal.node.types import LocalState, RestoreRequest

PREFIX = "/shoal/v1"
CHUNK_BYTES = 256 * 1024
DEFAULT_LISTEN_ADDR = "0.0.0.0:2377"  # docker swarm init's


async def back_up(call: Call) -> web.StreamResponse:
    """GET /shoal/v1/swarm/backup."""
    end_with_daemon(call)
    async with _nameless_file(call) as file:
        summary = await call.backend.node.backup(file)
        await asyncio.to_thread(file.seek, 0)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = summary.size_bytes
        await response.prepare(call.http)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            await response.write(chunk)
        await response.write_eof()
        return response


async def restore(call: Call) -> web.StreamResponse:
    """POST /shoal/v1/swarm/restore: answers once the swarm is there."""
    # Checked before a large body is read, and again after that.
    if call.backend.node.info().local_state != LocalState.INACTIVE:
        raise Unavailable(refusals.ALREADY_IN_A_SWARM)
    end_with_daemon(call)
    request = RestoreRequest(
        listen_addr=call.query("listenAddr", DEFAULT_LISTEN_ADDR),
        advertise_addr=call.query("advertiseAddr"),
        data_path_addr=call.query("dataPathAddr"),
    )
    async with _nameless_file(call) as file:
        try:
            async for chunk in call.http.content.iter_chunked(CHUNK_BYTES):
                await asyncio.to_thread(file.write, chunk)
        except web.RequestPayloadError as error:
            raise InvalidArgument("the backup was cut short on its way here: nothing was restored") from error
        result = await call.backend.node.restore(request, file)
    return json_reply({"NodeID": result.node_id, "Locked": result.is_locked, "Backup": result.summary.shown()})


@asynccontextmanager
async def _nameless_file(call: Call) -> AsyncGenerator[BinaryIO, None]:
    # Not in a thread: if the call were cancelled meanwhile, the file would stay open.
    file = tempfile.TemporaryFile(dir=call.backend.facts.data_root)  # noqa: SIM115 - closed below
    try:
        yield file
    finally:
        # In a thread, because freeing a gigabyte takes a while. Nothing waits for it, and nothing cancels it.
        asyncio.get_running_loop().run_in_executor(None, file.close)


ROUTES = [
    ("GET", f"{PREFIX}/swarm/backup", back_up),
    ("POST", f"{PREFIX}/swarm/restore", restore),
]
