"""Which nodes are registered with this leader, for how long, and what becomes of a node that falls silent.

In: registrations, heartbeats and the time; out: session ids, heartbeat periods, which registrations ran out. What is
written of a node then is in `node_states`. Source of the constants and texts: SwarmKit manager/dispatcher
(dispatcher.go, nodes.go).
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from shoal.errors import InvalidArgument, NotFound, Unavailable
from shoal.manager.dispatcher.periods import HEARTBEAT_PERIOD, epsilon, stretched

GRACE_PERIODS = 3
GRACE_PERIODS_UNKNOWN = 6  # after a change of leader the nodes must first find it
REGISTRATION_LIMIT = 3
REGISTRATION_QUIET = 8.0  # after so long without a registration the count starts anew
CHANGE_LIMIT = 6  # of what a node says of itself, in one session; counted likewise
ORPHAN_AFTER = 24 * 3600.0


@dataclass(slots=True)
class Registration:
    """One node that this leader waits for. `session_id` is empty while the node is only expected (UNKNOWN)."""

    node_id: str
    session_id: str
    expires_at: float
    registered_at: float
    attempts: int = 0
    changes: int = 0
    changed_at: float = 0.0
    is_manager: bool = False  # of one that is expected


class Sessions:
    """All registrations. Costs of each call do not depend on how many there are (expiry: a heap, mended lazily)."""

    def __init__(self, uniform: Callable[[float, float], float], new_id: Callable[[], str]) -> None:
        self._uniform = uniform
        self._new_id = new_id
        self.spec_period = HEARTBEAT_PERIOD
        """What the cluster's spec asks for, in seconds; nodes of a large swarm are told a longer one."""
        self._nodes: dict[str, Registration] = {}
        self._never_came: set[str] = set()  # of those that are waited for: whoever has a join token makes thousands
        self._expiries: list[tuple[float, str]] = []
        self._orphans: dict[str, float] = {}

    def set_period(self, period: float) -> None:
        """Take the heartbeat period of the cluster's spec; 0 means the default. Nodes learn it with their next beat."""
        self.spec_period = period or HEARTBEAT_PERIOD

    def period(self, among: int = 0) -> float:
        """Return a freshly drawn period for one node of those that are registered or waited for, or of `among`."""
        mean = stretched(self.spec_period, max(len(self._nodes) - len(self._never_came), among))
        spread = epsilon(mean)
        return mean + self._uniform(-spread, spread)

    def expect(self, node_id: str, now: float, *, is_manager: bool = False, among: int = 0, came: bool = True) -> None:
        """Wait for a node that the leader before knew: it has no session until it registers here.

        A manager that cannot be reached has no leader to find: it is given as long as a silent node. `among`: how many
        that ever came are waited for at a time; one that never did (`came`) lengthens nobody's period.
        """
        if not came:
            self._never_came.add(node_id)
        periods = GRACE_PERIODS if is_manager else GRACE_PERIODS_UNKNOWN
        self._put(Registration(node_id, "", now + self.period(among) * periods, now, is_manager=is_manager))

    def admit(self, node_id: str, now: float) -> None:
        """Count a registration; raise Unavailable for one too many. Refused ones do not lengthen the wait."""
        known = self._nodes.get(node_id)
        if known is None:
            return
        if now - known.registered_at > REGISTRATION_QUIET:
            known.attempts = 0
        known.attempts += 1
        if known.attempts > REGISTRATION_LIMIT:
            raise Unavailable(f"node {node_id} exceeded rate limit count of registrations")
        known.registered_at = now

    def admit_change(self, node_id: str, now: float) -> None:
        """Count that a node with a session describes itself anew; raise Unavailable for once too often.

        To go on with a session costs nothing else: a node does so whenever its certificate changes.
        """
        known = self._nodes.get(node_id)
        if known is None:
            return
        if now - known.changed_at > REGISTRATION_QUIET:
            known.changes = 0
        if known.changes >= CHANGE_LIMIT:
            raise Unavailable(f"node {node_id} describes itself anew too often")
        known.changes += 1
        known.changed_at = now

    def register(self, node_id: str, now: float) -> str:
        """Return the id of a new session of an admitted node; it replaces the node's former one."""
        known = self._nodes.get(node_id)
        session_id = self._new_id()
        self._orphans.pop(node_id, None)
        self._never_came.discard(node_id)
        self._put(
            Registration(
                node_id,
                session_id,
                now + self.period() * GRACE_PERIODS,
                known.registered_at if known else now,
                known.attempts if known else 0,
                known.changes if known else 0,
                known.changed_at if known else 0.0,
            )
        )
        return session_id

    def is_live(self, node_id: str, session_id: str) -> bool:
        """Return whether this is the node's present session."""
        known = self._nodes.get(node_id)
        return known is not None and session_id != "" and known.session_id == session_id

    def is_registered(self, node_id: str) -> bool:
        """Return whether the node has a session, or is still waited for."""
        return node_id in self._nodes

    def check(self, node_id: str, session_id: str) -> None:
        """Raise what a call of a session must hear when that session is not (or no longer) the live one."""
        known = self._nodes.get(node_id)
        if known is None:
            raise NotFound("node not registered")
        if session_id == "" or known.session_id != session_id:
            raise InvalidArgument("session invalid")

    def beat(self, node_id: str, session_id: str, now: float) -> float:
        """Note a sign of life and return after how many seconds the next one is due."""
        self.check(node_id, session_id)
        period = self.period()
        self._nodes[node_id].expires_at = now + period * GRACE_PERIODS
        return period

    def cut_short(self, node_id: str, now: float) -> None:
        """Let a registration run out now: its host is known to be gone."""
        known = self._nodes.get(node_id)
        if known is not None:
            known.expires_at = now
            known.is_manager = False
            heappush(self._expiries, (now, node_id))

    def expired(self, now: float, is_reachable: Callable[[str], bool] = lambda node_id: False) -> list[Registration]:
        """Forget and return the registrations that ran out; each node's tasks are orphans a day later.

        `is_reachable` tells of managers that are expected: one that is there has yet to find the leader.
        """
        gone: list[Registration] = []
        while self._expiries and self._expiries[0][0] <= now:
            _, node_id = heappop(self._expiries)
            known = self._nodes.get(node_id)
            if known is None:
                continue
            if known.expires_at > now:  # it has beaten since this entry was made
                heappush(self._expiries, (known.expires_at, node_id))
                continue
            if known.is_manager and is_reachable(node_id):
                rest = self.period() * (GRACE_PERIODS_UNKNOWN - GRACE_PERIODS)
                known.expires_at, known.is_manager = now + rest, False
                heappush(self._expiries, (known.expires_at, node_id))
                continue
            del self._nodes[node_id]
            self._never_came.discard(node_id)
            self.watch_orphan(node_id, now)
            gone.append(known)
        return gone

    def next_look(self) -> float | None:
        """Return when `expired` or `orphaned` may have something to say, or None when nothing is pending."""
        instants = [self._expiries[0][0]] if self._expiries else []
        if self._orphans:
            instants.append(min(self._orphans.values()))
        return min(instants, default=None)

    def watch_orphan(self, node_id: str, now: float) -> None:
        """Start the day after which the tasks of a node that is down count as lost."""
        self._orphans.setdefault(node_id, now + ORPHAN_AFTER)

    def orphaned(self, now: float) -> list[str]:
        """Return, once, the nodes that have been down for a day."""
        gone = [node_id for node_id, at in self._orphans.items() if at <= now]
        for node_id in gone:
            del self._orphans[node_id]
        return gone

    def forget(self, node_id: str) -> None:
        """Drop a node that was removed from the swarm."""
        self._nodes.pop(node_id, None)
        self._never_came.discard(node_id)
        self._orphans.pop(node_id, None)

    def others(self, own_id: str) -> int:
        """Return how many nodes beside the leader's own have a session or are waited for."""
        return len(self._nodes) - (own_id in self._nodes)

    def live_nodes(self) -> list[str]:
        """Return the nodes that have a session."""
        return [node_id for node_id, known in self._nodes.items() if known.session_id]

    def _put(self, registration: Registration) -> None:
        # A node has one entry in the heap for each registration; `expired` drops those that a later one outlived.
        self._nodes[registration.node_id] = registration
        heappush(self._expiries, (registration.expires_at, registration.node_id))
