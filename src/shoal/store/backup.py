"""Saves a running swarm's state to one file, and makes an etcd from such a file.

In: a client of any manager's etcd, and small files that the caller wants beside it (keys, certificates). Out: a file,
or a data folder for etcd. Objects stay sealed as they are in etcd: to read them, somebody needs the data key, which is
in the file only if the caller puts it there. The caller removes the managers that are gone from a restored swarm.
`backup_file` owns the format of the file.

In a restored swarm etcd counts revisions from the beginning. A version that a client still holds must never match a new
object by chance. So versions of the restored swarm begin far above the last one of the backup (`BASE` in `follower`):
every object has a new version, and a client with an old one is told "update out of sequence", as after any other
change.

Why not etcd's own snapshot: docs/decisions/0008-backup.md.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import BinaryIO

from shoal.api.gen import etcd_pb2 as pb
from shoal.errors import DamagedState, FailedPrecondition, Unavailable
from shoal.files import remove_tree, sync_folder
from shoal.paths import Paths
from shoal.store.backup_file import FILE, OBJECT, About, DamagedBackup, Decoder, Encoder, Record, Summary
from shoal.store.batch import named
from shoal.store.etcd_client import Compacted, EtcdClient
from shoal.store.etcd_process import EtcdConfig, EtcdProcess
from shoal.store.follower import BASE, BASE_BYTES, pages, read_base
from shoal.store.journal import COMMIT

# More versions than a swarm gives out between its last backup and its end: a hundred changes a second for a day.
VERSIONS_APART = 10_000_000
_ATTEMPTS = 3  # etcd may forget the revision that is being read, when that takes minutes
_TXN_OPS, _TXN_BYTES = 1000, 4 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was checked to be complete. Its objects are still in `file`, from the beginning of the file."""

    summary: Summary
    files: Mapping[str, bytes]
    file: BinaryIO


async def save(client: EtcdClient, file: BinaryIO, *, files: Mapping[str, bytes], about: About) -> Summary:
    """Write everything that was acknowledged before this call to an empty file, and return a summary.

    The backup is of one moment, while the swarm goes on. Version and time of `about` are filled in here. The file is
    not flushed to disk. Raises OSError, or Unavailable without quorum.
    """
    for _ in range(_ATTEMPTS):
        try:
            return await _save(client, file, files, about)
        except Compacted:
            await asyncio.to_thread(_empty, file)
    raise Unavailable("etcd forgot what was being read, several times: is the disk very slow?")


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


async def _save(client: EtcdClient, file: BinaryIO, files: Mapping[str, bytes], about: About) -> Summary:
    # From here on this host's member of etcd has all that was acknowledged anywhere before.
    await client.range(pb.RangeRequest(key=COMMIT, keys_only=True))
    base, taken_at = await read_base(client), time.time()
    encoder, version = Encoder(), 0
    first = encoder.begin() + encoder.records(Record(FILE, name.encode(), content) for name, content in files.items())
    await asyncio.to_thread(file.write, first)
    async with aclosing(pages(client)) as all_pages:
        async for revision, kvs in all_pages:
            version = revision + base
            await asyncio.to_thread(_write, file, encoder, [Record(OBJECT, kv.key, kv.value) for kv in kvs])
    last, summary = encoder.end(replace(about, version=version, taken_at=taken_at))
    await asyncio.to_thread(file.write, last)
    return summary


def _write(file: BinaryIO, encoder: Encoder, records: list[Record]) -> None:
    file.write(encoder.records(records))


async def read(file: BinaryIO) -> Backup:
    """Return a backup after checking that all of it is as it was written.

    Raises DamagedBackup, OSError.
    """
    decoder = Decoder()
    files: dict[str, bytes] = {}
    async with aclosing(_records(file, decoder)) as pieces:
        async for records in pieces:
            for record in records:
                if record.kind == FILE:
                    files[record.name.decode(errors="replace")] = record.value
                elif record.kind == OBJECT and not _is_an_objects(record.name):
                    raise DamagedBackup("this backup holds something that no swarm has")
    return Backup(decoder.end(), files, file)


def _is_an_objects(name: bytes) -> bool:
    try:
        _, object_id = named(name)
    except DamagedState:
        return False
    return bool(object_id)


async def _records(file: BinaryIO, decoder: Decoder) -> AsyncGenerator[list[Record], None]:
    await asyncio.to_thread(file.seek, 0)
    while records := await asyncio.to_thread(_next_records, file, decoder):
        yield records[0]


def _next_records(file: BinaryIO, decoder: Decoder) -> tuple[list[Record], ...]:
    chunk = file.read(_CHUNK_BYTES)
    return (decoder.feed(chunk),) if chunk else ()


async def restore(backup: Backup, paths: Paths, node_id: str) -> None:
    """Make the data folder of an etcd with this node as its only member and the objects of the backup.

    The folder appears only when it is complete. Raises FailedPrecondition if there is a folder already, OSError, and
    the errors of starting an etcd.
    """
    target = paths.swarm / "etcd"
    if target.exists():
        raise FailedPrecondition(f"{target} holds the state of a swarm already: leave that swarm, or move it away")
    work = paths.restoring
    await asyncio.to_thread(clean, paths)
    try:
        async with EtcdProcess(work, EtcdConfig.member(node_id)) as etcd:
            async for request in _transactions(backup):
                await etcd.client.txn(request)
        await asyncio.to_thread(_put_in_place, work, paths)
    finally:
        await asyncio.to_thread(clean, paths)


def clean(paths: Paths) -> None:
    """Remove the files of a restore that did not finish. Blocks."""
    for folder in (paths.restoring.data_root, paths.restoring.exec_root):
        remove_tree(folder)


def _put_in_place(work: Paths, paths: Paths) -> None:
    paths.swarm.mkdir(parents=True, exist_ok=True, mode=0o700)
    (work.swarm / "etcd").rename(paths.swarm / "etcd")
    sync_folder(paths.swarm)
    sync_folder(paths.data_root)


async def _transactions(backup: Backup) -> AsyncIterator[pb.TxnRequest]:
    base = backup.summary.about.version + VERSIONS_APART
    request = pb.TxnRequest()
    _put(request, BASE, base.to_bytes(BASE_BYTES, "big"))
    size_bytes = 0
    async with aclosing(_records(backup.file, Decoder())) as pieces:
        async for records in pieces:
            for record in _objects(records):
                if len(request.success) >= _TXN_OPS or size_bytes + len(record.value) > _TXN_BYTES:
                    yield request
                    request, size_bytes = pb.TxnRequest(), 0
                _put(request, record.name, record.value)
                size_bytes += len(record.name) + len(record.value)
    yield request


def _objects(records: list[Record]) -> Iterator[Record]:
    return (record for record in records if record.kind == OBJECT)


def _put(request: pb.TxnRequest, key: bytes, value: bytes) -> None:
    put = request.success.add().request_put
    put.key, put.value = key, value
