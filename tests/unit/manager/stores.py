"""A store for tests that keeps everything in memory: real tables, transactions and watches, but no etcd."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

from shoal.errors import Unavailable
from shoal.store.changes import Object
from shoal.store.memory import Memory, Transaction, View
from shoal.store.watch import Watch, Watches

R = TypeVar("R")


class MemoryStore:
    """A store with the promises of `shoal.store.store.Store`. Its commits take `latency` seconds and can be made to
    fail.
    """

    def __init__(self, objects: Iterable[Object] = (), *, latency: float = 0.0) -> None:
        self._memory = Memory()
        self._watches = Watches()
        self._writer = asyncio.Lock()
        self.latency = latency
        self.quorum = True
        self.refused = 0
        self.commits: list[int] = []  # how many objects each commit changed
        first = Transaction(self._memory)
        for obj in objects:
            first.create(obj)
        self._memory.commit(first)

    def view(self) -> View:
        return self._memory

    async def update(self, fn: Callable[[Transaction], R]) -> R:
        async with self._writer:
            transaction = Transaction(self._memory)
            result = fn(transaction)
            if transaction.is_empty():
                return result
            await asyncio.sleep(self.latency)
            if not self.quorum:
                self.refused += 1
                raise Unavailable("no quorum")
            events = self._memory.commit(transaction)
            self.commits.append(len(events))
            self._watches.publish(events)
            return result

    def watch(self, *kinds: type) -> Watch:
        return self._watches.add(frozenset(kinds))

    def close(self) -> None:
        self._watches.close("another manager leads")
