"""Who a container's process runs as: `user[:group]` and the files /etc/passwd and /etc/group of its image. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from shoal.errors import InvalidArgument

# The largest id that the kernel takes for a real user (2^32-1 means "no change").
_MAX_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """User, group, supplementary groups and home folder of a process."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True)
class _User:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def _rows(text: str, columns: int) -> Iterable[list[str]]:
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            yield (line.split(":") + [""] * columns)[:columns]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1


def _users(text: str) -> list[_User]:
    return [_User(row[0], _number(row[2]), _number(row[3]), row[5]) for row in _rows(text, 7) if _number(row[2]) >= 0]


def _groups(text: str) -> list[_Group]:
    return [
        _Group(row[0], _number(row[2]), tuple(name for name in row[3].split(",") if name))
        for row in _rows(text, 4)
        if _number(row[2]) >= 0
    ]


def _checked(number: int) -> int:
    if not 0 <= number <= _MAX_ID:
        raise InvalidArgument("uids and gids must be in range 0-2147483647")
    return number


def _gid(groups: list[_Group], name: str) -> int:
    for group in groups:
        if group.name == name:
            return group.gid
    if _number(name) < 0:
        raise InvalidArgument(f"unable to find group {name}: no matching entries in group file")
    return _checked(_number(name))


def resolve(user: str, extra_groups: Iterable[str], passwd: str, group: str) -> Identity:
    """The identity for `name`, `uid`, `name:group`, `uid:gid` (empty: root).

    A name is looked up before it is read as a number. Without a group the user's own counts, with all groups that name
    the user; a number that is nobody's gets group 0. Source of rules and texts: moby/sys user.GetExecUser.
    """
    users, groups = _users(passwd), _groups(group)
    wanted, _, wanted_group = user.partition(":")
    wanted = wanted or "0"
    found = next((one for one in users if one.name == wanted), None)
    if found is None and _number(wanted) >= 0:
        found = next((one for one in users if one.uid == _number(wanted)), None)
    if found is None and _number(wanted) < 0:
        raise InvalidArgument(f"unable to find user {wanted}: no matching entries in passwd file")
    uid = found.uid if found else _checked(_number(wanted))
    gid = found.gid if found and found.gid >= 0 else 0
    supplementary: list[int] = []
    if wanted_group:
        gid = _gid(groups, wanted_group)
    elif found is not None:
        supplementary = [one.gid for one in groups if found.name in one.members]
    supplementary += [_gid(groups, name) for name in extra_groups]
    home = found.home if found and found.home else "/"
    return Identity(uid, gid, tuple(dict.fromkeys(supplementary)), home)
