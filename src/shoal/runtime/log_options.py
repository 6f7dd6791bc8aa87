"""Reads and checks Docker's options of json-file, which say how much of a container's log is kept. Pure.

In: the driver and options of a container, and the daemon's own. Out: the effective ones, which `docker inspect` shows,
and limits. Source of names and texts: moby daemon/logger/jsonfilelog, daemon/logs.go, go-units.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shoal.errors import InvalidArgument, Unimplemented

DRIVER = "json-file"

# These choose what `docker service logs --details` shows.
_DETAILS = frozenset({"labels", "labels-regex", "env", "env-regex"})
# Options that have only these values here.
_FIXED = {"compress": ("false", "0", "f"), "mode": ("blocking",)}
_KNOWN = _DETAILS | {"max-size", "max-file", "compress", "mode", "tag", "max-buffer-size"}

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?) ?([kmgtp]?)i?b?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_MOST_BYTES = 1 << 62
MOST_FILES = 1000
"""A limit, because a reader lists all files. Docker has none."""


@dataclass(frozen=True, slots=True)
class LogDefault:
    """`log-driver` and `log-opts` of the daemon's configuration."""

    driver: str = DRIVER
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogLimits:
    """`size_bytes`: the largest size of a file; 0: unlimited. `files`: the number of files, with the present one."""

    size_bytes: int = 0
    files: int = 1


def resolve(driver: str, options: Mapping[str, str], default: LogDefault) -> tuple[str, dict[str, str]]:
    """Return the effective driver and options of a container. Raises the errors of `check`.

    If the driver is the daemon's, the daemon's options apply as well, unless the container has the same option.
    """
    driver = driver or default.driver
    merged = {**(default.options if driver == default.driver else {}), **options}
    check(driver, merged)
    return driver, merged


def check(driver: str, options: Mapping[str, str]) -> None:
    """Raise InvalidArgument or Unimplemented for a wrong or unsupported driver or option."""
    if driver != DRIVER:
        raise InvalidArgument(f"logger: no log driver named '{driver}' is registered")
    for name, value in sorted(options.items()):
        if name not in _KNOWN:
            raise InvalidArgument(f"unknown log opt '{name}' for json-file log driver")
        if name in ("tag", "max-buffer-size") or value.lower() not in _FIXED.get(name, (value.lower(),)):
            raise Unimplemented(f"the log option {name}={value} is not supported by this version of Shoal")
    limits(options)


def limits(options: Mapping[str, str]) -> LogLimits:
    """Return the limits in options. Raises InvalidArgument with Docker's words."""
    failed = "failed to initialize logging driver: "
    size = 0
    if "max-size" in options:
        size = _size(options["max-size"], failed)
        if size <= 0:
            raise InvalidArgument(f"{failed}max-size must be a positive number")
    text = options.get("max-file", "1")
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        raise InvalidArgument(f'{failed}strconv.Atoi: parsing "{text}": invalid syntax')
    files = int(text)
    if files < 1:
        raise InvalidArgument(f"{failed}max-file cannot be less than 1")
    if files > MOST_FILES:
        raise InvalidArgument(f"{failed}max-file cannot be more than {MOST_FILES}")
    return LogLimits(size, files if size else 1)


def _size(text: str, failed: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InvalidArgument(f"{failed}invalid size: '{text}'")
    return min(int(float(found[1]) * _UNITS[found[2].lower()]), _MOST_BYTES)
