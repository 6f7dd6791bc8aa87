"""Which user `--user` means, by an image's user database."""

import pytest

from shoal.errors import InvalidArgument
from shoal.runtime.identity import Identity, resolve

PASSWD = "# users\nroot:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/home/ann:/bin/sh\n7:x:70:71::/seven:\nbroken\n"
GROUP = "root:x:0:\n9:x:90:\nann:x:1001:\nteam:x:2000:bob,ann\nboss:x:2001:bob\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", Identity(0, 0, (0,), "/root")),
        ("ann", Identity(1000, 1001, (1001, 2000), "/home/ann")),
        ("1000", Identity(1000, 1001, (1001, 2000), "/home/ann")),
        ("ann:boss", Identity(1000, 2001, (2001,), "/home/ann")),
        ("ann:5", Identity(1000, 5, (5,), "/home/ann")),
        ("1000:1000", Identity(1000, 1000, (1000,), "/home/ann")),
        ("4242", Identity(4242, 0, (0,), "/")),
        ("4242:team", Identity(4242, 2000, (2000,), "/")),
        ("7", Identity(7, 0, (0,), "/")),  # a number is a number, even if a user has it as a name
        ("ann:9", Identity(1000, 9, (9,), "/home/ann")),
    ],
)
def test_users(user: str, expected: Identity) -> None:
    assert resolve(user, (), PASSWD, GROUP) == expected


def test_extra_groups_are_added_once() -> None:
    assert resolve("ann", ("boss", "77", "team"), PASSWD, GROUP).groups == (1001, 2000, 2001, 77)
    assert resolve("root:root", ("boss", "777"), PASSWD, GROUP).groups == (0, 2001, 777)


def test_without_a_user_database_there_is_root() -> None:
    assert resolve("", (), "", "") == Identity(0, 0, (0,), "/")


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("ann:nogroup", "unable to find group nogroup: no matching entries in group file"),
        ("4294967295", "uids and gids must be in range 0-2147483647"),
        ("9" * 5000, "uids and gids must be in range 0-2147483647"),
        ("ann:" + "9" * 5000, "uids and gids must be in range 0-2147483647"),
    ],
)
def test_what_is_not_there_is_refused(user: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        resolve(user, (), PASSWD, GROUP)


@pytest.mark.parametrize("number", ["4294967295", "2147483648", "9" * 5000, "-1", "٣"])
def test_a_user_whose_number_is_none_is_nobody(number: str) -> None:
    """With 2^32-1 the kernel would leave the process as root."""
    passwd, group = f"eve:x:{number}:0::/:/bin/sh\nann:x:5:{number}::/:/bin/sh\n", f"eve:x:{number}:ann\n"
    with pytest.raises(InvalidArgument, match="unable to find user eve"):
        resolve("eve", (), passwd, group)
    assert resolve("ann", (), passwd, group) == Identity(5, 0, (0,), "/")
