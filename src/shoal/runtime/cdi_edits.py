"""Applies the edits of CDI devices to a container's OCI config. Pure: facts about the host's devices are arguments.

In: an OCI config, edits, the numbers of the host's device files. Out: the edited config. As in CDI's own library, an
existing variable, device or mount is replaced, and mounts are ordered parents first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shoal.errors import FailedPrecondition
from shoal.runtime.cdi_spec import DeviceNode, Edits, Hook
from shoal.runtime.types import Mount


@dataclass(frozen=True, slots=True)
class Numbers:
    """Type and numbers of a device file of the host."""

    type: str  # b, c, p
    major: int
    minor: int


# Returns the numbers of the device file at a path of the host, or None if there is none.
Look = Callable[[str], Numbers | None]


def apply(spec: Mapping[str, Any], edits: Edits, look: Look) -> dict[str, Any]:
    """Return the config with the edits. Raises FailedPrecondition if a device file is missing or of another type."""
    if not edits:
        return dict(spec)
    process = dict(spec["process"])
    process["env"] = _with_variables(process["env"], edits.env)
    process["user"] = _with_groups(process["user"], edits.gids)
    linux = dict(spec["linux"])
    if edits.nodes:
        nodes = [_filled(node, look) for node in edits.nodes]
        _add_devices(linux, nodes, process["user"])
    if edits.intel_rdt:
        linux["intelRdt"] = dict(edits.intel_rdt)
    changed = {**spec, "process": process, "linux": linux}
    if edits.mounts:
        changed["mounts"] = _with_mounts(spec["mounts"], edits)
    if edits.hooks:
        changed["hooks"] = _with_hooks(spec.get("hooks", {}), edits.hooks)
    return changed


def binds(edits: Edits) -> tuple[Mount, ...]:
    """Return the bind mounts, which must be checked like the container's own."""
    return tuple(
        Mount("bind", mount.container_path, mount.host_path)
        for mount in edits.mounts
        if mount.type in ("", "none", "bind")
    )


def at(edits: Edits, sources: Mapping[str, str]) -> Edits:
    """Return the edits with mount sources that are valid for the runtime. `sources`: target -> path."""
    moved = tuple(
        replace(mount, host_path=sources.get(mount.container_path, mount.host_path)) for mount in edits.mounts
    )
    return replace(edits, mounts=moved)


def _with_variables(env: list[str], more: tuple[str, ...]) -> list[str]:
    names = {each.partition("=")[0] for each in more}
    kept = [each for each in env if each.partition("=")[0] not in names]
    return [*kept, *{each.partition("=")[0]: each for each in more}.values()]


def _with_groups(user: Mapping[str, Any], more: tuple[int, ...]) -> dict[str, Any]:
    groups = list(dict.fromkeys([*user.get("additionalGids", ()), *(gid for gid in more if gid)]))
    return {**user, "additionalGids": groups} if groups else dict(user)


def _filled(node: DeviceNode, look: Look) -> tuple[DeviceNode, Numbers]:
    """Return a device with its type and numbers, from the host's device file if the CDI file does not have them."""
    if node.type and (node.major or node.type == "p"):
        return node, Numbers("c" if node.type == "u" else node.type, node.major, node.minor)
    path = node.host_path or node.path
    found = look(path)
    if found is None:
        raise FailedPrecondition(f"CDI device injection failed: failed to stat CDI host device {path!r}: it is none")
    if node.type and ("c" if node.type == "u" else node.type) != found.type:
        raise FailedPrecondition(
            f"CDI device injection failed: CDI device ({node.path!r}, {path!r}), host type mismatch "
            f"({node.type}, {found.type})"
        )
    return node, found


def _add_devices(linux: dict[str, Any], nodes: list[tuple[DeviceNode, Numbers]], user: Mapping[str, Any]) -> None:
    devices = {device["path"]: device for device in linux.get("devices", ())}
    resources = dict(linux["resources"])
    rules = list(resources["devices"])
    for node, numbers in nodes:
        entry: dict[str, Any] = {"path": node.path, "type": numbers.type}
        if numbers.type != "p":
            entry |= {"major": numbers.major, "minor": numbers.minor}
            access = node.permissions or "rwm"
            rules.append({"allow": True, "type": numbers.type, **_pair(numbers), "access": access})
        if node.file_mode is not None:
            entry["fileMode"] = node.file_mode
        for name, own in (("uid", node.uid), ("gid", node.gid)):
            # The default is the container's user, because one that is not root could not open a device of root's.
            owner = own if own is not None else user[name]
            if owner or own is not None:
                entry[name] = owner
        devices[node.path] = entry
    resources["devices"] = rules
    linux["devices"], linux["resources"] = list(devices.values()), resources


def _pair(numbers: Numbers) -> dict[str, int]:
    return {"major": numbers.major, "minor": numbers.minor}


def _with_mounts(mounts: list[dict[str, Any]], edits: Edits) -> list[dict[str, Any]]:
    by_target = {mount["destination"]: mount for mount in mounts}
    for mount in edits.mounts:
        by_target.pop(mount.container_path, None)
        options = list(mount.options)
        # Runtimes recognize a bind mount by its options.
        if mount.type in ("", "bind") and not {"bind", "rbind"} & set(options):
            options.append("rbind")
        by_target[mount.container_path] = {
            "destination": mount.container_path,
            "type": mount.type or "bind",
            "source": mount.host_path,
            "options": options,
        }
    return sorted(by_target.values(), key=lambda mount: mount["destination"].rstrip("/").count("/"))


def _with_hooks(hooks: Mapping[str, Any], more: tuple[Hook, ...]) -> dict[str, list[Any]]:
    result = {name: list(each) for name, each in hooks.items()}
    for hook in more:
        entry: dict[str, Any] = {"path": hook.path}
        if hook.args:
            entry["args"] = list(hook.args)
        if hook.env:
            entry["env"] = list(hook.env)
        if hook.timeout is not None:
            entry["timeout"] = hook.timeout
        result.setdefault(hook.name, []).append(entry)
    return result
