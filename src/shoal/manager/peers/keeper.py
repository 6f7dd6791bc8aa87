"""Starts the process that carries etcd's bytes (`process`), sends it orders, and starts it again when it ends.

In: the managers that etcd must reach, connections of port 2377 for etcd, this node's identity. Out: which managers were
heard. There is no process until there is another manager. Long-lived child: `run` (wakes on new orders, on replies and
on the end of the process; writes orders).
"""

import asyncio
import logging
import socket
import sys
from collections import deque
from collections.abc import Callable, Collection, Mapping

from shoal import spawning
from shoal.ca.security import SecurityConfig
from shoal.manager.peers.orders import MAX_LINE_BYTES, Beginning, Orders, Reply
from shoal.paths import Paths

log = logging.getLogger(__name__)

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "shoal.manager.peers.process")
# Seconds until the first orders are carried out: half a second on a calm machine, but most of it is imports, and a
# machine that is 25 times slower (emulated, throttled) must get there. To give up earlier ends the whole manager.
START_TIMEOUT = 60.0
ORDERS_TIMEOUT = 10.0  # seconds until further orders are carried out
STOP_TIMEOUT = 1.0  # seconds
FIRST_DELAY, LONGEST_DELAY = 0.05, 5.0  # seconds before the process is started again
WAITING = 64  # connections that wait while the process starts
STABLE_AFTER = 10.0  # after so many seconds, the end of the process counts as its first failure
_LOGGED_FAILURES = frozenset({1, 10, 100, 1000})


class TunnelsProcess:
    """The tunnels between this manager's etcd and the others. Works while `run` runs.

    `removed` returns the nodes whose certificates are blacklisted; it is asked at each `look`. `heard` is called with a
    manager's node id when bytes came from it. `is_member` returns whether this manager's etcd is a member and runs.
    """

    def __init__(
        self,
        paths: Paths,
        security: SecurityConfig,
        *,
        removed: Callable[[], Collection[str]],
        heard: Callable[[str], None] = lambda node_id: None,
        is_member: Callable[[], bool] = lambda: False,
    ) -> None:
        self._paths = paths
        self._security = security
        self._removed = removed
        self._heard = heard
        self._is_member = is_member
        self._waiting: deque[socket.socket] = deque()
        self._addresses: Mapping[str, str] = {}
        self._number = 0  # of the newest orders
        self._done = -1  # number of the orders that are carried out
        self._trouble = ""
        self._wanted = asyncio.Event()
        self._ordered = asyncio.Event()
        self._replied = asyncio.Event()
        self._handing: socket.socket | None = None
        self.pid: int | None = None

    async def run(self) -> None:
        """Keep the process running until cancelled."""
        self._security.watchers.add(self.look)
        try:
            await self._wanted.wait()
            loop, failures = asyncio.get_running_loop(), 0
            while True:
                started_at = loop.time()
                code = await self._run_once()
                failures = 1 if loop.time() - started_at > STABLE_AFTER else failures + 1
                delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - 1, 10))
                level = logging.WARNING if failures in _LOGGED_FAILURES else logging.DEBUG
                log.log(
                    level,
                    "the process that carries etcd's bytes ended with %s (%d times); starting it again in %g s",
                    *(code, failures, delay),
                )
                await asyncio.sleep(delay)
        finally:
            self._security.watchers.discard(self.look)
            while self._waiting:
                self._waiting.popleft().close()

    def start(self) -> None:
        """Start the process before there is a manager to reach."""
        self._wanted.set()

    async def serve(self, addresses: Mapping[str, str]) -> None:
        """Let etcd reach exactly these managers (addresses by node id). May be repeated. Raises OSError."""
        if dict(addresses) != self._addresses:
            self._addresses = dict(addresses)
            self.look()
        if not self._addresses and not self._wanted.is_set():
            return
        self._wanted.set()
        number = self._number
        try:
            async with asyncio.timeout(START_TIMEOUT if self._done < 0 else ORDERS_TIMEOUT):
                while self._done < number:
                    await self._replied.wait()
        except TimeoutError as error:
            raise OSError("the process that carries etcd's bytes does not answer") from error
        if self._trouble:
            raise OSError(self._trouble)

    def look(self) -> None:
        """Send the process new orders: this node's identity, the managers' addresses, the removed nodes."""
        self._number += 1
        self._ordered.set()

    def take(self, sock: socket.socket) -> None:
        """Hand a connection of port 2377 to the process. The caller must not use the socket any more.

        While the process starts, the connection waits if this manager's etcd is a member and runs. Otherwise it is
        closed, and the other etcd tries again. Its messages may be for the member that this manager was before it
        joined again, and would make the new member exit.
        """
        self._wanted.set()
        if self._handing is not None and self._done >= 0:
            self._hand(self._handing, sock)
        elif self._is_member() and len(self._waiting) < WAITING:
            self._waiting.append(sock)
        else:
            sock.close()

    def _hand(self, handing: socket.socket, sock: socket.socket) -> None:
        with sock:
            try:
                socket.send_fds(handing, [b"."], [sock.fileno()])
            except OSError as fault:  # full, or at its end
                log.debug("a connection to etcd was not handed on: %s", fault)

    async def _run_once(self) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.setblocking(False)
            process = await spawning.start(
                *COMMAND,
                str(theirs.fileno()),
                str(self._paths.data_root),  # only to be seen in the list of processes
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # so that ^C in a terminal only reaches the daemon
                limit=MAX_LINE_BYTES,
            )
            theirs.close()
            self.pid, self._handing = process.pid, ours
            try:
                async with asyncio.TaskGroup() as group:
                    children = [
                        group.create_task(self._order(process), name="tunnels' orders"),
                        group.create_task(self._listen(process), name="tunnels' replies"),
                    ]
                    code = await process.wait()
                    for child in children:
                        child.cancel()
            finally:
                self.pid = self._handing = None
                self._done = -1
                await _stop(process)
        return code

    async def _order(self, process: asyncio.subprocess.Process) -> None:
        writer = process.stdin
        assert writer is not None
        paths, security = self._paths, self._security
        level = logging.getLogger().getEffectiveLevel()
        beginning = Beginning(
            str(paths.data_root), str(paths.exec_root), security.node_id, security.cluster_id, level
        )  # fmt: skip
        try:
            writer.write(beginning.line())
            while True:
                self._ordered.clear()
                writer.write(self._orders().line())
                await writer.drain()
                await self._ordered.wait()
        except ConnectionError as fault:
            log.debug("the process that carries etcd's bytes does not hear: %s", fault)  # its end is seen elsewhere

    def _orders(self) -> Orders:
        security = self._security
        return Orders(
            self._number,
            security.root_pem.decode(),
            security.chain_pem.decode(),
            security.key_pem.decode(),
            self._addresses,
            sorted(self._removed()),
        )

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        reader = process.stdout
        assert reader is not None
        while line := await reader.readline():
            if not line.endswith(b"\n"):
                return  # the process died while it wrote this line
            reply = Reply.read(line)
            for node_id in reply.heard:
                self._heard(node_id)
            self._done, self._trouble = reply.done, reply.trouble
            while self._waiting and self._handing is not None:
                self._hand(self._handing, self._waiting.popleft())
            replied, self._replied = self._replied, asyncio.Event()
            replied.set()


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Let the process end by itself, so that it removes its sockets; kill it after STOP_TIMEOUT."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
