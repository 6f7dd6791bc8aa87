"""What of the wanted state is to be made anew: what one differs in from the one before, and who is on which network.

Pure. An item that is the same object costs a look at it, whatever is in it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from shoal.network.wanted import Endpoint, Overlay, Sandbox, Wanted


@dataclass(frozen=True, slots=True)
class Differences:
    """What leads from one wanted state to another."""

    overlays: frozenset[str] = frozenset()  # ids of those that are new, others than before, or gone
    networks: frozenset[str] = frozenset()  # and those that a container has come to, gone from, or changed on
    sandboxes: tuple[Sandbox, ...] = ()  # new, others than before, or on such an overlay
    gone: tuple[Sandbox, ...] = ()  # also those that are another namespace now


def differences(
    overlays_before: Iterable[Overlay], there: Mapping[str, Sandbox], wanted: Wanted, *, everything: bool = False
) -> Differences:
    """Return what is other than before; `there` is by container.

    `everything`: what did not change counts as changed as well.
    """
    before = {one.id: one for one in overlays_before}
    now = {one.id: one for one in wanted.overlays}
    overlays = frozenset(
        one for one in before.keys() | now.keys() if everything or not _same(before.get(one), now.get(one))
    )
    gone = dict(there)
    changed, sandboxes = [], []
    for sandbox in wanted.sandboxes:
        one = there.get(sandbox.container)
        # With other endpoints it is another namespace, although the path is the same.
        if one is sandbox or (one is not None and _ids(one) == _ids(sandbox)):
            gone.pop(sandbox.container, None)
        if everything or not _same(one, sandbox):
            changed += [sandbox] if one is None else [one, sandbox]
            sandboxes.append(sandbox)
        elif overlays and any(endpoint.network in overlays for endpoint in sandbox.endpoints):
            sandboxes.append(sandbox)
    touched = {endpoint.network for one in chain(changed, gone.values()) for endpoint in one.endpoints}
    return Differences(overlays, overlays | touched, tuple(sandboxes), tuple(gone.values()))


def _same(one: object, other: object) -> bool:
    return one is other or one == other


def _ids(sandbox: Sandbox) -> set[str]:
    return {endpoint.id for endpoint in sandbox.endpoints}


class Attached:
    """Who is on which network."""

    def __init__(self) -> None:
        self.all: dict[str, Sandbox] = {}  # by container
        # Network -> container: the path of its namespace, and its endpoints there.
        self._on: dict[str, dict[str, list[tuple[str, Endpoint]]]] = {}

    def change(self, sandboxes: Iterable[Sandbox], gone: Iterable[Sandbox]) -> None:
        """Take over containers that are others now, after those that are gone."""
        for sandbox in gone:
            self._take_away(sandbox.container)
        for sandbox in sandboxes:
            self._take_away(sandbox.container)
            self.all[sandbox.container] = sandbox
            for endpoint in sandbox.endpoints:
                on = self._on.setdefault(endpoint.network, {})
                on.setdefault(sandbox.container, []).append((sandbox.netns, endpoint))

    def _take_away(self, container: str) -> None:
        if (former := self.all.pop(container, None)) is None:
            return
        for network in {endpoint.network for endpoint in former.endpoints}:
            on = self._on[network]
            del on[container]
            if not on:
                del self._on[network]

    def sandboxes(self, network: str) -> list[Sandbox]:
        """Return the containers on a network, in no order."""
        return [self.all[container] for container in self._on.get(network, ())]

    def endpoints(self, network: str) -> list[tuple[str, Endpoint]]:
        """Return the endpoints of a network with the paths of their namespaces, in no order."""
        return list(chain.from_iterable(self._on.get(network, {}).values()))
