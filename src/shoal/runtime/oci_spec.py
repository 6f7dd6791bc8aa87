"""Makes the OCI runtime config of a container. Pure: all facts about the host are in `SpecInput`.

It follows Docker's (moby daemon/oci_linux.go, daemon/pkg/oci/defaults.go), so that containers are confined as strictly
as Docker's.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoal.errors import InvalidArgument
from shoal.runtime.identity import Identity
from shoal.runtime.types import ContainerConfig, Mount

MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# With cgroups of v1, runtimes leave the tmpfs writable on which the hierarchies are mounted.
_CGROUP_TMPFS = "/sys/fs/cgroup"
SHM_BYTES = 64 << 20
INIT_TARGET = "/sbin/docker-init"
CPU_PERIOD_US = 100_000

# As in Docker, unprivileged programs with their own network namespace may ping and listen on ports below 1024.
_NETWORK_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}

# (type, major, minor): null, zero, full, random, urandom, tty, console.
_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1))

_PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")


@dataclass(frozen=True, slots=True)
class SpecInput:
    """Everything that a config is made from."""

    config: ContainerConfig
    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    identity: Identity
    hostname: str
    capabilities: tuple[str, ...]
    rootfs: str
    cgroup: str
    netns: str  # empty: the host's network, or a new namespace for `none`
    etc: Mapping[str, str] = field(default_factory=dict)  # target -> source: hosts, hostname, resolv.conf
    mounts: tuple[Mount, ...] = ()
    mount_sources: Mapping[str, str] = field(default_factory=dict)  # target -> path on the host
    folders: frozenset[str] = frozenset()  # the targets whose source is a folder
    covered_modes: Mapping[str, int] = field(default_factory=dict)  # tmpfs target -> mode of the folder that it covers
    seccomp: Mapping[str, Any] | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    apparmor: str = ""
    init: str = ""  # the host's init program, if one is wanted
    cgroup_namespace: bool = False
    runtime: str = "crun"  # the runtime that will read it
    swap_accounting: bool = True
    masked: tuple[str, ...] = MASKED


def build(given: SpecInput) -> dict[str, Any]:
    """Return the whole config.json."""
    config = given.config
    linux: dict[str, Any] = {
        "cgroupsPath": given.cgroup,
        "namespaces": namespaces(given),
        "resources": resources(config, swap_accounting=given.swap_accounting),
        "maskedPaths": list(given.masked),
        "readonlyPaths": read_only_paths(given),
    }
    sysctls = {**(_NETWORK_SYSCTLS if config.network != "host" else {}), **config.sysctls}
    if sysctls:
        linux["sysctl"] = sysctls
    if given.seccomp is not None:
        linux["seccomp"] = given.seccomp
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": process(given),
        "root": {"path": given.rootfs, "readonly": config.read_only},
        "mounts": mounts(given),
        "linux": linux,
    }
    if config.network != "host" or config.hostname:
        spec["hostname"] = given.hostname
    if given.annotations:
        spec["annotations"] = dict(given.annotations)
    if config.domainname:
        spec["domainname"] = config.domainname
    return spec


def read_only_paths(given: SpecInput) -> list[str]:
    """Return the paths that are made read-only after mounting."""
    return [*READ_ONLY, _CGROUP_TMPFS] if given.runtime == "runc" and _locks_cgroup_tmpfs(given) else list(READ_ONLY)


def _cgroup_options(given: SpecInput) -> list[str]:
    """Return the options of the cgroup mount.

    If /sys/fs/cgroup were a read-only path, crun 1.8.1 would make a copy of the mounts there in which the v1
    hierarchies are writable, and the container could change all its limits. So with crun the mount has the option `rro`
    instead.
    """
    locked = given.runtime == "crun" and _locks_cgroup_tmpfs(given)
    return ["ro", "nosuid", "noexec", "nodev", *(("rro",) if locked else ())]


def _locks_cgroup_tmpfs(given: SpecInput) -> bool:
    """Return whether the tmpfs at /sys/fs/cgroup is made read-only.

    It is not if a mount of the config is below it, because its folder could not be made. The hierarchies themselves are
    read-only in any case.
    """
    below = f"{_CGROUP_TMPFS}/"
    return not given.cgroup_namespace and not any(
        f"{posixpath.normpath(mount.target)}/".startswith(below) for mount in given.mounts
    )


def process(given: SpecInput) -> dict[str, Any]:
    """Return the `process` part. An exec starts from it."""
    config = given.config
    args = ([INIT_TARGET, "--"] if given.init else []) + list(given.args)
    result: dict[str, Any] = {
        "terminal": config.tty,
        "user": user(given.identity),
        "args": args,
        "env": list(given.env),
        "cwd": given.cwd,
        "capabilities": capability_sets(given.capabilities, given.identity),
        "noNewPrivileges": config.no_new_privileges,
    }
    if config.ulimits:
        result["rlimits"] = [
            {"type": f"RLIMIT_{one.name.upper()}", "soft": one.soft, "hard": one.hard} for one in config.ulimits
        ]
    if config.oom_score_adj:
        result["oomScoreAdj"] = config.oom_score_adj
    if given.apparmor:
        result["apparmorProfile"] = given.apparmor
    return result


def user(identity: Identity) -> dict[str, Any]:
    """Return the `user` part."""
    result: dict[str, Any] = {"uid": identity.uid, "gid": identity.gid}
    if identity.groups:
        result["additionalGids"] = list(identity.groups)
    return result


def capability_sets(names: tuple[str, ...], identity: Identity) -> dict[str, list[str]]:
    """Return the sets, as in Docker: none inheritable or ambient, and only the bounding set unless the user is root."""
    held = list(names) if identity.uid == 0 else []
    return {"bounding": list(names), "effective": held, "permitted": held}


def namespaces(given: SpecInput) -> list[dict[str, str]]:
    """Return the namespaces. All are new, except for the network if it is the host's or was made before."""
    result = [{"type": kind} for kind in ("mount", "uts", "pid", "ipc")]
    if given.netns:
        result.append({"type": "network", "path": given.netns})
    elif given.config.network != "host":
        result.append({"type": "network"})
    if given.cgroup_namespace:
        result.append({"type": "cgroup"})
    return result


def resources(config: ContainerConfig, *, swap_accounting: bool) -> dict[str, Any]:
    """Return the `resources` part: devices, memory, cpu, pids."""
    devices: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    devices += [
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"} for major, minor in _DEVICES
    ]
    result: dict[str, Any] = {"devices": devices}
    memory: dict[str, int] = {}
    if config.memory_bytes:
        memory["limit"] = config.memory_bytes
        swap = config.memory_bytes if config.memory_swap_bytes is None else config.memory_swap_bytes
        if swap_accounting:
            memory["swap"] = -1 if swap < 0 else config.memory_bytes + swap
    if config.memory_swappiness is not None and config.memory_swappiness >= 0:
        memory["swappiness"] = config.memory_swappiness
    if memory:
        result["memory"] = memory
    if config.nano_cpus:
        result["cpu"] = {"period": CPU_PERIOD_US, "quota": config.nano_cpus * CPU_PERIOD_US // 10**9}
    if config.pids_limit:
        result["pids"] = {"limit": config.pids_limit}
    return result


def _entry(target: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def mounts(given: SpecInput) -> list[dict[str, Any]]:
    """Return the mounts: the system's, then the three files of /etc, then the config's, parents before children."""
    shm = f"size={SHM_BYTES}"
    result = [
        _entry("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _entry("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _entry(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _entry("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        _entry("/sys/fs/cgroup", "cgroup", "cgroup", *_cgroup_options(given)),
        _entry("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _entry("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", shm),
    ]
    own = {mount.target for mount in given.mounts}
    result = [entry for entry in result if entry["destination"] not in own]
    for target, source in given.etc.items():
        if target not in own:
            options = ("rbind", "rprivate", "ro") if given.config.read_only else ("rbind", "rprivate")
            result.append(_entry(target, "bind", source, *options))
    for mount in sorted(given.mounts, key=lambda one: one.target.count("/")):
        if mount.type == "tmpfs":
            result.append(_tmpfs(mount, given.covered_modes.get(mount.target, 0o1777)))
        else:
            source = given.mount_sources.get(mount.target, mount.source)
            result.append(_bind(mount, source, of_folder=mount.target in given.folders))
    if given.init:
        result.append(_entry(INIT_TARGET, "bind", given.init, "bind", "ro"))
    return result


def _tmpfs(mount: Mount, mode: int) -> dict[str, Any]:
    """Return a tmpfs mount. `mode` is the default."""
    options = ["noexec", "nosuid", "nodev", *mount.tmpfs_options]
    if mount.read_only:
        options.append("ro")
    options.append(f"mode={mount.tmpfs_mode or mode:o}")
    if mount.tmpfs_size_bytes:
        options.append(f"size={mount.tmpfs_size_bytes}")
    return _entry(mount.target, "tmpfs", "tmpfs", *options)


def _bind(mount: Mount, source: str, *, of_folder: bool) -> dict[str, Any]:
    recursive = not mount.non_recursive
    options = ["rbind" if recursive else "bind", mount.propagation or "rprivate"]
    if mount.read_only:
        options.append("ro")
        # As in Docker since 25.0, mounts below the source are read-only too. A file has no mounts below, and crun 1.8
        # would fail with "Not a directory".
        if recursive and of_folder and not mount.propagation.endswith("shared"):
            options.append("rro")
    return _entry(mount.target, "bind", source, *options)


def check_mounts(config: ContainerConfig) -> None:
    """Raise InvalidArgument, with Docker's words, for a mount that is invalid on every host."""
    seen = set()
    for mount in config.mounts:
        prefix = f'invalid mount config for type "{mount.type}"'
        if not mount.target:
            raise InvalidArgument(f"{prefix}: field Target must not be empty")
        if not mount.target.startswith("/"):
            raise InvalidArgument(f"{prefix}: invalid mount path: '{mount.target}' mount path must be absolute")
        if mount.target.rstrip("/") == "":
            raise InvalidArgument(f"{prefix}: invalid specification: destination can't be '/'")
        if mount.target in seen:
            raise InvalidArgument(f"Duplicate mount point: {mount.target}")
        seen.add(mount.target)
        if mount.type == "bind":
            if not mount.source:
                raise InvalidArgument(f"{prefix}: field Source must not be empty")
            if not mount.source.startswith("/"):
                raise InvalidArgument(f"{prefix}: invalid mount path: '{mount.source}' mount path must be absolute")
            if mount.propagation and mount.propagation not in _PROPAGATIONS:
                raise InvalidArgument(f"{prefix}: invalid propagation mode: {mount.propagation}")
