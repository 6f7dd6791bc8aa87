"""Keeps etcd small: drops old history after a number of bytes, and again when etcd refuses to write for lack of space.

In: how much was written. Out: whether room was made. etcd itself does not count bytes. It compacts every five minutes,
and a busy leader can write more than the quota in that time. It also keeps a fixed number of entries of Raft's log in
memory and on disk, however large they are. So large entries are followed by small ones, which push them out
(`Turnover`).
"""

import asyncio
import logging

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import ShoalError
from shoal.store.etcd_client import EtcdClient, Refused
from shoal.store.etcd_config import SNAPSHOT_COUNT

log = logging.getLogger(__name__)

# History is dropped after this many written bytes. So that happens rarely, and the database stays below about 200 MB.
COMPACT_AFTER_BYTES = 64 * 1024 * 1024

# etcd keeps this many entries beyond those of a snapshot's interval (etcdserver/server.go, SnapshotCatchUpEntries).
KEPT_ENTRIES = 5000 + SNAPSHOT_COUNT
LOG_BYTES = 256 * 1024 * 1024
"""The limit of Raft's log in memory; `SPARE_ENTRIES` of the mean size may come on top."""
ENTRY_BYTES = LOG_BYTES // KEPT_ENTRIES
SPARE_ENTRIES = 1000
PADS_AT_ONCE = 64  # concurrent small entries, which share a flush of the disk
PADS_A_WRITE = 512  # small entries per write: more than the largest request needs; a backlog is made up over time


class Turnover:
    """Says how many small entries the log needs to keep the mean size of the kept entries below `ENTRY_BYTES`. Pure.

    Most writes are small. They need no extra entries, and save up for larger writes.
    """

    def __init__(self) -> None:
        self._balance_bytes = SPARE_ENTRIES * ENTRY_BYTES

    def wrote(self, size_bytes: int) -> int:
        """Count an entry, and return how many small ones are needed now."""
        balance = self._balance_bytes + ENTRY_BYTES - size_bytes
        # Never more than what pushes out everything that is kept.
        self._balance_bytes = max(-LOG_BYTES, min(SPARE_ENTRIES * ENTRY_BYTES, balance))
        return min(PADS_A_WRITE, max(0, -(self._balance_bytes // ENTRY_BYTES)))


class Space:
    """Keeps the database and log of one etcd small, on the leader."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._turnover = Turnover()
        self._written_bytes = 0
        self._may_gain = True  # defragmenting stops all writes for 1 s per GB, so not again without new history

    async def wrote(self, size_bytes: int, revision: int) -> None:
        """Count a write, and drop old history if there is much of it. A failure of that is logged, not raised."""
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
            # The write has succeeded. The next round, or etcd's own, makes up for this.
            log.warning("etcd did not compact its history: %s", error)

    async def _pad(self, count: int) -> None:
        # Asking for alarms makes an entry in Raft's log but changes no key and no revision.
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
            # The write has succeeded. The next one makes up for the missing entries.
            log.debug("etcd's log was not turned over: %s", errors.exceptions[0])

    async def make(self, revision: int) -> bool:
        """After etcd refused a write for lack of space: drop all history, free the disk, and let etcd write again.

        Returns whether to try the write again. A small write, such as a removal, may then pass where a large one does
        not.
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
