"""Reads the CDI devices of this host from its files, and adds claimed devices to containers.

In: folders of CDI files (`/etc/cdi`, `/var/run/cdi`), kinds of resources that the configuration offers. Out: devices
that the node offers, and the edits of claimed devices. Blocking; for several threads. Files are read again when they
have changed. A malformed file is left out, and the log says so once. CDI's hooks run as root on the host, so a file
that others than root may write is not read.
"""

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from shoal.json_text import read_json
from shoal.runtime import cdi_edits
from shoal.runtime.cdi_catalog import MAX_OFFERED, Catalog, Offer, catalog
from shoal.runtime.cdi_spec import NO_EDITS, BadCdi, CdiSpec, Edits, parse

log = logging.getLogger(__name__)

SUFFIXES = (".json", ".yaml", ".yml")
MAX_FILES = 64  # in one folder
MAX_FILE_BYTES = 1024 * 1024
MAX_YAML_DEPTH = 32
# Seconds for which a device that is gone is still offered. A manager removes tasks from a node that no longer offers
# their resources, and an update of a driver may write its file without devices for a moment.
WITHDRAWN_AFTER = 60.0

_Signature = tuple[tuple[int, int, int], ...]


class Devices:
    """The devices of a host, as of the last `refresh`. Without folders there are none.

    `own`: the kinds of resources that the configuration offers.
    """

    def __init__(
        self,
        folders: Sequence[Path] = (),
        own: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folders = tuple(folders)
        self._own = own
        self._catalog = Catalog()
        self._read: dict[str, tuple[_Signature, CdiSpec | None]] = {}
        self._clock = clock
        self._gone: dict[Offer, float] = {}  # gone offers, and since when
        self._lock = threading.Lock()

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The named resources that this node offers for its devices, including those that went a short while ago."""
        with self._lock:
            since = self._clock() - WITHDRAWN_AFTER
            return (*self._catalog.offers, *(offer for offer, at in self._gone.items() if at > since))[:MAX_OFFERED]

    @property
    def names(self) -> list[str]:
        """All devices, as vendor/class=name."""
        return sorted(self._catalog.devices)

    def refresh(self) -> bool:
        """Read the files that have changed. Return whether any have."""
        with self._lock:
            found = {path: (priority, signature) for priority, path, signature in self._files()}
            if {path: signature for path, (_, signature) in found.items()} == {
                path: signature for path, (signature, _) in self._read.items()
            }:
                return False
            read: dict[str, tuple[_Signature, CdiSpec | None]] = {}
            for path, (_, signature) in found.items():
                held = self._read.get(path)
                read[path] = held if held is not None and held[0] == signature else (signature, _spec(path))
            self._read = read
            specs = [(found[path][0], path, spec) for path, (_, spec) in read.items() if spec is not None]
            before, self._catalog = self._catalog.offers, catalog(specs, self._own)
            now, here = self._clock(), frozenset(self._catalog.offers)
            gone = {**dict.fromkeys(before, now), **self._gone}
            self._gone = {one: at for one, at in gone.items() if one not in here and at > now - WITHDRAWN_AFTER}
        for problem in self._catalog.problems:
            log.warning("CDI: %s", problem)
        log.info("CDI: %s devices in %s files", len(self._catalog.devices), len(specs))
        return True

    def edits(self, resources: Sequence[tuple[str, str]]) -> Edits:
        """Return the edits of the devices whose named resources a task has claimed.

        Raises FailedPrecondition if a device is gone.
        """
        if not resources:
            return NO_EDITS
        self.refresh()
        now = self._catalog
        return now.edits(now.claimed(resources, self._own))

    def _files(self) -> Iterable[tuple[int, str, _Signature]]:
        for priority, folder in enumerate(self.folders):
            try:
                status = os.stat(folder)
                names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIXES))
            except OSError:
                continue  # most hosts have none of these folders
            for name in names[:MAX_FILES]:
                path = str(folder / name)
                try:
                    # Both a link and its target may change, so both are part of the signature.
                    yield priority, path, (_marks(status, rights=True), _marks(os.stat(path)), _marks(os.lstat(path)))
                except OSError:
                    continue


def _marks(status: os.stat_result, *, rights: bool = False) -> tuple[int, int, int]:
    if rights:
        return status.st_mode, status.st_uid, status.st_gid
    return status.st_ino, status.st_size, status.st_ctime_ns


def _spec(path: str) -> CdiSpec | None:
    try:
        return parse(_value(path, _text(path)))
    except (OSError, BadCdi) as error:
        log.warning("CDI: %s is not taken: %s", path, error)
        return None


def _text(path: str) -> str:
    _refuse_others(os.stat(os.path.dirname(path)), "its folder")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadCdi("it is no file")
        _refuse_others(status, "it")
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise BadCdi(f"it is larger than {MAX_FILE_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BadCdi("it is no text") from None


def _refuse_others(status: os.stat_result, what: str) -> None:
    by_group = status.st_mode & stat.S_IWGRP and status.st_gid != 0
    if status.st_uid != 0 or by_group or status.st_mode & stat.S_IWOTH:
        raise BadCdi(f"others than root may write to {what}, and what it says runs as root")


def _value(path: str, text: str) -> Any:
    if not path.endswith(".json"):
        return read_yaml(text)
    try:
        return read_json(text)
    except (ValueError, RecursionError) as error:
        raise BadCdi(f"it is no JSON: {error}") from None


def read_yaml(text: str) -> Any:
    """Return the value of a YAML text. Raises BadCdi, also for references, which could make the value huge."""
    import yaml  # imported here, because few hosts have such a file

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise BadCdi("it has references, which are not read")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_YAML_DEPTH:
                raise BadCdi(f"it is deeper than {MAX_YAML_DEPTH} levels")
        return yaml.load(text, Loader=loader)  # a safe loader, which only makes plain values
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, AttributeError) as error:
        if isinstance(error, BadCdi):
            raise
        raise BadCdi(f"it is no YAML: {' '.join(str(error).split())[:200]}") from None


def look(path: str) -> cdi_edits.Numbers | None:
    """Return type and numbers of a device file of this host, or None if it is not one."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    kinds = {stat.S_IFBLK: "b", stat.S_IFCHR: "c", stat.S_IFIFO: "p"}
    kind = kinds.get(stat.S_IFMT(status.st_mode))
    return cdi_edits.Numbers(kind, os.major(status.st_rdev), os.minor(status.st_rdev)) if kind else None
