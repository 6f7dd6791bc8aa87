"""Keeps etcd's size in bytes small: drops old history in time, and again when etcd refuses to grow.

In: how much was written. Out: whether room was made. etcd itself does not count bytes. It compacts every five minutes,
in which a busy leader can write more than the quota; and it keeps a fixed number of entries of Raft's log in memory and
on disk, however large they are. So large entries are followed by small ones, which push them out (`Turnover`).
"""

import asyncio
import logging

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import ShoalError
from shoal.store.etcd_client import EtcdClient, Refused
from shoal.store.etcd_config import SNAPSHOT_COUNT

log = logging.getLogger(__name__)

# History worth keeping until the next look: dropping it is rare, and the database grows to some 200 MB at most.
COMPACT_AFTER_BYTES = 64 * 1024 * 1024

# etcd keeps this many entries beyond those of a snapshot's interval (etcdserver/server.go, SnapshotCatchUpEntries).
KEPT_ENTRIES = 5000 + SNAPSHOT_COUNT
LOG_BYTES = 256 * 1024 * 1024
"""What Raft's log may hold in memory: that much, and `SPARE_ENTRIES` more of the mean size."""
ENTRY_BYTES = LOG_BYTES // KEPT_ENTRIES
SPARE_ENTRIES = 1000
PADS_AT_ONCE = 64  # they share a flush of the disk
PADS_A_WRITE = 512  # more than the largest request needs; what was owed while etcd was away is paid bit by bit


class Turnover:
    """How many small entries the log needs, so that the mean of all that are kept stays below `ENTRY_BYTES`. Pure.

    Small writes, which most are, save up for larger ones: they need none.
    """

    def __init__(self) -> None:
        self._balance_bytes = SPARE_ENTRIES * ENTRY_BYTES

    def wrote(self, size_bytes: int) -> int:
        """Take note of an entry, and return how many small ones are owed by now."""
        balance = self._balance_bytes + ENTRY_BYTES - size_bytes
        # No more is ever owed than what pushes out everything there is.
        self._balance_bytes = max(-LOG_BYTES, min(SPARE_ENTRIES * ENTRY_BYTES, balance))
        return min(PADS_A_WRITE, max(0, -(self._balance_bytes // ENTRY_BYTES)))


class Space:
    """The database of one etcd, as its leader keeps it."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._turnover = Turnover()
        self._written_bytes = 0
        self._may_gain = True  # defragmenting stops all writes for a second a gigabyte: not again without new history

    async def wrote(self, size_bytes: int, revision: int) -> None:
        """Take note of a write, and drop what is old when there is much of it. Never raises for that."""
        self._written_bytes += size_bytes
        self._may_gain = True
        owed = self._turnover.wrote(size_bytes)
        if owed:
            await self._pad(owed)
        if self._written_bytes < COMPACT_AFTER_BYTES:
            return
        self._written_bytes = 0
        try:
            await self._client.compact(revision, physical=False)
        except ShoalError as error:
            # The write holds; the next round, or etcd's own, makes up for it.
            log.warning("etcd did not compact its history: %s", error)

    async def _pad(self, count: int) -> None:
        # A question about alarms is an entry of Raft's log, and changes nothing: no key, no revision.
        question = pb.AlarmRequest(action=pb.AlarmRequest.GET)

        async def ask() -> None:
            nonlocal count
            while count > 0:
                count -= 1
                await self._client.alarm(question)
                self._turnover.wrote(0)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(count, PADS_AT_ONCE)):
                    group.create_task(ask(), name="etcd turnover")
        except* ShoalError as errors:
            # The write holds; what is still owed is paid with the next one.
            log.debug("etcd's log was not turned over: %s", errors.exceptions[0])

    async def make(self, revision: int) -> bool:
        """After etcd said that it has no room: drop all history, give the disk back, let etcd write again.

        Returns whether to try the write again. A smaller one, such as a removal, may then pass where a larger did not.
        """
        try:
            if self._may_gain:
                await self._give_back(revision)
                self._may_gain = False
            for alarm in (await self._client.alarm(pb.AlarmRequest(action=pb.AlarmRequest.GET))).alarms:
                off = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=alarm.memberID, alarm=alarm.alarm)
                await self._client.alarm(off)
        except ShoalError as error:
            log.warning("etcd is full, and making room failed: %s", error)
            return False
        return True

    async def _give_back(self, revision: int) -> None:
        before = (await self._client.status()).dbSize
        try:
            await self._client.compact(revision, physical=True)
        except Refused as error:
            log.debug("etcd has no history to drop: %s", error)
        await self._client.defragment()
        after = (await self._client.status()).dbSize
        log.warning("etcd was full: giving up its history made %d MB of %d", after >> 20, before >> 20)
