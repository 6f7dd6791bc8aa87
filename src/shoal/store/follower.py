"""The reading side of the store: a memory that always equals what etcd has, whoever writes there.

In: etcd's objects, once, then every revision by a watch. Out: the memory, and the events of each revision together. If
the watch breaks and etcd no longer has the revisions since then, everything is read again, and the differences are the
events. `store` owns the memory and the writing.

Versions that callers see are etcd's revisions plus a base. The base is 0, except in a swarm that was restored from a
backup: there etcd counts from the beginning, and no version may be used twice (`backup`).
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import DamagedState, Unavailable
from shoal.store.batch import OBJECTS, decoded, named
from shoal.store.changes import Event, Kind, Object
from shoal.store.etcd_client import Compacted, EtcdClient, Refused
from shoal.store.memory import Memory
from shoal.store.seal import Sealer
from shoal.store.tables import KINDS

log = logging.getLogger(__name__)

BASE = b"base"
BASE_BYTES = 8
# The number of keys in a page is chosen, from the page before, to give about this many bytes. Other work runs between
# pages. 1,000 tasks are less than this; four configs of the largest size are as much.
_PAGE_BYTES = 4 * 1024 * 1024
_FIRST_KEYS, _MOST_KEYS = 16, 1000
_FIRST_DELAY = 0.02
_LONGEST_DELAY = 0.5

_Changes = list[tuple[Kind, str, Object | None]]


async def pages(client: EtcdClient) -> AsyncGenerator[tuple[int, list[pb.KeyValue]], None]:
    """Yield all keys of objects in pages, all as of one revision, which comes with each page.

    They are read from this host's member only, so this works without a quorum and may be out of date. Raises
    Unavailable, or Compacted if it took too long.
    """
    begin, end, revision = OBJECTS, OBJECTS[:-1] + bytes((OBJECTS[-1] + 1,)), 0
    limit = _FIRST_KEYS
    while True:
        request = pb.RangeRequest(key=begin, range_end=end, limit=limit, revision=revision, serializable=True)
        try:
            page = await client.range(request)
        except Refused as error:
            if "compacted" in str(error):
                raise Compacted(str(error)) from error
            raise
        revision = revision or page.header.revision
        yield revision, list(page.kvs)
        if not page.more:
            return
        begin = page.kvs[-1].key + b"\0"
        size_bytes = sum(len(kv.value) for kv in page.kvs) or 1
        limit = max(1, min(len(page.kvs) * _PAGE_BYTES // size_bytes, 4 * limit, _MOST_KEYS))


async def read_base(client: EtcdClient) -> int:
    """Return the number to add to etcd's revisions. It never changes within one etcd cluster. Raises DamagedState."""
    kvs = (await client.range(pb.RangeRequest(key=BASE, serializable=True))).kvs
    if not kvs:
        return 0
    if len(kvs[0].value) != BASE_BYTES:
        raise DamagedState("etcd key base", "it is not a number")
    return int.from_bytes(kvs[0].value, "big")


class Follower:
    """Keeps a memory current while `run` runs. Between runs somebody else may change it, and must call `moved`."""

    def __init__(
        self, client: EtcdClient, sealer: Sealer, memory: Memory, publish: Callable[[list[Event]], None]
    ) -> None:
        self._client = client
        self._sealer = sealer
        self._memory = memory
        self._publish = publish
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.base = 0

    async def load(self) -> None:
        """Read everything and publish the differences as events. Raises Unavailable, Compacted, DamagedState."""
        base = await read_base(self._client)
        found: _Changes = []
        seen: set[tuple[type, str]] = set()
        revision = 0
        async with aclosing(pages(self._client)) as all_pages:
            async for as_of, kvs in all_pages:
                revision = as_of
                for kv in kvs:
                    obj = decoded(kv.key, self._sealer.open(kv.key, kv.value), kv.mod_revision + base)
                    found.append((type(obj), obj.id, obj))
                    seen.add((type(obj), obj.id))
        if revision + base < self._memory.revision:
            # An older copy of etcd's data was put back. Readers must never see an older state after a newer one.
            raise Unavailable(f"this manager's etcd is at revision {revision}, which is older than what is known")
        self.base = base
        gone: _Changes = [(kind, id, None) for kind, id in self._held() if (kind, id) not in seen]  # noqa: A001
        self._take(gone + found, revision)

    async def run(self) -> None:
        """Follow etcd until cancelled. Raises DamagedState if something cannot be read."""
        delay, failures = _FIRST_DELAY, 0
        while True:
            began_at = self._memory.revision
            try:
                await self._watch()
            except Compacted as error:
                log.info("reading everything again: %s", error)
                try:
                    await self.load()
                    continue
                except (Unavailable, Compacted) as second:
                    log.debug("could not read everything: %s", second)
            except Unavailable as error:
                log.log(logging.INFO if failures == 0 else logging.DEBUG, "following etcd was interrupted: %s", error)
            moved = self._memory.revision > began_at
            failures, delay = (1, _FIRST_DELAY) if moved else (failures + 1, min(2 * delay, _LONGEST_DELAY))
            await asyncio.sleep(delay)

    async def wait_revision(self, revision: int) -> None:
        """Wait until the memory has reached this revision of etcd."""
        if self._memory.revision - self.base >= revision:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (revision, reached)
        self._waiting.append(entry)
        try:
            await reached
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def moved(self) -> None:
        """Wake those who wait for the revision that the memory has now, or an earlier one."""
        if not self._waiting:
            return
        here = self._memory.revision - self.base
        for revision, reached in self._waiting:
            if revision <= here and not reached.done():
                reached.set_result(None)

    async def _watch(self) -> None:
        begin = self._memory.revision - self.base + 1
        async with aclosing(self._client.watch(begin)) as revisions:
            async for revision, events in revisions:
                self._take(self._changes(events, revision), revision)

    def _changes(self, events: list[pb.Event], revision: int) -> _Changes:
        changes: _Changes = []
        for event in events:
            key = event.kv.key
            if not key.startswith(OBJECTS):
                continue
            if event.type == pb.Event.DELETE:
                changes.append((*named(key), None))
            else:
                obj = decoded(key, self._sealer.open(key, event.kv.value), revision + self.base)
                changes.append((type(obj), obj.id, obj))
        return changes

    def _take(self, changes: _Changes, revision: int) -> None:
        events = self._memory.follow(changes, revision + self.base)
        if events:
            self._publish(events)
        self.moved()

    def _held(self) -> Iterator[tuple[Kind, str]]:
        for kind in KINDS:
            for obj in self._memory.table(kind).all():
                yield kind, obj.id
