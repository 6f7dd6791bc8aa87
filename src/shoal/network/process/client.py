"""shoald's side of the network process: starts it, tells it what is wanted, hears what was reached.

The process is started in a session and a cgroup of its own, so that it stays when shoald ends. One that is there
already is used; one of another version makes way for this version's.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import shoal
from shoal import spawning
from shoal.errors import InvalidArgument, NotFound, ShoalError, Unavailable
from shoal.network.process import changes, connection
from shoal.network.process.connection import Connection
from shoal.network.process.early import EarlyPort
from shoal.network.process.inheritance import INHERIT, bequest
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
from shoal.network.wanted import Reached, Trouble, Wanted, from_json, to_json

log = logging.getLogger(__name__)

# Seconds from its start to its socket: half a second of imports on a calm machine. One that needs longer is killed, or
# the next one would have to share a slow machine with it; and the next one has twice the time.
START_TIMEOUT, LONGEST_START = 30.0, 480.0
# Between two attempts: a process that ends at once must not be started in a tight loop.
PAUSES = (0.05, 0.2, 1.0, 5.0)
END_TIMEOUT = 10.0
ANOTHER_SERVES = 3  # the program's exit code when it was not the first


_Asked = tuple[str, str]  # what, of which network


class NetworkProcess:
    """The network process of a folder. `keep_apart` is told its pid, to take it out of shoald's own cgroup."""

    def __init__(self, folder: Path, tag: str, keep_apart: Callable[[int], None]) -> None:
        self._folder = folder
        self._keep_apart = keep_apart
        self._command = [
            sys.executable, "-P", "-m", "shoal.network.process.program", f"--folder={folder}", f"--tag={tag}",
            "--log-level", logging.getLevelName(logging.getLogger("shoal").getEffectiveLevel()),
        ]  # fmt: skip
        # Greater than those of an earlier shoald, whose last is still told by the process.
        self._revision = time.time_ns() // 1_000_000
        self._wanted: Wanted | None = None
        self._reached = Reached(0)
        self._removing = False
        self._early = EarlyPort()
        self._link: Connection | None = None
        self._told: Wanted | None = None  # by this connection, to a process that understands changes
        self._tells_changes = False
        self._changed = asyncio.Condition()
        self._askers: dict[_Asked, list[asyncio.Future[dict[str, Any]]]] = {}
        self._patience = START_TIMEOUT
        self._child = 0  # pid of the one that we started; 0: not ours, or reaped

    def next_revision(self) -> int:
        """Return the number of a wanted state that follows all others."""
        self._revision += 1
        return self._revision

    def expect_gossip(self, bind: str) -> None:
        """Others may call from now on: have the port open, though the process may not be there yet."""
        if self._link is None and not self._removing:
            self._early.open(bind)

    def troubles(self) -> Sequence[Trouble]:
        """Return what is not as wanted now."""
        return self._reached.troubles

    async def other_troubles(self, known: Sequence[Trouble]) -> Sequence[Trouble]:
        """Wait until others than these are not as wanted, and return them."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._reached.troubles != tuple(known))
            return self._reached.troubles

    async def want(self, wanted: Wanted) -> None:
        """Have it made. It is sent again whenever the process is another one; nothing happens while all is removed."""
        if self._removing:
            return
        self._wanted = wanted
        async with self._changed:
            self._changed.notify_all()
        if self._link is not None:
            with suppress(OSError):  # its reading finds that it is gone
                await self._link.send(self._message(wanted))

    def _message(self, wanted: Wanted) -> Message:
        """Return what tells it: what changed since the last one, where the other side can know that one."""
        former, self._told = self._told, wanted if self._tells_changes else None
        text = changes.change(former, wanted) if former is not None else None
        return Message(WANTED, to_json(wanted)) if text is None else Message(CHANGED, text)

    async def reached(self, revision: int) -> Reached:
        """Wait until a wanted state, or a later one, was made as far as it could be."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._reached.revision >= revision)
            return self._reached

    async def told(self, revision: int) -> Reached:
        """Wait until the other nodes have confirmed what they were told for a wanted state, or had their time."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._reached.told >= revision)
            return self._reached

    async def show(self, network: str) -> dict[str, Any]:
        """Return what this node knows of a network. NotFound where it is not on it; Unavailable."""
        return await self._ask(NETWORK, network)

    async def examine(self, network: str) -> dict[str, Any]:
        """Return what there is of a network on this node, layer by layer. NotFound, Unavailable."""
        return await self._ask(LAYERS, network)

    async def counts(self) -> dict[str, Any]:
        """Return what the process has counted since its start. Unavailable."""
        return await self._ask(COUNTS, "")

    async def _ask(self, what: str, network: str) -> dict[str, Any]:
        if self._link is None:
            raise Unavailable("the network process of this node is being started")
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._askers.setdefault((what, network), []).append(answer)
        with suppress(OSError):  # its reading finds that it is gone, and tells who waits
            await self._link.send(small(SHOW, what=what, network=network))
        return await answer

    async def remove(self) -> None:
        """Have all taken away, and the process ended; waits for that. `run` must be under way."""
        self._wanted, self._removing = None, True
        if self._link is not None:
            with suppress(OSError):
                await self._link.send(small(STOP))
        async with self._changed:
            self._changed.notify_all()
            await self._changed.wait_for(lambda: not self._removing)

    async def run(self) -> None:
        """Keep a process there as long as something is wanted of it. Ends when cancelled; the process stays."""
        failures = 0
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._wanted is not None or self._removing)
            try:
                link = await self._connected()
                failures = 0
                await self._use(link)
            except (ShoalError, OSError) as error:
                pause = PAUSES[min(failures, len(PAUSES) - 1)]
                failures += 1
                log.warning("the network process: %s; tried again in %g s", error, pause)
                await asyncio.sleep(pause)
            finally:
                self._link = None
                for asked in list(self._askers):
                    self._answer(asked, Unavailable("the network process of this node has ended"))

    async def _connected(self) -> Connection:
        with suppress(FileNotFoundError, ConnectionRefusedError):
            return await connection.connect(self._folder)
        self._reap()
        await asyncio.to_thread(self._start)
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    with suppress(FileNotFoundError, ConnectionRefusedError):
                        return await connection.connect(self._folder)
                    if (code := self._reap()) not in (None, ANOTHER_SERVES):
                        raise ShoalError(f"it ended as it was started, with exit code {code}")
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            await self._kill()
            late, self._patience = self._patience, min(2 * self._patience, LONGEST_START)
            raise ShoalError(f"it did not listen {late:g} s after its start, and was killed") from error

    async def _kill(self) -> None:
        """Kill the one that we started, and wait until it has ended; for so long at most as it may take."""
        if not self._child:
            return
        os.kill(self._child, signal.SIGKILL)
        handle = os.pidfd_open(self._child)
        try:
            await _ended(handle)
        finally:
            os.close(handle)
        self._reap()

    def _start(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
        with spawning.alone, open(os.devnull, "r+b") as null:
            given = bequest({}, self._early.descriptors())
            try:
                self._child = os.posix_spawn(  # noqa: TID251 - `alone` makes it safe
                    self._command[0],
                    [*self._command, INHERIT, str(given)],
                    environment,
                    file_actions=[(os.POSIX_SPAWN_DUP2, null.fileno(), number) for number in (0, 1)],
                    setsid=True,
                )
            finally:
                os.close(given)
                self._early.close()
        self._keep_apart(self._child)

    def _reap(self) -> int | None:
        """Return the exit code of the one that we started, once it has ended (negative: a signal's number)."""
        if not self._child:
            return None
        pid, status = os.waitpid(self._child, os.WNOHANG)
        if not pid:
            return None
        self._child = 0
        return os.waitstatus_to_exitcode(status)

    async def _use(self, link: Connection) -> None:
        try:
            hello = await link.receive()
            if hello is None or hello.kind != HELLO:
                raise ShoalError("it did not say who it is")
            if (version := fields(hello).get("version")) != shoal.__version__:
                log.info("the network process is of version %s: %s takes its place", version, shoal.__version__)
                await link.send(small(REPLACE, command=self._command))
                while await link.receive() is not None:  # until it is gone
                    continue
                return
            peer = link.peer()
            self._early.close()  # the process has the port now, or opens it by itself
            try:
                self._link, self._told, self._tells_changes = link, None, fields(hello).get("changes") is True
                if self._wanted is not None:
                    await link.send(self._message(self._wanted))
                elif self._removing:
                    await link.send(small(STOP))
                while (message := await link.receive()) is not None:
                    await self._hear(message)
                if self._removing and not (self._folder / connection.SOCKET).exists():
                    await _ended(peer)  # until then it is in its cgroup
                    async with self._changed:
                        self._removing = False
                        self._changed.notify_all()
            finally:
                os.close(peer)
        finally:
            await link.close()
            self._reap()

    async def _hear(self, message: Message) -> None:
        if message.kind == REACHED:
            reached = from_json(Reached, message.body)
            for trouble in set(reached.troubles) - set(self._reached.troubles):
                log.warning("network %s: %s", trouble.network or "of this node", trouble.message)
            async with self._changed:
                self._reached = reached
                self._changed.notify_all()
        elif message.kind == SHOWN:
            told = fields(message)
            shown = told.get("shown")
            self._answer(_asked(told), shown if isinstance(shown, dict) else {})
        elif message.kind == REFUSED:
            told = fields(message)
            if "network" not in told:
                raise ShoalError(str(told.get("message")))
            self._answer(_asked(told), NotFound(str(told.get("message"))))
        else:
            raise InvalidArgument(f"{message.kind} is not for this side to hear")

    def _answer(self, asked: _Asked, answer: dict[str, Any] | ShoalError) -> None:
        for asker in self._askers.pop(asked, []):
            if asker.done():  # it was cancelled
                continue
            if isinstance(answer, ShoalError):
                asker.set_exception(answer)
            else:
                asker.set_result(answer)


def _asked(told: dict[str, object]) -> _Asked:
    return str(told.get("what")), str(told.get("network"))


async def _ended(process: int) -> None:
    """Wait until a process has ended, whose pidfd this is; for so long at most as it may take."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process, ended.set)
    try:
        async with asyncio.timeout(END_TIMEOUT):
            await ended.wait()
    except TimeoutError:
        log.warning("the network process does not end")
    finally:
        loop.remove_reader(process)
