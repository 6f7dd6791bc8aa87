"""The store: the swarm's objects in memory. It follows etcd; on the leader it also writes to it.

In: functions over a `Transaction`. Out: views, commits, events. Every manager follows: it takes each revision of etcd
into memory as a whole, and then tells the watches. The leader writes instead: while one etcd transaction is under way,
callers queue up, and the next transaction carries all their changes. A change is first durable, then in memory, then
told to watches; then its caller goes on. A leader need not listen to etcd, because nobody else can write under its
epoch. When it no longer leads, it follows from the last revision it knows; so it learns whether an interrupted write
took effect.

Long-lived child, one at a time: the follower (`follower`; wakes on etcd's watch; writes memory), or the writer (wakes
on `update`; reads memory; writes etcd, memory). When to lead, and when not to, is decided elsewhere (`leadership`).
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import NoLeader, Unavailable
from shoal.store.batch import Batch
from shoal.store.etcd_client import Compacted, EtcdClient, NoSpace, Refused
from shoal.store.follower import Follower
from shoal.store.journal import COMMIT, LEAD_PATIENCE, PATIENCE, Deposed, InDoubt, Journal
from shoal.store.memory import Memory, Transaction, View
from shoal.store.seal import Sealer
from shoal.store.tables import KINDS
from shoal.store.watch import MAX_EVENTS, Watch, Watches

_R = TypeVar("_R")

log = logging.getLogger(__name__)

# More than the agents of the largest swarm that report at once. Further callers are refused and try again.
MAX_WAITING = 20_000


@dataclass(frozen=True, slots=True)
class _Waiting:
    change: Callable[[Transaction], Any]
    done: asyncio.Future[tuple[BaseException | None, Any]]


class Store:
    """The swarm's state on a manager. Made by `Store.follow`, or by `Store.open` if it should lead at once."""

    def __init__(self, client: EtcdClient, sealer: Sealer, trouble: Callable[[], str | None], patience: float) -> None:
        self._client = client
        self._trouble = trouble
        self._memory = Memory()
        self._watches = Watches()
        self._follower = Follower(client, sealer, self._memory, self._watches.publish)
        self._new_journal = partial(Journal, client, sealer, trouble, patience)
        self._journal = self._new_journal()
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._refusing: str | None = "this manager does not lead the swarm"
        self._clock = time.time_ns
        self._group = asyncio.TaskGroup()
        self._following: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._switching = asyncio.Lock()
        self._closed = False
        self.is_leader = False
        """Whether this store writes: from `lead` until `step_down`, or until another manager has led."""
        self.term = 0
        """Raft's term when this store took the lead last."""
        self.deposed = asyncio.Event()
        """Set when this store has stopped leading. `lead` clears it."""

    @classmethod
    @asynccontextmanager
    async def follow(
        cls,
        client: EtcdClient,
        sealer: Sealer,
        *,
        trouble: Callable[[], str | None] = lambda: None,
        patience: float = PATIENCE,
    ) -> AsyncIterator[Self]:
        """Read everything, and follow etcd while the context lasts; `lead` makes it write.

        `trouble` returns a sentence that says why etcd does not serve, or None (`EtcdProcess.trouble`). A write is
        tried for `patience` seconds before its caller gets Unavailable. Raises DamagedState, which names the etcd key,
        if a value cannot be read, and Unavailable if etcd cannot be reached.
        """
        store = cls(client, sealer, trouble, patience)
        await store._load()
        # The group is left without the body's error, which it would wrap; a failed child cancels the body.
        await store._group.__aenter__()
        store._follow()
        try:
            yield store
        finally:
            store._close("the store is closed")
            for child in (store._following, store._writing):
                if child is not None:
                    child.cancel()
            await store._group.__aexit__(None, None, None)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        client: EtcdClient,
        sealer: Sealer,
        *,
        trouble: Callable[[], str | None] = lambda: None,
        patience: float = PATIENCE,
    ) -> AsyncIterator[Self]:
        """Follow and lead, for a swarm of one manager. Raises the errors of `follow` and `lead`."""
        async with cls.follow(client, sealer, trouble=trouble, patience=patience) as store:
            await store.lead()
            yield store

    async def lead(self) -> None:
        """Write from now on, because this manager's etcd leads Raft.

        When this returns, everything that was acknowledged is in memory. The new epoch deposes every other writer.
        Raises NoLeader if this manager's etcd does not lead Raft or another manager took the lead in a later term;
        Unavailable if it takes longer than 10 seconds. After an error the store goes on following.
        """
        async with self._switching:
            if self.is_leader and await self._still_leads():
                return
            journal = self._new_journal()
            try:
                async with asyncio.timeout(LEAD_PATIENCE):
                    await self._wait_raft_leader()
                    # This comes before the epoch, so that an old leader that is still there can write meanwhile.
                    await self.catch_up()
                    # This comes after that read, because etcd reports a term only once it has applied an entry of it.
                    term = await self._wait_raft_leader()
                    await journal.lead(term)
                    await self._follower.wait_revision(journal.revision)
            except TimeoutError as error:
                raise Unavailable(self._trouble() or f"etcd did not let us lead in {LEAD_PATIENCE:g} s") from error
            try:
                await _end(self._following)
            except asyncio.CancelledError:
                self._follow()
                raise
            self._journal, self._refusing = journal, None
            self.term = term
            self.is_leader = True
            self.deposed.clear()
            self._writing = self._group.create_task(self._write(), name="store writer")

    async def step_down(self, reason: str = "raft: failed to process the request: node lost leader status") -> None:
        """Stop writing, and follow again. Does nothing if this store does not lead.

        Callers with unfinished changes get NoLeader with this reason; the changes may have been committed.
        """
        async with self._switching:
            if self.is_leader:
                await self._step_down(reason)

    async def _step_down(self, reason: str) -> None:
        self._lose(reason)
        try:
            await _end(self._writing)
        finally:
            self._follow()

    async def _still_leads(self) -> bool:
        try:
            await self._journal.check()
        except Deposed as error:
            if self.is_leader:
                await self._step_down(str(error))
        return self.is_leader

    async def catch_up(self) -> int:
        """Wait until the view has everything that was acknowledged before this call, and return its etcd revision.

        A store that was deposed without knowing it notices here. Raises Unavailable without a quorum.
        """
        deadline, delay = asyncio.get_running_loop().time() + PATIENCE, 0.01
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._catch_up()
            except TimeoutError as error:
                raise Unavailable(self._trouble() or f"etcd did not answer within {PATIENCE:g} s") from error
            except Unavailable as error:  # such as an election that ended a moment ago
                if asyncio.get_running_loop().time() + delay > deadline:
                    raise
                log.debug("asking etcd again: %s", error)
            await asyncio.sleep(delay)
            delay = min(2 * delay, 0.25)

    async def _catch_up(self) -> int:
        if self.is_leader and not self._switching.locked():
            async with self._switching:
                await self._still_leads()
        read = await self._client.range(pb.RangeRequest(key=COMMIT, keys_only=True))
        await self._follower.wait_revision(read.header.revision)
        return read.header.revision

    def view(self) -> View:
        """Return the committed state, as far as this manager knows it. It is consistent until the next await."""
        return self._memory

    def watch(self, *kinds: type, max_events: int = MAX_EVENTS) -> Watch:
        """Return a watch for objects of these kinds, or of all kinds if none is given.

        It gets all commits from now on.
        """
        return self._watches.add(frozenset(kinds or KINDS), max_events)

    async def update(self, change: Callable[[Transaction], _R]) -> _R:
        """Run a function once over the newest state, commit what it changed, and return its result.

        The changes are committed all or not at all. The function must not wait. It sees the changes of other callers
        that will be committed together with its own. Objects in the result have their new version.

        Raises the function's errors; NoLeader if this manager does not lead; ShoalError for more changes than one
        transaction can carry. After Unavailable (etcd cannot be reached), after NoLeader because the lead was lost
        meanwhile, and after a cancellation, the changes may have been committed all the same.
        """
        if self._refusing is not None:
            raise self._refusal()
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} changes wait for etcd already")
        done: asyncio.Future[tuple[BaseException | None, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(change, done))
        self._arrived.set()
        error, result = await done
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    async def _load(self) -> None:
        loop = asyncio.get_running_loop()
        deadline, delay = loop.time() + LEAD_PATIENCE, 0.01
        while True:
            try:
                return await self._follower.load()
            except (Unavailable, Compacted) as error:
                if loop.time() > deadline:
                    raise Unavailable(self._trouble() or str(error)) from error
            await asyncio.sleep(delay)
            delay = min(2 * delay, 0.25)

    async def _wait_raft_leader(self) -> int:
        """Return the term of Raft in which this manager's etcd leads. Raises NoLeader if another one leads."""
        while True:
            try:
                status = await self._client.status()
                if status.leader == status.header.member_id:
                    return status.raftTerm
                if status.leader:
                    raise NoLeader
            except NoLeader:
                raise
            except Unavailable as error:
                log.debug("asking etcd again: %s", error)
            await asyncio.sleep(0.02)

    def _follow(self) -> None:
        if self._following is None or self._following.done() or self._following.cancelling():
            self._following = self._group.create_task(self._follower.run(), name="store follower")

    async def _write(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                await self._write_batch()
        except Deposed as error:
            self._lose(str(error))
            self._follow()
        finally:
            if self.is_leader and not self._closed:  # a defect ended the writer; nobody must wait for it
                self._close("the store is closed")

    async def _write_batch(self) -> None:
        version = self._journal.revision + 1 + self._follower.base
        batch = Batch(self._memory, version=version, now_nanos=self._clock())
        staged = self._stage(batch)
        if not batch.ops:
            _finish(staged, None)
            return
        try:
            revision = await self._journal.commit(batch.ops)
        except (NoSpace, Refused) as error:
            _finish(staged, error)
        except InDoubt as error:
            _finish(staged, error)
            await self._settle(batch, str(error))
        except BaseException as error:
            _finish(staged, error if isinstance(error, Unavailable) else self._refusal())
            raise
        else:
            self._hold(batch, revision, staged)

    def _stage(self, batch: Batch) -> list[tuple[_Waiting, Any]]:
        staged: list[tuple[_Waiting, Any]] = []
        while self._waiting and not batch.is_full():
            waiting = self._waiting.popleft()
            if waiting.done.done():  # its caller was cancelled
                continue
            try:
                staged.append((waiting, batch.stage(waiting.change)))
            except Exception as error:  # noqa: BLE001 - it is the caller's, and is raised there
                waiting.done.set_result((error, None))
        if not self._waiting:
            self._arrived.clear()
        return staged

    async def _settle(self, batch: Batch, reason: str) -> None:
        """Refuse all callers until it is known what became of a batch."""
        self._refusing = reason
        self._fail_waiting()
        log.warning("the last write may or may not have happened; no other is accepted until that is known: %s", reason)
        revision = await self._journal.settle()
        log.warning(
            "the write in doubt %s; others are accepted again", "did not happen" if revision is None else "holds"
        )
        if revision is not None:
            self._hold(batch, revision)
        self._refusing = None

    def _hold(self, batch: Batch, revision: int, staged: Sequence[tuple[_Waiting, Any]] = ()) -> None:
        batch.transaction.settle(revision + self._follower.base)
        events = self._memory.commit(batch.transaction)
        # Callers wake before watches, so that a client's answer does not wait for what its change causes.
        _finish(staged, None)
        if events:
            self._watches.publish(events)
        self._follower.moved()

    def _lose(self, reason: str) -> None:
        self.is_leader = False
        self._refusing = reason
        self._fail_waiting()
        self.deposed.set()

    def _refusal(self) -> Unavailable:
        reason = self._refusing or "the store is closed"
        if self._closed:
            return Unavailable(reason)
        # While a write is in doubt, why etcd ended may be known only some time after its connection was lost.
        return Unavailable(self._trouble() or reason) if self.is_leader else NoLeader(reason)

    def _close(self, reason: str) -> None:
        self._closed, self._refusing = True, reason
        self._fail_waiting()
        self._watches.close(reason)

    def _fail_waiting(self) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done.done():
                waiting.done.set_result((self._refusal(), None))
        self._arrived.clear()


async def _end(child: asyncio.Task[None] | None) -> None:
    """Cancel a child of the store's group, and wait until it has ended. Its error, if any, is the group's."""
    if child is not None:
        child.cancel()
        await asyncio.wait([child])


def _finish(staged: Sequence[tuple[_Waiting, Any]], error: BaseException | None) -> None:
    for waiting, result in staged:
        if not waiting.done.done():
            waiting.done.set_result((error, result))
