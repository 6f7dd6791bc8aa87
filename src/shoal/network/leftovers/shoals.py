"""Which tables of nftables an older Shoal left, and which a Shoal that is gone. Pure.

In: the tables that there are, by family and name; which tags still have somebody. A tag is a daemon's, and part of the
names of all that it makes on the host.
"""

import re
from collections.abc import Callable, Collection

Name = tuple[str, str]
"""Family and name of a table."""
# `tag_of` (shoal/paths.py). Tables in containers' namespaces have none.
_TABLE = re.compile(r"shoal_([0-9a-f]{8})(?:_(.+))?")
_MESH_DEVICE = re.compile(r"vxi([0-9a-f]{8})")
_TRANSLATION = re.compile(r"s64[pm]([0-9a-f]{8})")
# Of today, by what follows the tag.
_NAMES = {"": ("ip",), "ports": ("ip", "ip6"), "mesh": ("ip", "ip6", "netdev"), "esp": ("inet",)}


def tag(name: str) -> str:
    """Return whose table that is; empty where it is no Shoal's."""
    found = _TABLE.fullmatch(name)
    return found[1] if found else ""


def device_tag(name: str) -> str:
    """Return whose mesh has the interface of this name; empty where it is none of a mesh."""
    found = _MESH_DEVICE.fullmatch(name)
    return found[1] if found else ""


def translation_tag(name: str) -> str:
    """Return whose translation of IPv6 has the interface of this name; empty where it is none."""
    found = _TRANSLATION.fullmatch(name)
    return found[1] if found else ""


def left_by_others(tables: Collection[Name], own: str, has_owner: Callable[[str], bool]) -> list[Name]:
    """Return the tables of daemons that are gone."""
    gone = {one for one in {tag(name) for _, name in tables} - {"", own} if not has_owner(one)}
    return sorted(table for table in tables if tag(table[1]) in gone)


def left_by_former(tables: Collection[Name], own: str, interfaces: Collection[str]) -> list[Name]:
    """Return the own tables that this version has no use for: of other names, or of networks whose bridge is gone."""
    found = []
    for family, name in tables:
        if tag(name) != own:
            continue
        rest = name.removeprefix(f"shoal_{own}").removeprefix("_")
        known = _NAMES.get(rest, ("ip",) if f"shoal-{rest}" in interfaces else ())
        if family not in known:
            found.append((family, name))
    return sorted(found)
