"""The store: one writer that commits to etcd what callers stage, then shows it in memory and tells the watches.

In: functions over a `Transaction`. Out: views, commits, events. Group commit: while one etcd transaction is under way
callers queue up, and the next one carries all their changes. Order of effects: durable, then in memory, then told to
watches, then callers go on. Long-lived child: the writer (wakes on `update`; reads memory; writes etcd, memory).
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from shoal.errors import Unavailable
from shoal.store.batch import Batch, decoded
from shoal.store.etcd_client import EtcdClient, NoSpace, Refused
from shoal.store.journal import PATIENCE, Deposed, InDoubt, Journal
from shoal.store.memory import Memory, Transaction, View
from shoal.store.seal import Sealer
from shoal.store.tables import KINDS
from shoal.store.watch import MAX_EVENTS, Watch, Watches

_R = TypeVar("_R")

log = logging.getLogger(__name__)

# More than the largest swarm has agents that report at once; a caller beyond it is refused, and tries again.
MAX_WAITING = 20_000


@dataclass(frozen=True, slots=True)
class _Waiting:
    change: Callable[[Transaction], Any]
    done: asyncio.Future[tuple[BaseException | None, Any]]


class Store:
    """The swarm's state on its leader. Made by `Store.open`."""

    def __init__(self, client: EtcdClient, sealer: Sealer, trouble: Callable[[], str | None], patience: float) -> None:
        self._journal = Journal(client, sealer, trouble, patience)
        self._memory = Memory()
        self._watches = Watches()
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._refusing: str | None = None
        self._clock = time.time_ns
        self.deposed = asyncio.Event()
        """Set when another manager has taken the lead: this store accepts nothing more."""

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
        """Take the lead, read everything, and write while the context lasts.

        `trouble` says in a sentence why etcd does not serve, when it does not (`EtcdProcess.trouble`). A write is tried
        for `patience` seconds before its caller hears Unavailable. Raises DamagedState, naming the etcd key, when a
        value cannot be read; Unavailable when etcd cannot be had.
        """
        store = cls(client, sealer, trouble, patience)
        await store.lead()
        # The group is left without the body's error, which it would wrap; a failed writer cancels the body.
        group = asyncio.TaskGroup()
        await group.__aenter__()
        writer = group.create_task(store._write(), name="store writer")
        try:
            yield store
        finally:
            writer.cancel()
            store._close("the store is closed")
            await group.__aexit__(None, None, None)

    async def lead(self) -> None:
        """Write the epoch that deposes every other writer, and load what they left. `open` has done it."""
        await self._journal.lead()
        async with aclosing(self._journal.load()) as values:
            async for key, value, revision in values:
                self._memory.load(decoded(key, value, revision))
        self._memory.revision = self._journal.revision

    def view(self) -> View:
        """Return what is committed: consistent until the next await."""
        return self._memory

    def watch(self, *kinds: type, max_events: int = MAX_EVENTS) -> Watch:
        """Return a watch for objects of these kinds; without any, of all. It hears of every commit from now on."""
        return self._watches.add(frozenset(kinds or KINDS), max_events)

    async def update(self, change: Callable[[Transaction], _R]) -> _R:
        """Run a function once over the newest state, commit what it changed, and return its result.

        Atomic: all of it or nothing. The function must not wait, and sees changes that will be committed together with
        its own. Objects in the result carry their new version. Raises what the function raises; Unavailable without
        etcd or after losing the lead, when the changes may have been committed all the same; ShoalError for more
        changes than one transaction can carry. A cancelled call may or may not have taken effect.
        """
        if self._refusing is not None:
            raise Unavailable(self._refusing)
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} changes wait for etcd already")
        done: asyncio.Future[tuple[BaseException | None, Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(change, done))
        self._arrived.set()
        error, result = await done
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    async def _write(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                await self._write_batch()
        except Deposed as error:
            self._close(str(error))
            self.deposed.set()
        finally:
            self._close("the store is closed")

    async def _write_batch(self) -> None:
        batch = Batch(self._memory, version=self._journal.revision + 1, now_nanos=self._clock())
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
            _finish(staged, error if isinstance(error, Unavailable) else Unavailable("the store is closed"))
            raise
        else:
            self._hold(batch, revision)
            _finish(staged, None)

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
        self._fail_waiting(reason)
        log.warning("the last write may or may not have happened; no other is accepted until that is known: %s", reason)
        revision = await self._journal.settle()
        log.warning(
            "the write in doubt %s; others are accepted again", "did not happen" if revision is None else "holds"
        )
        if revision is not None:
            self._hold(batch, revision)
        self._refusing = None

    def _hold(self, batch: Batch, revision: int) -> None:
        batch.transaction.settle(revision)
        events = self._memory.commit(batch.transaction)
        if events:
            self._watches.publish(events)

    def _close(self, reason: str) -> None:
        self._refusing = self._refusing or reason
        self._fail_waiting(reason)
        self._watches.close(reason)

    def _fail_waiting(self, reason: str) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done.done():
                waiting.done.set_result((Unavailable(reason), None))
        self._arrived.clear()


def _finish(staged: list[tuple[_Waiting, Any]], error: BaseException | None) -> None:
    for waiting, result in staged:
        if not waiting.done.done():
            waiting.done.set_result((error, result))
