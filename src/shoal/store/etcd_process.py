"""Keeps one etcd running as a child of this process: started, watched, started again, stopped.

In: where its files are, who it is among its peers. Out: a client on its unix socket, and in one sentence what is wrong
with it, if something is. etcd's client socket is in a 0700 folder, as it asks nobody for a certificate. The child ends
with us, however we end. What is kept in etcd is `store`'s part.
"""

import asyncio
import json
import logging
import os
import shutil
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from shoal.errors import DamagedState, InvalidArgument, MissingProgram, ShoalError, Unavailable
from shoal.paths import Paths
from shoal.store.etcd_client import EtcdClient
from shoal.store.leftovers import Lock, end_leftovers

log = logging.getLogger(__name__)

# One Raft message: the store's largest transaction (`store.batch`) with room for etcd's own wrapping. etcd warns above.
MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_TXN_OPS = 12_288

START_TIMEOUT = 20.0  # replaying a long log from a slow disk; beyond this a person should look
STOP_TIMEOUT = 3.0  # it flushes what it has and ends; what was acknowledged is on disk in any case
FIRST_DELAY = 0.05  # the usual reason for a second start is a kill: be back before anybody notices
LONGEST_DELAY = 5.0
STABLE_AFTER = 10.0  # a run of this length, in seconds, starts the delays anew, and what was is forgotten
_UNIX = "unix://"
_LOGGED_FAILURES = frozenset({0, 1, 10, 100, 1000, 10_000})  # of those in a row
_LAST_WORDS = 20  # lines kept to explain an end
_LONGEST_LINE_BYTES = 4096
# What etcd 3.4 and bbolt say, before they serve, of files that are not as they wrote them. They seldom check, they
# stumble: every panic at the start that was seen came from the files.
_SIGNS_OF_DAMAGE = (
    "crc mismatch",
    "corrupt",
    "invalid database",
    "file size too small",
    "failed to recover",
    "panic: ",
    "assertion failed",
)


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """How our etcd runs. The defaults are those of a single manager."""

    name: str = "manager"
    """This member's name among its peers."""
    peer_url: str = "unix://localhost:2"
    """Where peers reach it and where it listens; a unix socket beside the client's while there are none."""
    peers: str = ""
    """`name=url,…` of all members when a cluster is made or joined; empty: this one alone."""
    join: bool = False
    """Join a cluster that exists, instead of making one. Without effect once there is a data folder."""
    peer_flags: tuple[str, ...] = ()
    """TLS of the peer port."""
    heartbeat_ms: int = 50
    """Raft's tick. Smaller: quicker start and fail-over, more idle CPU (20: 1.7 %, 50: 1 %, 100: 0.8 % of a core)."""
    election_ms: int = 250
    """A follower that hears nothing for one to two times this stands for election; so does a single member at start."""
    quota_bytes: int = 2 * 1024**3
    """Above this size of its database etcd refuses to write. Its own default and recommendation."""
    kept_revisions: int = 1000
    """Older revisions are forgotten, looked at every five minutes."""
    snapshot_count: int = 5000
    """Entries of Raft's log between snapshots: a smaller log in memory, a quicker start, more writing."""

    def __post_init__(self) -> None:
        """Refuse what etcd would refuse later and less clearly."""
        if self.election_ms < 5 * self.heartbeat_ms:
            raise InvalidArgument("election_ms must be at least 5 times heartbeat_ms")


class EtcdProcess:
    """etcd while the context lasts; entering returns when it serves. One a data folder: a second one is refused.

    Raises on entering: MissingProgram; DamagedState when etcd cannot read what it once wrote; Unavailable when another
    daemon holds the folder or the disk is full; ShoalError with etcd's last words otherwise.
    """

    def __init__(self, paths: Paths, config: EtcdConfig | None = None) -> None:
        self.config = config or EtcdConfig()
        self.data = paths.swarm / "etcd"
        self.folder = paths.etcd
        self.socket = paths.etcd / "localhost:1"
        self.client: EtcdClient
        """Valid inside the context."""
        self.trouble: str | None = None
        """Why etcd ended last, in a sentence; None when it has served for a while since. On a full disk it serves until
        it writes, so that what went wrong a moment ago is the better answer to a caller than that all is well."""
        self.serving = False
        self._process: asyncio.subprocess.Process | None = None
        self._failures = 0  # in a row
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._news = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._lock = Lock(paths.swarm / "etcd.lock")

    @property
    def pid(self) -> int | None:
        """The process id of etcd, while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def __aenter__(self) -> Self:
        self._program = [_found("setpriv", "util-linux"), "--pdeathsig", "KILL", "--", _found("etcd", "etcd-server")]
        for folder in (self.data, self.folder):
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(exist_ok=True, mode=0o700)
            folder.chmod(0o700)
        self._lock.take()
        try:
            await asyncio.to_thread(end_leftovers, self.data)
            self.client = EtcdClient(self.socket)
            await self._group.__aenter__()
            self._child = self._group.create_task(self._supervise(), name="etcd")
            try:
                await self._wait_first_news()
            except BaseException:
                await self.__aexit__(None, None, None)
                raise
        except BaseException:
            self._lock.release()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Without the error: the group would wrap what is not its own.
        self._child.cancel()
        try:
            await self._group.__aexit__(None, None, None)
        finally:
            self.client.close()
            self._lock.release()

    async def _wait_first_news(self) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._news.wait()
        except TimeoutError as error:
            raise ShoalError(f"etcd on {self.data} did not start within {START_TIMEOUT:g} s: {self._said()}") from error
        if not self.serving:
            self._raise_trouble()

    def _raise_trouble(self) -> None:
        said = " ".join(self._words)
        if _is_disk_full(said):
            raise Unavailable(self.trouble)
        if any(sign in said for sign in _SIGNS_OF_DAMAGE):
            raise DamagedState(str(self.data), self._said())
        raise ShoalError(self.trouble)

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started_at = loop.time()
            code = await self._run_once()
            self._failures = 1 if loop.time() - started_at > STABLE_AFTER else self._failures + 1
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(self._failures - 1, 10))
            self.serving = False
            self.trouble = self._explain(code)
            self._news.set()
            level = logging.WARNING if self._failures in _LOGGED_FAILURES else logging.DEBUG
            log.log(level, "%s (%d times); starting it again in %g s", self.trouble, self._failures, delay)
            await asyncio.sleep(delay)

    async def _run_once(self) -> int:
        self._words.clear()
        # etcd does not remove the socket of one that was killed. The lock says that nobody else listens there.
        self.socket.unlink(missing_ok=True)
        if self.config.peer_url.startswith(_UNIX):
            (self.folder / self.config.peer_url.removeprefix(_UNIX)).unlink(missing_ok=True)
        # No inherited environment: ETCD_* and proxy variables of the daemon's are not meant for this etcd.
        process = await asyncio.create_subprocess_exec(
            *self._program,
            *self._arguments(),
            cwd=self.folder,
            env={},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # a ^C in a terminal is for the daemon, which stops etcd last
        )
        self._process = process
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(process), name="etcd log")
                probe = group.create_task(self._wait_serving(), name="etcd probe")
                code = await process.wait()
                probe.cancel()
            return code
        finally:
            await _stop(process)

    async def _wait_serving(self) -> None:
        while True:
            try:
                await self.client.status()
                break
            except Unavailable:
                await asyncio.sleep(0.01)
        self.serving = True
        self._news.set()
        await asyncio.sleep(STABLE_AFTER)
        self.trouble = None

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Log what etcd says, keeping the last of it. One line of a Go traceback is enough in the log."""
        assert process.stderr is not None
        rest = b""
        while chunk := await process.stderr.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:_LONGEST_LINE_BYTES]
            for line in lines:
                level, text = _parsed(line[:_LONGEST_LINE_BYTES])
                if level > logging.DEBUG:
                    self._words.append(text)
                log.log(level if self._failures in _LOGGED_FAILURES else logging.DEBUG, "etcd: %s", text)

    def _explain(self, code: int) -> str:
        if _is_disk_full(" ".join(self._words)):
            return f"etcd cannot write to {self.data}: no space left on device"
        ended = f"signal {-code}" if code < 0 else f"code {code}"
        return f"etcd ended with {ended}: {self._said()}"

    def _said(self) -> str:
        return self._words[-1] if self._words else "it said nothing"

    def _arguments(self) -> list[str]:
        config = self.config
        client_url = _UNIX + self.socket.name
        return [
            *("--name", config.name, "--data-dir", str(self.data)),
            *("--listen-client-urls", client_url, "--advertise-client-urls", client_url),
            *("--listen-peer-urls", config.peer_url, "--initial-advertise-peer-urls", config.peer_url),
            *("--initial-cluster", config.peers or f"{config.name}={config.peer_url}"),
            *("--initial-cluster-state", "existing" if config.join else "new"),
            *("--heartbeat-interval", str(config.heartbeat_ms), "--election-timeout", str(config.election_ms)),
            *("--quota-backend-bytes", str(config.quota_bytes), "--snapshot-count", str(config.snapshot_count)),
            *("--auto-compaction-mode", "revision", "--auto-compaction-retention", str(config.kept_revisions)),
            *("--max-request-bytes", str(MAX_REQUEST_BYTES), "--max-txn-ops", str(MAX_TXN_OPS)),
            *("--logger", "zap", "--log-outputs", "stderr", "--log-level", "warn"),
            *config.peer_flags,
        ]


def _found(program: str, package: str) -> str:
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        raise MissingProgram(program, package)
    return path


def _is_disk_full(said: str) -> bool:
    return "no space left on device" in said


def _parsed(line: bytes) -> tuple[int, str]:
    """Return the level and the text of a line of etcd's log."""
    text = line.decode(errors="replace")
    try:
        said = json.loads(text)
        message, error, level = str(said["msg"]), said.get("error"), said["level"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return (logging.WARNING if text.startswith(("panic:", "fatal error:")) else logging.DEBUG), text
    if level in ("debug", "info") or message == "simple token is not cryptographically signed":
        return logging.DEBUG, message
    # "discovery" is what etcd calls everything it does at its start.
    return logging.WARNING, f"{message}: {error}".removeprefix("discovery failed: ") if error else message


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
