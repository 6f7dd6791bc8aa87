"""From how an overlay looks to how it is to look: the steps, what is missing before what is too much.

Pure. Each step may be repeated, and leaves its mark only at its end, so that what was broken off half way is seen as
missing. `after` says what a step that succeeded has made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from shoal.network.kernel.state import OverlayState, Port, Seen, Segment
from shoal.network.rtnetlink import Address

Entry = tuple[int, Address] | tuple[int, str]
"""A neighbour (VXLAN id, address), or where a MAC is (VXLAN id, MAC)."""
Touched = frozenset[Entry]
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class MakeNamespace:
    """Make the overlay's namespace."""

    routed: bool  # between several subnets


@dataclass(frozen=True, slots=True)
class MakeSegment:
    """Make a bridge and its VXLAN device, or mend them. A VXLAN device that is no longer right is made anew."""

    segment: Segment
    mark: str
    mtu: int
    local: Address
    port: int


@dataclass(frozen=True, slots=True)
class ResizeSegment:
    """Give a bridge and its VXLAN device another MTU."""

    segment: Segment
    mtu: int


@dataclass(frozen=True, slots=True)
class MakePort:
    """Make a container's interface. `anew`: one of its name stands there, or a part of it."""

    port: Port
    inode: int
    mtu: int
    anew: bool = False


@dataclass(frozen=True, slots=True)
class ChangePort:
    """Give a container's interface another MTU, or other routes, without a packet lost."""

    port: Port
    inode: int
    mtu: int


@dataclass(frozen=True, slots=True)
class SetPeers:
    """Say where others are. Neighbours are (VXLAN id, address, MAC), forwarding is (VXLAN id, MAC, node)."""

    neighbours: tuple[tuple[int, Address, str], ...]
    forwarding: tuple[tuple[int, str, Address], ...]


@dataclass(frozen=True, slots=True)
class DropPeers:
    """Forget others."""

    neighbours: tuple[tuple[int, Address], ...]
    forwarding: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class DropPorts:
    """Remove containers' interfaces, by the names of the ends on the bridge."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DropSegment:
    """Remove a VXLAN device and its bridge."""

    vni: int


@dataclass(frozen=True, slots=True)
class DropNamespace:
    """Remove the overlay's namespace. Its devices are gone at the end, so that their ids and names are free again."""


Step = (
    MakeNamespace
    | MakeSegment
    | ResizeSegment
    | MakePort
    | ChangePort
    | SetPeers
    | DropPeers
    | DropPorts
    | DropSegment
    | DropNamespace
)


def plan(
    wanted: OverlayState | None, seen: Seen, inodes: Mapping[str, int], touched: Touched | None = None
) -> list[Step]:
    """Return the steps from one to the other; none where all is as wanted. `inodes`: of the containers' namespaces.

    `touched`: only these neighbours and MACs of others may be others than seen. A container whose namespace is not
    there gets no step: the shell says so.
    """
    if wanted is None:
        return _nothing(seen)
    ports = [port for port in wanted.ports if port.netns in inodes]
    steps: list[Step] = []
    if not seen.namespace:
        steps.append(MakeNamespace(len(wanted.segments) > 1))
    # A VXLAN id that another segment of ours has must be free before it is used again.
    steps += _segments(wanted, seen)
    steps += _peers(wanted, seen, touched)
    steps += _ports(wanted.mtu, ports, seen, inodes)
    names = {port.name for port in ports}
    if unwanted := tuple(name for name in sorted(seen.ports) if name not in names):
        steps.append(DropPorts(unwanted))
    steps += _strangers(wanted, seen, touched)
    vnis = {segment.vni for segment in wanted.segments}
    steps += [DropSegment(vni) for vni in sorted(seen.segments) if vni not in vnis]
    return steps


def _nothing(seen: Seen) -> list[Step]:
    return [DropNamespace()] if seen.namespace else []


def _segments(wanted: OverlayState, seen: Seen) -> list[Step]:
    steps: list[Step] = []
    for segment in wanted.segments:
        mark, mtu = seen.segments.get(segment.vni, ("", 0))
        if mark != wanted.mark():
            steps.append(MakeSegment(segment, wanted.mark(), wanted.mtu, wanted.local, wanted.port))
        elif mtu != wanted.mtu:
            steps.append(ResizeSegment(segment, wanted.mtu))
    return steps


def _ports(mtu: int, ports: list[Port], seen: Seen, inodes: Mapping[str, int]) -> list[Step]:
    steps: list[Step] = []
    for port in ports:
        there = seen.ports.get(port.name)
        inode = inodes[port.netns]
        known = seen.made.get(port.name)
        if there is not None and known is not None and known[0] is port and known[1] == inode and there[2] == mtu:
            continue
        if there is None or there[0] != port.shape(inode):
            steps.append(MakePort(port, inode, mtu, anew=there is not None))
        elif there[1:] != (port.ways(), mtu):
            steps.append(ChangePort(port, inode, mtu))
    return steps


def _peers(wanted: OverlayState, seen: Seen, touched: Touched | None) -> list[Step]:
    # A VXLAN device that is made anew has forgotten all.
    fresh = {s.vni for s in wanted.segments if seen.segments.get(s.vni, ("", 0))[0] != wanted.mark()}
    some = None if fresh else touched
    neighbours = tuple(
        (vni, address, mac)
        for (vni, address), mac in _some(wanted.neighbours, some)
        if vni in fresh or seen.neighbours.get((vni, address)) != mac
    )
    forwarding = tuple(
        (vni, mac, node)
        for (vni, mac), node in _some(wanted.forwarding, some)
        if vni in fresh or seen.forwarding.get((vni, mac)) != node
    )
    return [SetPeers(neighbours, forwarding)] if neighbours or forwarding else []


def _strangers(wanted: OverlayState, seen: Seen, touched: Touched | None) -> list[Step]:
    vnis = {segment.vni for segment in wanted.segments}
    neighbours = tuple(
        key for key, _ in _some(seen.neighbours, touched) if key not in wanted.neighbours and key[0] in vnis
    )
    forwarding = tuple(
        key for key, _ in _some(seen.forwarding, touched) if key not in wanted.forwarding and key[0] in vnis
    )
    return [DropPeers(neighbours, forwarding)] if neighbours or forwarding else []


def _some(table: Mapping[K, V], touched: Touched | None) -> Iterable[tuple[K, V]]:
    """Return what a table has under these keys; None: all that it has."""
    if touched is None:
        return table.items()
    return [(key, table[key]) for key in touched if key in table]  # type: ignore[index, misc]


def after(seen: Seen, step: Step) -> None:
    """Enter into `seen` what a step has made."""
    match step:
        case MakeNamespace():
            seen.namespace = True
        case MakeSegment(segment=segment, mark=mark, mtu=mtu):
            _forget(seen, segment.vni)
            seen.segments[segment.vni] = (mark, mtu)
        case ResizeSegment(segment=segment, mtu=mtu):
            seen.segments[segment.vni] = (seen.segments[segment.vni][0], mtu)
        case MakePort(port=port, inode=inode, mtu=mtu) | ChangePort(port=port, inode=inode, mtu=mtu):
            seen.ports[port.name] = (port.shape(inode), port.ways(), mtu)
            seen.made[port.name] = (port, inode)
        case SetPeers() | DropPeers():
            _after_peers(seen, step)
        case DropPorts(names=names):
            for name in names:
                seen.ports.pop(name, None)
                seen.made.pop(name, None)
        case DropSegment(vni=vni):
            _forget(seen, vni)
            seen.segments.pop(vni, None)
        case DropNamespace():
            seen.namespace = False
            for table in (seen.segments, seen.ports, seen.neighbours, seen.forwarding, seen.made):
                table.clear()


def carry_over(former: Seen, seen: Seen) -> None:
    """Enter into `seen`, which was read anew, of which ports that is which did not change since `former`."""
    seen.made = {name: known for name, known in former.made.items() if seen.ports.get(name) == former.ports[name]}


def _after_peers(seen: Seen, step: SetPeers | DropPeers) -> None:
    if isinstance(step, SetPeers):
        seen.neighbours.update({(vni, address): mac for vni, address, mac in step.neighbours})
        seen.forwarding.update({(vni, mac): node for vni, mac, node in step.forwarding})
        return
    for address in step.neighbours:
        seen.neighbours.pop(address, None)
    for mac in step.forwarding:
        seen.forwarding.pop(mac, None)


def _forget(seen: Seen, vni: int) -> None:
    """A VXLAN device takes what it was told with it."""
    seen.neighbours = {key: mac for key, mac in seen.neighbours.items() if key[0] != vni}
    seen.forwarding = {key: node for key, node in seen.forwarding.items() if key[0] != vni}
