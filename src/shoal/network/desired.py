"""How the wanted state of this node's networks changes: a container comes or goes, keys and addresses arrive.

Pure: a `Wanted` in, another out, without a revision of its own (the caller gives it one). A network is wanted while a
container is on it; ingress also while the swarm gave this node an address on it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from shoal.network.wanted import Endpoint, Gossip, Overlay, Sandbox, Wanted


def with_sandbox(wanted: Wanted, sandbox: Sandbox, overlays: Iterable[Overlay]) -> Wanted:
    """Return it with a container, in the place of what was known of the same one. `overlays` are all that it is on."""
    known = {overlay.id: overlay for overlay in (*wanted.overlays, *overlays)}
    sandboxes = {one.container: one for one in wanted.sandboxes} | {sandbox.container: sandbox}
    return _needed(replace(wanted, overlays=tuple(known.values()), sandboxes=tuple(sandboxes.values())))


def without_sandbox(wanted: Wanted, container: str) -> Wanted:
    """Return it without a container, and without the networks that only it was on."""
    return _needed(replace(wanted, sandboxes=tuple(one for one in wanted.sandboxes if one.container != container)))


def with_only(wanted: Wanted, containers: Iterable[str]) -> Wanted:
    """Return it with no other containers than these: what is left of a last run is swept so."""
    kept = frozenset(containers)
    return _needed(replace(wanted, sandboxes=tuple(one for one in wanted.sandboxes if one.container in kept)))


def with_enabled(wanted: Wanted, container: str, *, enabled: bool) -> Wanted:
    """Return it with a container that names and balancers lead to, or no longer lead to."""

    def changed(endpoint: Endpoint) -> Endpoint:
        return replace(endpoint, enabled=enabled)

    return replace(
        wanted,
        sandboxes=tuple(
            replace(one, endpoints=tuple(map(changed, one.endpoints))) if one.container == container else one
            for one in wanted.sandboxes
        ),
    )


def with_gossip(wanted: Wanted, gossip: Gossip | None) -> Wanted:
    """Return it with other keys, contacts or addresses of this node; None: it is in no swarm."""
    return replace(wanted, gossip=gossip)


def with_node_addresses(wanted: Wanted, addresses: Mapping[str, str], ingress: Overlay | None) -> Wanted:
    """Return it with what the swarm gave this node: its address by network id, and the ingress network.

    A network whose address is taken back loses it, and may not speak under it any more (known-faults 43).
    """
    overlays = {overlay.id: replace(overlay, node_address=addresses.get(overlay.id, "")) for overlay in wanted.overlays}
    if ingress is not None:
        overlays[ingress.id] = replace(ingress, node_address=addresses.get(ingress.id, ""))
    return _needed(replace(wanted, overlays=tuple(overlays.values())))


def _needed(wanted: Wanted) -> Wanted:
    used = {endpoint.network for sandbox in wanted.sandboxes for endpoint in sandbox.endpoints}
    return replace(
        wanted,
        overlays=tuple(
            overlay for overlay in wanted.overlays if overlay.id in used or (overlay.ingress and overlay.node_address)
        ),
    )
