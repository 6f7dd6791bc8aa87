"""The volumes of this host, Docker's `local` driver. Each is a folder, or a mount that the volume's options describe.

    volumes/<name>/volume.json      its record
    volumes/<name>/_data            its files, which containers see

Source of rules and texts: moby daemon/volume/local, daemon/volume/service. The users of a volume are known by `hold`
and `release` and not kept on disk; after a restart, containers hold their volumes again.
"""

import asyncio
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from weakref import WeakValueDictionary

from shoal.errors import Conflict, DamagedState, InvalidArgument, NotFound, ShoalError
from shoal.files import write_atomic
from shoal.host.events import EventBus
from shoal.json_text import read_json
from shoal.paths import Paths
from shoal.runtime import confined
from shoal.runtime.types import Volume
from shoal.runtime.volume_mounts import VolumeMounts, mounts_below

log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
MAX_NAME = 255
_OPTIONS = ("type", "o", "device", "size")
_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
ANONYMOUS_LABEL = "com.docker.volume.anonymous"

# Inside the class below, `list` is its method.
Names = list[str]


def check_name(name: str) -> None:
    """Raise InvalidArgument unless this is a valid name of a volume."""
    if len(name) == 1:
        raise InvalidArgument("volume name is too short, names should be at least two alphanumeric characters")
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Raise InvalidArgument unless these are options of the local driver."""
    for option in options:
        if option not in _OPTIONS:
            raise InvalidArgument(f'create {name}: invalid option: "{option}"')
    if options.get("size"):
        raise InvalidArgument(f"create {name}: quota size requested but no quota support")
    for option, others in _NEEDS.items():
        missing = [other for other in others if option in options and not options.get(other)]
        if missing:
            raise InvalidArgument(f'create {name}: missing required option: "{missing[0]}"')


class Volumes:
    """The volumes below one data root, which are read at the start. For one event loop."""

    def __init__(self, paths: Paths, events: EventBus | None = None) -> None:
        self._folder = paths.volumes
        self._events = events
        self._volumes: dict[str, Volume] = {}
        self._holders: dict[str, set[str]] = {}
        self._mounts = VolumeMounts(self._holders.__contains__)
        self._damaged: dict[str, DamagedState] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            if path.name.startswith((".new-", ".old-")):
                confined.remove_remains(path)  # from a run that did not finish
            elif path.is_dir():
                self._read(path)

    def _read(self, path: Path) -> None:
        try:
            fields = read_json((path / "volume.json").read_bytes())
            self._volumes[path.name] = Volume(
                path.name,
                str(path / "_data"),
                float(fields["created_at"]),
                {str(key): str(value) for key, value in fields["labels"].items()},
                {str(key): str(value) for key, value in fields["options"].items()},
                bool(fields["anonymous"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            problem = DamagedState(str(path / "volume.json"), str(error) or type(error).__name__)
            log.error("%s", problem)
            self._damaged[path.name] = problem

    def list(self) -> list[Volume]:
        """Return all volumes, by name."""
        return [self._volumes[name] for name in sorted(self._volumes)]

    def get(self, name: str) -> Volume:
        """Return a volume. Raises NotFound, or DamagedState if its record cannot be read."""
        if name in self._damaged:
            raise self._damaged[name]
        volume = self._volumes.get(name)
        if volume is None:
            raise NotFound(f"get {name}: no such volume")
        return volume

    async def create(
        self,
        name: str,
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a volume, or return the existing one with this name. Without a name it is anonymous.

        Raises NotFound for an unknown driver, InvalidArgument, ShoalError.
        """
        if driver not in ("", "local", "default"):
            message = f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found'
            raise NotFound(message)
        anonymous = not name
        name = name or secrets.token_hex(32)
        if name in self._volumes or name in self._damaged:
            return self.get(name)
        check_name(name)
        check_options(name, options or {})
        marked = {**(labels or {}), **({ANONYMOUS_LABEL: ""} if anonymous else {})}
        path = self._folder / name
        volume = Volume(name, str(path / "_data"), time.time(), marked, dict(options or {}), anonymous)
        async with self._locks.setdefault(name, asyncio.Lock()):
            if name in self._volumes:  # made by another meanwhile
                return self.get(name)
            try:
                await asyncio.to_thread(_write, path, volume)
            except OSError as error:
                message = f"create {name}: error while creating volume root path '{path}': {error.strerror}"
                raise ShoalError(message) from error
            self._volumes[name] = volume
        self._tell("create", name)
        return volume

    async def remove(self, name: str, force: bool = False) -> None:
        """Remove a volume with its data. Raises Conflict while a container uses it, even with `force`."""
        volume = self.get(name)
        self._check_unused(name)
        path = self._folder / name
        if volume.options.get("device") or mounts_below(path):
            await self._mounts.unmount(volume)  # after a mount that is still under way
            self.get(name)  # removed by another meanwhile
            self._check_unused(name)
        if below := mounts_below(path):
            raise ShoalError(f"remove {name}: volume has active mounts: {below[0]}")
        gone = self._folder / f".old-{secrets.token_hex(8)}"
        os.rename(path, gone)
        del self._volumes[name]
        try:
            await asyncio.to_thread(confined.remove_tree, gone)
        except OSError as error:
            raise ShoalError(f"remove {name}: error removing volume path '{gone}': {error.strerror}") from error
        self._tell("destroy", name)

    def _check_unused(self, name: str) -> None:
        if holders := self._holders.get(name):
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(sorted(holders))}]")

    def hold(self, name: str, container_id: str) -> None:
        """Note that a container uses a volume. May be repeated."""
        self.get(name)
        self._holders.setdefault(name, set()).add(container_id)

    def release(self, name: str, container_id: str) -> None:
        """End a hold. With the last one, the mount of the volume's options is unmounted soon."""
        holders = self._holders.get(name, set())
        holders.discard(container_id)
        if not holders:
            self._holders.pop(name, None)
            volume = self._volumes.get(name)
            if volume and volume.options.get("device"):
                self._mounts.unmount_soon(volume)

    def holders(self, name: str) -> Names:
        """Return the containers that use a volume."""
        return sorted(self._holders.get(name, ()))

    async def mount(self, name: str) -> Volume:
        """Mount a held volume if its options describe a mount. May be repeated. Raises ShoalError, Unavailable."""
        volume = self.get(name)
        if volume.options.get("device"):
            await self._mounts.mount(volume)
        return volume

    def _tell(self, action: str, name: str) -> None:
        if self._events:
            self._events.emit("volume", action, name, {"driver": "local"})


def _write(path: Path, volume: Volume) -> None:
    fresh = path.with_name(f".new-{secrets.token_hex(8)}")
    try:
        fresh.mkdir(mode=0o711)
        (fresh / "_data").mkdir(mode=0o755)
        (fresh / "_data").chmod(0o755)  # despite the umask, so that containers' users can enter
        fields = {
            "created_at": volume.created_at,
            "labels": dict(volume.labels),
            "options": dict(volume.options),
            "anonymous": volume.anonymous,
        }
        write_atomic(fresh / "volume.json", json.dumps(fields).encode())
        os.rename(fresh, path)
    finally:
        if fresh.exists():
            confined.remove_tree(fresh)
