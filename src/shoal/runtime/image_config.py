"""Reads an image's config and an archive's list, and checks the type of each field. Pure.

In: JSON from an image. Out: the fields that Docker knows, by Docker's names, or WrongType in the words of Go's JSON.
Docker refuses such an image when it is loaded or pulled. `lenient` leaves out wrong fields instead; it is for images
that are already on this host.

Source of the fields: moby image/image.go, api/types/container/config.go; of the words: Go's encoding/json.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from shoal.errors import InvalidArgument
from shoal.json_text import read_json
from shoal.runtime import references

MAX_CONFIG_BYTES = 8 << 20
"""Larger configs are refused. They usually have a few kilobytes; this is more than registries accept for a manifest."""

Fields = dict[str, Any]
Read = Callable[[Any, str], Any]  # takes a value and its path; raises WrongType

_NAMES = ((bool, "bool"), (str, "string"), (int, "number"), (float, "number"), (list, "array"), (dict, "object"))


class WrongType(ValueError):
    """A value has another type than its field. The text is Go's."""


def _wrong(value: Any, where: str, wanted: str, shown: str = "") -> WrongType:
    found = shown or next((name for kind, name in _NAMES if isinstance(value, kind)), "null")
    place = f"Go struct field {where}" if "." in where else "Go value"
    return WrongType(f"json: cannot unmarshal {found} into {place} of type {wanted}")


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, where, "string")
    return _clean(value)


def _clean(text: str) -> str:
    """Replace lone surrogates by U+FFFD, as Go does, because Python could not encode them."""
    return "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in text) if not text.isascii() else text


def _bool(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, where, "bool")
    return value


def _integer(kind: str) -> Read:
    def read(value: Any, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong(value, where, kind, f"number {value}" if isinstance(value, float) else "")
        if not -(1 << 63) <= value < 1 << 63:
            raise _wrong(value, where, kind, "number out of range")
        return value

    return read


def _list(kind: str, element: Read, empty: Any) -> Read:
    def read(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong(value, where, kind)
        return [empty() if one is None else element(one, where) for one in value]

    return read


def _map(kind: str, element: Read, empty: Any) -> Read:
    def read(value: Any, where: str) -> Fields:
        if not isinstance(value, dict):
            raise _wrong(value, where, kind)
        return {_clean(key): empty() if one is None else element(one, where) for key, one in value.items()}

    return read


def _nothing(value: Any, where: str) -> Fields:
    if not isinstance(value, dict):
        raise _wrong(value, where, "struct {}")
    return {}


def _words(value: Any, where: str) -> list[str]:
    """Read a command: a list of words, or a single text (moby api/types/strslice)."""
    return [_clean(value)] if isinstance(value, str) else _strings(value, where)


def _time(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise WrongType("Time.UnmarshalJSON: input is not a JSON string")
    instant(value)
    return value


def instant(text: str) -> float:
    """Return a time in Go's format in seconds since 1970. Raises WrongType."""
    head, dot, tail = text.partition(".")
    shortened = text
    if dot:  # Python 3.11 does not read nine digits
        digits = tail.rstrip("Z").split("+")[0].split("-")[0]
        shortened = f"{head}.{digits[:6].ljust(6, '0')}{tail[len(digits) :]}"
    try:
        if "T" not in shortened:
            raise ValueError("it has no time of day")
        found = datetime.fromisoformat(shortened.replace("Z", "+00:00"))
        if found.tzinfo is None:
            raise ValueError("it has no zone")
        return found.timestamp()
    except (ValueError, OverflowError) as error:
        layout = "2006-01-02T15:04:05Z07:00"
        raise WrongType(f'parsing time "{text[:64]}" as "{layout}": cannot parse it') from error


_strings = _list("[]string", _string, str)


class Struct:
    """An object with known fields. Others are left out; with `lenient`, wrong ones too."""

    def __init__(self, name: str, fields: Mapping[str, Read]) -> None:
        self.name = name
        self._fields = fields
        self._folded = {name.lower(): name for name in fields}

    def read(self, value: Any, where: str = "", *, lenient: bool = False) -> Fields:
        """Return the present fields. As in Go, names match in any case, and null counts as absent. Raises WrongType."""
        if not isinstance(value, dict):
            raise _wrong(value, f"{where}" if where else "", self.name)
        _, _, path = where.partition(".")
        prefix = f"{self.name.rpartition('.')[2]}.{f'{path}.' if path else ''}"
        found: Fields = {}
        for key, one in value.items():
            name = key if key in self._fields else self._folded.get(key.lower())
            if name is None or one is None:
                continue
            read = self._fields[name]
            try:
                if lenient and isinstance(read, Inner):
                    found[name] = read.struct.read(one, prefix + name, lenient=True)
                else:
                    found[name] = read(one, prefix + name)
            except WrongType:
                if not lenient:
                    raise
        return found


class Inner:
    """A struct as a field of another."""

    def __init__(self, struct: Struct) -> None:
        self.struct = struct

    def __call__(self, value: Any, where: str) -> Fields:
        return self.struct.read(value, where)


_DURATION = _integer("time.Duration")
_HEALTH = Struct(
    "container.HealthConfig",
    {
        "Test": _strings,
        "Interval": _DURATION,
        "Timeout": _DURATION,
        "StartPeriod": _DURATION,
        "StartInterval": _DURATION,
        "Retries": _integer("int"),
    },
)
_CONFIG = Struct(
    "container.Config",
    {
        **dict.fromkeys(("Hostname", "Domainname", "User", "Image", "WorkingDir", "MacAddress", "StopSignal"), _string),
        **dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce"), _bool),
        **dict.fromkeys(("ArgsEscaped", "NetworkDisabled"), _bool),
        **dict.fromkeys(("Cmd", "Entrypoint", "Shell"), _words),
        **dict.fromkeys(("Env", "OnBuild"), _strings),
        "ExposedPorts": _map("nat.PortSet", _nothing, dict),
        "Volumes": _map("map[string]struct {}", _nothing, dict),
        "Labels": _map("map[string]string", _string, str),
        "Healthcheck": Inner(_HEALTH),
        "StopTimeout": _integer("int"),
    },
)
_STEP = Struct(
    "image.History",
    {
        "created": _time,
        **dict.fromkeys(("author", "created_by", "comment"), _string),
        "empty_layer": _bool,
    },
)
_IMAGE = Struct(
    "image.Image",
    {
        **dict.fromkeys(("id", "parent", "comment", "container", "docker_version", "author"), _string),
        **dict.fromkeys(("architecture", "variant", "os", "os.version"), _string),
        "created": _time,
        "container_config": Inner(_CONFIG),
        "config": Inner(_CONFIG),
        "Size": _integer("int64"),
        "rootfs": Inner(Struct("image.RootFS", {"type": _string, "diff_ids": _list("[]layer.DiffID", _string, str)})),
        "history": _list("[]image.History", Inner(_STEP), dict),
        "os.features": _strings,
    },
)
_ITEMS = _list(
    "[]tarexport.manifestItem",
    Inner(Struct("tarexport.manifestItem", {"Config": _string, "RepoTags": _strings, "Layers": _strings})),
    dict,
)


def parse(data: bytes) -> tuple[Fields, tuple[str, ...]]:
    """Read an image's config. Return it with its layers' diff ids, lowest first. Raises InvalidArgument."""
    try:
        if len(data) > MAX_CONFIG_BYTES:
            raise ValueError("it is too large")
        config = _IMAGE.read(read_json(data.decode()))
        if "rootfs" not in config:
            raise WrongType("invalid image JSON, no RootFS key")
        return config, _layers(config)
    except WrongType as error:
        raise InvalidArgument(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"invalid image config: {error}") from error


def lenient(text: str) -> tuple[Fields, tuple[str, ...]]:
    """Read the config of an image on this host, without its wrong fields. Raises InvalidArgument if it is useless."""
    try:
        config = _IMAGE.read(read_json(text), lenient=True)
        return config, _layers(config)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"invalid image config: {error}") from error


def _layers(config: Fields) -> tuple[str, ...]:
    layers = tuple(config.get("rootfs", {}).get("diff_ids", ()))
    if not all(references.is_digest(layer) for layer in layers):
        raise ValueError("rootfs.diff_ids are not digests")
    return layers


def archive_items(value: Any) -> list[Fields]:
    """Read the manifest.json of an archive. Raises WrongType."""
    found: list[Fields] = _ITEMS(value, "")
    return found
