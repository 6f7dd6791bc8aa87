"""Compiles a translated seccomp profile to BPF once, instead of at each start of a container.

libseccomp takes about 20 ms of CPU for Docker's profile, more than everything else in a start. crun accepts a compiled
program in the annotation `run.oci.seccomp_bpf_data`; other runtimes ignore it and compile the profile, which is in the
config as well. In: the result of `seccomp.translate`. Out: the program in base64, or None if it cannot be compiled.
"""

import base64
import ctypes
import errno
import logging
import os
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

ANNOTATION = "run.oci.seccomp_bpf_data"

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_OPERATORS = {
    f"SCMP_CMP_{name}": number for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)
}
_UNKNOWN_SYSCALL = -1
_OPTIMIZE, _BINARY_TREE = 8, 2  # SCMP_FLTATR_CTL_OPTIMIZE: search 400 calls in a tree, not in a list


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class _Refused(Exception):
    """libseccomp refused a part of the profile."""


def compile_profile(profile: Mapping[str, Any]) -> str | None:
    """Return the program for all architectures of the profile, or None. Blocks for about 30 ms."""
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_arch_add.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    )  # fmt: skip
    library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        return None
    try:
        _fill(library, context, profile, default)
        return base64.b64encode(_export(library, context)).decode()
    except _Refused as error:
        log.warning("each start compiles its seccomp profile: %s", error)
        return None
    finally:
        library.seccomp_release(context)


def _fill(library: ctypes.CDLL, context: int, profile: Mapping[str, Any], default: int) -> None:
    library.seccomp_attr_set(context, _OPTIMIZE, _BINARY_TREE)  # older libraries refuse this and make a list
    for name in profile.get("architectures", ()):
        token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
        if not token:
            raise _Refused(f"unknown architecture {name}")
        _check(library.seccomp_arch_add(context, token), f"architecture {name}")
    for rule in profile["syscalls"]:
        action = _action(rule["action"], rule.get("errnoRet"))
        if action == default:
            continue
        conditions = rule.get("args") or ()
        array = (_Comparison * max(1, len(conditions)))()
        for place, given in zip(array, conditions, strict=False):
            place.arg, place.op = given["index"], _OPERATORS[given["op"]]
            place.a, place.b = given["value"], given.get("valueTwo", 0)
        for name in rule["names"]:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == _UNKNOWN_SYSCALL:
                continue
            result = library.seccomp_rule_add_array(context, action, number, len(conditions), array)
            _check(result, f"rule for {name}")


def _check(result: int, what: str) -> None:
    if result < 0 and result != -errno.EEXIST:
        raise _Refused(f"libseccomp refuses {what}: {os.strerror(-result)}")


def _action(name: str, number: int | None) -> int:
    action = _ACTIONS[name]
    return action | (1 if number is None else number) if name == "SCMP_ACT_ERRNO" else action


def _export(library: ctypes.CDLL, context: int) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with open(fd, "r+b") as file:
        _check(library.seccomp_export_bpf(context, fd), "the whole filter")
        file.seek(0)
        return file.read()
