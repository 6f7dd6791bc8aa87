"""Parses a CDI file, in which a vendor describes what a container needs to use each of its devices. Pure.

In: the value of its JSON or YAML. Out: a `CdiSpec`, or BadCdi with one line. Everything in it is checked: types,
bounds, names, absolute paths. As in Docker, a field that the specification does not have is refused. Source: the
Container Device Interface, cncf-tags/container-device-interface, SPEC.md, versions 0.1.0 to 0.8.0.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

VERSIONS = frozenset({"0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0"})
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

MAX_DEVICES = 512
MAX_ENTRIES = 2048  # in one list of edits; NVIDIA's files name over a hundred libraries
MAX_NAME = 128
MAX_TEXT = 4096  # a path, a variable, an argument
MAX_ID = 2**32 - 2

_VENDOR = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?", re.ASCII)
_DEVICE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?", re.ASCII)

T = TypeVar("T")


class BadCdi(ValueError):
    """A file that is not a valid CDI file. The message says where it is wrong."""


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device file. An empty `type` or a `major` of 0 is taken from the host's file at `host_path`, or else `path`."""

    path: str
    host_path: str = ""
    type: str = ""  # b, c, u, p
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    permissions: str = ""  # letters of r, w, m; empty means all
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class CdiMount:
    """A mount of a path of the host."""

    host_path: str
    container_path: str
    options: tuple[str, ...] = ()
    type: str = ""


@dataclass(frozen=True, slots=True)
class Hook:
    """A program of the host that the OCI runtime runs, as root, at one of the moments in `HOOKS`."""

    name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class Edits:
    """Changes of a container's OCI config. `intel_rdt` has the names of the OCI config."""

    env: tuple[str, ...] = ()
    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[CdiMount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    gids: tuple[int, ...] = ()
    intel_rdt: tuple[tuple[str, Any], ...] = ()

    def __bool__(self) -> bool:
        return self != NO_EDITS


NO_EDITS = Edits()


@dataclass(frozen=True, slots=True)
class CdiSpec:
    """One file. `kind` is vendor/class; `edits` apply to every device in it. Devices are in the file's order."""

    kind: str
    devices: Mapping[str, Edits]
    edits: Edits = NO_EDITS


def parse(value: Any) -> CdiSpec:
    """Return a parsed file. Raises BadCdi for the first mistake."""
    top = _Object(value, "the file")
    version = top.text("cdiVersion").removeprefix("v")
    if version not in VERSIONS:
        raise BadCdi(f"cdiVersion: {_shown(version)} is not one of {', '.join(sorted(VERSIONS))}")
    kind = check_kind(top.text("kind"))
    top.take("annotations")
    edits = _edits(top.take("containerEdits"), "containerEdits")
    devices: dict[str, Edits] = {}
    for number, each in enumerate(_list(top.take("devices"), "devices", MAX_DEVICES)):
        device = _Object(each, f"devices[{number}]")
        name = device.text("name")
        if len(name) > MAX_NAME or not _DEVICE.fullmatch(name):
            raise BadCdi(f"devices[{number}].name: {_shown(name)} is no name of a device")
        if name in devices:
            raise BadCdi(f"devices[{number}].name: {name} is there twice")
        device.take("annotations")
        own = _edits(device.take("containerEdits"), f"devices[{number}].containerEdits")
        if not own:
            raise BadCdi(f"devices[{number}]: {name} changes nothing in a container")
        device.end()
        devices[name] = own
    if not devices:
        raise BadCdi("devices: there are none")
    top.end()
    return CdiSpec(kind, devices, edits)


def check_kind(kind: str) -> str:
    """Return a kind (vendor/class). Raises BadCdi if it is malformed."""
    vendor, slash, device_class = kind.partition("/")
    if not slash or len(kind) > MAX_NAME or not _VENDOR.fullmatch(vendor) or not _VENDOR.fullmatch(device_class):
        raise BadCdi(f"kind: {_shown(kind)} is not vendor/class")
    return kind


class _Object:
    """A JSON object whose members are taken one by one, so that unknown members remain at the end."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise BadCdi(f"{where}: it is no object")
        self._left = dict(value)
        self._where = where

    def take(self, name: str) -> Any:
        return self._left.pop(name, None)

    def text(self, name: str, default: str | None = None) -> str:
        value = self.take(name)
        if value is None and default is not None:
            return default
        # YAML reads `name: 0` as a number, but Go's reader gives the text.
        return _text(str(value) if type(value) is int and name == "name" else value, f"{self._where}.{name}")

    def number(self, name: str, lowest: int, highest: int) -> int | None:
        value = self.take(name)
        if value is None:
            return None
        if type(value) is not int or not lowest <= value <= highest:
            raise BadCdi(f"{self._where}.{name}: it is no whole number from {lowest} to {highest}")
        return value

    def path(self, name: str, default: str | None = None) -> str:
        value = self.text(name, default)
        if value != default and (not value.startswith("/") or {".", ".."} & set(value.split("/"))):
            raise BadCdi(f"{self._where}.{name}: {_shown(value)} is no absolute path, or has . or .. in it")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        where = f"{self._where}.{name}"
        return tuple(_text(each, where) for each in _list(self.take(name), where, MAX_ENTRIES))

    def variables(self, name: str) -> tuple[str, ...]:
        found = self.texts(name)
        for each in found:
            if each.find("=") < 1:
                raise BadCdi(f"{self._where}.{name}: {_shown(each)} is not NAME=value")
        return found

    def each(self, name: str, read: Callable[["_Object"], T]) -> tuple[T, ...]:
        result = []
        for number, value in enumerate(_list(self.take(name), f"{self._where}.{name}", MAX_ENTRIES)):
            entry = _Object(value, f"{self._where}.{name}[{number}]")
            result.append(read(entry))
            entry.end()
        return tuple(result)

    def wrong(self, name: str, why: str) -> BadCdi:
        return BadCdi(f"{self._where}.{name}: {why}")

    def end(self) -> None:
        """Raise BadCdi if a member was not taken."""
        if self._left:
            unknown = min(map(str, self._left))
            raise BadCdi(f"{self._where}: the specification has no field {_shown(unknown)}")


def _edits(value: Any, where: str) -> Edits:
    if value is None:
        return NO_EDITS
    given = _Object(value, where)
    gids = _list(given.take("additionalGids"), f"{where}.additionalGids", MAX_ENTRIES)
    if not all(type(gid) is int and 0 <= gid <= MAX_ID for gid in gids):
        raise BadCdi(f"{where}.additionalGids: they are not all ids of groups")
    edits = Edits(
        env=given.variables("env"),
        nodes=given.each("deviceNodes", _node),
        mounts=given.each("mounts", _mount),
        hooks=given.each("hooks", _hook),
        gids=tuple(gids),
        intel_rdt=_intel_rdt(given.take("intelRdt"), f"{where}.intelRdt"),
    )
    given.end()
    return edits


def _node(given: _Object) -> DeviceNode:
    node = DeviceNode(
        path=given.path("path"),
        host_path=given.path("hostPath", ""),
        type=given.text("type", ""),
        major=given.number("major", 0, 2**31 - 1) or 0,
        minor=given.number("minor", 0, 2**31 - 1) or 0,
        file_mode=given.number("fileMode", 0, 0o7777),
        permissions=given.text("permissions", ""),
        uid=given.number("uid", 0, MAX_ID),
        gid=given.number("gid", 0, MAX_ID),
    )
    if node.type not in ("", "b", "c", "u", "p"):
        raise given.wrong("type", f"{_shown(node.type)} is none of b, c, u, p")
    if not node.path.startswith("/dev/"):
        raise given.wrong("path", f"{_shown(node.path)} is not below /dev")
    if set(node.permissions) - set("rwm"):
        raise given.wrong("permissions", f"{_shown(node.permissions)} is not made of r, w and m")
    return node


def _mount(given: _Object) -> CdiMount:
    return CdiMount(
        host_path=given.path("hostPath"),
        container_path=given.path("containerPath"),
        options=given.texts("options"),
        type=given.text("type", ""),
    )


def _hook(given: _Object) -> Hook:
    hook = Hook(
        name=given.text("hookName"),
        path=given.path("path"),
        args=given.texts("args"),
        env=given.variables("env"),
        timeout=given.number("timeout", 0, 3600),
    )
    if hook.name not in HOOKS:
        raise given.wrong("hookName", f"{_shown(hook.name)} is none of {', '.join(HOOKS)}")
    return hook


def _intel_rdt(value: Any, where: str) -> tuple[tuple[str, Any], ...]:
    if value is None:
        return ()
    given = _Object(value, where)
    found: dict[str, Any] = {name: given.text(name, "") for name in ("closID", "l3CacheSchema", "memBwSchema")}
    if len(found["closID"]) >= MAX_TEXT or found["closID"] in (".", "..") or set(found["closID"]) & set("/\n"):
        raise BadCdi(f"{where}.closID: it is no name")
    for name in ("enableCMT", "enableMBM"):
        found[name] = given.take(name)
        if not isinstance(found[name], bool | None):
            raise BadCdi(f"{where}.{name}: it is neither true nor false")
    given.end()
    return tuple((name, each) for name, each in found.items() if each)


def _list(value: Any, where: str, most: int) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadCdi(f"{where}: it is no list")
    if len(value) > most:
        raise BadCdi(f"{where}: it has more than {most} entries")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BadCdi(f"{where}: it is missing" if value is None else f"{where}: it is no text")
    if len(value) > MAX_TEXT or "\0" in value:
        raise BadCdi(f"{where}: it is longer than {MAX_TEXT} characters, or has a NUL in it")
    return value


def _shown(text: str) -> str:
    return repr(text[:64])
