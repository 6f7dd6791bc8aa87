"""Finds lost hosts sooner than three missed heartbeats would. Pure.

In: registrations, session streams that ended, whether a host answered a probe, and the time. Out: which hosts to probe
and when, and which hosts are gone. When a daemon is stopped, slow or being restarted, the kernel of its host still
answers a probe; then only the heartbeats count. SwarmKit has nothing like this (decision 10).
"""

from dataclasses import dataclass

PROBE_TIMEOUT = 0.2
"""How long a probe waits for an answer, in heartbeat periods, so that a longer period makes probes patient too."""
SHORTEST_TIMEOUT = 1.0  # seconds; a kernel without an answer to its first packet sends another after a second
PROBES = 3  # how many probes in a row must fail
LATE = 0.5  # seconds; a result that is handled later than this says only that this process was stopped or starved
HEAD_START = 0.6
"""How long a new leader waits for a manager to register before it probes it, in heartbeat periods."""
PROBES_AT_ONCE = 64


@dataclass(slots=True)
class _Doubt:
    """A host that is probed. `first`: the probe only finds out whether the host answers probes at all.

    If it does not, for instance behind a firewall, its silence later means nothing.
    """

    since: float
    next_at: float
    first: bool
    failures: int = 0
    asking: bool = False


class Doubts:
    """The hosts in doubt: those whose session was lost, and those that have just registered."""

    def __init__(self) -> None:
        self.timeout = SHORTEST_TIMEOUT
        """How long a probe waits for an answer, in seconds."""
        self._head_start = 0.0
        self._doubts: dict[str, _Doubt] = {}
        self._answering: set[str] = set()
        self._asking = 0

    def set_period(self, period: float) -> None:
        """Set the heartbeat period, in seconds."""
        self.timeout = max(SHORTEST_TIMEOUT, PROBE_TIMEOUT * period)
        self._head_start = HEAD_START * period

    def meet(self, node_id: str, now: float) -> None:
        """Note a registration. It ends a doubt about the node; a first probe finds out whether its host answers."""
        self._drop(node_id)
        self._doubts[node_id] = _Doubt(now, now, first=True)

    def lose(self, node_id: str, now: float) -> None:
        """Note that a session's stream ended. Only a host that has answered a probe before is put in doubt."""
        if node_id in self._answering and node_id not in self._doubts:
            self._doubts[node_id] = _Doubt(now, now, first=False)

    def expect(self, node_id: str, now: float) -> None:
        """Put a manager that the previous leader knew in doubt. It counts as answering: managers reach each other."""
        self._answering.add(node_id)
        self._doubts[node_id] = _Doubt(now + self._head_start, now + self._head_start, first=False)

    def hear(self, node_id: str) -> None:
        """Note a heartbeat. It ends the doubt about the node, but not its first probe."""
        doubt = self._doubts.get(node_id)
        if doubt is not None and not doubt.first:
            self._drop(node_id)

    def forget(self, node_id: str) -> None:
        """Drop a node that is down, or was removed."""
        self._drop(node_id)
        self._answering.discard(node_id)

    def due(self, now: float) -> list[str]:
        """Return the nodes to probe now. The caller reports each result with `answered` or `unanswered`."""
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
        """Note that a host answered. The doubt ends, and only heartbeats count for the node."""
        doubt = self._doubts.get(node_id)
        if doubt is not None and doubt.asking:
            self._answering.add(node_id)
            self._drop(node_id)

    def unanswered(self, node_id: str, asked_at: float, now: float) -> None:
        """Note that a host did not answer a probe that began at `asked_at`."""
        doubt = self._doubts.get(node_id)
        if doubt is None or not doubt.asking:
            return
        doubt.asking = False
        self._asking -= 1
        if now - asked_at > self.timeout + LATE:
            # This process did not handle the result in time, so the result says nothing: start again.
            self._begin_anew(doubt, now)
        elif doubt.first:
            self._answering.discard(node_id)
            self._drop(node_id)
        else:
            doubt.failures += 1
            doubt.next_at = asked_at + self.timeout

    def gone(self, now: float, registered: int) -> list[str]:
        """Return, once each, the nodes whose hosts are gone. `registered` is the number of nodes beside the leader.

        While more than half of them are in doubt, the leader's own host may be cut off. Then none is given up, and
        their probes start again, so that results from before the network healed do not count after it.
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
        """Return when `due` or `gone` may have something to say, or None while only results of probes are awaited."""
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
