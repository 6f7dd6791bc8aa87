"""A swarm's state in one file, taken while it runs, and an etcd made of such a file.

In: a client of any manager's etcd, and small files that the caller wants beside it (keys, certificates). Out: a file,
or a data folder for etcd. Objects stay sealed as they are in etcd: to read them, somebody needs the data key, which is
in the file only if the caller puts it there. What a restored swarm does about managers that are no more is the
caller's.

etcd counts revisions anew in a restored swarm. The versions that clients hold must not come true again for something
else, so those of the restored swarm begin far above the last one of the backup (`BASE` in `follower`): every object has
a new version, and whoever holds an old one is told "update out of sequence", as after any other change.

Why not etcd's own snapshot: docs/decisions/0008-backup.md.
"""

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import struct
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import DamagedState, FailedPrecondition, Unavailable
from shoal.files import sync_folder
from shoal.paths import Paths
from shoal.store.etcd_client import Compacted, EtcdClient
from shoal.store.etcd_process import EtcdConfig, EtcdProcess
from shoal.store.follower import BASE, BASE_BYTES, pages, read_base
from shoal.store.journal import COMMIT

FORMAT = 1
_MAGIC = b"shoal backup %d\n" % FORMAT
_FILE, _OBJECT, _ABOUT = b"f", b"o", b"a"
_RECORD = struct.Struct(">cIQ")  # what it is, length of its name, length of its value
_DIGEST_BYTES = hashlib.sha256().digest_size
# More than a swarm writes between its last backup and its end: a hundred changes a second for a day.
VERSIONS_APART = 10_000_000
_ATTEMPTS = 3  # etcd may forget the revision that is being read, when that takes minutes
_TXN_OPS, _TXN_BYTES = 1000, 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Summary:
    """What is in a backup: number of objects, the version up to which they go, seconds since the epoch, SHA-256."""

    objects: int
    version: int
    taken_at: float
    digest: str


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was read, whole. `objects` are etcd's keys and sealed values."""

    summary: Summary
    files: dict[str, bytes]
    objects: list[tuple[bytes, bytes]]


async def save(client: EtcdClient, path: Path, *, files: Mapping[str, bytes]) -> Summary:
    """Write everything that was acknowledged before this call to a file that only its owner reads, and say what it is.

    As of one moment, while the swarm goes on. A file that is there is replaced once the new one is whole. Raises
    OSError, or Unavailable without quorum.
    """
    for _ in range(_ATTEMPTS):
        try:
            return await _save(client, path, files)
        except Compacted:
            continue
    raise Unavailable("etcd forgot what was being read, several times: is the disk very slow?")


async def _save(client: EtcdClient, path: Path, files: Mapping[str, bytes]) -> Summary:
    # From here on this host's member of etcd has all that was acknowledged anywhere before.
    await client.range(pb.RangeRequest(key=COMMIT, keys_only=True))
    base, taken_at = await read_base(client), time.time()
    version = count = 0
    async with _replacing(path) as writer, aclosing(pages(client)) as all_pages:
        await writer.write([(_FILE, name.encode(), content) for name, content in files.items()])
        async for revision, kvs in all_pages:
            version = revision + base
            await writer.write([(_OBJECT, kv.key, kv.value) for kv in kvs])
            count += len(kvs)
        about = {"version": version, "taken_at": taken_at}
        await writer.write([(_ABOUT, b"", json.dumps(about).encode())])
    return Summary(count, version, taken_at, writer.digest())


class _Writer:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sum = hashlib.sha256()
        self._put(_MAGIC)

    async def write(self, records: list[tuple[bytes, bytes, bytes]]) -> None:
        await asyncio.to_thread(self._write, records)

    def _write(self, records: list[tuple[bytes, bytes, bytes]]) -> None:
        for kind, name, value in records:
            self._put(_RECORD.pack(kind, len(name), len(value)) + name + value)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._sum.update(data)

    def digest(self) -> str:
        return self._sum.hexdigest()

    def finish(self) -> None:
        self._file.write(self._sum.digest())
        self._file.flush()
        os.fsync(self._file.fileno())


@asynccontextmanager
async def _replacing(path: Path) -> AsyncIterator[_Writer]:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = await asyncio.to_thread(os.open, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            writer = _Writer(file)
            yield writer
            await asyncio.to_thread(writer.finish)
        temporary.rename(path)
        await asyncio.to_thread(sync_folder, path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path) -> Backup:
    """Return what a backup holds, once all of it has been found to be as it was written. Blocks.

    Raises DamagedState, naming the file, or OSError.
    """
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        raise DamagedState(str(path), "it is no backup of a swarm, or one of a format that this version does not know")
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise DamagedState(str(path), "its checksum is wrong: it was cut short or changed")
    about: dict[str, float] = {}
    files: dict[str, bytes] = {}
    objects: list[tuple[bytes, bytes]] = []
    for kind, name, value in _records(body):
        if kind == _ABOUT:
            about = json.loads(value)
        elif kind == _FILE:
            files[name.decode()] = value
        elif kind == _OBJECT:
            objects.append((name, value))
    summary = Summary(len(objects), int(about["version"]), about["taken_at"], digest.hex())
    return Backup(summary, files, objects)


def _records(body: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    at = len(_MAGIC)
    while at < len(body):
        kind, name_length, value_length = _RECORD.unpack_from(body, at)
        begin = at + _RECORD.size + name_length
        yield kind, body[begin - name_length : begin], body[begin : begin + value_length]
        at = begin + value_length


async def restore(backup: Backup, paths: Paths, node_id: str) -> None:
    """Make the data folder of an etcd that has one member, this node, and holds what the backup does.

    All or nothing: the folder appears when it is whole. Raises FailedPrecondition where there is one already,
    OSError, and what starting an etcd raises.
    """
    target = paths.swarm / "etcd"
    if target.exists():
        raise FailedPrecondition(f"{target} holds the state of a swarm already: leave that swarm, or move it away")
    work = Paths(paths.data_root / "restoring", paths.exec_root / "restoring")
    for folder in (work.data_root, work.exec_root):
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    try:
        async with EtcdProcess(work, EtcdConfig.member(node_id)) as etcd:
            for request in _transactions(backup):
                await etcd.client.txn(request)
        paths.swarm.mkdir(parents=True, exist_ok=True, mode=0o700)
        (work.swarm / "etcd").rename(target)
        await asyncio.to_thread(sync_folder, paths.swarm)
    finally:
        for folder in (work.data_root, work.exec_root):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _transactions(backup: Backup) -> Iterator[pb.TxnRequest]:
    base = backup.summary.version + VERSIONS_APART
    request = pb.TxnRequest()
    _put(request, BASE, base.to_bytes(BASE_BYTES, "big"))
    size_bytes = 0
    for key, value in backup.objects:
        if len(request.success) >= _TXN_OPS or size_bytes > _TXN_BYTES:
            yield request
            request, size_bytes = pb.TxnRequest(), 0
        _put(request, key, value)
        size_bytes += len(key) + len(value)
    yield request


def _put(request: pb.TxnRequest, key: bytes, value: bytes) -> None:
    put = request.success.add().request_put
    put.key, put.value = key, value
