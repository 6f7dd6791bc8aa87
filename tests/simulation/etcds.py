"""etcd in virtual time: one log on which a majority of members agrees, as clients see it through their own member.

It holds who leads, what is written, and how much each member has heard. A write may be carried out although its caller
was told that it failed, even a while later. A member that is cut off, or has just woken, believes what it knew last.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import Context
from typing import Any, TypeVar

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import NoLeader, Unavailable
from shoal.store.etcd_client import CALL_TIMEOUT
from tests.simulation.processes import Process, VirtualLoop

T = TypeVar("T")
ELECTION = (0.25, 0.6)
LATENCY = (0.0005, 0.004)
DOUBTS: tuple[str, ...] = ("before", "after", "later")  # a write that failed is not done, is done, or will be
FIRST = 2  # the revision of the first write


class Etcds:
    """The cluster. Members have the names of their hosts."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, hosts: list[str], is_cut: Callable[[str, str], bool]):
        self.loop, self.rng, self._is_cut = loop, rng, is_cut
        self.members = {host: Member(self, host, number + 1) for number, host in enumerate(hosts)}
        self.leader: Member | None = None
        self.term = 1
        self.revision = FIRST - 1
        self.kvs: dict[bytes, pb.KeyValue] = {}
        self.log: list[tuple[int, list[pb.Event]]] = []
        self.doubt = 0.0  # the probability that a write's caller is told that it failed
        self.doubts = DOUBTS
        self.owed: list[str] = []  # writes in doubt that the next writes meet, however late they come
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Hold elections until cancelled."""
        while True:
            await asyncio.sleep(self.rng.uniform(*ELECTION) if self.leader is None else 0.1)
            if self.leader is not None and not self._has_quorum(self.leader):
                self.leader = None
                continue  # the remaining members notice, and wait for a moment
            if self.leader is None:
                able = [member for member in self.members.values() if self._has_quorum(member)]
                # The winner has all that was agreed on: it knows a write as soon as a majority does.
                if able:
                    self.lead(self.rng.choice(able))
            for member in self.members.values():
                member.hear()

    def lead(self, member: "Member") -> None:
        """Let a member win an election."""
        self.leader, self.term = member, self.term + 1
        self.counts["elections"] += 1
        member.hear()

    def _has_quorum(self, member: "Member") -> bool:
        there = [
            other for other in self.members.values() if other.is_there and not self._is_cut(member.host, other.host)
        ]
        return member.is_there and 2 * len(there) > len(self.members)

    def hears(self, member: "Member") -> bool:
        """Return whether a member reaches a member that leads a majority."""
        leader = self.leader
        return (
            leader is not None
            and member.is_there
            and self._has_quorum(leader)
            and not self._is_cut(member.host, leader.host)
        )

    def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        """Carry out a transaction for all members."""
        succeeded = all(self._mod(each.key) == each.mod_revision for each in request.compare)
        response = pb.TxnResponse(succeeded=succeeded)
        events: list[pb.Event] = []
        for op in request.success if succeeded else request.failure:
            answer = response.responses.add()
            if op.HasField("request_put"):
                kv = pb.KeyValue(key=op.request_put.key, value=op.request_put.value, mod_revision=self.revision + 1)
                self.kvs[kv.key] = kv
                events.append(pb.Event(type=pb.Event.PUT, kv=kv))
                answer.response_put.SetInParent()
            elif op.HasField("request_delete_range"):
                key = op.request_delete_range.key
                if self.kvs.pop(key, None) is not None:
                    kv = pb.KeyValue(key=key, mod_revision=self.revision + 1)
                    events.append(pb.Event(type=pb.Event.DELETE, kv=kv))
                answer.response_delete_range.SetInParent()
            else:
                answer.response_range.SetInParent()
                kv_or_none = self.kvs.get(op.request_range.key)
                if kv_or_none is not None:
                    answer.response_range.kvs.append(kv_or_none)
        if events:
            self.revision += 1
            self.log.append((self.revision, events))
            for member in self.members.values():
                self.loop.call_later(self.rng.uniform(*LATENCY), member.hear, context=Context())
        response.header.revision = self.revision
        return response

    def _mod(self, key: bytes) -> int:
        kv = self.kvs.get(key)
        return kv.mod_revision if kv is not None else 0


class Member:
    """One member, and this host's client of it, with the methods of `EtcdClient`."""

    def __init__(self, cluster: Etcds, host: str, number: int) -> None:
        self._cluster = cluster
        self.host, self.id = host, number
        self.process: Process | None = None
        self.is_up = True  # it runs
        self.is_frozen = False  # although it does nothing
        self._leader, self._term = 0, 1  # as this member believes
        self._kvs: dict[bytes, pb.KeyValue] = {}
        self._applied = 0  # the end of the log that it has applied
        self._revision = 1
        self._news = asyncio.Event()
        self.raft_news = asyncio.Event()

    # The member.

    @property
    def is_there(self) -> bool:
        return self.is_up and not self.is_frozen

    def hear(self) -> None:
        """Learn who leads and what was written, if a leader can be reached."""
        cluster = self._cluster
        if not self.is_there:
            return
        leader, term = self._leader, self._term
        if cluster.hears(self):
            assert cluster.leader is not None
            leader, term = cluster.leader.id, cluster.term
            self.catch_up()
        else:
            leader = 0
        if (leader, term) != (self._leader, self._term):
            self._leader, self._term = leader, term
            self.raft_news.set()

    def catch_up(self) -> None:
        """Apply what was written."""
        for revision, events in self._cluster.log[self._applied :]:
            self._revision = revision
            for event in events:
                if event.type == pb.Event.DELETE:
                    self._kvs.pop(event.kv.key, None)
                else:
                    self._kvs[event.kv.key] = event.kv
        if self._applied < len(self._cluster.log):
            self._applied = len(self._cluster.log)
            news, self._news = self._news, asyncio.Event()
            news.set()

    # The client.

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        return await self._answered(lambda: self._range(request))

    async def _range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        if not request.serializable:
            await self._wait_majority()
            # A linearizable read waits until its member has heard of all that was written before.
            self.catch_up()
        kvs = self._kvs
        found = [kv for key, kv in kvs.items() if request.key <= key < request.range_end] if request.range_end else (
            [kvs[request.key]] if request.key in kvs else []
        )  # fmt: skip
        found.sort(key=lambda kv: kv.key)
        return pb.RangeResponse(kvs=found, header=pb.ResponseHeader(revision=self._revision))

    async def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        asked = pb.TxnRequest()
        asked.CopyFrom(request)
        return await self._answered(lambda: self._txn(asked))

    async def _txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        cluster = self._cluster
        await self._wait_majority()
        if not cluster.owed and cluster.rng.random() >= cluster.doubt:
            response = cluster.txn(request)
            await self._travel()
            await self._wait_majority()  # the answer must arrive, too
            return response
        what = cluster.owed.pop() if cluster.owed else cluster.rng.choice(cluster.doubts)
        cluster.counts[f"write in doubt: {what}"] += 1
        if what == "after":
            cluster.txn(request)
        elif what == "later":
            cluster.loop.call_later(cluster.rng.uniform(0, 3), cluster.txn, request, context=Context())
        raise NoLeader("etcd is not available: etcdserver: leader changed")

    async def watch(self, begin: int) -> AsyncGenerator[tuple[int, list[pb.Event]], None]:
        while True:
            news = self._news
            # The log has an entry for each revision from the second on.
            for revision, events in self._cluster.log[max(begin - FIRST, 0) : self._applied]:
                yield revision, events
                begin = revision + 1
            if not self.is_up:
                raise Unavailable("etcd cannot be reached")
            await news.wait()

    async def status(self, patience: float = CALL_TIMEOUT) -> pb.StatusResponse:
        return await self._answered(self._status, patience)

    async def _status(self) -> pb.StatusResponse:
        response = pb.StatusResponse(leader=self._leader, raftTerm=self._term)
        response.header.member_id = self.id
        return response

    async def _answered(self, work: Callable[[], Awaitable[T]], patience: float = CALL_TIMEOUT) -> T:
        try:
            async with asyncio.timeout(patience):
                await self._travel()
                if not self.is_up:
                    raise Unavailable("etcd cannot be reached: connection refused")
                while self.is_frozen:  # noqa: ASYNC110 - whoever thaws it need not know who waits
                    await asyncio.sleep(0.05)
                return await work()
        except TimeoutError as error:
            raise Unavailable(f"etcd did not answer within {patience:g} s") from error

    async def _travel(self) -> None:
        await asyncio.sleep(self._cluster.rng.uniform(*LATENCY))

    async def _wait_majority(self) -> None:
        """Wait until this member reaches the majority, as etcd does before it answers."""
        while not self._cluster.hears(self):
            if not self.is_up:
                raise Unavailable("etcd cannot be reached: connection lost")
            await asyncio.sleep(0.05)

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody should need {name} here")
