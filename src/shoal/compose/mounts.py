"""Mounts in short form: `[SOURCE:]TARGET[:OPTIONS]`."""

import posixpath
from typing import Any

_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


class BadMount(ValueError):
    """A text is no mount; the text says why."""


def split(text: str) -> dict[str, Any]:
    """Return a mount in long form. A source that begins with `.`, `/` or `~` is a path of the host. Raises BadMount."""
    if not text:
        raise BadMount("there is nothing to mount")
    parts = text.split(":")
    if len(parts) > 3:
        raise BadMount(f"{text!r} has too many colons: SOURCE:TARGET:OPTIONS")
    if not all(parts):
        raise BadMount(f"{text!r} has nothing between, before or after a colon")
    source, target, options = ("", parts[0], "") if len(parts) == 1 else (parts[0], parts[1], "".join(parts[2:]))
    made: dict[str, Any] = {"type": "bind" if source[:1] in tuple("./~") and source else "volume"}
    if source:
        made["source"] = source
    made["target"] = posixpath.normpath(target)
    inner: dict[str, Any] = {"create_host_path": True} if made["type"] == "bind" else {}
    for option in options.split(",") if options else ():
        _apply(option, made, inner)
    if inner:
        made[made["type"]] = inner
    return made


def _apply(option: str, made: dict[str, Any], inner: dict[str, Any]) -> None:
    is_bind = made["type"] == "bind"
    if option in ("ro", "rw"):
        made["read_only"] = option == "ro"
    elif option in _PROPAGATIONS and is_bind:
        inner["propagation"] = option
    elif option in ("z", "Z"):  # is below `bind` of a volume too
        (inner if is_bind else made.setdefault("bind", {}))["selinux"] = option
    elif option == "nocopy" and not is_bind:
        inner["nocopy"] = True
    elif option not in ("cached", "delegated", "consistent", "nocopy"):
        raise BadMount(f"{option!r} is no option of a mount")
