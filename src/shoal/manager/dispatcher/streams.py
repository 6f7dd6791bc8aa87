"""The streams that nodes hold open: which node has which, and waking those that have something to send.

In: what the store tells, and who asks for a stream. Out: events set. One loop; nothing here scans the tasks. What is
sent on a stream is `server`'s.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from shoal.api import v1 as api
from shoal.errors import Unavailable
from shoal.manager.dispatcher.assignments import AssignmentSet

STREAMS_PER_NODE = 32  # a node holds two open; what is beyond this is refused


class Held:
    """One stream that a node holds open. `assignments` is None for a session."""

    def __init__(self, assignments: AssignmentSet | None) -> None:
        self.assignments = assignments
        self.wake = asyncio.Event()


class Streams:
    """All of them, by node."""

    def __init__(self) -> None:
        self._held: dict[str, set[Held]] = {}

    @contextmanager
    def hold(self, node_id: str, assignments: AssignmentSet | None) -> Iterator[Held]:
        """Count a stream while the context lasts. Raises Unavailable where the node has too many."""
        streams = self._held.setdefault(node_id, set())
        if len(streams) >= STREAMS_PER_NODE:
            raise Unavailable(f"node {node_id} has too many open streams")
        held = Held(assignments)
        streams.add(held)
        try:
            yield held
        finally:
            streams.discard(held)
            if not streams and self._held.get(node_id) is streams:
                del self._held[node_id]

    def wake(self, node_id: str) -> None:
        """Wake every stream of a node."""
        for held in self._held.get(node_id, ()):
            held.wake.set()

    def wake_session(self, node_id: str) -> None:
        """Wake the sessions of a node."""
        for held in self._held.get(node_id, ()):
            if held.assignments is None:
                held.wake.set()

    def wake_sessions(self) -> None:
        """Wake the sessions of all nodes."""
        for node_id in self._held:
            self.wake_session(node_id)

    def wake_all(self) -> None:
        """Wake every stream."""
        for node_id in self._held:
            self.wake(node_id)

    def put_task(self, task_id: str, node_id: str, task: api.Task | None) -> None:
        """Take a task of a node as it is now, None when it is gone, into what the node is to be told."""
        for held in self._held.get(node_id, ()):
            if held.assignments is None:
                continue
            if task is None:
                held.assignments.drop(task_id)
            else:
                held.assignments.put(task)
            if held.assignments:
                held.wake.set()

    def resync(self, tasks_of: Callable[[str], Iterable[api.Task]]) -> None:
        """Bring what nodes are to be told up to the tasks that there are."""
        for node_id, streams in self._held.items():
            for held in streams:
                if held.assignments is not None:
                    held.assignments.resync(tasks_of(node_id))
