"""Linux capabilities of a container: Docker's defaults, changed by `--cap-add` and `--cap-drop`. Pure."""

from collections.abc import Iterable

from shoal.errors import InvalidArgument

# In the order of their numbers, as in linux/capability.h.
_ALL = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL "
    "SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
NAMES = tuple(f"CAP_{name}" for name in _ALL.split())

# The 14 of moby daemon/pkg/oci/caps/defaults.go: CapEff a80425fb.
_DEFAULT = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT "
    "KILL AUDIT_WRITE"
)
DEFAULT = frozenset(f"CAP_{name}" for name in _DEFAULT.split())


def from_mask(mask: int) -> frozenset[str]:
    """Return the capabilities in a mask of /proc/PID/status (CapBnd)."""
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)


def _normal(names: Iterable[str]) -> set[str]:
    result = set()
    for given in names:
        name = given.upper()
        if name == "ALL":
            result.add(name)
            continue
        if not name.startswith("CAP_"):
            name = f"CAP_{name}"
        if name not in NAMES:
            raise InvalidArgument(f'unknown capability: "{name}"')
        result.add(name)
    return result


def effective(add: Iterable[str], drop: Iterable[str], available: frozenset[str]) -> tuple[str, ...]:
    """Return the capabilities of a container in number order. `available` are those that the daemon has itself.

    Raises InvalidArgument for an unknown name, and for a name in `add` that is not available. Source: moby oci/caps.
    """
    added, dropped = _normal(add), _normal(drop)
    missing = sorted(added - {"ALL"} - available)
    if missing:
        raise InvalidArgument(
            f'capability not supported by your kernel or not available in the current environment: "{missing[0]}"'
        )
    if "ALL" in added:
        chosen = set(available) - dropped
    elif "ALL" in dropped:
        chosen = added
    else:
        chosen = (set(DEFAULT) - dropped) | added
    return tuple(name for name in NAMES if name in chosen and name in available)
