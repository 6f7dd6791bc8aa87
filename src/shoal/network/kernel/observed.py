"""From the kernel's lists of an overlay's namespace to what there is of the overlay."""

import re
from collections.abc import Iterable, Sequence

from shoal.network.kernel.state import Port, Seen
from shoal.network.neighbours import Forwarding, Neighbour
from shoal.network.rtnetlink import Link

# The group of links that are about to be removed, all at once.
CONDEMNED = 83
_SEGMENT = re.compile(r"(br|vx)([1-9][0-9]{0,7})")
_PORT = re.compile(r"ve[0-9a-z]{12}")


def alias(tag: str, mark: str) -> str:
    """Return what a link of ours is called for people, with the mark that it is made to the end."""
    return f"shoal {tag} {mark}"


def port_mark(port: Port, inode: int) -> str:
    """Return the mark of a container's interface."""
    return f"{port.shape(inode)} {port.ways()}"


def observe(tag: str, links: Sequence[Link], neighbours: Iterable[Neighbour], forwarding: Iterable[Forwarding]) -> Seen:
    """Return what there is. A link of ours that is not up, or lacks its alias, was not made to the end: no mark."""
    seen = Seen(namespace=True)
    bridges = {link.name: link for link in links if link.kind == "bridge"}
    vnis: dict[int, int] = {}  # of VXLAN devices, by index
    for link in links:
        segment = _SEGMENT.fullmatch(link.name)
        if segment is None or link.kind not in ("vxlan", "bridge"):
            continue
        vni = int(segment[2])
        if link.kind == "vxlan":
            vnis[link.index] = vni
            bridge = bridges.get(f"br{vni}")
            done = link.up and bridge is not None and bridge.up and link.master == bridge.index
            mtu = link.mtu if bridge and bridge.mtu == link.mtu else 0
            seen.segments[vni] = (_mark(tag, link) if done else "", mtu)
        else:
            seen.segments.setdefault(vni, ("", 0))
    masters = {bridge.index for bridge in bridges.values()}
    for link in links:
        if link.kind == "veth" and _PORT.fullmatch(link.name):
            mark = _mark(tag, link) if link.up and link.master in masters else ""
            shape, _, ways = mark.partition(" ")
            seen.ports[link.name] = (shape, ways, link.mtu)
    seen.neighbours = {(vnis[one.link], one.address): one.mac for one in neighbours if one.link in vnis}
    _observe_forwarding(seen, vnis, forwarding)
    return seen


def _observe_forwarding(seen: Seen, vnis: dict[int, int], forwarding: Iterable[Forwarding]) -> None:
    in_bridge: set[tuple[int, str]] = set()
    for one in forwarding:
        if one.link in vnis:
            key = (vnis[one.link], one.mac)
            if one.tunnel is None:
                in_bridge.add(key)
            else:
                seen.forwarding[key] = one.tunnel
    for key in in_bridge ^ seen.forwarding.keys():
        seen.forwarding[key] = None


def _mark(tag: str, link: Link) -> str:
    prefix = alias(tag, "")
    # One left in the group by a process that was killed would go with the next that are removed.
    whole = link.alias.startswith(prefix) and link.group != CONDEMNED
    return link.alias.removeprefix(prefix) if whole else ""
