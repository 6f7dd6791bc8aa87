"""Serves `shoald` on a unix socket: takes a wanted state, has it made, tells what was reached.

Only the newest wanted state counts: one that came while another was being made takes its place. It is kept in a file on
the exec-root's tmpfs before it is made, so that this process goes on with it when it is started again.
"""

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import shoal
from shoal.errors import InvalidArgument, NotFound, PermissionDenied, ShoalError
from shoal.network.process import changes, state
from shoal.network.process.connection import SOCKET, Connection, accept
from shoal.network.process.messages import (
    CHANGED,
    COUNTS,
    HELLO,
    LAYERS,
    NETWORK,
    REACHED,
    REFUSED,
    REPLACE,
    SHOW,
    SHOWN,
    STOP,
    WANTED,
    Message,
    fields,
    small,
)
from shoal.network.process.parts import Legacy, Parts
from shoal.network.process.texts import Texts
from shoal.network.wanted import Reached, Trouble, Wanted, from_json, to_json

log = logging.getLogger(__name__)

# Somebody flushed the host's packet rules: within 5 s they are there again (known-faults 29).
VERIFY_EVERY = 3.0
# shoald has one connection; a second is there for a moment, when it is started again, a third for whoever looks.
MAX_CLIENTS = 8
SEND_TIMEOUT = 5.0

Replace = Callable[[Sequence[str], Legacy], None]


class NetworkServer:
    """Has wanted states made, one after another. `replace` puts another program in this one's place."""

    def __init__(self, folder: Path, sock: socket.socket, parts: Parts, replace: Replace) -> None:
        self._folder = folder
        self._socket = sock
        self._parts = parts
        self._replace = replace
        self._clients: set[Connection] = set()
        self._wanted: Wanted | None = None
        self._told: dict[Connection, Wanted] = {}  # what each has told last
        self._texts = Texts()
        self._reached: Reached | None = None
        self._confirmed = 0  # what others know: the revision of a wanted state
        self._news = asyncio.Event()
        self._ending = asyncio.Event()
        self._command: Sequence[str] | None = None

    async def run(self) -> None:
        """Serve until told to stop (then all that was made is gone), or to make way (then this never returns)."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._make(), name="wanted states"),
                group.create_task(self._follow_others(), name="what others know"),
            ]
            loop.add_reader(self._socket, self._take, group)
            try:
                self._begin(state.last_wanted(self._folder))
                await self._ending.wait()
            finally:
                loop.remove_reader(self._socket)
                for task in tasks:
                    task.cancel()
                if self._ending.is_set() and self._command is None:
                    await self._remove()
                for client in list(self._clients):
                    await client.close()
        if self._command is not None:
            self._replace(self._command, self._parts.bequeath())

    async def _remove(self) -> None:
        """Take all away; that the socket is gone tells shoald that nothing is left."""
        await self._parts.remove()
        state.forget(self._folder)
        (self._folder / SOCKET).unlink(missing_ok=True)

    def _begin(self, wanted: Wanted | None) -> None:
        if wanted is not None:
            self._wanted = wanted
            self._news.set()

    # Wanted states.

    async def _make(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + VERIFY_EVERY
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._news.wait()
            if self._news.is_set():
                self._news.clear()
                await self._make_newest()
            if loop.time() >= due:  # however often there is something new
                if self._reached is not None and (troubles := await self._parts.verify()) is not None:
                    await self._tell(self._reached.revision, troubles)
                due = loop.time() + VERIFY_EVERY

    async def _make_newest(self) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        try:
            await asyncio.to_thread(self._keep, wanted)
        except OSError as error:  # shoald tells it again, should this process be started anew
            log.error("what is wanted of the network is not kept for the next start: %s", error)
        troubles: Sequence[Trouble]
        try:
            troubles = await self._parts.apply(wanted)
        except (ShoalError, OSError) as error:
            log.exception("the network cannot be made as it is wanted")
            troubles = (Trouble("", "", str(error)),)
        await self._tell(wanted.revision, troubles)

    def _keep(self, wanted: Wanted) -> None:
        state.keep(self._folder, self._texts.whole(wanted))

    async def _tell(self, revision: int, troubles: Sequence[Trouble]) -> None:
        self._reached = Reached(revision, tuple(troubles), self._parts.others(), self._confirmed)
        await self._tell_all(self._reached)

    async def _tell_all(self, reached: Reached) -> None:
        message = Message(REACHED, to_json(reached))
        for client in list(self._clients):
            await _send(client, message)

    async def _follow_others(self) -> None:
        while True:
            self._confirmed = await self._parts.told(self._confirmed)
            if self._reached is not None:
                self._reached = replace(self._reached, told=self._confirmed)
                await self._tell_all(self._reached)

    # Connections.

    def _take(self, group: asyncio.TaskGroup) -> None:
        try:
            sock = accept(self._socket)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except (PermissionDenied, OSError) as error:
            log.warning("a connection was not taken: %s", error)
            return
        if len(self._clients) >= MAX_CLIENTS:
            sock.close()
            return
        group.create_task(self._serve(sock), name="client")

    async def _serve(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        client = Connection(reader, writer)
        self._clients.add(client)
        try:
            await _send(client, small(HELLO, version=shoal.__version__, pid=os.getpid(), changes=True))
            if self._reached is not None:
                await _send(client, Message(REACHED, to_json(self._reached)))
            while (message := await client.receive()) is not None:
                await self._obey(client, message)
        except InvalidArgument as error:
            # What follows cannot be told from what came: a new connection begins anew.
            await _send(client, small(REFUSED, message=str(error)))
        finally:
            self._clients.discard(client)
            self._told.pop(client, None)
            await client.close()

    async def _obey(self, client: Connection, message: Message) -> None:
        if message.kind == WANTED:
            wanted = self._told[client] = from_json(Wanted, message.body)
            self._begin(wanted)
        elif message.kind == CHANGED:
            wanted = self._told[client] = changes.changed(self._told.get(client), message.body)
            self._begin(wanted)
        elif message.kind == SHOW:
            asked = fields(message)
            await self._show(client, str(asked.get("what", "")), str(asked.get("network", "")))
        elif message.kind == STOP:
            self._ending.set()
        elif message.kind == REPLACE:
            command = fields(message).get("command")
            if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
                raise InvalidArgument("replace: a command was expected")
            self._command = command
            self._ending.set()
        else:
            raise InvalidArgument(f"{message.kind} is not for this side to hear")

    async def _show(self, client: Connection, what: str, network: str) -> None:
        try:
            if what == COUNTS:
                shown = self._parts.counts()
            elif what == LAYERS:
                shown = await self._parts.examine(network)
            elif what == NETWORK:
                shown = await self._parts.show(network)
            else:
                raise InvalidArgument(f"{what[:40]!r} cannot be shown")
        except NotFound as error:
            await _send(client, small(REFUSED, message=str(error), what=what, network=network))
            return
        body = json.dumps({"what": what, "network": network, "shown": shown})
        await _send(client, Message(SHOWN, body.encode()))


async def _send(client: Connection, message: Message) -> None:
    """Send, but never wait long: a client that does not read may not hold up the network."""
    try:
        async with asyncio.timeout(SEND_TIMEOUT):
            await client.send(message)
    except TimeoutError:
        client.abort()
    except OSError:
        return  # it is gone, as its own reading will find
