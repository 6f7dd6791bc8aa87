"""Writes to etcd. Each takes effect once or never, whichever process or connection fails meanwhile.

In: etcd keys with plain values. Out: the revision that they got. Owns the keys `epoch` and `commit`, and seals every
other value. `store` owns the meaning of the other keys, and the memory.

`epoch` begins with the term of Raft in which its writer led. Each write is one etcd transaction under two conditions:
`epoch` is still the revision that we wrote when we became leader, and `commit` is still the revision of our last write.
It also writes a fresh random value to `commit`. So at most one of several equal requests takes effect. After a lost
connection the same request is sent again; if that fails, the value of `commit` tells whether an earlier one took
effect. If nothing is known for too long, the write is in doubt. `settle` then writes in its place: after that, the
write in doubt has either happened or can no longer happen.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import InvariantBroken, NoLeader, Unavailable
from shoal.store.etcd_client import EtcdClient, NoSpace, Refused
from shoal.store.seal import Sealer
from shoal.store.space import Space

EPOCH = b"epoch"
COMMIT = b"commit"

# Seconds for which a write is tried. An etcd that was killed serves again in about 0.4 s.
PATIENCE = 5.0
LEAD_PATIENCE = 10.0
_FIRST_DELAY = 0.01
_LONGEST_DELAY = 0.25
_MARKER_BYTES = 16
_TERM_BYTES = 8


class Deposed(NoLeader):
    """Another manager leads now. Nothing more can be written here."""

    def __init__(self) -> None:
        super().__init__("raft: failed to process the request: node lost leader status")


class InDoubt(Unavailable):
    """A write may have happened or not. Call `settle` before the next one."""


class Journal:
    """The writes of one leader. The caller must wait for each before it begins the next."""

    def __init__(self, client: EtcdClient, sealer: Sealer, trouble: Callable[[], str | None], patience: float) -> None:
        self._patience = patience
        self._client = client
        self._sealer = sealer
        self._space = Space(client)
        self._trouble = trouble
        self._epoch = 0  # mod_revision of EPOCH as we wrote it
        self._last = 0  # mod_revision of COMMIT after our last write
        self._doubtful: bytes | None = None  # the marker of the write in doubt
        self.revision = 0
        """etcd's revision after our last write. The next write gets this plus one."""

    async def lead(self, term: int = 0) -> None:
        """Take the lead in a term of Raft. From here on no other writer's transaction takes effect.

        Raises Deposed if somebody has led in a later term, so that a manager that was paused during an election cannot
        depose its winner. Raises Unavailable.
        """
        loop = asyncio.get_running_loop()
        deadline, delay = loop.time() + LEAD_PATIENCE, _FIRST_DELAY
        marker = term.to_bytes(_TERM_BYTES, "big") + secrets.token_bytes(_MARKER_BYTES)
        while True:
            try:
                if await self._write_epoch(term, marker):
                    return
            except Deposed:
                raise
            except Unavailable as error:
                if isinstance(error, NoSpace) or loop.time() > deadline:
                    raise Unavailable(self._trouble() or str(error)) from error
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    async def _write_epoch(self, term: int, marker: bytes) -> bool:
        """Return whether the epoch is ours, by this attempt or by an earlier one whose answer was lost."""
        read = await self._client.txn(pb.TxnRequest(success=[_read(EPOCH), _read(COMMIT)]))
        epoch, commit = (_only(answer) for answer in read.responses)
        if epoch.value == marker:
            self._epoch, self._last, self.revision = epoch.mod_revision, commit.mod_revision, read.header.revision
            return True
        if len(epoch.value) == len(marker) and int.from_bytes(epoch.value[:_TERM_BYTES], "big") > term:
            raise Deposed
        unchanged = _unchanged(EPOCH, epoch.mod_revision)
        wrote = await self._client.txn(pb.TxnRequest(compare=[unchanged], success=[_put(EPOCH, marker), _read(COMMIT)]))
        if wrote.succeeded:
            self._epoch = self.revision = wrote.header.revision
            self._last = _only(wrote.responses[1]).mod_revision
        return wrote.succeeded

    async def check(self) -> None:
        """Ask etcd whether this writer may still write. Raises Deposed, or Unavailable."""
        epoch = (await self._client.range(pb.RangeRequest(key=EPOCH, keys_only=True))).kvs
        if not epoch or epoch[0].mod_revision != self._epoch:
            raise Deposed

    async def commit(self, ops: Mapping[bytes, bytes | None]) -> int:
        """Write values (None: delete the key), all or nothing, and return their revision once they are durable.

        Raises NoSpace or Refused (nothing was written), InDoubt, or Deposed.
        """
        marker = secrets.token_bytes(_MARKER_BYTES)
        request = self._request(marker)
        for key, value in ops.items():
            if value is None:
                request.success.add().request_delete_range.key = key
            else:
                put = request.success.add().request_put
                put.key, put.value = key, self._sealer.seal(key, value)
        revision = await self._send(request, marker)
        await self._space.wrote(request.ByteSize(), revision)
        return revision

    async def settle(self) -> int | None:
        """Find out what became of the write in doubt. Return its revision, or None if it will never happen.

        Waits as long as that takes. Raises Deposed.
        """
        doubtful, fence = self._doubtful, secrets.token_bytes(_MARKER_BYTES)
        if doubtful is None:
            raise InvariantBroken("no write is in doubt")
        request, delay = self._request(fence), _FIRST_DELAY
        while True:
            try:
                found = self._result(await self._client.txn(request), (fence, doubtful))
                break
            except Deposed:
                raise
            except (Unavailable, Refused):
                delay = min(2 * delay, _LONGEST_DELAY)
                await asyncio.sleep(delay)
        self._doubtful = None
        return self.revision if found == doubtful else None

    async def _send(self, request: pb.TxnRequest, marker: bytes) -> int:
        loop = asyncio.get_running_loop()
        deadline, delay = loop.time() + self._patience, _FIRST_DELAY
        sent_before = made_room = False
        try:
            while True:
                try:
                    self._result(await self._client.txn(request), (marker,))
                    return self.revision
                except (NoSpace, Refused) as error:
                    if isinstance(error, NoSpace) and not made_room:
                        made_room = True
                        if await self._space.make(self.revision):
                            continue
                    if not sent_before:
                        raise
                    raise self._doubt(marker, error) from error
                except Deposed:
                    raise
                except Unavailable as error:
                    if loop.time() > deadline:
                        raise self._doubt(marker, error) from error
                sent_before = True
                await asyncio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
        except asyncio.CancelledError:
            self._doubtful = marker
            raise

    def _doubt(self, marker: bytes, error: Exception) -> InDoubt:
        self._doubtful = marker
        return InDoubt(self._trouble() or str(error))

    def _request(self, marker: bytes) -> pb.TxnRequest:
        return pb.TxnRequest(
            compare=[_unchanged(EPOCH, self._epoch), _unchanged(COMMIT, self._last)],
            success=[_put(COMMIT, marker)],
            failure=[_read(EPOCH), _read(COMMIT)],
        )

    def _result(self, response: pb.TxnResponse, markers: tuple[bytes, ...]) -> bytes:
        """Return the marker of the request that took effect: the first by this response, or an earlier one."""
        if response.succeeded:
            self._last = self.revision = response.header.revision
            return markers[0]
        epoch, commit = (list(answer.response_range.kvs) for answer in response.responses)
        for marker in markers:
            if commit and commit[0].value == marker:
                self._last = self.revision = commit[0].mod_revision
                return marker
        if epoch and epoch[0].mod_revision != self._epoch:
            raise Deposed
        raise InvariantBroken("somebody else writes to etcd as this leader")


def _only(answer: pb.ResponseOp) -> pb.KeyValue:
    """Return the key that was read. If there is none, return an empty one, whose revision is 0."""
    kvs = answer.response_range.kvs
    return kvs[0] if kvs else pb.KeyValue()


def _put(key: bytes, value: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))


def _read(key: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key))


def _unchanged(key: bytes, revision: int) -> pb.Compare:
    return pb.Compare(key=key, target=pb.Compare.MOD, result=pb.Compare.EQUAL, mod_revision=revision)
