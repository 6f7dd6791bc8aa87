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
# The only voter has nobody to lose the lead to; the question is all that its shoald does at rest.
_AT_REST_ALONE = 10.0
_WITHOUT_LEADER = 0.05
_LONGEST_WITHOUT = 0.5
# An etcd that does not even say who it is does not lead for much longer: shorter than an election among the others.
# In several waits: a loop that was away, with the answer waiting for it, has heard as little as one that was not.
_WAIT, _WAITS = 0.05, 6


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads Raft, by ids of etcd's members, as this host's member has it. `leader` 0: nobody that it hears."""

    leads: bool = False
    leader: int = 0
    term: int = 0
    member: int = 0


class LeaderWatch:
    """Keeps `state` current while `run` runs. `alone`: whether there is no other manager; `look` when that changes."""

    def __init__(self, etcd: EtcdProcess, alone: Callable[[], bool] = lambda: False) -> None:
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
        """Wait until the lead of a term is lost, though it be won again: in a later one another may have led between.

        Between two questions that is not to be seen but by the term, and a store whose lead it was would go on showing
        what it knows until it writes. Earlier terms are no news: etcd tells its term when it has applied something.
        """
        while self.state.leads and self.state.term <= term:
            await self._changed.wait()

    async def _ask(self) -> Leadership:
        unknown = Leadership(term=self.state.term, member=self.state.member)
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._status(), name="etcd status")
            for _ in range(_WAITS):
                await asyncio.wait({asking}, timeout=_WAIT)
                if asking.done():
                    break
            else:
                asking.cancel()
                self._etcd.client.close()  # the connection may be what hangs; the next call opens another
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
