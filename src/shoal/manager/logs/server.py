"""The log broker's I/O: streams of nodes on one side, streams of readers on the other.

Owns the queues between them. A slow reader only delays the nodes that send to it, through HTTP/2's flow control. When a
reader leaves, its subscription ends at the nodes. `broker` decides which nodes a subscription concerns. Loop:
`Logs.run`, which wakes on tasks while somebody follows logs.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.gen.logbroker_grpc import LogBrokerBase
from shoal.api.ids import new_id
from shoal.errors import ResourceExhausted, ShoalError, Unavailable
from shoal.manager.logs.broker import Broker, Command, Share, Tell, check_selector
from shoal.manager.logs.pipe import Pipe
from shoal.manager.port.authorization import Caller
from shoal.repeats import Repeats
from shoal.store.watch import WatchLagged

if TYPE_CHECKING:
    from grpclib.server import Stream

    from shoal.store.store import Store

log = logging.getLogger(__name__)
_told = Repeats(log)

# The limit of lines that wait for one reader. A node's message has up to 4 MiB, and usually one line.
READER_BYTES = 1024 * 1024
# The limit of messages that wait for one node. A node that does not read them is disconnected. When it comes back it is
# told its subscriptions again.
LISTENER_MESSAGES = 1_000
MAX_SUBSCRIPTIONS = 1_000
# Messages of one node that wait for readers. Shoal's agent sends up to a megabyte at once, for each subscription.
NODE_BYTES = 64 * 1024 * 1024

_Lines = Pipe[api.SubscribeLogsMessage]
_Told = Pipe[api.SubscriptionMessage]


class Logs:
    """Subscriptions to logs, while this manager leads."""

    def __init__(self, store: "Store", *, fresh_id: Callable[[], str] = new_id) -> None:
        self._store = store
        self._fresh_id = fresh_id
        self._broker = Broker()
        self._readers: dict[str, _Lines] = {}
        self._listeners: set[_Told] = set()
        self._waiting = Counter[str]()  # bytes of each node's messages that wait
        self._followed = asyncio.Event()
        self._running = False

    async def run(self) -> None:
        """Serve until cancelled; then end every stream. Raises Unavailable when the store does."""
        self._running = True
        try:
            while True:
                await self._followed.wait()
                await self._follow_tasks()
        finally:
            self._running = False
            stopped = ShoalError("broker is not running")
            for reader in self._readers.values():
                reader.end(stopped)
            for listener in self._listeners:
                listener.end(stopped)

    def subscribe_logs(self, request: api.SubscribeLogsRequest) -> AsyncGenerator[api.SubscribeLogsMessage, None]:
        """Return the logs that a request selects, as they come. Close the generator (`aclosing`) to end it early.

        Raises InvalidArgument at once for an empty selector. If something is missing, the generator ends by raising
        ShoalError with Swarm's text.
        """
        check_selector(request)
        return self._subscribed(request)

    async def _subscribed(self, request: api.SubscribeLogsRequest) -> AsyncGenerator[api.SubscribeLogsMessage, None]:
        self._check_running()
        if len(self._broker) >= MAX_SUBSCRIPTIONS:
            raise Unavailable(f"more than {MAX_SUBSCRIPTIONS} log subscriptions at once")
        subscription_id = self._fresh_id()
        pipe = self._readers[subscription_id] = _Lines(READER_BYTES)
        try:
            self._do(self._broker.subscribe(subscription_id, request, self._store.view()))
            if request.options.follow:
                self._followed.set()
            while True:
                lines = await pipe.get()
                if lines is None:
                    return
                yield lines
        finally:
            del self._readers[subscription_id]
            pipe.abandon()
            self._do(self._broker.unsubscribe(subscription_id))

    async def listen(self, node_id: str) -> AsyncGenerator[api.SubscriptionMessage, None]:
        """Yield the subscriptions that concern a node, and their ends, as they come."""
        self._check_running()
        pipe = _Told(LISTENER_MESSAGES)
        self._listeners.add(pipe)
        try:
            self._do(self._broker.connect(pipe, node_id))
            while True:
                message = await pipe.get()
                if message is None:
                    return
                yield message
        finally:
            self._listeners.discard(pipe)
            self._do(self._broker.disconnect(pipe))

    async def publish(self, message: api.PublishLogsMessage, share: Share) -> None:
        """Pass on those lines of a node's message that were asked for. Waits until the reader has room.

        `share` is the same object for all messages of a stream. Raises the errors of `Broker.publisher` for a message
        that is not allowed, ResourceExhausted if too much of this node waits already.
        """
        self._check_running()
        self._broker.publisher(message, share)
        refused = share.refused
        passed = self._broker.lines(message, share, self._store.view())
        if share.refused > refused:
            _told.log(
                logging.WARNING,
                share.node_id,
                "node %s sends log lines of tasks that it was not asked for, or does not have: they are dropped",
                share.node_id,
            )
        reader = self._readers.get(share.subscription_id)
        if reader is not None and passed:
            lines = api.SubscribeLogsMessage(messages=passed)
            with self._held(share.node_id, message.ByteSize()):
                await reader.put(lines, lines.ByteSize())

    @contextmanager
    def _held(self, node_id: str, size_bytes: int) -> Iterator[None]:
        """Count a message of a node's while it waits. Raises ResourceExhausted if there are too many bytes of them."""
        if self._waiting[node_id] + size_bytes > NODE_BYTES:
            raise ResourceExhausted(
                f"more than {NODE_BYTES >> 20} MiB of lines of node {node_id} wait for their readers"
            )
        self._waiting[node_id] += size_bytes
        try:
            yield
        finally:
            self._waiting[node_id] -= size_bytes
            if not self._waiting[node_id]:
                del self._waiting[node_id]

    def done(self, subscription_id: str, node_id: str, reason: str = "") -> None:
        """Note that a node has sent its share. `reason` says why it is incomplete."""
        self._do(self._broker.done(subscription_id, node_id, reason))

    async def _follow_tasks(self) -> None:
        with self._store.watch(api.Task) as watch:
            self._do(self._broker.rematch(self._store.view()))
            while self._broker.follows:
                try:
                    events = await watch.next()
                except WatchLagged:
                    self._do(self._broker.rematch(self._store.view()))
                    continue
                for event in events:
                    if event.action != "remove" and isinstance(event.obj, api.Task):
                        self._do(self._broker.saw_task(event.obj))
            self._followed.clear()

    def _do(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Tell):
                pipe = command.listener
                if isinstance(pipe, Pipe) and not pipe.put_nowait(_snapshot(command.message)):
                    pipe.end(Unavailable("the node does not take its log subscriptions"))
            elif (reader := self._readers.get(command.subscription_id)) is not None:
                reader.end(ShoalError(command.warning) if command.warning else None)

    def _check_running(self) -> None:
        if not self._running:
            raise ShoalError("broker is not running")


class LogBrokerServer(LogBrokerBase):
    """The gRPC service for nodes: they hear of subscriptions and send lines."""

    def __init__(self, logs: Logs, *, caller: Callable[[], Caller]) -> None:
        self._logs = logs
        self._caller = caller

    async def ListenSubscriptions(  # noqa: N802 - the protocol's name
        self, stream: "Stream[api.ListenSubscriptionsRequest, api.SubscriptionMessage]"
    ) -> None:
        """Tell a node the subscriptions that concern it, while it listens."""
        await stream.recv_message()
        async with aclosing(self._logs.listen(self._caller().node_id)) as messages:
            await stream.send_initial_metadata()
            async for message in messages:
                await stream.send_message(message)

    async def PublishLogs(  # noqa: N802
        self, stream: "Stream[api.PublishLogsMessage, api.PublishLogsResponse]"
    ) -> None:
        """Receive a node's share of one subscription."""
        share = Share(self._caller().node_id)
        reason = f"node {share.node_id} disconnected unexpectedly"
        try:
            async for message in stream:
                await self._logs.publish(message, share)
                if message.close:
                    break
            reason = ""
            await stream.send_message(api.PublishLogsResponse())
        except ShoalError as error:
            reason = str(error)
            raise
        finally:
            if share.subscription_id:
                self._logs.done(share.subscription_id, share.node_id, reason)


def _snapshot(message: api.SubscriptionMessage) -> api.SubscriptionMessage:
    """Return a copy, because the broker changes its message when the subscription closes, maybe before it is sent."""
    taken = api.SubscriptionMessage()
    taken.CopyFrom(message)
    return taken
