"""One etcd transaction with the changes of all waiting callers, each staged on top of those before. Pure.

In: functions that stage changes, one at a time. Out: etcd keys with plain values (None: delete), and the staged
transaction to take into memory once they are durable. This module also defines the keys of objects in etcd.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import DecodeError

from shoal.api import v1 as api
from shoal.errors import DamagedState, ShoalError
from shoal.store.changes import Kind, Object
from shoal.store.memory import Memory, Transaction

_R = TypeVar("_R")

# An etcd transaction is one Raft message. Callers are let in until a batch is full; the last to get in may add as much
# as one caller may, and the sum stays below etcd's `--max-txn-ops` and `--max-request-bytes` (`etcd_process`).
MAX_CHANGES = 10_000
MAX_BYTES = 7 * 1024 * 1024
FULL_CHANGES = 2_000
FULL_BYTES = 1024 * 1024
# Swarm's own limit for what Raft carries, here for one object: swarmkit manager/state/raft/raft.go.
MAX_VALUE_BYTES = 3 * 1024 * 1024 // 2
_TOO_LARGE = "raft: raft message is too large and can't be sent"
_OP_BYTES = 64  # of sealing and of protobuf's framing around a key and a value, rounded up

OBJECTS = b"objects/"
_FOLDERS: dict[type, bytes] = {
    api.Node: b"objects/nodes/",
    api.Service: b"objects/services/",
    api.Task: b"objects/tasks/",
    api.Network: b"objects/networks/",
    api.Cluster: b"objects/clusters/",
    api.Secret: b"objects/secrets/",
    api.Config: b"objects/configs/",
}
_KINDS: dict[bytes, Kind] = {folder: kind for kind, folder in _FOLDERS.items()}


def key_of(kind: type, id: str) -> bytes:  # noqa: A002 - the word is Swarm's
    """Return an object's etcd key."""
    return _FOLDERS[kind] + id.encode()


def named(key: bytes) -> tuple[Kind, str]:
    """Return kind and id of the object with this key. Raises DamagedState, naming the key, if it is no object's key."""
    folder, _, last = key.rpartition(b"/")
    kind = _KINDS.get(folder + b"/")
    if kind is None:
        raise DamagedState(f"etcd key {key.decode(errors='replace')}", "no kind of object has such a key")
    return kind, last.decode(errors="replace")


def decoded(key: bytes, value: bytes, revision: int) -> Object:
    """Return the object of a key and its plain value, as of a revision. Raises DamagedState, naming the key."""
    kind, id = named(key)  # noqa: A001
    obj = kind()
    try:
        obj.ParseFromString(value)
    except DecodeError as error:
        raise DamagedState(f"etcd key {key.decode(errors='replace')}", f"it does not parse: {error}") from error
    if obj.id != id:
        raise DamagedState(f"etcd key {key.decode(errors='replace')}", f"it holds the object {obj.id!r}")
    obj.meta.version.index = revision
    return obj


def encoded(obj: Object) -> bytes:
    """Return an object's value: without its version, which is the revision that etcd gives the write."""
    version = obj.meta.version.index
    obj.meta.ClearField("version")
    value = obj.SerializeToString()
    obj.meta.version.index = version
    return value


class Batch:
    """Staged changes over a memory that does not change meanwhile."""

    def __init__(self, memory: Memory, *, version: int, now_nanos: int) -> None:
        self._version = version
        self._now_nanos = now_nanos
        self._size_bytes = 0
        self.transaction = Transaction(memory, version=version, now_nanos=now_nanos)
        self.ops: dict[bytes, bytes | None] = {}

    def is_full(self) -> bool:
        """Return whether the next caller should wait for the next batch."""
        return len(self.ops) >= FULL_CHANGES or self._size_bytes >= FULL_BYTES

    def stage(self, change: Callable[[Transaction], _R]) -> _R:
        """Let a function stage its changes on top, and return its result. If it raises, none of its changes stay.

        Raises what the function raises, and ShoalError for more changes than one transaction can carry.
        """
        transaction = Transaction(self.transaction, version=self._version, now_nanos=self._now_nanos)
        result = change(transaction)
        if transaction.is_empty():
            return result
        ops, size_bytes = _ops(transaction)
        if len(ops) > MAX_CHANGES or size_bytes > MAX_BYTES:
            raise ShoalError(_TOO_LARGE)
        self.ops.update(ops)
        self._size_bytes += size_bytes
        self.transaction.merge(transaction)
        return result


def _ops(transaction: Transaction) -> tuple[dict[bytes, bytes | None], int]:
    ops: dict[bytes, bytes | None] = {}
    size_bytes = 0
    for kind, id in transaction.touched():  # noqa: A001
        obj: Any = transaction.table(kind).get(id)
        value = None if obj is None else encoded(obj)
        if value is not None and len(value) > MAX_VALUE_BYTES:
            raise ShoalError(_TOO_LARGE)
        key = key_of(kind, id)
        ops[key] = value
        size_bytes += len(key) + len(value or b"") + _OP_BYTES
    return ops, size_bytes
