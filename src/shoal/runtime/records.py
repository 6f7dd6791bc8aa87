"""Containers on disk: config.json (written once), state.json (after the end), and the state of a running one.

    data_root/containers/<id>/config.json     flushed at create; without it, a folder is not a container
    data_root/containers/<id>/state.json      how it ended
    exec_root/containers/<id>/state.json      that it runs, with pids and times; a reboot removes it

In: Container values. Out: the same, or DamagedState, which names the file. Blocking.

A file contains the number of its format. A file without a number has format 1, in which a container had a single
endpoint with the path of its network namespace. Both formats are read; the newest is written.
"""

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from shoal.errors import DamagedState
from shoal.files import write_atomic
from shoal.json_text import read_json
from shoal.runtime.types import Container

T = TypeVar("T")

CONFIG, STATE = "config.json", "state.json"
FORMAT = 2

# The fields of a container's state; all others are its config.
_STATE_FIELDS = (
    "phase", "started_at", "finished_at", "pid", "exit_code", "oom_killed", "error", "health", "failing_streak",
    "probes", "restart_count", "sandbox", "apparmor_profile",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Running:
    """What is needed to find a running container again."""

    conmon_pid: int
    conmon_started: int  # clock ticks since boot, to distinguish it from a later process with the same pid
    pid_started: int


def encode(value: Any) -> Any:
    """Return a dataclass as plain JSON values."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if dataclasses.is_dataclass(value):
        return {name: encode(getattr(value, name)) for name in _hints(type(value))}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [encode(one) for one in value]
    return value


_known_hints: dict[Any, dict[str, Any]] = {}


def _hints(kind: Any) -> dict[str, Any]:
    found = _known_hints.get(kind)
    if found is None:
        found = _known_hints[kind] = typing.get_type_hints(kind)
    return found


def decode(kind: type[T], data: Any) -> T:
    """Return a dataclass from plain JSON values. Unknown keys are ignored. Raises KeyError, TypeError, ValueError."""
    if not isinstance(data, dict):
        raise TypeError(f"{kind.__name__} is not an object")
    hints = _hints(kind)
    return kind(**{name: _value(hints[name], data[name]) for name in hints if name in data})


def _value(hint: Any, data: Any) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if data is None:
            return None
        return _value(next(one for one in args if one is not type(None)), data)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_value(args[0], one) for one in data)
        return tuple(_value(one, item) for one, item in zip(args, data, strict=True))
    if origin is typing.Literal or hint is Any:
        return data
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _value(args[1], one) for key, one in data.items()}
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast(type, hint), data)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(data)
    if hint is float:
        return float(data)
    if not isinstance(data, hint):
        raise TypeError(f"{data!r} is not of type {hint.__name__}")
    return data


def write_config(folder: Path, container: Container) -> None:
    """Write a container's config. The file is flushed, so that no folder ever has an incomplete config.

    The folder's entry is not flushed: after a power failure nothing runs, and the container's task is replaced anyway.
    """
    data = {"format": FORMAT, **encode(container)}
    for name in _STATE_FIELDS:
        if name != "sandbox":
            del data[name]
    write_atomic(folder / CONFIG, json.dumps(data).encode(), lasting=False)


def write_state(folder: Path, container: Container, running: Running | None = None) -> None:
    """Write the state atomically. It is not flushed, because after a power failure the container has ended anyway."""
    data = {"format": FORMAT, **{name: encode(getattr(container, name)) for name in _STATE_FIELDS}}
    if running is not None:
        data["running"] = encode(running)
    temporary = folder / f".{STATE}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(json.dumps(data).encode())
    temporary.rename(folder / STATE)


def read_config(folder: Path) -> Container | None:
    """Return the container of a folder, or None if it has no config yet. Raises DamagedState."""
    data = _read(folder / CONFIG)
    if data is None:
        return None
    data.setdefault("phase", "created")
    try:
        container = decode(Container, data)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedState(str(folder / CONFIG), str(error)) from error
    if container.id != folder.name:
        raise DamagedState(str(folder / CONFIG), f"it is the config of {container.id!r}")
    return container


def read_state(folder: Path, container: Container) -> tuple[Container, Running | None] | None:
    """Return the container with the state in a folder, or None if there is no state. Raises DamagedState."""
    data = _read(folder / STATE)
    if data is None:
        return None
    try:
        hints = _hints(Container)
        changes = {name: _value(hints[name], data[name]) for name in _STATE_FIELDS if name in data}
        running = decode(Running, data["running"]) if data.get("running") else None
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedState(str(folder / STATE), str(error)) from error
    return dataclasses.replace(container, **changes), running


def _read(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    if not text and path.name == STATE:
        # A state is not flushed. After a power failure, most file systems may have its name without its content. Then
        # it is unknown how the container ended, but the container must not count as damaged.
        return None
    try:
        data = read_json(text, halves=True)
    except ValueError as error:
        raise DamagedState(str(path), str(error)) from error
    if not isinstance(data, dict):
        raise DamagedState(str(path), "it is not an object")
    return _as_of_today(path, data)


def _as_of_today(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return a file's data in the present format."""
    found = data.pop("format", 1)
    if found == FORMAT:
        return data
    if found != 1:
        raise DamagedState(str(path), f"its format {found} is not one that this program reads, which are 1 to {FORMAT}")
    endpoint = data.pop("endpoint", None)
    if endpoint is None:
        return data
    if not isinstance(endpoint, dict):
        raise DamagedState(str(path), "its endpoint is not an object")
    netns = endpoint.pop("netns", "")
    # In format 1, an ended container had an endpoint without an id.
    data["sandbox"] = {"netns": netns, "endpoints": [endpoint] if endpoint.get("endpoint_id") else []}
    return data
