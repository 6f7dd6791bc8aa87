"""The `platform` of a call about images: this host's passes, another one is refused, not ignored.

Source of the two spellings: containerd platforms.Parse, moby daemon/server/httputils/form.go (DecodePlatform).
"""

import json

from shoal.engine.requests import Call
from shoal.errors import Unimplemented

# Other names for what Go calls otherwise. Source: containerd platforms/database.go.
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}


def refuse_others(call: Call) -> None:
    """Raise Unimplemented when a call asks for another platform: its programs would not run here."""
    here = call.backend.host.architecture
    for name in ("platform", "platforms"):
        for text in call.http.query.getall(name, []):
            if text and _architecture(text, here) != here:
                raise Unimplemented(
                    f"images for {text} are not supported by this daemon: it takes those for linux/{here}"
                )


def _architecture(platform: str, here: str) -> str:
    """Return the processor of `linux/arm64` or `{"os": "linux", "architecture": "arm64"}`; empty for another system."""
    try:
        given = json.loads(platform)
    except (ValueError, RecursionError):
        system, _, rest = platform.lower().partition("/")
        if system == "linux":
            named = rest.partition("/")[0] or here
        elif rest:
            named = ""
        else:
            named = system  # a processor alone is one of Linux
    else:
        is_linux = isinstance(given, dict) and given.get("os") == "linux"
        named = str(given.get("architecture")) if is_linux else ""
    return _ARCHITECTURES.get(named, named)
