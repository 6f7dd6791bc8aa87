"""Makes the kernel look as the overlays are wanted: reads what there is, adds, then removes. Blocking; one thread.

What it has made it remembers, so that a change costs what changed; after a failure, and at the start, it reads the
kernel. It touches the namespaces in its own folder and the ends that it put into containers.
"""

import errno
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shoal.errors import ShoalError
from shoal.network import rtnetlink
from shoal.network.kernel import plan
from shoal.network.kernel.state import DEFAULT_MTU, OverlayState, Seen
from shoal.network.kernel.workplace import RefusedPeers, Workplace
from shoal.network.namespaces import Namespaces
from shoal.network.netlink import NetlinkSocket
from shoal.network.rtnetlink import Address
from shoal.network.sysctls import set_sysctl
from shoal.network.wanted import Trouble

log = logging.getLogger(__name__)

# A name or a VXLAN id that is wanted may be free only once what is too much is gone.
_ROUNDS = 2
# Neighbours of all containers of a host count together; the kernel's 1,024 are few. Docker's numbers (gossip.md 4.2).
_NEIGHBOURS = {"gc_thresh1": 8192, "gc_thresh2": 49152, "gc_thresh3": 65536}
_PASSING = {errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC, errno.EAGAIN, errno.EINTR}


@dataclass(slots=True)
class _Held:
    place: Workplace
    seen: Seen | None = None
    fresh: bool = False  # whether `seen` is what there is; else it is to be read
    reached: OverlayState | None = None
    mark: object = None  # that of the state whose tables of others `seen` has
    refused: dict[plan.Entry, int] = field(default_factory=dict)  # of others, which the kernel did not take: its errno

    def try_again(self, step: plan.SetPeers) -> None:
        for vni, which, _ in (*step.neighbours, *step.forwarding):
            self.refused.pop((vni, which), None)  # type: ignore[arg-type]

    def standing(self, state: OverlayState) -> list[Trouble]:
        """Return what is said of those that are still wanted. No container is kept from its network by them."""
        self.refused = {
            entry: number
            for entry, number in self.refused.items()
            if entry in state.neighbours or entry in state.forwarding
        }
        if not self.refused:
            return []
        (_, which), number = next(iter(self.refused.items()))
        words = f"{len(self.refused)} entries of other nodes are refused: {which}: {os.strerror(number)}"
        return [Trouble(state.id, "", words, bearable=True)]


class Overlays:
    """The overlays of one node. `folder` is where their namespaces are pinned; nothing else may lie in it."""

    def __init__(self, folder: Path, tag: str, namespaces: Namespaces) -> None:
        self._folder = folder
        self._tag = tag
        self._namespaces = namespaces
        self._host = NetlinkSocket()
        self._held: dict[str, _Held] | None = None  # None: the folder is to be read
        self.steps = 0
        """How many have been carried out."""

    def close(self) -> None:
        """Close what is open here; the overlays stay."""
        for held in (self._held or {}).values():
            held.place.close()
        self._held = None
        self._host.close()

    def path_mtu(self, local: Address) -> int:
        """Return the MTU of the device that has this node's address."""
        having = [
            index
            for index, address in rtnetlink.addresses(self._host.run(rtnetlink.list_addresses()))
            if address == local
        ]
        for link in rtnetlink.links(self._host.run(rtnetlink.list_links())):
            if link.index in having and link.index != 1:
                return link.mtu
        return DEFAULT_MTU

    def look_again(self, overlays: Iterable[str]) -> None:
        """Read the kernel at the next `apply`, whatever was made so far of these."""
        for overlay in overlays:
            if held := (self._held or {}).get(overlay):
                held.fresh, held.reached = False, None

    def look(self, overlay: str) -> Seen:
        """Return what the kernel has of an overlay, whatever was made. OSError, ShoalError."""
        held = (self._held or {}).get(overlay)
        return held.place.observe() if held is not None else Seen()

    def apply(self, wanted: Sequence[OverlayState]) -> list[Trouble]:
        """Make it so, all other overlays of this node gone. Return what could not be done; the rest is done.

        May be repeated, and what failed is tried again then.
        """
        if self._held is None:
            self._held = self._find()
        states: dict[str, OverlayState | None] = dict.fromkeys(self._held)
        states.update({state.id: state for state in wanted})
        troubles: dict[str, list[Trouble]] = {}
        waiting = list(states)
        inodes: dict[str, int] = {}  # a container is on many networks
        for _ in range(_ROUNDS):
            for overlay in waiting:
                troubles[overlay] = self._apply(self._held, overlay, states[overlay], inodes)
            waiting = [overlay for overlay, found in troubles.items() if not all(one.bearable for one in found)]
        return [trouble for found in troubles.values() for trouble in found]

    def _find(self) -> dict[str, _Held]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, least in _NEIGHBOURS.items():
            path = Path("/proc/sys/net/ipv4/neigh/default") / name
            if path.exists() and int(path.read_text()) < least:
                try:
                    set_sysctl(f"ipv4/neigh/default/{name}", str(least))
                except ShoalError as error:
                    log.warning("many containers of this host may not reach each other: %s", error)
        return {path.name: self._hold(path.name) for path in self._folder.iterdir()}

    def _hold(self, overlay: str) -> _Held:
        return _Held(Workplace(self._folder / overlay, self._tag, self._namespaces, self._host))

    def _apply(
        self, all_held: dict[str, _Held], overlay: str, state: OverlayState | None, known: dict[str, int]
    ) -> list[Trouble]:
        if overlay not in all_held:
            all_held[overlay] = self._hold(overlay)
        held = all_held[overlay]
        if state is not None and (held.reached is state or held.reached == state):
            return held.standing(state)
        held.reached = None
        known_before = held.seen is not None and held.fresh and held.mark is not None
        try:
            seen = self._seen(held)
        except (OSError, ShoalError) as error:
            return [_trouble(overlay, "", error)]
        inodes, troubles = _inodes(state, known)
        touched = state.touched if state is not None and known_before and state.after is held.mark else None
        failed = self._run(overlay, held, seen, plan.plan(state, seen, inodes, touched))
        # What the kernel had no room for is tried again.
        held.fresh = not failed and not _PASSING & set(held.refused.values())
        held.mark = state.mine if state is not None and held.fresh else None
        troubles += failed
        if state is None and not troubles:
            held.place.close()
            (self._folder / overlay).unlink(missing_ok=True)  # after a restart of the host the bare file is left
            del all_held[overlay]
        elif state is not None:
            if not troubles and held.fresh:
                held.reached = state
            troubles += held.standing(state)
        return troubles

    def _seen(self, held: _Held) -> Seen:
        if held.seen is None or not held.fresh:
            former, held.seen = held.seen, held.place.observe()
            held.refused = {}
            if former is not None:
                plan.carry_over(former, held.seen)
        return held.seen

    def _run(self, overlay: str, held: _Held, seen: Seen, steps: Sequence[plan.Step]) -> list[Trouble]:
        troubles = []
        for step in steps:
            if isinstance(step, plan.SetPeers):
                held.try_again(step)
            try:
                held.place.carry_out(step)
            except RefusedPeers as error:
                held.refused.update(error.refused)
                self.steps += 1
                plan.after(seen, step)
            except (OSError, ShoalError) as error:
                endpoint = step.port.endpoint if isinstance(step, plan.MakePort | plan.ChangePort) else ""
                troubles.append(_trouble(overlay, endpoint, error))
                if isinstance(step, plan.MakeNamespace):
                    break  # there is nothing to do the rest in
            else:
                self.steps += 1
                plan.after(seen, step)
        return troubles


def _inodes(state: OverlayState | None, known: dict[str, int]) -> tuple[dict[str, int], list[Trouble]]:
    troubles = []
    for port in state.ports if state else ():
        try:
            if port.netns not in known:
                known[port.netns] = os.stat(port.netns).st_ino
        except OSError as error:
            troubles.append(_trouble(state.id if state else "", port.endpoint, error))
    return known, troubles


def _trouble(overlay: str, endpoint: str, error: OSError | ShoalError) -> Trouble:
    words = str(error)
    if isinstance(error, OSError):
        words = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return Trouble(overlay, endpoint, words)
