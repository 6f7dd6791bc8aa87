"""Finds the ids of a container's process from `user[:group]` and its image's /etc/passwd and /etc/group. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from shoal.errors import InvalidArgument

# The largest allowed id, as in moby/sys. For the kernel 2^32-1 means "no change".
_MAX_ID = 2**31 - 1
_DIGITS_MOST = 20  # including leading zeros; Python refuses numbers with thousands of digits


@dataclass(frozen=True, slots=True)
class Identity:
    """User, group, supplementary groups and home folder of a process."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True)
class _User:
    """A line of a passwd file."""

    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class _Group:
    """A line of a group file."""

    name: str
    gid: int
    members: tuple[str, ...]


def _rows(text: str, columns: int) -> Iterable[list[str]]:
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            yield (line.split(":") + [""] * columns)[:columns]


def _number(text: str) -> int:
    """Return a number that is a valid id, or -1. The id 2^32-1 would let a process stay root."""
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS_MOST:
        return -1
    return int(text) if int(text) <= _MAX_ID else -1


def _is_numeric(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _users(text: str) -> list[_User]:
    return [_User(row[0], _number(row[2]), _number(row[3]), row[5]) for row in _rows(text, 7) if _number(row[2]) >= 0]


def _groups(text: str) -> list[_Group]:
    return [
        _Group(row[0], _number(row[2]), tuple(name for name in row[3].split(",") if name))
        for row in _rows(text, 4)
        if _number(row[2]) >= 0
    ]


def _checked(text: str) -> int:
    number = _number(text)
    if number < 0:
        raise InvalidArgument("uids and gids must be in range 0-2147483647")
    return number


def _gid(groups: list[_Group], name: str) -> int:
    if _is_numeric(name):
        return _checked(name)
    for group in groups:
        if group.name == name:
            return group.gid
    raise InvalidArgument(f"unable to find group {name}: no matching entries in group file")


def resolve(user: str, extra_groups: Iterable[str], passwd: str, group: str) -> Identity:
    """Return the identity for `name`, `uid`, `name:group` or `uid:gid` (empty: root). Raises InvalidArgument.

    A number is never looked up as a name, so that an image with a root user called `1000` does not make `--user 1000`
    root. Without a group, the process gets the user's own group and all groups that list the user; a uid that is not in
    passwd gets group 0. The group is also the first supplementary one. Otherwise a file that denies access to that
    group would let the process in (CVE-2022-36109). Source of rules and texts: moby/sys user.GetExecUser, moby
    daemon/oci_linux.go.
    """
    users, groups = _users(passwd), _groups(group)
    wanted, _, wanted_group = user.partition(":")
    wanted = wanted or "0"
    if _is_numeric(wanted):
        uid = _checked(wanted)
        found = next((one for one in users if one.uid == uid), None)
    else:
        found = next((one for one in users if one.name == wanted), None)
        if found is None:
            raise InvalidArgument(f"unable to find user {wanted}: no matching entries in passwd file")
        uid = found.uid
    gid = found.gid if found and found.gid >= 0 else 0
    named: list[int] = []
    if wanted_group:
        gid = _gid(groups, wanted_group)
    elif found is not None:
        named = [one.gid for one in groups if found.name in one.members]
    supplementary = [gid, *named, *(_gid(groups, name) for name in extra_groups)]
    home = found.home if found and found.home else "/"
    return Identity(uid, gid, tuple(dict.fromkeys(supplementary)), home)
