"""Checks the `platform` of a call about images: this host's is accepted, any other is refused.

Source of the two spellings: containerd platforms.Parse, moby daemon/server/httputils/form.go (DecodePlatform).
"""

import re

from shoal.engine.requests import Call
from shoal.errors import InvalidArgument, Unimplemented
from shoal.json_text import read_json

# Other names of architectures, with Go's. Source: containerd platforms/database.go.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
    "i386": "386",
}
# Go's systems and architectures. A single word must be one of these. Source: containerd platforms/database.go.
_SYSTEMS = frozenset(
    {"aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "nacl"}
    | {"netbsd", "openbsd", "plan9", "solaris", "windows", "zos"}
)
_KNOWN = frozenset(
    {"386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "ppc64", "ppc64le", "loong64", "mips", "mipsle"}
    | {"mips64", "mips64le", "mips64p32", "mips64p32le", "ppc", "riscv", "riscv64", "s390", "s390x", "sparc"}
    | {"sparc64", "wasm"}
)
_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+")


def refuse_others(call: Call) -> None:
    """Raise Unimplemented if a call asks for another platform, whose programs would not run here."""
    here = call.backend.host.architecture
    for name in ("platform", "platforms"):
        for text in call.http.query.getall(name, []):
            if text and _architecture(text, here) != here:
                raise Unimplemented(
                    f"images for {text} are not supported by this daemon: it takes those for linux/{here}"
                )


def _check(platform: str) -> None:
    """Raise InvalidArgument, in containerd's words, for a malformed platform."""
    parts = platform.split("/")
    if "*" in platform:
        raise InvalidArgument(f'"{platform}": wildcards not yet supported: invalid argument')
    for part in parts:
        if _COMPONENT.fullmatch(part) is None:
            form = f'platform specifier component must match "^{_COMPONENT.pattern}$"'
            raise InvalidArgument(f'"{part}" is an invalid component of "{platform}": {form}: invalid argument')
    if len(parts) > 3:
        raise InvalidArgument(f'"{platform}": cannot parse platform specifier: invalid argument')
    if len(parts) == 1 and platform.lower() not in {*_SYSTEMS, *_KNOWN, *_ARCHITECTURES}:
        raise InvalidArgument(f'"{platform}": unknown operating system or architecture: invalid argument')


def _architecture(platform: str, here: str) -> str:
    """Return the architecture of a platform, or an empty text if its system is not Linux.

    A platform is `linux/arm64` or `{"os": "linux", "architecture": "arm64"}`.
    """
    try:
        given = read_json(platform)
    except (ValueError, RecursionError):
        _check(platform)
        system, _, rest = platform.lower().partition("/")
        if system == "linux":
            named = rest.partition("/")[0] or here
        elif rest:
            named = ""
        else:
            named = system  # a single architecture means Linux
    else:
        is_linux = isinstance(given, dict) and given.get("os") == "linux"
        named = str(given.get("architecture")) if is_linux else ""
    return _ARCHITECTURES.get(named, named)
