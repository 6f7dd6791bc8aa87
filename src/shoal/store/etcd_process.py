"""Keeps one etcd running as a child of this process: starts it, watches it, restarts it, stops it.

In: the paths of its files, its settings. Out: a client on its unix socket and, if something is wrong, one sentence
about it. The client socket is in a 0700 folder, because etcd asks for no certificate there. The child ends with this
process, however that ends. `store` decides what is kept in etcd.
"""

import asyncio
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from shoal import spawning
from shoal.errors import DamagedState, MissingProgram, ShoalError, Unavailable
from shoal.json_text import read_json
from shoal.paths import Paths
from shoal.store.etcd_client import CALL_TIMEOUT, EtcdClient
from shoal.store.etcd_config import UNIX, EtcdConfig, peer_socket, peer_url
from shoal.store.leftovers import Lock, end_leftovers
from shoal.store.pace import ELECTIONS, WITHIN, Pace, is_election

__all__ = ["EtcdConfig", "EtcdProcess", "LostData", "RemovedMember", "peer_socket", "peer_url"]

log = logging.getLogger(__name__)

START_TIMEOUT = 60.0  # seconds; enough to replay a long log from a slow disk, also where everything is slow
# Seconds. etcd hands over the lead and ends, in about 0.05 s. Without a quorum it would try to hand over for seconds.
# All acknowledged writes are on disk in any case.
STOP_TIMEOUT = 1.0
FIRST_DELAY = 0.05  # seconds; short, because the usual reason for a restart is that somebody killed etcd
LONGEST_DELAY = 5.0
STABLE_AFTER = 10.0  # seconds; after a run of this length, delays and `trouble` begin anew
# Seconds for which an etcd that is to be slow, or quick again, waits for the other managers. If one stays away, the
# elections go on meanwhile, which is worse than to start etcd beside fewer.
PACE_PATIENCE = 60.0
PACE_LOOKS = 1.0
_LOGGED_FAILURES = frozenset({0, 1, 10, 100, 1000, 10_000})  # failures in a row
_LAST_WORDS = 20  # lines kept to explain an end
_LONGEST_LINE_BYTES = 4096
# etcd 3.4's log lines when its member was removed: etcdserver/server.go, rafthttp/peer.go.
_SIGNS_OF_REMOVAL = (
    "the member has been permanently removed from the cluster",
    "this member has been permanently removed from the cluster",
)
# etcd's warnings about which nobody need do anything: tokens are not used here, and about absent peers and a busy
# machine it warns several times a second.
_ORDINARY = (
    "simple token is not cryptographically signed",
    "failed to reach the peer URL",
    "failed to get version",
    "leader failed to send out heartbeat on time",
    "apply request took too long",
)
# Log lines of etcd 3.4, 3.5 and bbolt about damaged files, before etcd serves. They seldom check their files but panic:
# all panics at the start that were seen came from damaged files.
_SIGNS_OF_DAMAGE = (
    "crc mismatch",
    "corrupt",
    "invalid database",
    "file size too small",
    "failed to recover",
    "max entry size limit exceeded",
    "proto: ",  # a record that does not parse
    "panic: ",
    "assertion failed",
)


# If its log ends in the middle of a record, etcd cuts it there and does not compare the rest with its database. Then it
# waits for ever, or takes new writes for old ones and drops them.
_RESTARTS, _LOG_IS_EMPTY = "restarting local member", ", lastindex: 0,"


class CutLog(DamagedState):
    """etcd's log ends before the state that its database has."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "its log ends before what its database holds")
        self.args = (
            f"{path} is damaged: the log in member/wal ends before what the database in member/snap holds. Restore the "
            "folder; or, of several managers, demote and remove this one on another, and let it join again; if it is "
            "the only one, restore a backup",
        )


class LostData(DamagedState):
    """The data of an existing member is gone. The node must join again, with a new membership."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "this manager's data is gone")
        self.args = (
            f"{path} is gone, and with it this manager's part of the swarm's state: demote and remove this manager on "
            "another one, and let it join again; if it is the only one, restore a backup",
        )


class RemovedMember(ShoalError):
    """This manager's etcd was removed from its cluster and will never serve again."""

    def __init__(self) -> None:
        super().__init__("this manager was removed from the swarm's managers")


class EtcdProcess:
    """An async context in which etcd runs. Entering it returns when etcd serves. A data folder can have only one etcd.

    One of several members serves only while most of them run. Without `wait`, entering returns at once. Entering and
    `wait_serving` raise: MissingProgram; DamagedState if etcd cannot read its files, LostData if they are gone;
    RemovedMember; Unavailable if another daemon holds the folder or the disk is full. For any other failure, entering
    raises ShoalError with etcd's last log line.

    After many elections etcd is started anew, more patient (`pace`): `turn` seconds later, because all managers may
    want that at once, and once `are_there` says that the other managers are there. `paced` is told whether it is slow.
    """

    def __init__(
        self,
        paths: Paths,
        config: EtcdConfig | None = None,
        *,
        wait: bool = True,
        turn: Callable[[], float] = lambda: 0.0,
        are_there: Callable[[], bool] = lambda: True,
        paced: Callable[[bool], None] = lambda is_slow: None,
    ) -> None:
        self.config = config or EtcdConfig()
        self._ordinary = self.config
        self._wait, self._turn, self._are_there, self._paced = wait, turn, are_there, paced
        self._pace, self._elected, self._is_repacing = Pace(), asyncio.Event(), False
        self.data = paths.swarm / "etcd"
        self.folder = paths.etcd
        self.socket = paths.etcd / "localhost:1"
        self.client: EtcdClient
        """Valid inside the context."""
        self.trouble: str | None = None
        """Why etcd ended last, in a sentence. None once it has served for `STABLE_AFTER`: on a full disk etcd serves
        until the first write, so right after a start the last reason is still the better answer to a caller."""
        self.serving = False
        self.raft_news = asyncio.Event()
        """Set whenever etcd logs something about Raft's leader, or ends. `leadership` clears it."""
        self._removed = asyncio.Event()
        self._forcing = self.config.force_new_cluster
        self._final: ShoalError | None = None
        self._is_restart = False  # whether etcd says that the member existed before
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
            self._children = [
                self._group.create_task(self._supervise(), name="etcd"),
                self._group.create_task(self._keep_pace(), name="etcd pace"),
            ]
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
        # Without the error, because the group would wrap it.
        for child in self._children:
            child.cancel()
        try:
            await self._group.__aexit__(None, None, None)
        finally:
            self.client.close()
            self._lock.release()

    async def wait_serving(self) -> None:
        """Wait until etcd serves, however long that takes. Raises the same errors as entering if it never will."""
        while not self.serving:
            if self._final is not None:
                raise self._final
            await self._news.wait()

    async def wait_removed(self) -> None:
        """Wait until etcd has ended for good because its member was removed."""
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
        """Return the error because of which another start is useless, or None."""
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
            if self._is_repacing:
                self._is_repacing = self.serving = False
                self._tell()
                continue
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

    async def _keep_pace(self) -> None:
        """Start etcd anew when it is to be slow, or quick again."""
        loop = asyncio.get_running_loop()
        while True:
            again_at = self._pace.look(loop.time())
            if self._is_paced():
                self._elected.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(again_at):
                        await self._elected.wait()
                continue
            await asyncio.sleep(self._turn())
            give_up_at = loop.time() + PACE_PATIENCE
            # Who is there is known by bytes, whose absence wakes nobody.
            while not (self.serving and self._are_there()) and loop.time() < give_up_at:  # noqa: ASYNC110
                await asyncio.sleep(PACE_LOOKS)
            if not self._is_paced():
                await self._repace()

    def _is_paced(self) -> bool:
        return self.config == (self._ordinary.slow() if self._pace.is_slow else self._ordinary)

    async def _repace(self) -> None:
        is_slow, wanted = self._pace.is_slow, self._ordinary
        if is_slow:
            wanted = wanted.slow()
            log.warning(
                "%d elections within %g s: this host, another manager's or the network between them is slow; "
                "from now on this manager waits %g s for a leader",
                *(ELECTIONS, WITHIN, wanted.election_ms / 1000),
            )
        else:
            log.info("no elections for long: this manager waits %g s for a leader again", wanted.election_ms / 1000)
        self.config = wanted
        self.client.patience = CALL_TIMEOUT + 2 * (wanted.election_ms - self._ordinary.election_ms) / 1000
        self._paced(is_slow)
        process = self._process
        if process is not None and process.returncode is None:
            self._is_repacing = True
            await _stop(process)  # etcd hands over the lead, if it has it

    async def _run_once(self) -> int:
        self._words.clear()
        self._pace.started()
        self._is_restart = self._log_is_cut = False
        # A killed etcd leaves its sockets behind. Because of the lock, nobody else can be listening on them.
        self.socket.unlink(missing_ok=True)
        if self.config.peer_url.startswith(UNIX):
            (self.folder / self.config.peer_url.removeprefix(UNIX)).unlink(missing_ok=True)
        # No inherited environment, because ETCD_* and proxy variables of the daemon are not meant for this etcd.
        config = self.config
        process = await spawning.start(
            *self._program,
            *self._arguments(),
            cwd=self.folder,
            env={},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # ^C in a terminal must only reach the daemon, which stops etcd last
        )
        self._process = process
        if self.config is not config:  # `_repace` met no etcd that it could end
            self._is_repacing = True
            process.kill()
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
        if status.header.revision > status.raftIndex + 1:  # except for the first, each revision is an entry of the log
            self._stop_for_cut_log()
            return
        self.serving, self._forcing, self._final = True, False, None
        self._tell()
        await asyncio.sleep(STABLE_AFTER)
        self.trouble = None

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Log etcd's lines, and keep the last ones. Of a Go traceback, only the first line is logged above DEBUG."""
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
        if is_election(text):
            self._pace.heard(asyncio.get_running_loop().time())
            self._elected.set()
        if text == _RESTARTS:
            self._is_restart = True
        elif self._is_restart and _LOG_IS_EMPTY in text:
            if self.config.is_alone:
                self._stop_for_cut_log()
            else:
                # It may have been killed just after it joined. Then the others fill its log.
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
        said = read_json(text)
        message, error, level = str(said["msg"]), said.get("error"), said["level"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return (logging.WARNING if text.startswith(("panic:", "fatal error:")) else logging.DEBUG), text
    # rafthttp logs every start and end of a connection to a peer.
    ordinary = message.startswith(_ORDINARY) or str(said.get("caller")).startswith("rafthttp/")
    if ordinary or level in ("debug", "info"):
        return logging.DEBUG, message
    # etcd calls everything at its start "discovery".
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
        # Not only after TimeoutError: in a task that is being cancelled, Python 3.11 raises CancelledError here.
        if process.returncode is None:
            process.kill()
            await process.wait()
