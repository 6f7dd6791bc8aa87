"""Which capabilities a container gets."""

import pytest

from shoal.errors import InvalidArgument
from shoal.runtime.capabilities import DEFAULT, NAMES, effective, from_mask

EVERYTHING = frozenset(NAMES)


def mask(names: tuple[str, ...]) -> int:
    return sum(1 << NAMES.index(name) for name in names)


def test_the_default_is_dockers() -> None:
    assert mask(effective((), (), EVERYTHING)) == 0xA80425FB


def test_add_and_drop_take_any_spelling() -> None:
    assert set(effective(("net_admin", "Cap_Sys_Time"), ("CHOWN",), EVERYTHING)) == (
        DEFAULT | {"CAP_NET_ADMIN", "CAP_SYS_TIME"}
    ) - {"CAP_CHOWN"}


def test_all_is_what_the_daemon_has() -> None:
    available = EVERYTHING - {"CAP_SYS_RESOURCE"}
    assert set(effective(("ALL",), ("CAP_SYS_ADMIN",), available)) == available - {"CAP_SYS_ADMIN"}
    assert effective((), ("all",), available) == ()
    assert effective(("KILL",), ("ALL",), available) == ("CAP_KILL",)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NOSUCH", 'unknown capability: "CAP_NOSUCH"'),
        ("SYS_RESOURCE", 'not available in the current environment: "CAP_SYS_RESOURCE"'),
    ],
)
def test_what_cannot_be_given_is_refused(name: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        effective((name,), (), EVERYTHING - {"CAP_SYS_RESOURCE"})


def test_a_mask_names_its_capabilities() -> None:
    assert from_mask(0b10000000000001) == {"CAP_CHOWN", "CAP_NET_RAW"}
