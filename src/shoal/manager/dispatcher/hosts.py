"""Probes the hosts in doubt and reports those that are gone.

In: registrations, lost sessions and heartbeats. Out: a call of `gone` for each host that no longer answers. `doubts`
decides which hosts to probe, when, and what an answer means; `probe` asks a host.
"""

import asyncio
from collections.abc import Awaitable, Callable

from shoal.manager.dispatcher.doubts import Doubts

Probe = Callable[[str, int, float], Awaitable[bool]]
Target = tuple[str, int]

PAUSE = 0.05  # seconds between two looks, so that a thousand registrations at once share one look


class HostsWatch:
    """The doubts of a dispatcher, which must run `run` as a child.

    `target` returns where to probe a node's host, `others` how many nodes are registered beside the leader, `now` the
    time of the event loop. `gone` is called with a lost node's id and the time.
    """

    def __init__(
        self,
        probe: Probe,
        *,
        target: Callable[[str], Target | None],
        others: Callable[[], int],
        gone: Callable[[str, float], None],
        now: Callable[[], float],
    ) -> None:
        self._probe = probe
        self._target = target
        self._others = others
        self._gone = gone
        self._now = now
        self._doubts = Doubts()
        self._changed = asyncio.Event()

    def set_period(self, period: float) -> None:
        """Set the heartbeat period, in seconds."""
        self._doubts.set_period(period)

    def meet(self, node_id: str) -> None:
        """Note a registration."""
        self._doubts.meet(node_id, self._now())
        self._changed.set()

    def lose(self, node_id: str) -> None:
        """Note that a session's stream ended."""
        self._doubts.lose(node_id, self._now())
        self._changed.set()

    def expect(self, node_id: str) -> None:
        """Put a manager that the previous leader knew in doubt."""
        self._doubts.expect(node_id, self._now())
        self._changed.set()

    def hear(self, node_id: str) -> None:
        """Note a heartbeat."""
        self._doubts.hear(node_id)

    def forget(self, node_id: str) -> None:
        """Drop a node that is down, or was removed."""
        self._doubts.forget(node_id)

    async def run(self) -> None:
        """Probe hosts and report lost ones until cancelled, with at most `doubts.PROBES_AT_ONCE` probes at once."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                now = self._now()
                for node_id in self._doubts.due(now):
                    group.create_task(self._ask(node_id, now), name=f"probe {node_id}")
                for node_id in self._doubts.gone(now, self._others()):
                    self._gone(node_id, now)
                try:
                    async with asyncio.timeout_at(self._doubts.next_look()):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                await asyncio.sleep(PAUSE)

    async def _ask(self, node_id: str, asked_at: float) -> None:
        target = self._target(node_id)
        if target is not None and await self._probe(*target, self._doubts.timeout):
            self._doubts.answered(node_id)
        else:
            self._doubts.unanswered(node_id, asked_at, self._now())
        self._changed.set()
