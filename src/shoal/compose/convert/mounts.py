"""A service's volumes, as the Engine API's mounts."""

from typing import Any

from shoal.compose import units
from shoal.compose.convert.namespace import labelled
from shoal.compose.convert.values import given
from shoal.compose.errors import ComposeError
from shoal.compose.node import Node
from shoal.compose.project import Project

_OPTIONS = ("bind", "volume", "tmpfs", "image")
_RECURSIVE = {"disabled": "NonRecursive", "readonly": "ReadOnlyForceRecursive", "writable": "ReadOnlyNonRecursive"}


def mounts(name: str, service: Node, project: Project) -> list[dict[str, Any]]:
    """Return the mounts of a service. Raises ComposeError."""
    found = []
    for number, each in enumerate((service.get("volumes") or Node([], service.place)).items):
        found.append(_mount(each, f"services.{name}.volumes[{number}]", project))
    for number, each in enumerate((service.get("tmpfs") or Node([], service.place)).items):
        found.append(_tmpfs(each, f"services.{name}.tmpfs[{number}]"))
    return found


def _mount(each: Node, key: str, project: Project) -> dict[str, Any]:
    kind, source = str(each.find("type")), str(each.find("source") or "")
    for other in _OPTIONS:
        if other == "bind" and kind == "volume" and {*(each.find(other) or ())} <= {"selinux"}:
            continue  # `data:/data:z`
        if other != kind and other in each.entries:
            raise ComposeError(each.entries[other].named_at, f"{key}.{other}", f"is not for a mount of type {kind}")
    made = {"Type": kind, "Source": source, "Target": each.find("target"), "ReadOnly": bool(each.find("read_only"))}
    made |= given(Consistency=each.find("consistency"))
    if kind == "volume":
        return made | _volume(each, source, project)
    if kind == "tmpfs" and source:
        raise ComposeError(each.entries["source"].named_at, f"{key}.source", "a tmpfs has no source")
    if kind in ("image", "npipe", "cluster") and not source:
        raise ComposeError(each.place, key, f"a mount of type {kind} must have the key source")
    if kind == "cluster":
        volume = project.volumes.get(source)
        if volume is None and not source.startswith("group:"):
            raise ComposeError(each.place, f"{key}.source", f"there is no volume {source} under volumes")
        return made | {"Source": volume.find("name") if volume is not None else source, "ClusterOptions": {}}
    return made | _options(each, kind)


def _options(each: Node, kind: str) -> dict[str, Any]:
    if kind == "bind" and "bind" in each.entries:
        options: dict[str, Any] = given(Propagation=each.find("bind", "propagation"))
        recursive = _RECURSIVE.get(str(each.find("bind", "recursive")))
        return {"BindOptions": options | ({recursive: True} if recursive else {})}
    if kind == "tmpfs" and "tmpfs" in each.entries:
        size, mode = each.find("tmpfs", "size"), each.find("tmpfs", "mode")
        return {"TmpfsOptions": given(SizeBytes=int(size) if size is not None else None, Mode=mode)}
    if kind == "image" and "image" in each.entries:
        return {"ImageOptions": given(Subpath=each.find("image", "subpath"))}
    return {}


def _volume(each: Node, source: str, project: Project) -> dict[str, Any]:
    if not source:
        return {}
    volume = project.volumes[source]
    options = given(NoCopy=each.find("volume", "nocopy"), Subpath=each.find("volume", "subpath"))
    if not volume.find("external"):
        options["Labels"] = labelled(project.name, volume.find("labels"))
        driver, more = volume.find("driver"), volume.find("driver_opts")
        if driver or more is not None:
            options["DriverConfig"] = given(Name=driver, Options=more)
    return {"Source": volume.find("name"), "VolumeOptions": options}


def _tmpfs(each: Node, key: str) -> dict[str, Any]:
    """Return the mount of `tmpfs: /run:size=64m,mode=1777`, which Swarm has in the long form alone."""
    target, _, text = str(each.value).partition(":")
    options: dict[str, Any] = {}
    for option in text.split(",") if text else ():
        word, _, value = option.partition("=")
        if word == "size" and (size := units.size_bytes(value)) is not None:
            options["SizeBytes"] = size
        elif word == "mode" and value.isdecimal() and set(value) <= set("01234567") and len(value) < 6:
            options["Mode"] = int(value, 8)
        else:
            raise ComposeError(each.place, key, f"{option!r}: Swarm takes size and mode of a tmpfs alone")
    return {"Type": "tmpfs", "Target": target, "TmpfsOptions": options}
