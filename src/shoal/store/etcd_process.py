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
from types import TracebackType
from typing import Self

from shoal.errors import DamagedState, MissingProgram, ShoalError, Unavailable
from shoal.paths import Paths
from shoal.store.etcd_client import EtcdClient
from shoal.store.etcd_config import UNIX, EtcdConfig, peer_socket, peer_url
from shoal.store.leftovers import Lock, end_leftovers

__all__ = ["EtcdConfig", "EtcdProcess", "LostData", "RemovedMember", "peer_socket", "peer_url"]

log = logging.getLogger(__name__)

START_TIMEOUT = 20.0  # replaying a long log from a slow disk; beyond this a person should look
# It hands the lead to another and ends, in some 0.05 s; without quorum it looks for somebody to hand it to for seconds.
# What was acknowledged is on disk in any case.
STOP_TIMEOUT = 1.0
FIRST_DELAY = 0.05  # the usual reason for a second start is a kill: be back before anybody notices
LONGEST_DELAY = 5.0
STABLE_AFTER = 10.0  # a run of this length, in seconds, starts the delays anew, and what was is forgotten
_LOGGED_FAILURES = frozenset({0, 1, 10, 100, 1000, 10_000})  # of those in a row
_LAST_WORDS = 20  # lines kept to explain an end
_LONGEST_LINE_BYTES = 4096
# What etcd 3.4 says when its member is none any more: etcdserver/server.go, rafthttp/peer.go.
_SIGNS_OF_REMOVAL = (
    "the member has been permanently removed from the cluster",
    "this member has been permanently removed from the cluster",
)
# What etcd warns of though nobody need act: we use no tokens; of peers that are away, and of a machine that is busy, it
# tells at every look, several times a second.
_ORDINARY = (
    "simple token is not cryptographically signed",
    "failed to reach the peer URL",
    "failed to get version",
    "leader failed to send out heartbeat on time",
    "apply request took too long",
)
# What etcd 3.4, 3.5 and bbolt say, before they serve, of files that are not as they wrote them. They seldom check, they
# stumble: every panic at the start that was seen came from the files.
_SIGNS_OF_DAMAGE = (
    "crc mismatch",
    "corrupt",
    "invalid database",
    "file size too small",
    "failed to recover",
    "max entry size limit exceeded",
    "proto: ",  # a record that is none
    "panic: ",
    "assertion failed",
)


# etcd, too, mends a log that ends in the middle of a record, by forgetting the rest, and does not compare what is left
# with its database: it waits for ever then, or takes new writes for old ones and drops them.
_RESTARTS, _LOG_IS_EMPTY = "restarting local member", ", lastindex: 0,"


class CutLog(DamagedState):
    """etcd's log ends before what its database holds."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "its log ends before what its database holds")
        self.args = (
            f"{path} is damaged: the log in member/wal ends before what the database in member/snap holds. Restore the "
            "folder; or, of several managers, demote and remove this one on another, and let it join again; if it is "
            "the only one, restore a backup",
        )


class LostData(DamagedState):
    """The data of a member that was one before is gone. It must join anew, under a new membership."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "this manager's data is gone")
        self.args = (
            f"{path} is gone, and with it this manager's part of the swarm's state: demote and remove this manager on "
            "another one, and let it join again; if it is the only one, restore a backup",
        )


class RemovedMember(ShoalError):
    """This manager's etcd was removed from its cluster: it will never serve again."""

    def __init__(self) -> None:
        super().__init__("this manager was removed from the swarm's managers")


class EtcdProcess:
    """etcd while the context lasts; entering returns when it serves. One a data folder: a second one is refused.

    A member of several serves only while most of them run: without `wait`, entering returns at once. Raises on
    entering, or in `wait_serving`: MissingProgram; DamagedState when etcd cannot read what it once wrote, LostData when
    that is gone; RemovedMember; Unavailable when another daemon holds the folder or the disk is full; on entering
    ShoalError with etcd's last words otherwise.
    """

    def __init__(self, paths: Paths, config: EtcdConfig | None = None, *, wait: bool = True) -> None:
        self.config = config or EtcdConfig()
        self._wait = wait
        self.data = paths.swarm / "etcd"
        self.folder = paths.etcd
        self.socket = paths.etcd / "localhost:1"
        self.client: EtcdClient
        """Valid inside the context."""
        self.trouble: str | None = None
        """Why etcd ended last, in a sentence; None when it has served for a while since. On a full disk it serves until
        it writes, so that what went wrong a moment ago is the better answer to a caller than that all is well."""
        self.serving = False
        self.raft_news = asyncio.Event()
        """Set whenever etcd says something of who leads Raft, or ends; `leadership` clears it."""
        self._removed = asyncio.Event()
        self._forcing = self.config.force_new_cluster
        self._final: ShoalError | None = None
        self._is_restart = False  # of a member that was one before
        self._log_is_cut = False
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
        if (self.config.exists or self.config.force_new_cluster) and not (self.data / "member").is_dir():
            raise LostData(str(self.data))
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
                if self._wait:
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

    async def wait_serving(self) -> None:
        """Wait until it serves, however long that takes. Raises what entering raises, where it never will."""
        while not self.serving:
            if self._final is not None:
                raise self._final
            await self._news.wait()

    async def wait_removed(self) -> None:
        """Wait until it has ended for good, because its member was removed."""
        await self._removed.wait()

    async def _wait_first_news(self) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while not self.serving and not self._failures:
                    await self._news.wait()
        except TimeoutError as error:
            raise ShoalError(f"etcd on {self.data} did not start within {START_TIMEOUT:g} s: {self._said()}") from error
        if not self.serving:
            raise self._final or ShoalError(self.trouble)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
        self.raft_news.set()

    def _verdict(self) -> ShoalError | None:
        """Return why another start is not going to help, if so."""
        said = " ".join(self._words)
        if self._log_is_cut:
            return CutLog(str(self.data))
        if any(sign in said for sign in _SIGNS_OF_REMOVAL):
            return RemovedMember()
        if _is_disk_full(said):
            return Unavailable(self.trouble)
        if any(sign in said for sign in _SIGNS_OF_DAMAGE):
            return DamagedState(str(self.data), self._said())
        return None

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started_at = loop.time()
            code = await self._run_once()
            self._failures = 1 if loop.time() - started_at > STABLE_AFTER else self._failures + 1
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(self._failures - 1, 10))
            self.serving = False
            self.trouble = self._explain(code)
            self._final = self._verdict()
            self._tell()
            if isinstance(self._final, RemovedMember):
                log.info("%s", self._final)
                self._removed.set()
                return
            level = logging.WARNING if self._failures in _LOGGED_FAILURES else logging.DEBUG
            log.log(level, "%s (%d times); starting it again in %g s", self.trouble, self._failures, delay)
            await asyncio.sleep(delay)

    async def _run_once(self) -> int:
        self._words.clear()
        self._is_restart = self._log_is_cut = False
        # etcd does not remove the socket of one that was killed. The lock says that nobody else listens there.
        self.socket.unlink(missing_ok=True)
        if self.config.peer_url.startswith(UNIX):
            (self.folder / self.config.peer_url.removeprefix(UNIX)).unlink(missing_ok=True)
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
                status = await self.client.status()
                break
            except Unavailable:
                await asyncio.sleep(0.01)
        if status.header.revision > status.raftIndex + 1:  # each revision is an entry of the log, but for the first
            self._stop_for_cut_log()
            return
        self.serving, self._forcing, self._final = True, False, None
        self._tell()
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
                self._heed_log(text)
                if level > logging.DEBUG or any(sign in text for sign in _SIGNS_OF_REMOVAL):
                    self._words.append(text)
                if "leader" in text or "became" in text:
                    self.raft_news.set()
                log.log(level if self._failures in _LOGGED_FAILURES else logging.DEBUG, "etcd: %s", text)

    def _heed_log(self, text: str) -> None:
        if text == _RESTARTS:
            self._is_restart = True
        elif self._is_restart and _LOG_IS_EMPTY in text:
            if self.config.is_alone:
                self._stop_for_cut_log()
            else:
                # It may have joined a moment before it was killed: then the others fill its log.
                log.warning("etcd finds nothing in its log, and waits for the other managers: %s", self.data)

    def _stop_for_cut_log(self) -> None:
        self._log_is_cut = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def _explain(self, code: int) -> str:
        if self._log_is_cut:
            return f"etcd was stopped: its log in {self.data} ends too early"
        if _is_disk_full(" ".join(self._words)):
            return f"etcd cannot write to {self.data}: no space left on device"
        ended = f"signal {-code}" if code < 0 else f"code {code}"
        return f"etcd ended with {ended}: {self._said()}"

    def _said(self) -> str:
        return self._words[-1] if self._words else "it said nothing"

    def _arguments(self) -> list[str]:
        client_url = UNIX + self.socket.name
        return [
            *("--data-dir", str(self.data)),
            *("--listen-client-urls", client_url, "--advertise-client-urls", client_url),
            *self.config.flags(),
            *(("--force-new-cluster",) if self._forcing else ()),
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
    # Of connections to peers, too, etcd tells every end and every beginning.
    ordinary = message.startswith(_ORDINARY) or str(said.get("caller")).startswith("rafthttp/")
    if ordinary or level in ("debug", "info"):
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
        log.debug("etcd does not stop by itself")
    finally:
        # Not left to TimeoutError alone: in a task that is being cancelled Python 3.11 raises CancelledError here.
        if process.returncode is None:
            process.kill()
            await process.wait()
