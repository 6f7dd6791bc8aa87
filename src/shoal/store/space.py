"""Keeps etcd's database small: history that nobody reads is dropped in time, and again when etcd refuses to grow.

In: how much was written. Out: whether room was made. etcd compacts by itself only every five minutes, in which a busy
leader can write more than the quota holds.
"""

import logging

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import ShoalError
from shoal.store.etcd_client import EtcdClient, Refused

log = logging.getLogger(__name__)

# History worth keeping until the next look: an eighth of the quota, so that dropping it is rare and early enough.
COMPACT_AFTER_BYTES = 256 * 1024 * 1024


class Space:
    """The database of one etcd, as its leader keeps it."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._written_bytes = 0
        self._may_gain = True  # defragmenting stops all writes for a second a gigabyte: not again without new history

    async def wrote(self, size_bytes: int, revision: int) -> None:
        """Take note of a write, and drop the history before it when there is much of it. Never raises for that."""
        self._written_bytes += size_bytes
        self._may_gain = True
        if self._written_bytes < COMPACT_AFTER_BYTES:
            return
        self._written_bytes = 0
        try:
            await self._client.compact(revision, physical=False)
        except ShoalError as error:
            # The write holds; the next round, or etcd's own, makes up for it.
            log.warning("etcd did not compact its history: %s", error)

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
