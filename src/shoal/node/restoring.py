"""What this host was when its daemon last ended: read from its swarm's folder. Blocks; nothing is changed.

In: the folder, the key that unlocks it where one was given. Out: a node that can take up its place, or why not.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from shoal.api import v1 as api
from shoal.ca.security import SecurityConfig
from shoal.errors import DamagedState
from shoal.node import founding, peers, state
from shoal.paths import Paths

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Restored:
    """A node as its files tell it. `is_expired`: nobody believes its certificate any more."""

    saved: state.NodeState
    security: SecurityConfig
    managers: peers.Peers
    is_expired: bool


def restore(paths: Paths, now: float, kek: bytes | None = None) -> Restored | None:
    """Return the node that the files tell of; None where there is none, or one that was never told to be one.

    Raises DamagedState, Locked, OSError.
    """
    saved = state.load(paths.swarm)
    if saved is None:
        return None
    folder = founding.certificates(paths)
    security = SecurityConfig.load(folder, now, kek)
    if security is None and saved.join_in_progress:
        return None
    if security is None:
        raise DamagedState(str(folder), "the node's certificate and key are missing")
    is_expired = now > security.identity.not_after_at
    if is_expired:
        _tell_expired(security, saved.remote_addr)
    return Restored(saved, security, _managers(paths, saved), is_expired)


def _managers(paths: Paths, saved: state.NodeState) -> peers.Peers:
    try:
        known = peers.load(paths.swarm)
    except DamagedState as error:
        log.warning("%s; the manager that let this node join is asked instead", error)
        known = ()
    return known or ((("", saved.remote_addr),) if saved.remote_addr else ())


def _tell_expired(security: SecurityConfig, remote: str) -> None:
    """Say in one line since when nobody believes this node, and which command brings it back."""
    ended = datetime.fromtimestamp(security.identity.not_after_at, UTC).strftime("%Y-%m-%d %H:%M")
    if security.identity.role == api.MANAGER:
        log.warning(
            "this manager's certificate ran out on %s: a manager that is alone renews it by itself; if all managers "
            "were off, run on one of them: docker swarm init --force-new-cluster",
            ended,
        )
        return
    log.error(
        "this node's certificate ran out on %s: bring it back with docker swarm join --token TOKEN %s",
        ended,
        remote or "MANAGER:2377",
    )
