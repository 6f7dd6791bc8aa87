"""The format of a backup file: writes and reads its records piece by piece. Pure.

In: records and facts about them, or the bytes of a file as they come. Out: bytes, or records and a `Summary`. The first
bytes name the format. The last bytes are a SHA-256 of all others, which detects a file that was cut or changed. A file
never has to be in memory as a whole.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from shoal.errors import InvalidArgument
from shoal.json_text import read_json

FORMAT = 1
FILE, OBJECT, ABOUT = b"f", b"o", b"a"
DIGEST_BYTES = hashlib.sha256().digest_size
_NAME = b"shoal backup "
_MAGIC = b"%s%d\n" % (_NAME, FORMAT)
_RECORD = struct.Struct(">cIQ")  # kind, length of the name, length of the value
# Far above real sizes: files are keys and certificates, and an object has 1.5 MiB at most. What is larger is damage, or
# somebody's who wants the memory filled: files, and the words by which objects are counted, are kept.
_MAX_NAME_BYTES = 4096
_MAX_VALUE_BYTES = {FILE: 1024 * 1024, OBJECT: 4 * 1024 * 1024, ABOUT: 64 * 1024}
_MAX_FILES = 16
_MAX_OBJECTS = 1_000_000
_MAX_KINDS, _MAX_KIND_BYTES = 64, 64
_MAX_TEXT = 1024
# Restored versions begin above the backup's, and have eight bytes.
_MAX_VERSION = 1 << 62
_NO_BACKUP = "this is no backup of a swarm"
_NOT_WHOLE = "this backup is damaged: it was cut short or changed since it was made"


class DamagedBackup(InvalidArgument):
    """The file is no backup, or is not as it was written."""


class Record(NamedTuple):
    """A file of the node (`FILE`), an object as it is in etcd (`OBJECT`), or facts about the backup."""

    kind: bytes
    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class About:
    """Facts about a backup. `version` is the store's newest version in it; `taken_at` is in seconds since 1970."""

    version: int
    taken_at: float
    cluster_id: str = ""
    node_id: str = ""
    hostname: str = ""
    made_by: str = ""  # Shoal's version
    is_locked: bool = False  # sealed by the swarm's unlock key


@dataclass(frozen=True, slots=True)
class Summary:
    """What is in a backup, and its digest. `objects` counts them by kind."""

    about: About
    objects: Mapping[str, int] = field(default_factory=dict)
    size_bytes: int = 0
    digest: str = ""

    @property
    def total(self) -> int:
        """The number of objects."""
        return sum(self.objects.values())

    def shown(self) -> dict[str, Any]:
        """Return the summary for JSON, with names in Docker's style."""
        about = self.about
        return {
            "ClusterID": about.cluster_id,
            "NodeID": about.node_id,
            "Hostname": about.hostname,
            "TakenAt": datetime.fromtimestamp(about.taken_at, UTC).isoformat(timespec="milliseconds"),
            "MadeBy": about.made_by,
            "Locked": about.is_locked,
            "Version": about.version,
            "Objects": dict(sorted(self.objects.items())),
            "Size": self.size_bytes,
            "Digest": f"sha256:{self.digest}",
        }


class Encoder:
    """Makes the bytes of a backup, in the order in which they are written."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()
        self._count = _Count()

    def begin(self) -> bytes:
        """Return the first bytes of the file."""
        return self._summed(_MAGIC)

    def records(self, records: Iterable[Record]) -> bytes:
        """Return the bytes of files and objects."""
        found = []
        for record in records:
            self._count.add(record)
            found += [_RECORD.pack(record.kind, len(record.name), len(record.value)), record.name, record.value]
        return self._summed(b"".join(found))

    def end(self, about: About) -> tuple[bytes, Summary]:
        """Return the last bytes of the file, and its summary."""
        text = json.dumps({name: getattr(about, name) for name in About.__slots__}).encode()
        last = self.records([Record(ABOUT, b"", text)])
        digest = self._sum.digest()
        return last + digest, Summary(about, self._count.by_kind, self._count.size_bytes + DIGEST_BYTES, digest.hex())

    def _summed(self, data: bytes) -> bytes:
        self._sum.update(data)
        self._count.size_bytes += len(data)
        return data


class Decoder:
    """Takes the bytes of a backup as they come. Its records may only be trusted once `end` has returned."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()
        self._count = _Count()
        self._rest = bytearray()
        self._begun = False
        self._about: About | None = None
        self._files: set[bytes] = set()
        self._last = b""  # name of an object

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that are complete. Raises DamagedBackup."""
        self._rest += data
        if not self._begun and not self._begin():
            return []
        found, at = [], 0
        while (record := self._next(at)) is not None:
            at += _RECORD.size + len(record.name) + len(record.value)
            found.append(record)
            self._take(record)
        self._consume(at)
        return found

    def end(self) -> Summary:
        """Return the summary after the last bytes. Raises DamagedBackup if the file is incomplete or changed."""
        if not self._begun and not (self._rest and _MAGIC.startswith(self._rest)):
            raise DamagedBackup(_NO_BACKUP)
        if bytes(self._rest) != self._sum.digest() or self._about is None:
            raise DamagedBackup(_NOT_WHOLE)
        size_bytes = self._count.size_bytes + DIGEST_BYTES
        return Summary(self._about, self._count.by_kind, size_bytes, self._rest.hex())

    def _begin(self) -> bool:
        if len(self._rest) < len(_MAGIC):
            if not _MAGIC.startswith(self._rest):
                raise DamagedBackup(_NO_BACKUP)
            return False
        if not self._rest.startswith(_MAGIC):
            is_other = self._rest.startswith(_NAME)
            raise DamagedBackup(
                "this backup is of a format that this version does not know" if is_other else _NO_BACKUP
            )
        self._begun = True
        self._consume(len(_MAGIC))
        return True

    def _next(self, at: int) -> Record | None:
        """Return the record that begins at `at`, or None if it is incomplete. The file's last bytes are no record."""
        left = len(self._rest) - DIGEST_BYTES - at
        if left < _RECORD.size:
            return None
        kind, name_bytes, value_bytes = _RECORD.unpack_from(self._rest, at)
        if name_bytes > _MAX_NAME_BYTES or value_bytes > _MAX_VALUE_BYTES.get(kind, 0):
            raise DamagedBackup(_NOT_WHOLE)
        if left < _RECORD.size + name_bytes + value_bytes:
            return None
        name = at + _RECORD.size
        value = name + name_bytes
        return Record(kind, bytes(self._rest[name:value]), bytes(self._rest[value : value + value_bytes]))

    def _take(self, record: Record) -> None:
        if self._about is not None:
            raise DamagedBackup(_NOT_WHOLE)
        if record.kind == ABOUT:
            self._about = _about(record.value)
        elif record.kind == FILE:
            if record.name in self._files or len(self._files) >= _MAX_FILES:
                raise DamagedBackup(_NOT_WHOLE)
            self._files.add(record.name)
        else:
            # etcd gives objects in the order of their names, each once.
            if record.name <= self._last:
                raise DamagedBackup(_NOT_WHOLE)
            self._last = record.name
        self._count.add(record)
        if not self._count.is_sane:
            raise DamagedBackup(_NOT_WHOLE)

    def _consume(self, count: int) -> None:
        self._sum.update(memoryview(self._rest)[:count])
        self._count.size_bytes += count
        del self._rest[:count]


class _Count:
    def __init__(self) -> None:
        self.by_kind: dict[str, int] = {}
        self.size_bytes = 0
        self._objects = 0

    @property
    def is_sane(self) -> bool:
        """Whether there are no more objects, and kinds of them, than any swarm has."""
        return self._objects <= _MAX_OBJECTS and len(self.by_kind) <= _MAX_KINDS

    def add(self, record: Record) -> None:
        if record.kind == OBJECT:
            # `objects/services/<id>` is a service.
            self._objects += 1
            kind = record.name[:_MAX_KIND_BYTES].decode("ascii", "replace").split("/")[1:2]
            word = kind[0] if kind else "?"
            self.by_kind[word] = self.by_kind.get(word, 0) + 1


def _about(value: bytes) -> About:
    try:
        given = read_json(value)
        known = {name: given[name] for name in About.__slots__ if name in given}
        about = About(**known)
        numbers = type(about.version) is int and 0 <= about.version < _MAX_VERSION
        right = numbers and type(about.taken_at) in (int, float) and type(about.is_locked) is bool
        texts = (about.cluster_id, about.node_id, about.hostname, about.made_by)
        if not right or not all(isinstance(text, str) and len(text) <= _MAX_TEXT for text in texts):
            raise TypeError
        datetime.fromtimestamp(about.taken_at, UTC)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise DamagedBackup(_NOT_WHOLE) from error
    return about
