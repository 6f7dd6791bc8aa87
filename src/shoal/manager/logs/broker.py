"""Decides which nodes a log subscription concerns, what they are told, and when it is complete. Pure.

In: subscriptions, nodes that connect and disconnect, changed tasks. Out: commands, which say what to tell a node, which
subscription has ended, and what is missing from it. Source: SwarmKit manager/logbroker.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shoal.api import times
from shoal.api import v1 as api
from shoal.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable

if TYPE_CHECKING:
    from shoal.store.memory import View

# A node has one listener, and two while it changes over to a new connection. More are refused.
LISTENERS_PER_NODE = 8
# In one message. Shoal's agent sends at most 1,000, Docker's one.
MAX_LINES = 10_000
MAX_ID = 128  # characters of an id from a node that an error's text repeats

INCOMPLETE = "warning: incomplete log stream. some logs could not be retrieved for the following reasons: "


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a subscription, or its end, to a node's listener."""

    listener: Hashable
    message: api.SubscriptionMessage


@dataclass(frozen=True, slots=True)
class End:
    """A subscription has all the lines that it will get. `warning` says what is missing, or is empty."""

    subscription_id: str
    warning: str


Command = Tell | End


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest line of a task that was passed on: its instant, and how many lines have that instant."""

    node_id: str
    at_nanos: int
    count: int


@dataclass(slots=True)
class _Subscription:
    """`open_nodes` are the nodes from which more lines may come. With follow, no node is ever removed from it."""

    message: api.SubscriptionMessage
    open_nodes: dict[str, None] = field(default_factory=dict)
    unscheduled: dict[str, None] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    ended: bool = False
    newest: dict[str, "_Newest"] = field(default_factory=dict)  # by task; only with follow

    @property
    def follow(self) -> bool:
        return bool(self.message.options.follow)

    def wants(self, task: api.Task) -> bool:
        selector = self.message.selector
        return (
            task.id in selector.task_ids
            or (bool(task.service_id) and task.service_id in selector.service_ids)
            or (bool(task.node_id) and task.node_id in selector.node_ids)
        )


@dataclass(slots=True)
class _Listener:
    node_id: str
    told: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Share:
    """The part of one subscription that a node sends on one stream.

    `services` has the service of each task whose lines were passed on. `known` has, for each task, the newest line that
    an earlier stream sent.
    """

    node_id: str
    subscription_id: str = ""
    services: dict[str, str] = field(default_factory=dict)
    known: dict[str, _Newest] = field(default_factory=dict)
    refused: int = 0


def check_selector(request: api.SubscribeLogsRequest) -> None:
    """Raise InvalidArgument for a request that selects nothing."""
    if not request.HasField("selector"):
        raise InvalidArgument("log selector must be provided")
    selector = request.selector
    if not (selector.service_ids or selector.task_ids or selector.node_ids):
        raise InvalidArgument("log selector must not be empty")


class Broker:
    """All subscriptions, and all nodes that listen for them.

    A node has one listener. While it changes over to a new connection it has two, and the newer one gets the messages.
    """

    def __init__(self) -> None:
        self._subscriptions: dict[str, _Subscription] = {}
        self._listeners: dict[Hashable, _Listener] = {}
        self._by_node: dict[str, list[Hashable]] = {}

    def __len__(self) -> int:
        return len(self._subscriptions)

    @property
    def follows(self) -> bool:
        """Return whether any subscription follows, so that new tasks concern it."""
        return any(subscription.follow for subscription in self._subscriptions.values())

    def subscribe(self, subscription_id: str, request: api.SubscribeLogsRequest, view: "View") -> list[Command]:
        """Open a subscription and tell the nodes that it concerns. Nodes that do not listen are missing from it."""
        message = api.SubscriptionMessage(id=subscription_id, selector=request.selector, options=request.options)
        subscription = _Subscription(message)
        self._subscriptions[subscription_id] = subscription
        for node_id in request.selector.node_ids:
            subscription.open_nodes[node_id] = None
        self._match(subscription, view)
        commands: list[Command] = []
        for node_id in list(subscription.open_nodes):
            if node_id in self._by_node:
                commands += self._tell(node_id, subscription)
            else:
                self._leave(subscription, node_id, f"node {node_id} is not available")
        return commands + self._ended(subscription)

    def unsubscribe(self, subscription_id: str) -> list[Command]:
        """Close a subscription. Its nodes are told to stop sending."""
        subscription = self._subscriptions.pop(subscription_id, None)
        if subscription is None:
            return []
        subscription.message.close = True
        commands: list[Command] = []
        for key, listener in self._listeners.items():
            if subscription_id in listener.told:
                listener.told.discard(subscription_id)
                if listener.node_id in subscription.open_nodes:
                    commands.append(Tell(key, subscription.message))
        return commands

    def connect(self, listener: Hashable, node_id: str) -> list[Command]:
        """Add a node's listener, and tell it the open subscriptions that concern it.

        Raises Unavailable if the node has too many listeners.
        """
        if len(self._by_node.get(node_id, ())) >= LISTENERS_PER_NODE:
            raise Unavailable(f"node {node_id} listens for subscriptions {LISTENERS_PER_NODE} times already")
        self._listeners[listener] = _Listener(node_id)
        self._by_node.setdefault(node_id, []).append(listener)
        commands: list[Command] = []
        for subscription in self._subscriptions.values():
            if node_id in subscription.open_nodes:
                commands += self._tell(node_id, subscription)
        return commands

    def disconnect(self, listener: Hashable) -> list[Command]:
        """Remove a node's listener. If it was the last, the lines that the node has not sent are missing."""
        gone = self._listeners.pop(listener, None)
        if gone is None:
            return []
        keys = self._by_node[gone.node_id]
        keys.remove(listener)
        if keys:
            return []
        del self._by_node[gone.node_id]
        commands: list[Command] = []
        for subscription in self._subscriptions.values():
            commands += self._finish(subscription, gone.node_id, f"node {gone.node_id} disconnected unexpectedly")
        return commands

    def publisher(self, message: api.PublishLogsMessage, share: Share) -> None:
        """Check a node's message, and note in `share` which subscription the stream belongs to.

        Raises InvalidArgument, NotFound, PermissionDenied.
        """
        subscription_id = message.subscription_id
        if not subscription_id:
            raise InvalidArgument("missing subscription ID")
        if share.subscription_id and subscription_id != share.subscription_id:
            raise InvalidArgument("different subscription IDs in the same session")
        if not share.subscription_id:
            subscription = self._subscriptions.get(subscription_id)
            # A node that was never asked must have the id from elsewhere. Its lines are not wanted.
            if subscription is None or share.node_id not in subscription.open_nodes:
                raise NotFound("unknown subscription ID")
            share.known = dict(subscription.newest)
        if not message.close:
            if len(message.messages) > MAX_LINES:
                raise InvalidArgument(f"more than {MAX_LINES} lines in one message")
            for line in message.messages:
                if line.context.node_id != share.node_id:
                    text = f"invalid NodeID: expected={share.node_id};received={line.context.node_id[:MAX_ID]}"
                    raise PermissionDenied(text)
        share.subscription_id = subscription_id

    def lines(self, message: api.PublishLogsMessage, share: Share, view: "View") -> list[api.LogMessage]:
        """Return those lines of a message that its subscription asked for: lines of selected tasks on that node.

        The manager sets the service in a line's context itself. If a task is removed from the store, its later lines
        are still passed on if earlier lines of the same stream were.
        """
        subscription = self._subscriptions.get(share.subscription_id)
        if subscription is None or message.close:
            return []
        passed = []
        for line in message.messages:
            task_id = line.context.task_id
            if task_id not in share.services:
                task = view.tasks.get(task_id)
                if task is None or task.node_id != share.node_id or not subscription.wants(task):
                    share.refused += 1
                    continue
                share.services[task_id] = task.service_id
            line.context.service_id = share.services[task_id]
            if not times.is_valid(line.timestamp):
                line.ClearField("timestamp")
            if not subscription.follow or _is_new(line, subscription, share):
                passed.append(line)
        return passed

    def done(self, subscription_id: str, node_id: str, reason: str = "") -> list[Command]:
        """Note that a node has sent its share. `reason` says why it is incomplete. May be repeated."""
        subscription = self._subscriptions.get(subscription_id)
        return [] if subscription is None else self._finish(subscription, node_id, reason)

    def saw_task(self, task: api.Task) -> list[Command]:
        """Extend the subscriptions that follow this task to its node."""
        commands: list[Command] = []
        for subscription in self._subscriptions.values():
            if subscription.follow and subscription.wants(task):
                commands += self._extend(subscription, task)
        return commands

    def rematch(self, view: "View") -> list[Command]:
        """Extend every subscription that follows to all present tasks, after a watch has missed changes."""
        commands: list[Command] = []
        for subscription in self._subscriptions.values():
            if subscription.follow:
                for task in _selected(subscription.message.selector, view):
                    commands += self._extend(subscription, task)
        return commands

    def _match(self, subscription: _Subscription, view: "View") -> None:
        selector = subscription.message.selector
        named = set(selector.task_ids)
        for task in _selected(selector, view):
            if task.id not in named and not subscription.follow and task.status.state < api.RUNNING:
                continue  # it has no log yet, and the subscription does not wait for one
            if task.node_id:
                subscription.open_nodes[task.node_id] = None
            else:
                subscription.unscheduled[task.id] = None

    def _extend(self, subscription: _Subscription, task: api.Task) -> list[Command]:
        if not task.node_id:
            subscription.unscheduled[task.id] = None
            return []
        subscription.unscheduled.pop(task.id, None)
        if task.node_id in subscription.open_nodes:
            return []
        subscription.open_nodes[task.node_id] = None
        return self._tell(task.node_id, subscription)

    def _tell(self, node_id: str, subscription: _Subscription) -> list[Command]:
        keys = self._by_node.get(node_id)
        if not keys or subscription.message.id in self._listeners[keys[-1]].told:
            return []
        self._listeners[keys[-1]].told.add(subscription.message.id)
        return [Tell(keys[-1], _resumed(subscription, node_id))]

    def _finish(self, subscription: _Subscription, node_id: str, reason: str) -> list[Command]:
        if subscription.follow or node_id not in subscription.open_nodes:
            return []
        self._leave(subscription, node_id, reason)
        return self._ended(subscription)

    @staticmethod
    def _leave(subscription: _Subscription, node_id: str, reason: str) -> None:
        if subscription.follow:
            return  # the node may come back; `connect` tells it again
        del subscription.open_nodes[node_id]
        if reason:
            subscription.reasons.append(reason)

    @staticmethod
    def _ended(subscription: _Subscription) -> list[Command]:
        if subscription.follow or subscription.open_nodes or subscription.ended:
            return []
        subscription.ended = True
        missing = [f"task {task_id} has not been scheduled" for task_id in subscription.unscheduled]
        reasons = ", ".join(subscription.reasons + missing)
        return [End(subscription.message.id, INCOMPLETE + reasons if reasons else "")]


def _resumed(subscription: _Subscription, node_id: str) -> api.SubscriptionMessage:
    """Return the subscription for a node. If the node sent lines before, it asks for lines from then on."""
    instants = [newest.at_nanos for newest in subscription.newest.values() if newest.node_id == node_id]
    if not instants:
        return subscription.message
    resumed = api.SubscriptionMessage()
    resumed.CopyFrom(subscription.message)
    resumed.options.since.CopyFrom(times.timestamp_from_nanos(min(instants)))
    resumed.options.tail = 0
    return resumed


def _is_new(line: api.LogMessage, subscription: _Subscription, share: Share) -> bool:
    """Return whether a line was not passed on by an earlier stream, and note it as passed on.

    After a new session or a restart of its daemon, a node sends some lines again.
    """
    task_id, at_nanos = line.context.task_id, line.timestamp.seconds * times.NANOS + line.timestamp.nanos
    known = share.known.get(task_id)
    if known is not None:
        if at_nanos < known.at_nanos:
            return False
        if at_nanos == known.at_nanos and known.count:
            share.known[task_id] = replace(known, count=known.count - 1)
            return False
        del share.known[task_id]
    newest = subscription.newest.get(task_id)
    if newest is None or at_nanos > newest.at_nanos:
        subscription.newest[task_id] = _Newest(share.node_id, at_nanos, 1)
    elif at_nanos == newest.at_nanos:
        subscription.newest[task_id] = replace(newest, count=newest.count + 1)
    return True


def _selected(selector: api.LogSelector, view: "View") -> Iterable[api.Task]:
    for task_id in selector.task_ids:
        task = view.tasks.get(task_id)
        if task is not None:
            yield task
    for service_id in selector.service_ids:
        yield from view.tasks.find("service_id", service_id)
