"""Checks each Raft message from another manager: its sender, its receiver, and that its term is possible. Pure.

In: the bytes of one message, in pieces. Out: nothing, or PermissionDenied. etcd believes the sender that a message
names, and any term above its own: after one message with the highest possible term, nobody could be elected again. And
etcd 3.4 does not check for whom a message is. One for the member that this manager was before it joined again refers to
a log that the new member does not have, and makes its etcd exit. Only the numbers among the outermost fields are read;
the rest is skipped. Whether a member sends what its own etcd would send cannot be checked: Raft trusts its members.
Source of the fields: etcd raft/raftpb/raft.proto (`Message`), etcdserver/api/rafthttp/snapshot_sender.go.
"""

from shoal.errors import PermissionDenied

# With an election each millisecond, this term would be reached after nine thousand years.
MAX_TERM = 2**48
_TO, _FROM, _TERM, _LOG_TERM = 2, 3, 4, 5
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_SNAPSHOT_LENGTH_BYTES = 8
MAX_MESSAGE_BYTES = 2**32  # the snapshot after a snapshot's message has no such limit


class MessageCheck:
    """Checks one message from `member_id` to `own_id` (not checked if None).

    `has_length`: a snapshot's message, which has its length before it and the snapshot after it.
    """

    def __init__(self, member_id: int, own_id: int | None = None, *, has_length: bool = False) -> None:
        self._member_id = member_id
        self._own_id = own_id
        self._prefix: bytes | None = b"" if has_length else None
        self._size: int | None = None  # of the message, if it is known
        self._skip = 0
        self._number = 0  # the number that is being read
        self._digits = 0
        self._key: int | None = None  # the key of the field whose number or length is being read
        self._sender: int | None = None
        self._seen = 0

    def feed(self, data: bytes) -> None:
        """Check further bytes of the message. Raises PermissionDenied."""
        if self._prefix is not None:
            wanted = _SNAPSHOT_LENGTH_BYTES - len(self._prefix)
            self._prefix, data = self._prefix + data[:wanted], data[wanted:]
            if len(self._prefix) < _SNAPSHOT_LENGTH_BYTES:
                return
            self._size, self._prefix = int.from_bytes(self._prefix, "big"), None
        if self._size is not None:
            data = data[: max(0, self._size - self._seen)]
        self._seen += len(data)
        if self._seen > MAX_MESSAGE_BYTES:
            raise PermissionDenied("a message is too long")
        self._walk(data)

    def end(self) -> None:
        """Note the end. Raises PermissionDenied if the message is incomplete or does not name its sender."""
        whole = self._size is None or self._seen == self._size
        if self._prefix is not None or not whole or self._skip or self._digits or self._key is not None:
            raise PermissionDenied("a message is cut short")
        if self._sender != self._member_id:
            raise PermissionDenied("a message names no sender")

    def _walk(self, data: bytes) -> None:
        at, end = 0, len(data)
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
                continue
            byte = data[at]
            at += 1
            self._number |= (byte & 0x7F) << (7 * self._digits)
            self._digits += 1
            if byte & 0x80:
                if self._digits == _MAX_VARINT_BYTES:
                    raise PermissionDenied("a message cannot be read")
                continue
            number, self._number, self._digits = self._number, 0, 0
            self._take(number)

    def _take(self, number: int) -> None:
        if self._key is None:
            self._begin_field(number)
            return
        field, kind = self._key >> 3, self._key & 7
        self._key = None
        if kind == _LENGTH:
            self._skip = number
            return
        number &= 2**64 - 1  # as etcd reads it
        if field == _FROM:
            self._sender = number
            if number != self._member_id:
                raise PermissionDenied(
                    f"a message is from member {number:x}, and the connection's is {self._member_id:x}"
                )
        elif field == _TO and self._own_id is not None and number != self._own_id:
            raise PermissionDenied(f"a message is for member {number:x}, and this one is {self._own_id:x}")
        elif field in (_TERM, _LOG_TERM) and number >= MAX_TERM:
            raise PermissionDenied(f"a message is of a term that cannot be: {number}")

    def _begin_field(self, key: int) -> None:
        kind = key & 7
        if kind in (_VARINT, _LENGTH):
            self._key = key
        elif kind in (_FIXED64, _FIXED32):
            self._skip = 8 if kind == _FIXED64 else 4
        else:
            raise PermissionDenied("a message cannot be read")
