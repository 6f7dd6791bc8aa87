"""Profiles that users give: those that are one are read, and all others are refused in words."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import InvalidArgument
from shoal.runtime import seccomp, seccomp_profile
from shoal.runtime.capabilities import DEFAULT
from shoal.runtime.host import SECCOMP_PROFILE
from shoal.runtime.seccomp_profile import MOST_CONDITIONAL, MOST_NAMES, MOST_RULES, read
from tests.unit.runtime.test_seccomp import PROFILE

ARG = {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}


def of(**fields: Any) -> str:
    return json.dumps({"defaultAction": "SCMP_ACT_ERRNO", **fields})


def rule(**fields: Any) -> dict[str, Any]:
    return {"names": ["read"], "action": "SCMP_ACT_ALLOW", **fields}


def test_a_profile_is_read_as_it_is() -> None:
    read_again = seccomp.translate(read(json.dumps(PROFILE)), DEFAULT, "x86_64")
    wanted = seccomp.translate(PROFILE, DEFAULT, "x86_64")
    for one in wanted["syscalls"]:
        for arg in one.get("args", ()):
            arg.setdefault("valueTwo", 0)
    assert read_again == wanted


@pytest.mark.skipif(not Path(SECCOMP_PROFILE).exists(), reason="no containers-common")
def test_the_hosts_own_profile_is_read() -> None:
    assert read(Path(SECCOMP_PROFILE).read_text())["syscalls"]


def test_the_older_form_with_one_name_is_read() -> None:
    made = read(of(syscalls=[{"name": "read", "action": "SCMP_ACT_ALLOW"}]))
    assert made["syscalls"] == [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "more than 100 levels"),
        ('{"a":' * 100_000, "more than 100 levels"),
        ("[]", "the profile is not an object"),
        ("{}", "defaultAction is not text"),
        (of(defaultAction="ALLOW"), "defaultAction has an unknown value: ALLOW"),
        (of(defaultAction="SCMP_ACT_NOTIFY"), "SCMP_ACT_NOTIFY is not supported"),
        (of(defaultAction=["SCMP_ACT_ALLOW"]), "defaultAction is not text"),
        (of(defaultErrnoRet=True), "defaultErrnoRet is not a whole number"),
        (of(defaultErrnoRet=-1), "defaultErrnoRet is not between 0 and 4095"),
        (of(defaultErrnoRet=1.5), "defaultErrnoRet is not a whole number"),
        (of()[:-1] + ', "defaultErrnoRet": 1' + "0" * 5000 + "}", "too many digits"),
        (of()[:-1] + ', "defaultErrnoRet": NaN}', "NaN is no value"),
        (of(architectures="SCMP_ARCH_X86"), "architectures is not a list"),
        (of(architectures=[1]), "architectures is not text"),
        (of(architectures=["a"] * 65), "architectures has more than 64 entries"),
        (of(archMap=[{"architecture": {}}]), "architecture is not text"),
        (of(archMap=["x"]), "archMap is not an object"),
        (of(archMap=[{"architecture": "a"}], architectures=["a"]), "both 'architectures' and 'archMap'"),
        (of(flags=7), "flags is not a list"),
        (of(syscalls={}), ""),
        (of(syscalls="read"), "syscalls is not a list"),
        (of(syscalls=[[]]), "syscalls is not an object"),
        (of(syscalls=[rule(names="read")]), "names is not a list"),
        (of(syscalls=[rule(names=["\ud800"])]), "names has a name that none can be"),
        (of(syscalls=[rule(names=["a" * 129])]), "names has a name that none can be"),
        (of(syscalls=[rule(name="read")]), "both 'name' and 'names'"),
        (of(syscalls=[rule(action=None)]), "action is not text"),
        (of(syscalls=[rule(errnoRet="1")]), "errnoRet is not a whole number"),
        (of(syscalls=[rule(args=[{**ARG, "index": 6}])]), "index is not between 0 and 5"),
        (of(syscalls=[rule(args=[{**ARG, "value": 1 << 64}])]), "value is not between 0 and"),
        (of(syscalls=[rule(args=[{**ARG, "op": "EQ"}])]), "op has an unknown value: EQ"),
        (of(syscalls=[rule(args=[ARG] * 7)]), "args has more than 6 entries"),
        (of(syscalls=[rule(includes=["caps"])]), "includes is not an object"),
        (of(syscalls=[rule(includes={"caps": "CAP_SYS_ADMIN"})]), "caps is not a list"),
        (of(syscalls=[rule()] * (MOST_RULES + 1)), f"syscalls has more than {MOST_RULES} entries"),
        (of(syscalls=[rule(names=["read"] * 100)] * 41), f"it names more than {MOST_NAMES} system calls"),
        (
            of(syscalls=[rule(args=[ARG])] * (MOST_CONDITIONAL + 1)),
            f"it has conditions for more than {MOST_CONDITIONAL} system calls",
        ),
        (" " * (seccomp_profile.MOST_BYTES + 1), "it has more than"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_no_profile_is_refused_in_words(text: str, why: str) -> None:
    if not why:
        assert read(text)["syscalls"] == []
        return
    with pytest.raises(InvalidArgument) as raised:
        read(text)
    assert str(raised.value).startswith("decoding seccomp profile failed: ")
    assert why in str(raised.value)


_FIELDS = (
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "archMap",
    "architecture",
    "subArchitectures",
    "flags",
    "syscalls",
    "names",
    "name",
    "action",
    "errnoRet",
    "args",
    "index",
    "value",
    "valueTwo",
    "op",
    "includes",
    "excludes",
    "caps",
    "arches",
    "minKernel",
    "listenerPath",
)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([*sorted(seccomp_profile.ACTIONS), *sorted(seccomp_profile.OPERATORS)])
)
_JSON = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=6)
)


@given(st.dictionaries(st.sampled_from(_FIELDS), _JSON))
def test_any_profile_is_translated_or_refused(fields: dict[str, Any]) -> None:
    try:
        profile = read(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", **fields}))
    except InvalidArgument:
        return
    json.dumps(seccomp.translate(profile, DEFAULT, "x86_64"))
