"""The streams that nodes hold open, by node. Wakes those that have something to send.

In: changed tasks, and the streams that open and end. Out: events that are set. `server` sends on the streams.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from shoal.api import v1 as api
from shoal.api.gen.views_pb2 import ViewRequest
from shoal.errors import Unavailable
from shoal.manager.dispatcher.assignments import AssignmentSet

STREAMS_PER_NODE = 32  # a node holds two open; more than this are refused


class Held:
    """One stream that a node holds open. `assignments` is None for a session."""

    def __init__(self, assignments: AssignmentSet | None) -> None:
        self.assignments = assignments
        self.wake = asyncio.Event()
        self._asked: list[ViewRequest] = []

    def ask(self, request: ViewRequest) -> None:
        """Have the node asked with the session's next message, which is sent for that."""
        self._asked.append(request)
        self.wake.set()

    def take_asked(self) -> list[ViewRequest]:
        """Return what the node is to be asked, once."""
        asked, self._asked = self._asked, []
        return asked


class Streams:
    """All streams, by node."""

    def __init__(self) -> None:
        self._held: dict[str, set[Held]] = {}

    @contextmanager
    def hold(self, node_id: str, assignments: AssignmentSet | None) -> Iterator[Held]:
        """List a stream while the context is open. Raises Unavailable if the node has too many."""
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

    def ask(self, node_id: str, request: ViewRequest) -> bool:
        """Ask a node in all its sessions' next messages; False where it has no session here."""
        sessions = [held for held in self._held.get(node_id, ()) if held.assignments is None]
        for held in sessions:
            held.ask(request)
        return bool(sessions)

    def wake_sessions(self) -> None:
        """Wake the sessions of all nodes."""
        for node_id in self._held:
            self.wake_session(node_id)

    def wake_all(self) -> None:
        """Wake every stream."""
        for node_id in self._held:
            self.wake(node_id)

    def put_task(self, task_id: str, node_id: str, task: api.Task | None) -> None:
        """Add a task's new value to the streams of its node; None removes the task from them."""
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
        """Make all streams hold exactly the tasks that `tasks_of` returns for their nodes."""
        for node_id, streams in self._held.items():
            for held in streams:
                if held.assignments is not None:
                    held.assignments.resync(tasks_of(node_id))
