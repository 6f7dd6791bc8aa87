"""Tells whether this manager's etcd leads Raft: asks at intervals, and whenever etcd's log mentions a leader.

In: our etcd. Out: a `Leadership` whenever it changes. Etcd has no call that waits for a change, but its log says when a
member is elected, steps down or loses its leader. So at rest one question each second is enough, and one in ten seconds
for the only manager. A member that was paused still believes that it leads when it wakes. Therefore every write is
bound to the store's epoch, which is up to the manager.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import Unavailable
from shoal.store.etcd_process import EtcdProcess

log = logging.getLogger(__name__)

_AT_REST = 1.0
# A single voter cannot lose the lead to anybody, and this question is all that its shoald does at rest.
_AT_REST_ALONE = 10.0
_WITHOUT_LEADER = 0.05
_LONGEST_WITHOUT = 0.5
# If etcd does not answer within `_WAITS` times `_WAIT` seconds, it counts as not leading; that is shorter than an
# election among the others. It is several waits, so that an answer that came while the event loop was busy still
# counts.
_WAIT, _WAITS = 0.05, 6
_SLOW_WAITS = 4 * _WAITS  # where elections take four times as long, too (`pace`)


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads Raft in the view of this host's member, by ids of etcd's members. `leader` 0: it hears no leader."""

    leads: bool = False
    leader: int = 0
    term: int = 0
    member: int = 0


class LeaderWatch:
    """Keeps `state` current while `run` runs.

    `alone` says whether this is the only manager; call `look` on a change. `is_slow` says whether etcds wait longer for
    a leader than usual.
    """

    def __init__(
        self,
        etcd: EtcdProcess,
        alone: Callable[[], bool] = lambda: False,
        is_slow: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_slow = is_slow
        self._etcd = etcd
        self._alone = alone
        self._changed = asyncio.Event()
        self.state = Leadership()

    async def run(self) -> None:
        """Ask until cancelled."""
        silent = _WITHOUT_LEADER
        while True:
            self._etcd.raft_news.clear()
            found = await self._ask()
            if found != self.state:
                log.debug("%s", found)
                self.state = found
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
            silent = _WITHOUT_LEADER if found.leader else min(1.5 * silent, _LONGEST_WITHOUT)
            try:
                async with asyncio.timeout(self._rest() if found.leader else silent):
                    await self._etcd.raft_news.wait()
            except TimeoutError:
                continue

    def look(self) -> None:
        """Ask now."""
        self._etcd.raft_news.set()

    def _rest(self) -> float:
        return _AT_REST_ALONE if self.state.leads and self._alone() else _AT_REST

    async def next(self, last: Leadership) -> Leadership:
        """Wait for a state that is not `last`, and return it."""
        while self.state == last:
            await self._changed.wait()
        return self.state

    async def wait(self, *, leads: bool) -> Leadership:
        """Wait until this manager's etcd leads, or until it does not, and return that state."""
        while self.state.leads != leads:
            await self._changed.wait()
        return self.state

    async def wait_lost(self, term: int) -> None:
        """Wait until this manager has lost the lead of a term, even if it has won a later one since.

        Another manager may have led in between. If that happened between two questions, only the term shows it, and the
        store would go on showing an old state until its next write. An earlier term means nothing: etcd reports a new
        term only when it has applied an entry of it.
        """
        while self.state.leads and self.state.term <= term:
            await self._changed.wait()

    async def _ask(self) -> Leadership:
        unknown = Leadership(term=self.state.term, member=self.state.member)
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._status(), name="etcd status")
            for _ in range(_SLOW_WAITS if self._is_slow() else _WAITS):
                await asyncio.wait({asking}, timeout=_WAIT)
                if asking.done():
                    break
            else:
                asking.cancel()
                self._etcd.client.close()  # the connection itself may hang; the next call opens another
                return unknown
        status = asking.result()
        if status is None:
            return unknown
        me = status.header.member_id
        return Leadership(status.leader == me, status.leader, status.raftTerm, me)

    async def _status(self) -> pb.StatusResponse | None:
        try:
            return await self._etcd.client.status()
        except Unavailable:
            return None
