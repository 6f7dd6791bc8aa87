"""Reads this host's node from the swarm's folder when the daemon starts. Blocks; changes nothing.

In: the folder, and the unlock key if one was given. Out: the node's state and identity, or an error.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from shoal.api import v1 as api
from shoal.ca.security import SecurityConfig
from shoal.errors import DamagedState
from shoal.node import founding, peers, refusals, state
from shoal.paths import Paths

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Restored:
    """A node as its files describe it. `out_of_time` says why its certificate is not valid now; empty if it is."""

    saved: state.NodeState
    security: SecurityConfig
    managers: peers.Peers
    out_of_time: str


def restore(paths: Paths, now: float, kek: bytes | None = None) -> Restored | None:
    """Return the node in the files; None if there is none, or a join that never got a certificate.

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
    return Restored(saved, security, _managers(paths, saved), _out_of_time(security, saved.remote_addr, now))


def _managers(paths: Paths, saved: state.NodeState) -> peers.Peers:
    try:
        known = peers.load(paths.swarm)
    except DamagedState as error:
        log.warning("%s; this node asks the manager through which it joined instead", error)
        known = ()
    return known or ((("", saved.remote_addr),) if saved.remote_addr else ())


def _out_of_time(security: SecurityConfig, remote: str, now: float) -> str:
    identity = security.identity
    if now > identity.not_after_at:
        _tell_expired(security, remote, now)
        return refusals.EXPIRED
    if now < identity.not_before_at:
        text = refusals.EARLY.format(now=_day_and_time(now), since=_day_and_time(identity.not_before_at))
        log.error("%s", text)
        return text
    return ""


def _tell_expired(security: SecurityConfig, remote: str, now: float) -> None:
    """Log since when the certificate is expired, and which command brings the node back."""
    ended = _day_and_time(security.identity.not_after_at)
    if security.identity.role == api.MANAGER:
        log.warning(
            "this manager's certificate ran out on %s, and this host's clock says %s: if it is wrong, set it; "
            "a manager that is alone renews its certificate by itself; if all managers were off, run on one of them: "
            "docker swarm init --force-new-cluster",
            ended,
            _day_and_time(now),
        )
        return
    log.error(
        "this node's certificate ran out on %s, and this host's clock says %s: if it is wrong, set it, and the node "
        "goes on by itself; if it is right, bring it back with docker swarm join --token TOKEN %s",
        ended,
        _day_and_time(now),
        remote or "MANAGER:2377",
    )


def _day_and_time(at: float) -> str:
    """Return an instant (seconds since 1970) as text for users."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
