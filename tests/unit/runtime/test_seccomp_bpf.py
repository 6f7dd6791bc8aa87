"""A profile is compiled once, or the runtime compiles it."""

import base64
import ctypes.util
from typing import Any

import pytest

from shoal.runtime.seccomp_bpf import compile_profile

pytestmark = pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="libseccomp is not installed")


def profile(*names: str, architectures: tuple[str, ...] = ("SCMP_ARCH_X86_64",)) -> dict[str, Any]:
    masked = {"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": list(architectures),
        "syscalls": [
            {"names": list(names), "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [masked]},
            {"names": ["mount", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        ],
    }


def test_a_program_is_whole_instructions_and_says_what_the_profile_says() -> None:
    small, large = compile_profile(profile("read")), compile_profile(profile("read", "write", "openat"))
    assert small is not None
    assert large is not None
    assert len(base64.b64decode(small)) % 8 == 0
    assert len(large) > len(small)


def test_what_libseccomp_refuses_is_left_to_the_runtime(caplog: pytest.LogCaptureFixture) -> None:
    assert compile_profile(profile("read", architectures=("SCMP_ARCH_ABACUS",))) is None
    assert "unknown architecture SCMP_ARCH_ABACUS" in caplog.text
