"""Which platforms an image runs on, and whether a node is one of them.

In: what the image's manifest lists, a node; out: a bool. Names of architectures are brought to Go's on both sides.
Source: SwarmKit manager/scheduler/filter.go (`PlatformFilter`); further names: containerd platforms/database.go.
"""

from collections.abc import Collection, Iterable

from shoal.api import v1 as api

Platform = tuple[str, str]  # architecture, operating system; empty: any

_SAME_ARCHITECTURE = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "i686": "386",
    "armhf": "arm",
    "armel": "arm",
    "armv6l": "arm",
    "armv7l": "arm",
}

# How BuildKit marks what is no program: attestations in an image's index (moby/moby#53012).
_UNKNOWN = "unknown"


def wanted(listed: Iterable[api.Platform]) -> tuple[Platform, ...]:
    """Return those that an image is for, out of what its manifest lists; none: it runs anywhere."""
    return tuple(named(one) for one in listed if _UNKNOWN not in (one.architecture, one.os))


def matches(wanted: Collection[Platform], node: api.Node) -> bool:
    """Return whether a node is one of the wanted platforms, or none is wanted."""
    if not wanted:
        return True
    if not node.description.HasField("platform"):
        return False
    there = named(node.description.platform)
    return any(architecture in ("", there[0]) and system in ("", there[1]) for architecture, system in wanted)


def named(given: api.Platform) -> Platform:
    """Return an image's or a node's platform with the architecture under Go's name."""
    return _SAME_ARCHITECTURE.get(given.architecture, given.architecture), given.os
