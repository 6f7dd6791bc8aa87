"""Which nodes are registered with this leader, for how long, and which have fallen silent. Pure.

In: registrations, heartbeats and the time; out: session ids, heartbeat periods, registrations that ran out.
`node_states` says what is written about such a node. Source of the constants and texts: SwarmKit manager/dispatcher
(dispatcher.go, nodes.go).
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from shoal.errors import InvalidArgument, NotFound, Unavailable
from shoal.manager.dispatcher.periods import HEARTBEAT_PERIOD, epsilon, stretched

GRACE_PERIODS = 3  # a node is silent after this many heartbeat periods without a heartbeat
GRACE_PERIODS_UNKNOWN = 6  # the same after a change of leader, because nodes must find the new leader first
REGISTRATION_LIMIT = 3
REGISTRATION_QUIET = 8.0  # seconds without a registration after which the count starts again
CHANGE_LIMIT = 6  # how often a node may change its description before such a quiet time
ORPHAN_AFTER = 24 * 3600.0  # seconds


@dataclass(slots=True)
class Registration:
    """A node that is registered or expected. `session_id` is empty while the node is only expected (UNKNOWN)."""

    node_id: str
    session_id: str
    expires_at: float
    registered_at: float
    attempts: int = 0
    changes: int = 0
    changed_at: float = 0.0
    is_manager: bool = False  # only set for an expected node


class Sessions:
    """All registrations. The cost of a call hardly depends on their number: a heap holds the times of expiry."""

    def __init__(self, uniform: Callable[[float, float], float], new_id: Callable[[], str]) -> None:
        self._uniform = uniform
        self._new_id = new_id
        self.spec_period = HEARTBEAT_PERIOD
        """The heartbeat period of the cluster's spec, in seconds. The nodes of a large swarm get a longer one."""
        self._nodes: dict[str, Registration] = {}
        # Expected nodes that have never registered. Somebody with a join token can create thousands of them, so they
        # do not count for the period.
        self._never_came: set[str] = set()
        self._expiries: list[tuple[float, str]] = []
        self._orphans: dict[str, float] = {}

    def set_period(self, period: float) -> None:
        """Set the spec's period, in seconds; 0 means the default. Nodes learn it with their next heartbeat."""
        self.spec_period = period or HEARTBEAT_PERIOD

    def period(self, among: int = 0) -> float:
        """Return a random period for one node, in seconds. It grows with the number of nodes (at least `among`)."""
        mean = stretched(self.spec_period, max(len(self._nodes) - len(self._never_came), among))
        spread = epsilon(mean)
        return mean + self._uniform(-spread, spread)

    def expect(self, node_id: str, now: float, *, is_manager: bool = False, among: int = 0, came: bool = True) -> None:
        """Expect a node that the previous leader knew. It has no session until it registers here.

        A manager gets only the time of a silent node at first; `expired` extends it if the manager can be reached.
        `among` is the number of nodes that are expected together. `came` is False for a node that has never registered;
        it does not lengthen the period.
        """
        if not came:
            self._never_came.add(node_id)
        periods = GRACE_PERIODS if is_manager else GRACE_PERIODS_UNKNOWN
        self._put(Registration(node_id, "", now + self.period(among) * periods, now, is_manager=is_manager))

    def admit(self, node_id: str, now: float) -> None:
        """Count a registration. Raises Unavailable for one too many. A refused one does not prolong the quiet time."""
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
        """Count a changed description of a node that goes on with its session. Raises Unavailable for one too many.

        Going on with a session is not counted otherwise: a node does so whenever its certificate changes.
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
        """Return the id of a new session of an admitted node. It replaces the node's previous session."""
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
        """Return whether the node has a session or is expected."""
        return node_id in self._nodes

    def check(self, node_id: str, session_id: str) -> None:
        """Raise NotFound if the node is not registered, InvalidArgument if this is not its live session."""
        known = self._nodes.get(node_id)
        if known is None:
            raise NotFound("node not registered")
        if session_id == "" or known.session_id != session_id:
            raise InvalidArgument("session invalid")

    def beat(self, node_id: str, session_id: str, now: float) -> float:
        """Note a heartbeat and return after how many seconds the next one is due. Raises as `check` does."""
        self.check(node_id, session_id)
        period = self.period()
        self._nodes[node_id].expires_at = now + period * GRACE_PERIODS
        return period

    def cut_short(self, node_id: str, now: float) -> None:
        """Let a registration run out now, because the node's host is gone."""
        known = self._nodes.get(node_id)
        if known is not None:
            known.expires_at = now
            known.is_manager = False
            heappush(self._expiries, (now, node_id))

    def expired(self, now: float, is_reachable: Callable[[str], bool] = lambda node_id: False) -> list[Registration]:
        """Drop and return the registrations that ran out. The tasks of such a node are orphans a day later.

        `is_reachable` is asked about expected managers. One that can be reached gets more time to find the leader.
        """
        gone: list[Registration] = []
        while self._expiries and self._expiries[0][0] <= now:
            _, node_id = heappop(self._expiries)
            known = self._nodes.get(node_id)
            if known is None:
                continue
            if known.expires_at > now:  # the node sent a heartbeat since this entry was made
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
        """Return when `expired` or `orphaned` may return something, or None."""
        instants = [self._expiries[0][0]] if self._expiries else []
        if self._orphans:
            instants.append(min(self._orphans.values()))
        return min(instants, default=None)

    def watch_orphan(self, node_id: str, now: float) -> None:
        """Start the day after which the tasks of a node that is down are orphans."""
        self._orphans.setdefault(node_id, now + ORPHAN_AFTER)

    def orphaned(self, now: float) -> list[str]:
        """Return, once each, the nodes that have been down for a day."""
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
        """Return how many nodes beside the leader's own have a session or are expected."""
        return len(self._nodes) - (own_id in self._nodes)

    def live_nodes(self) -> list[str]:
        """Return the nodes that have a session."""
        return [node_id for node_id, known in self._nodes.items() if known.session_id]

    def _put(self, registration: Registration) -> None:
        # The heap has one entry for each registration of a node. `expired` drops the outdated ones.
        self._nodes[registration.node_id] = registration
        heappush(self._expiries, (registration.expires_at, registration.node_id))
