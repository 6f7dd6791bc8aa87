"""Translates a seccomp profile with conditions (capability, architecture) into the form that runtimes take. Pure.

In: the parsed profile, in the format that moby and containers-common share, and the container's capabilities. Out: the
`linux.seccomp` part of an OCI config. The default profile is the host's, made as narrow as Docker's own
(docs/decisions/0004-seccomp.md); a profile that a user gives is only translated.
"""

from collections.abc import Collection, Mapping
from typing import Any

from shoal.errors import InvalidArgument

ALLOW, REFUSE = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
EPERM, ENOSYS = 1, 38

# platform.machine() -> (Go's name, which profiles use in conditions; the seccomp name)
ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "i686": ("x86", "SCMP_ARCH_X86"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
}

# Calls that containers-common allows to everyone, and Docker only with one of these capabilities; an empty tuple means
# never. Source: moby's default profile.
GATED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "bpf", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount",
            "mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname",
            "sethostname", "setns", "syslog", "umount", "umount2", "unshare",
        ),
        ("CAP_SYS_ADMIN",),
    ),
    **dict.fromkeys(("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"), ("CAP_SYS_NICE",)),
    **dict.fromkeys(("kcmp", "pidfd_getfd", "process_madvise"), ("CAP_SYS_PTRACE",)),
    "bpf": ("CAP_SYS_ADMIN", "CAP_BPF"),
    "perf_event_open": ("CAP_SYS_ADMIN", "CAP_PERFMON"),
    "syslog": ("CAP_SYS_ADMIN", "CAP_SYSLOG"),
    "reboot": ("CAP_SYS_BOOT",),
    **dict.fromkeys(("add_key", "keyctl", "pivot_root", "request_key", "userfaultfd"), ()),
    **dict.fromkeys(("io_uring_enter", "io_uring_register", "io_uring_setup"), ()),
}  # fmt: skip

# Calls that Docker allows and that are newer than Debian 12's profile. libseccomp ignores unknown names.
NEWER = (
    "cachestat", "fchmodat2", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "getxattrat", "listmount",
    "listxattrat", "map_shadow_stack", "mseal", "removexattrat", "setxattrat", "statmount", "vmsplice",
)  # fmt: skip

# CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET: the flags of clone that make a namespace.
NAMESPACE_FLAGS = 0x7E020000
AF_ALG, AF_VSOCK = 38, 40


def translate(profile: Mapping[str, Any], capabilities: Collection[str], machine: str) -> dict[str, Any]:
    """Return the profile for a set of capabilities and an architecture (`platform.machine`'s name).

    Raises InvalidArgument.
    """
    if not isinstance(profile, Mapping) or "defaultAction" not in profile:
        raise InvalidArgument("decoding seccomp profile failed: there is no defaultAction")
    try:
        return _translated(profile, capabilities, machine)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        # Somebody else wrote it, and anything may be anywhere in it.
        raise InvalidArgument(
            f"decoding seccomp profile failed: something in it is of a wrong kind ({type(error).__name__})"
        ) from error


def _translated(profile: Mapping[str, Any], capabilities: Collection[str], machine: str) -> dict[str, Any]:
    go_name, native = ARCHITECTURES.get(machine, (machine, ""))
    result: dict[str, Any] = {"defaultAction": profile["defaultAction"]}
    if profile.get("defaultErrnoRet") is not None:
        result["defaultErrnoRet"] = profile["defaultErrnoRet"]
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            result["architectures"] = [native, *(entry.get("subArchitectures") or ())]
    if "architectures" not in result and profile.get("architectures"):
        result["architectures"] = list(profile["architectures"])
    if profile.get("flags"):
        result["flags"] = list(profile["flags"])
    result["syscalls"] = [
        _plain(rule) for rule in profile.get("syscalls") or () if _applies(rule, frozenset(capabilities), go_name)
    ]
    return result


def default(profile: Mapping[str, Any], capabilities: Collection[str], machine: str) -> dict[str, Any]:
    """Return the host's profile, translated and narrowed to what Docker's default profile allows."""
    result = translate(profile, capabilities, machine)
    held = frozenset(capabilities)
    shut = {name for name, openers in GATED.items() if held.isdisjoint(openers)}
    special = shut | {"socket"} | ({"clone"} if "CAP_SYS_ADMIN" not in held else set())
    rules = []
    for rule in result["syscalls"]:
        names = [name for name in rule["names"] if name not in special]
        if names:
            rules.append({**rule, "names": names})
    rules.append({"names": list(NEWER), "action": ALLOW})
    opened = sorted(set(GATED) - shut)
    if opened:
        rules.append({"names": opened, "action": ALLOW})
    if "clone3" in shut:  # a filter cannot read its flags; with ENOSYS, libc falls back to clone
        rules.append({"names": ["clone3"], "action": REFUSE, "errnoRet": ENOSYS})
    rules.append({"names": sorted(shut - {"clone3"}), "action": REFUSE, "errnoRet": EPERM})
    if "clone" in special:
        index = 1 if machine == "s390x" else 0
        masked = {"index": index, "value": NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
        rules.append({"names": ["clone"], "action": ALLOW, "args": [masked]})
    for value, op in ((AF_ALG, "SCMP_CMP_LT"), (AF_ALG + 1, "SCMP_CMP_EQ"), (AF_VSOCK, "SCMP_CMP_GT")):
        rules.append({"names": ["socket"], "action": ALLOW, "args": [{"index": 0, "value": value, "op": op}]})
    result["syscalls"] = rules
    return result


def _applies(rule: Mapping[str, Any], capabilities: frozenset[str], architecture: str) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("caps") and not capabilities.issuperset(includes["caps"]):
        return False
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if excludes.get("caps") and not capabilities.isdisjoint(excludes["caps"]):
        return False
    # `minKernel` is ignored: it names kernels (4.8) that are older than those that Shoal needs.
    return not (excludes.get("arches") and architecture in excludes["arches"])


def _plain(rule: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {"names": list(rule.get("names") or ([rule["name"]])), "action": rule["action"]}
    if rule.get("errnoRet") is not None:
        plain["errnoRet"] = rule["errnoRet"]
    if rule.get("args"):
        plain["args"] = [dict(arg) for arg in rule["args"]]
    return plain
