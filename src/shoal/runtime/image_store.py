"""The records of the images on this host, one file each, and the names that refer to them.

    records/<hex of image id>.json

A record has the exact text of the image's config. Its digest is the image's id, so a damaged record is noticed. It is
logged and kept, and the other images work. Layers are in `layers.py`.
"""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shoal.errors import DamagedState, InvalidArgument, NotFound
from shoal.files import write_atomic
from shoal.json_text import read_json
from shoal.runtime import image_config, references

log = logging.getLogger(__name__)

# The years 1 to 9999 in UTC. A time with a zone may be beyond them.
_EARLIEST, _LATEST = -62135596800.0, 253402300799.0


@dataclass(frozen=True, slots=True)
class Record:
    """One image. `names` maps full tagged references to a number; of several records, the highest number has the name.

    `hidden`: the image was removed, but a container still needs its layers.
    """

    id: str
    config_text: str
    layers: tuple[str, ...]
    names: dict[str, int]
    digests: tuple[str, ...] = ()  # docker.io/library/busybox@sha256:...
    hidden: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """The config without wrong fields."""
        return image_config.lenient(self.config_text)[0]


def created_at(config: dict[str, Any]) -> float:
    """Return when an image was made, in seconds since 1970; 0 if it does not say."""
    try:
        return min(max(image_config.instant(config.get("created") or ""), _EARLIEST), _LATEST)
    except image_config.WrongType:
        return 0.0


class ImageStore:
    """The records below one folder, which are read at the start. Every change is on disk before it is visible."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "records"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._records: dict[str, Record] = {}
        self.damaged: list[DamagedState] = []
        for path in sorted(self._folder.glob("*.json")):
            if path.name.startswith("."):
                path.unlink()  # from a write that a crash interrupted
                continue
            try:
                record = _read(path)
            except DamagedState as problem:
                log.error("%s", problem)
                self.damaged.append(problem)
            else:
                self._records[record.id] = record
        self._index()

    def _index(self) -> None:
        self._by_name: dict[str, str] = {}
        numbers: dict[str, int] = {}
        for record in self._records.values():
            for name, number in record.names.items():
                if number > numbers.get(name, -1):
                    self._by_name[name], numbers[name] = record.id, number
            for digest in record.digests:
                if not record.hidden:
                    self._by_name[digest] = record.id
        self._number = max(numbers.values(), default=0)

    def all(self) -> Iterable[Record]:
        """Return all records, including hidden ones."""
        return list(self._records.values())

    def by_id(self, image_id: str) -> Record | None:
        """Return the record with a full id, hidden or not, or None."""
        return self._records.get(image_id)

    def names(self, record: Record) -> list[str]:
        """Return the full tagged references that refer to a record now."""
        return sorted(name for name in record.names if self._by_name.get(name) == record.id)

    def find(self, text: str) -> Record:
        """Return the image of a reference, an id or a unique prefix of an id. Raises NotFound with Docker's words."""
        if references.is_digest(text):
            record = self._records.get(text)
            if record is None or record.hidden:
                raise NotFound(f"No such image: {text}")
            return record
        shown = text
        try:
            reference = references.parse(text).tagged()
        except InvalidArgument:
            pass  # an id may still begin like this
        else:
            shown = reference.familiar
            name = f"{reference.name}@{reference.digest}" if reference.digest else reference.full
            if image_id := self._by_name.get(name):
                return self._records[image_id]
        if references.is_id_prefix(text):
            prefix = "sha256:" + text.removeprefix("sha256:")
            found = [r for r in self._records.values() if r.id.startswith(prefix) and not r.hidden]
            if len(found) == 1:
                return found[0]
        raise NotFound(f"No such image: {shown}")

    def put(self, data: bytes, layers: tuple[str, ...], names: Iterable[str], digests: Iterable[str]) -> Record:
        """Store an image under its config's digest, and add names and digests to it."""
        image_id = f"sha256:{hashlib.sha256(data).hexdigest()}"
        known = self._records.get(image_id)
        record = known or Record(image_id, data.decode(), layers, {})
        record = replace(
            record,
            names={**record.names, **{name: self._number + 1 + at for at, name in enumerate(names)}},
            digests=tuple(dict.fromkeys([*record.digests, *digests])),
            hidden=False,
        )
        return self.save(record)

    def save(self, record: Record) -> Record:
        """Write a record, and remove its newest names from the records that had them."""
        fields = {
            "id": record.id,
            "config": record.config_text,
            "layers": record.layers,
            "names": record.names,
            "digests": record.digests,
            "hidden": record.hidden,
        }
        write_atomic(self._path(record.id), json.dumps(fields).encode())
        self._records[record.id] = record
        self._index()
        # After a crash in between, two records have the name; then the higher number counts (see `_index`).
        for other in list(self._records.values()):
            lost = [name for name in other.names if self._by_name[name] != other.id]
            if lost:
                self.save(replace(other, names={n: at for n, at in other.names.items() if n not in lost}))
        return self._records[record.id]

    def delete(self, image_id: str) -> None:
        """Remove the record of an image."""
        self._path(image_id).unlink(missing_ok=True)
        self._records.pop(image_id, None)
        self._index()

    def _path(self, image_id: str) -> Path:
        return self._folder / f"{image_id.removeprefix('sha256:')}.json"


def _read(path: Path) -> Record:
    try:
        fields = read_json(path.read_bytes())
        text = fields["config"]
        image_id = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        if not image_id == fields["id"] == f"sha256:{path.stem}":
            raise ValueError("the image's config does not have the image's digest")
        _, layers = image_config.lenient(text)
        names = {str(name): int(number) for name, number in fields["names"].items()}
        digests = tuple(str(digest) for digest in fields["digests"])
        return Record(image_id, text, layers, names, digests, bool(fields["hidden"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidArgument) as error:
        raise DamagedState(str(path), str(error) or type(error).__name__) from error
