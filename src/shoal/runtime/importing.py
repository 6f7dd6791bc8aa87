"""Makes the config of an image from `docker import`: a bare root file system with `--change` instructions. Pure.

Source of the allowed instructions: moby builder/dockerfile/dispatchers, daemon/internal/image (validCommitCommands).
"""

import json
import re
import shlex
from collections.abc import Iterable
from typing import Any

from shoal.errors import InvalidArgument
from shoal.json_text import read_json
from shoal.runtime.manifests import host_platform

Config = dict[str, Any]
_PORT, _COUNT = re.compile(r"[0-9]{1,5}"), re.compile(r"[0-9]{1,9}")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")
_LONGEST_DURATION = 64
_UNIT_NANOS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_HEALTH_FLAGS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
    "retries": "Retries",
}


def image_config(diff_id: str, created: str, message: str, changes: Iterable[str]) -> bytes:
    """Return the config of an image with one layer. Raises InvalidArgument for a malformed change."""
    config: Config = {}
    for change in changes:
        apply_change(config, change)
    where = host_platform()
    fields: Config = {
        "architecture": where.architecture,
        "comment": message,
        "config": config,
        "created": created,
        "history": [{"created": created, "comment": message}],
        "os": where.os,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    if where.variant:
        fields["variant"] = where.variant
    return json.dumps(fields, separators=(",", ":")).encode()


def apply_change(config: Config, change: str) -> None:
    """Apply one Dockerfile instruction to an image's `config`. Raises InvalidArgument."""
    word, _, rest = change.strip().partition(" ")
    word, rest = word.upper(), rest.strip()
    if not word:
        return
    handler = _HANDLERS.get(word)
    if handler is None:
        raise InvalidArgument(f"{word.lower()} is not a valid change command")
    if not rest:
        raise InvalidArgument(f"{word} requires at least one argument")
    handler(config, rest)


def _json_list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        words = read_json(text)
    except ValueError:
        return None  # as in Docker, text that is not JSON is for the shell
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


def _command(text: str) -> list[str]:
    words = _json_list(text)
    return ["/bin/sh", "-c", text] if words is None else words


def _words(instruction: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidArgument(f"{instruction}: {error}") from error


def _cmd(config: Config, text: str) -> None:
    config["Cmd"] = _command(text)


def _entrypoint(config: Config, text: str) -> None:
    config["Entrypoint"] = _command(text)


def _pairs(instruction: str, text: str) -> list[tuple[str, str]]:
    words = _words(instruction, text)
    if words and "=" not in words[0]:
        name, _, value = text.partition(" ")  # the old form: ENV name the whole rest
        if not value:
            raise InvalidArgument(f"{instruction} must have two arguments")
        return [(name, value.strip())]
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise InvalidArgument(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        pairs.append((name, value))
    return pairs


def _env(config: Config, text: str) -> None:
    env = dict(entry.partition("=")[::2] for entry in config.get("Env", ()))
    env.update(_pairs("ENV", text))
    config["Env"] = [f"{name}={value}" for name, value in env.items()]


def _label(config: Config, text: str) -> None:
    config.setdefault("Labels", {}).update(_pairs("LABEL", text))


def _expose(config: Config, text: str) -> None:
    for word in _words("EXPOSE", text):
        number, _, protocol = word.partition("/")
        first, _, last = number.partition("-")
        last = last or first
        protocol = protocol.lower() or "tcp"
        if not (_PORT.fullmatch(first) and _PORT.fullmatch(last) and 0 < int(first) <= int(last) <= 65535):
            raise InvalidArgument(f"invalid containerPort: {word}")
        if protocol not in ("tcp", "udp", "sctp"):
            raise InvalidArgument(f"invalid proto: {protocol}")
        for port in range(int(first), int(last) + 1):
            config.setdefault("ExposedPorts", {})[f"{port}/{protocol}"] = {}


def _user(config: Config, text: str) -> None:
    config["User"] = text


def _stop_signal(config: Config, text: str) -> None:
    config["StopSignal"] = text


def _on_build(config: Config, text: str) -> None:
    config.setdefault("OnBuild", []).append(text)


def _volume(config: Config, text: str) -> None:
    for path in _json_list(text) or _words("VOLUME", text):
        if not path.strip():
            raise InvalidArgument("VOLUME specified can not be an empty string")
        config.setdefault("Volumes", {})[path] = {}


def _workdir(config: Config, text: str) -> None:
    before = str(config.get("WorkingDir") or "/")
    parts: list[str] = []
    for part in (text if text.startswith("/") else f"{before}/{text}").split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    config["WorkingDir"] = "/" + "/".join(parts)


def _healthcheck(config: Config, text: str) -> None:
    health: Config = {}
    while text.startswith("--"):
        flag, _, text = text.partition(" ")
        name, _, value = flag[2:].partition("=")
        field = _HEALTH_FLAGS.get(name)
        if field is None:
            raise InvalidArgument(f"unknown flag: --{name}")
        health[field] = int(value) if name == "retries" and _COUNT.fullmatch(value) else _nanos(value)
        text = text.lstrip()
    kind, _, command = text.partition(" ")
    if kind.upper() == "NONE" and not command and not health:
        health["Test"] = ["NONE"]
    elif kind.upper() == "CMD" and command.strip():
        words = _json_list(command.strip())
        health["Test"] = ["CMD-SHELL", command.strip()] if words is None else ["CMD", *words]
    else:
        raise InvalidArgument(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
    config["Healthcheck"] = health


def _nanos(text: str) -> int:
    # In a long row of digits the pattern is tried from each of them.
    parts = _DURATION.findall(text) if len(text) <= _LONGEST_DURATION else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgument(f'time: invalid duration "{text}"')
    length = sum(float(number) * _UNIT_NANOS[unit] for number, unit in parts)
    if length >= 1 << 63:  # Go's type for durations holds no more
        raise InvalidArgument(f'time: invalid duration "{text}"')
    return round(length)


_HANDLERS = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
