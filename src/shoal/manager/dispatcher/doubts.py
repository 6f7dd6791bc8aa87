"""Which hosts are gone, told sooner than by three heartbeats that stay out. Pure.

In: registrations, session streams that ended, whether a host answered a probe, and the time. Out: whom to probe when,
and which hosts are gone. A daemon that is stopped, loaded or being restarted is none of this module's business: its
host's kernel answers a probe, and then the heartbeats decide alone. All of it is ours; SwarmKit has heartbeats only.
"""

from dataclasses import dataclass

PROBE_TIMEOUT = 0.2
"""How long a probe waits for an answer, in heartbeat periods: the knob that makes a swarm patient covers it too."""
SHORTEST_TIMEOUT = 1.0  # a kernel that got no answer to its first packet sends the next one after a second
PROBES = 3
LATE = 0.5  # an answer is looked at so late only where this process itself was stopped or starved
HEAD_START = 0.6
"""What a manager has to register with a new leader before it is probed, in heartbeat periods."""
PROBES_AT_ONCE = 64


@dataclass(slots=True)
class _Doubt:
    """What is asked of one host. `first`: only whether it answers at all, so that silence will mean something."""

    since: float
    next_at: float
    first: bool
    failures: int = 0
    asking: bool = False


class Doubts:
    """Hosts whose session was lost, and those that are met for the first time."""

    def __init__(self) -> None:
        self.timeout = SHORTEST_TIMEOUT
        """For a probe, in seconds."""
        self._head_start = 0.0
        self._doubts: dict[str, _Doubt] = {}
        self._answering: set[str] = set()
        self._asking = 0

    def set_period(self, period: float) -> None:
        """Take the heartbeat period."""
        self.timeout = max(SHORTEST_TIMEOUT, PROBE_TIMEOUT * period)
        self._head_start = HEAD_START * period

    def meet(self, node_id: str, now: float) -> None:
        """Take in a registration: ends every doubt, and asks once whether the host answers."""
        self._drop(node_id)
        self._doubts[node_id] = _Doubt(now, now, first=True)

    def lose(self, node_id: str, now: float) -> None:
        """Take in that a session's stream ended. Silence tells nothing of a host that never answered."""
        if node_id in self._answering and node_id not in self._doubts:
            self._doubts[node_id] = _Doubt(now, now, first=False)

    def expect(self, node_id: str, now: float) -> None:
        """Take in a manager that the leader before had. It has answered: managers reach each other all the time."""
        self._answering.add(node_id)
        self._doubts[node_id] = _Doubt(now + self._head_start, now + self._head_start, first=False)

    def hear(self, node_id: str) -> None:
        """Take in a heartbeat: the node is there."""
        doubt = self._doubts.get(node_id)
        if doubt is not None and not doubt.first:
            self._drop(node_id)

    def forget(self, node_id: str) -> None:
        """Drop a node that is down, or was removed."""
        self._drop(node_id)
        self._answering.discard(node_id)

    def due(self, now: float) -> list[str]:
        """Return whom to probe now; each is to be told of by `answered` or `unanswered`."""
        found: list[str] = []
        for node_id, doubt in self._doubts.items():
            if self._asking == PROBES_AT_ONCE:
                break
            if not doubt.asking and doubt.next_at <= now and doubt.failures < PROBES:
                doubt.asking = True
                self._asking += 1
                found.append(node_id)
        return found

    def answered(self, node_id: str) -> None:
        """Take in that a host answered: it is there, and whatever ended the session is for the heartbeats to judge."""
        doubt = self._doubts.get(node_id)
        if doubt is not None and doubt.asking:
            self._answering.add(node_id)
            self._drop(node_id)

    def unanswered(self, node_id: str, asked_at: float, now: float) -> None:
        """Take in that a host did not answer."""
        doubt = self._doubts.get(node_id)
        if doubt is None or not doubt.asking:
            return
        doubt.asking = False
        self._asking -= 1
        if now - asked_at > self.timeout + LATE:
            # This process did not get to look at the answer in time: that says nothing, and it begins anew.
            self._begin_anew(doubt, now)
        elif doubt.first:
            self._answering.discard(node_id)
            self._drop(node_id)
        else:
            doubt.failures += 1
            doubt.next_at = asked_at + self.timeout

    def gone(self, now: float, registered: int) -> list[str]:
        """Return, once, the nodes whose hosts are gone; `registered` is how many there are beside the leader.

        Where more than half of them are in doubt at a time it may be this host that is cut off: none is given up then,
        and each begins anew, so that nothing from before the network healed counts after it.
        """
        doubted = {node_id: doubt for node_id, doubt in self._doubts.items() if not doubt.first}
        proven = [node_id for node_id, doubt in doubted.items() if self._is_proven(doubt, now)]
        if 2 * len(doubted) > registered:
            for node_id in proven:
                self._begin_anew(doubted[node_id], now)
            return []
        for node_id in proven:
            self.forget(node_id)
        return proven

    def next_look(self) -> float | None:
        """Return when there is something to do, or None while there is nothing but to wait for probes."""
        times = [
            doubt.since + PROBES * self.timeout if doubt.failures >= PROBES else doubt.next_at
            for doubt in self._doubts.values()
            if not doubt.asking
        ]
        return min(times, default=None)

    def _is_proven(self, doubt: _Doubt, now: float) -> bool:
        return not doubt.asking and doubt.failures >= PROBES and now >= doubt.since + PROBES * self.timeout

    def _begin_anew(self, doubt: _Doubt, now: float) -> None:
        doubt.since = doubt.next_at = now
        doubt.failures = 0

    def _drop(self, node_id: str) -> None:
        doubt = self._doubts.pop(node_id, None)
        if doubt is not None and doubt.asking:
            self._asking -= 1
