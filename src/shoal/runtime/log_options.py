"""How much of a container's log is kept: Docker's options of json-file, read and checked. Pure.

In: the driver and options that were asked for, and the daemon's own. Out: those that hold, as `docker inspect` shows
them, and limits. Source of names and texts: moby daemon/logger/jsonfilelog, daemon/logs.go, go-units.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shoal.errors import InvalidArgument, Unimplemented

DRIVER = "json-file"

# They choose what `docker service logs --details` shows.
_DETAILS = frozenset({"labels", "labels-regex", "env", "env-regex"})
# What is always so, and may be asked for.
_FIXED = {"compress": ("false", "0", "f"), "mode": ("blocking",)}
_KNOWN = _DETAILS | {"max-size", "max-file", "compress", "mode", "tag", "max-buffer-size"}

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?) ?([kmgtp]?)i?b?", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_MOST_BYTES = 1 << 62
MOST_FILES = 1000
"""A reader looks at each file's name; Docker has no limit."""


@dataclass(frozen=True, slots=True)
class LogDefault:
    """What the daemon's configuration says: `log-driver` and `log-opts`."""

    driver: str = DRIVER
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogLimits:
    """`size_bytes`: how large one file gets, 0 without limit. `files`: how many there are, the present one included."""

    size_bytes: int = 0
    files: int = 1


def resolve(driver: str, options: Mapping[str, str], default: LogDefault) -> tuple[str, dict[str, str]]:
    """Return the driver and options that hold for a container. InvalidArgument for what is none.

    The daemon's options come in where the driver is the daemon's, and its own say nothing else.
    """
    driver = driver or default.driver
    merged = {**(default.options if driver == default.driver else {}), **options}
    check(driver, merged)
    return driver, merged


def check(driver: str, options: Mapping[str, str]) -> None:
    """InvalidArgument or Unimplemented for a driver or an option that cannot be."""
    if driver != DRIVER:
        raise InvalidArgument(f"logger: no log driver named '{driver}' is registered")
    for name, value in sorted(options.items()):
        if name not in _KNOWN:
            raise InvalidArgument(f"unknown log opt '{name}' for json-file log driver")
        if name in ("tag", "max-buffer-size") or value.lower() not in _FIXED.get(name, (value.lower(),)):
            raise Unimplemented(f"the log option {name}={value} is not supported by this version of Shoal")
    limits(options)


def limits(options: Mapping[str, str]) -> LogLimits:
    """Return the limits that options set. InvalidArgument with Docker's words."""
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
