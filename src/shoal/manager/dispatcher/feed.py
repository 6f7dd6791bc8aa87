"""Follows the store for the dispatcher, and wakes the streams that have something new to send.

In: commits of tasks, nodes and the cluster. Out: changes added to the streams of each node, and wakes. The cost of a
commit depends only on the nodes that it concerns, because streams are indexed by node. Tasks are only scanned after the
dispatcher fell behind.
"""

import logging
from collections.abc import Callable, Iterable

from shoal.api import v1 as api
from shoal.api.times import seconds
from shoal.manager.dispatcher.streams import Streams
from shoal.store.changes import Event
from shoal.store.store import Store
from shoal.store.watch import WatchLagged

log = logging.getLogger(__name__)


class Feed:
    """The watch of a dispatcher.

    It calls `set_period` with the heartbeat period of the cluster's spec, and `removed` with the id of each node that
    was removed from the swarm.
    """

    def __init__(
        self, store: Store, streams: Streams, *, set_period: Callable[[float], None], removed: Callable[[str], None]
    ) -> None:
        self._store = store
        self._streams = streams
        self._set_period = set_period
        self._removed = removed

    async def run(self) -> None:
        """Follow the store until cancelled."""
        while True:
            with self._store.watch(api.Task, api.Node, api.Cluster) as watch:
                self._resync()
                try:
                    while True:
                        self._apply(await watch.next())
                except WatchLagged:
                    log.warning("the dispatcher fell behind the store and reads all assignments again")

    def read_cluster(self) -> None:
        """Read the heartbeat period from the cluster's spec."""
        for cluster in self._store.view().clusters.all():
            self._set_period(seconds(cluster.spec.dispatcher.heartbeat_period))

    def _apply(self, events: Iterable[Event]) -> None:
        view = self._store.view()
        for event in events:
            obj = event.obj
            if isinstance(obj, api.Task):
                # From the view and not the event: a stream that was just opened has already read the view.
                self._streams.put_task(obj.id, obj.node_id, view.tasks.get(obj.id))
            elif isinstance(obj, api.Node):
                self._node_changed(event, obj)
            else:
                self.read_cluster()
                self._streams.wake_sessions()

    def _node_changed(self, event: Event, node: api.Node) -> None:
        if event.action == "remove":
            self._removed(node.id)
            self._streams.wake(node.id)
            return
        old = event.old
        if isinstance(old, api.Node) and old.manager_status.addr != node.manager_status.addr:
            self._streams.wake_sessions()
        self._streams.wake_session(node.id)

    def _resync(self) -> None:
        view = self._store.view()
        self._streams.resync(lambda node_id: view.tasks.find("node_id", node_id))
        self.read_cluster()
        self._streams.wake_all()
