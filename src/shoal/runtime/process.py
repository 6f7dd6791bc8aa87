"""Decides what a container runs: the image's defaults merged with its config. Pure.

In: the image's `config` (JSON of the OCI image config) and a ContainerConfig. Out: argv, environment, working folder,
user, stop signal, health probe, the targets of anonymous volumes.
"""

import posixpath
import re
import signal as signals
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shoal.errors import InvalidArgument
from shoal.runtime.types import ContainerConfig, HealthConfig, Mount

# Seconds. With a shorter interval, probes would keep the host busy. An image can contain any value.
_LEAST_DURATION = 0.001
_DIGITS = re.compile(r"[0-9]{1,3}")  # of a signal; Python refuses thousands of digits, and reads those of other scripts
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Process:
    """What will run. Its user is not looked up in the image yet."""

    args: tuple[str, ...]
    env: tuple[str, ...]  # the image's and the config's, merged
    cwd: str
    user: str
    stop_signal: int
    health: HealthConfig | None
    volumes: tuple[str, ...]  # targets of the image's VOLUMEs for which there is no mount


def section(image: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the `config` part of an image config, or an empty one."""
    found = image.get("config") or image.get("Config") or {}
    return found if isinstance(found, Mapping) else {}


def argv(image: Mapping[str, Any], config: ContainerConfig) -> tuple[str, ...]:
    """Return entrypoint and command. Raises InvalidArgument if there is neither."""
    own = section(image)
    if config.entrypoint:
        result = (*(one for one in config.entrypoint if one or len(config.entrypoint) > 1), *config.command)
    else:
        result = (*(own.get("Entrypoint") or ()), *(config.command or own.get("Cmd") or ()))
    if not result:
        raise InvalidArgument("no command specified")
    return tuple(str(one) for one in result)


def merge_env(lower: Iterable[str], upper: Iterable[str]) -> tuple[str, ...]:
    """Return `lower` overridden by `upper`, each KEY once and in its first place. A bare KEY in `upper` removes it."""
    merged = {entry.partition("=")[0]: entry for entry in lower}
    for entry in upper:
        key, equals, _ = entry.partition("=")
        if equals:
            merged[key] = entry
        else:
            merged.pop(key, None)
    return tuple(merged.values())


def parse_signal(name: str) -> int:
    """Return the number of a signal, given as a number or a name with or without SIG. Raises InvalidArgument."""
    text = name.strip()
    if _DIGITS.fullmatch(text):
        number = int(text)
        if 0 < number < signals.NSIG:
            return number
        raise InvalidArgument(f"invalid signal: {name}")
    upper = text.upper().removeprefix("SIG")
    for prefix, base, sign in (("RTMIN+", signals.SIGRTMIN, 1), ("RTMAX-", signals.SIGRTMAX, -1)):
        if upper.startswith(prefix) and _DIGITS.fullmatch(upper[len(prefix) :]):
            number = base + sign * int(upper[len(prefix) :])
            if signals.SIGRTMIN <= number <= signals.SIGRTMAX:
                return int(number)
    found = signals.Signals.__members__.get(f"SIG{upper}")
    if found is None:
        raise InvalidArgument(f"invalid signal: {name}")
    return int(found)


def health(image: Mapping[str, Any], given: HealthConfig | None) -> HealthConfig | None:
    """Return the probe to run, or None. Raises InvalidArgument.

    It is the image's if none is given. A given one without a test is merged with the image's.
    """
    own = section(image).get("Healthcheck") or {}
    base = None
    if own.get("Test"):
        base = HealthConfig(
            test=tuple(own["Test"]),
            interval=(own.get("Interval") or 0) / 1e9,
            timeout=(own.get("Timeout") or 0) / 1e9,
            start_period=(own.get("StartPeriod") or 0) / 1e9,
            start_interval=(own.get("StartInterval") or 0) / 1e9,
            retries=own.get("Retries") or 0,
        )
    if given is None:
        merged = base
    elif given.test or base is None:
        merged = given
    else:  # moby daemon/commit.go merges field by field
        merged = replace(
            given,
            test=base.test,
            interval=given.interval or base.interval,
            timeout=given.timeout or base.timeout,
            start_period=given.start_period or base.start_period,
            start_interval=given.start_interval or base.start_interval,
            retries=given.retries or base.retries,
        )
    # As in Docker, any other kind means NONE (moby daemon/health.go, getProbe).
    if merged is None or len(merged.test) < 2 or merged.test[0] not in ("CMD", "CMD-SHELL"):
        return None
    for name, value in (
        ("Interval", merged.interval),
        ("Timeout", merged.timeout),
        ("StartPeriod", merged.start_period),
        ("StartInterval", merged.start_interval),
    ):
        if value and value < _LEAST_DURATION:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if merged.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")
    return merged


def declared_volumes(image: Mapping[str, Any], mounts: Iterable[Mount]) -> tuple[str, ...]:
    """Return the targets of the image's VOLUMEs for which there is no mount."""
    taken = {posixpath.normpath(mount.target) for mount in mounts}
    declared = (posixpath.normpath("/" + str(target).lstrip("/")) for target in section(image).get("Volumes") or {})
    return tuple(target for target in dict.fromkeys(declared) if target not in taken and target != "/")


def process(image: Mapping[str, Any], config: ContainerConfig) -> Process:
    """Merge an image's config and a container's. Raises InvalidArgument for what can run on no host."""
    own = section(image)
    cwd = config.working_dir or own.get("WorkingDir") or "/"
    if not cwd.startswith("/"):
        raise InvalidArgument(f"the working directory '{cwd}' is invalid, it needs to be an absolute path")
    made = Process(
        args=argv(image, config),
        env=merge_env(own.get("Env") or (), config.env),
        cwd=posixpath.normpath(cwd),
        user=config.user or own.get("User") or "",
        stop_signal=parse_signal(config.stop_signal or own.get("StopSignal") or "SIGTERM"),
        health=health(image, config.health),
        volumes=declared_volumes(image, config.mounts),
    )
    for what, texts in (
        ("command", made.args),
        ("environment", made.env),
        ("working directory", (made.cwd,)),
        ("user", (made.user,)),
        ("volume", made.volumes),
        ("mount", [text for mount in config.mounts for text in (mount.target, mount.source, mount.subpath)]),
        ("host name", (config.hostname, config.domainname)),
        ("group", config.groups),
    ):
        if any("\0" in text for text in texts):  # arguments and paths of the kernel cannot contain it
            raise InvalidArgument(f"the {what} is invalid: it contains a NUL byte")
    return made


def environment(entries: Iterable[str], hostname: str, home: str, *, tty: bool) -> tuple[str, ...]:
    """Return the environment of a process. As in Docker, missing PATH, HOSTNAME, TERM and HOME are added."""
    first = [DEFAULT_PATH, f"HOSTNAME={hostname}"]
    if tty:
        first.append("TERM=xterm")
    merged = merge_env(first, entries)
    if not any(entry.startswith("HOME=") for entry in merged):
        merged = (*merged, f"HOME={home}")
    return merged
