"""Which platforms an image runs on, and whether a node is one of them.

In: what the image's manifest lists, a node; out: a bool. On both sides architectures are translated to Go's names.
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

# The platform that BuildKit gives to attestations in an image's index, which are no programs (moby/moby#53012).
_UNKNOWN = "unknown"


def wanted(listed: Iterable[api.Platform]) -> tuple[Platform, ...]:
    """Return the platforms of an image from what its manifest lists; empty if it runs anywhere."""
    return tuple(named(one) for one in listed if _UNKNOWN not in (one.architecture, one.os))


def matches(wanted: Collection[Platform], node: api.Node) -> bool:
    """Return whether a node has one of the wanted platforms. With no wanted platform every node matches."""
    if not wanted:
        return True
    if not node.description.HasField("platform"):
        return False
    there = named(node.description.platform)
    return any(architecture in ("", there[0]) and system in ("", there[1]) for architecture, system in wanted)


def named(given: api.Platform) -> Platform:
    """Return a platform with Go's name of the architecture."""
    return _SAME_ARCHITECTURE.get(given.architecture, given.architecture), given.os
