"""Profiles with conditions become plain rules, and the default profile allows what Docker's allows."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.runtime.capabilities import DEFAULT
from shoal.runtime.seccomp import default, translate

PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read", "clone", "clone3", "mount", "keyctl", "socket"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
        {"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_CHROOT"]}},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
        {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
    ],
}


def rules(result: dict[str, Any], name: str) -> list[tuple[str, Any]]:
    return [(one["action"], one.get("args")) for one in result["syscalls"] if name in one["names"]]


def test_conditions_are_decided() -> None:
    with_chroot = translate(PROFILE, {"CAP_SYS_CHROOT"}, "x86_64")
    assert with_chroot["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert rules(with_chroot, "chroot") == [("SCMP_ACT_ALLOW", None)]
    assert rules(with_chroot, "arch_prctl") == [("SCMP_ACT_ALLOW", None)]
    without = translate(PROFILE, (), "aarch64")
    assert rules(without, "chroot") == [("SCMP_ACT_ERRNO", None)]
    assert rules(without, "arch_prctl") == []
    assert rules(without, "personality") == [("SCMP_ACT_ALLOW", PROFILE["syscalls"][4]["args"])]
    assert "includes" not in str(without)


def test_the_default_shuts_what_docker_shuts() -> None:
    result = default(PROFILE, DEFAULT, "x86_64")
    assert rules(result, "read") == [("SCMP_ACT_ALLOW", None)]
    for name in ("mount", "keyctl", "unshare", "setns", "io_uring_setup"):
        assert rules(result, name) == [("SCMP_ACT_ERRNO", None)], name
    ((action, (argument,)),) = rules(result, "clone")
    assert (action, argument["value"], argument["op"]) == ("SCMP_ACT_ALLOW", 2114060288, "SCMP_CMP_MASKED_EQ")
    (refused,) = [one for one in result["syscalls"] if "clone3" in one["names"]]
    assert (refused["action"], refused["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert [args[0]["value"] for _, args in rules(result, "socket")] == [38, 39, 40]


def test_a_capability_opens_its_calls() -> None:
    result = default(PROFILE, DEFAULT | {"CAP_SYS_ADMIN"}, "x86_64")
    for name in ("mount", "unshare", "clone", "clone3"):
        assert rules(result, name)[-1] == ("SCMP_ACT_ALLOW", None), name
    assert rules(result, "keyctl") == [("SCMP_ACT_ERRNO", None)]


def test_no_call_is_both_open_and_shut() -> None:
    for held in (DEFAULT, DEFAULT | {"CAP_SYS_ADMIN"}, frozenset[str]()):
        result = default(PROFILE, held, "x86_64")
        names = [name for one in result["syscalls"] if not one.get("args") for name in one["names"]]
        assert len({name for name in names if len({action for action, _ in rules(result, name)}) > 1}) == 0


def test_what_is_no_profile_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="decoding seccomp profile failed"):
        translate({"syscalls": []}, (), "x86_64")


_VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["names", "name", "action", "args", "includes", "excludes", "caps", "arches", "architecture"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["archMap", "architectures", "flags", "syscalls"]), _VALUES))
def test_a_profile_of_wrong_kinds_is_read_or_refused(given_: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidArgument):
        translate({"defaultAction": "SCMP_ACT_ALLOW", **given_}, set(DEFAULT), "x86_64")
