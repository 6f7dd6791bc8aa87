"""What the scheduler knows of every node: its tasks, what it has left, how it has failed. Kept with each change.

In: nodes and tasks as the view shows them; out: look-ups that cost what they return. Rebuilt from the view when that is
asked for. Source of the rules: SwarmKit manager/scheduler/nodeinfo.go.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from shoal.api import v1 as api
from shoal.manager.scheduler.generic import Stock

# A node on which so many tasks of a service's spec version failed within that time goes last (SwarmKit's values).
MAX_FAILURES = 5
FAILURE_WINDOW = 300.0

Group = tuple[str, int]  # service id, spec version
Port = tuple[int, int]  # protocol, published port


@dataclass(frozen=True, slots=True)
class Held:
    """What a task takes of its node."""

    service_id: str
    node_id: str
    is_active: bool  # meant to run: counts when nodes are compared
    nano_cpus: int
    memory_bytes: int
    generic: tuple[api.GenericResource, ...]
    ports: tuple[Port, ...]

    @classmethod
    def of(cls, task: api.Task) -> "Held":
        """Return what a placed task takes."""
        nano_cpus = memory_bytes = 0
        if task.spec.HasField("resources"):
            reserved = task.spec.resources.reservations
            nano_cpus, memory_bytes = reserved.nano_cpus, reserved.memory_bytes
        return cls(
            service_id=task.service_id,
            node_id=task.node_id,
            is_active=task.desired_state <= api.COMPLETE,
            nano_cpus=nano_cpus,
            memory_bytes=memory_bytes,
            generic=tuple(task.assigned_generic_resources),
            ports=host_ports(task),
        )


def host_ports(task: api.Task) -> tuple[Port, ...]:
    """Return the ports that a task publishes on its node itself."""
    return tuple(
        (port.protocol, port.published_port)
        for port in task.endpoint.ports
        if port.publish_mode == api.PortConfig.HOST and port.published_port
    )


@dataclass(slots=True)
class NodeInfo:
    """One node with what is left of it."""

    node: api.Node
    is_ready: bool = False
    active: int = 0
    nano_cpus: int = 0
    memory_bytes: int = 0
    generic: Stock = field(default_factory=Stock)
    ports: Counter[Port] = field(default_factory=Counter)
    plugins: frozenset[tuple[str, str]] | None = None  # type and name; None: the node runs no engine that has any


class NodeSet:
    """All nodes, and who takes what of them. Every method may be repeated with the same arguments."""

    def __init__(self) -> None:
        self.infos: dict[str, NodeInfo] = {}
        self._held: dict[str, Held] = {}
        self._on_node: dict[str, dict[str, Held]] = {}
        # Active tasks by service and node, and nodes by their number of active tasks: the ranking reads off these.
        self._by_service: dict[str, dict[str, int]] = {}
        self._by_load: dict[int, dict[str, NodeInfo]] = {}
        self._failures: dict[Group, dict[str, dict[str, float]]] = {}

    def put_node(self, node: api.Node) -> None:
        """Take in a new or changed node."""
        self.drop_node(node.id)
        resources = node.description.resources
        info = NodeInfo(
            node=node,
            is_ready=node.status.state == api.NodeStatus.READY and node.spec.availability == api.NodeSpec.ACTIVE,
            nano_cpus=resources.nano_cpus,
            memory_bytes=resources.memory_bytes,
            generic=Stock(resources.generic),
            plugins=_plugins(node),
        )
        for held in self._on_node.get(node.id, {}).values():
            _take(info, held)
        self.infos[node.id] = info
        self._by_load.setdefault(info.active, {})[node.id] = info

    def drop_node(self, node_id: str) -> None:
        """Forget a node; what is known of its tasks stays, should it come back."""
        info = self.infos.pop(node_id, None)
        if info is not None:
            self._unlist(info)

    def hold(self, task: api.Task) -> bool:
        """Take in a task that has a node. Returns whether that makes room: it was meant to run and no longer is."""
        held = Held.of(task)
        before = self._held.get(task.id)
        if before == held:
            return False
        if before is not None:
            self.release(task.id)
        self._held[task.id] = held
        self._on_node.setdefault(held.node_id, {})[task.id] = held
        if held.is_active:
            counts = self._by_service.setdefault(held.service_id, {})
            counts[held.node_id] = counts.get(held.node_id, 0) + 1
        info = self.infos.get(held.node_id)
        if info is not None:
            self._unlist(info)
            _take(info, held)
            self._by_load.setdefault(info.active, {})[held.node_id] = info
        return before is not None and before.is_active and not held.is_active

    def release(self, task_id: str) -> str:
        """Give back what a task took. Returns the node it was on, "" if it took nothing."""
        held = self._held.pop(task_id, None)
        if held is None:
            return ""
        tasks = self._on_node[held.node_id]
        del tasks[task_id]
        if not tasks:
            del self._on_node[held.node_id]
        if held.is_active:
            # An empty one stays, as it may be in use; `forget_old` drops it.
            counts = self._by_service[held.service_id]
            counts[held.node_id] -= 1
            if not counts[held.node_id]:
                del counts[held.node_id]
        info = self.infos.get(held.node_id)
        if info is not None:
            self._unlist(info)
            _give_back(info, held, tasks.values())
            self._by_load.setdefault(info.active, {})[held.node_id] = info
        return held.node_id

    def counts(self, service_id: str) -> dict[str, int]:
        """Return the number of a service's active tasks by node, without nodes that have none; kept current."""
        return self._by_service.setdefault(service_id, {})

    def by_load(self) -> Iterator[NodeInfo]:
        """Yield nodes by rising number of active tasks. One that gains tasks meanwhile may come twice."""
        for load in sorted(self._by_load):
            yield from list(self._by_load.get(load, {}).values())

    def note_failure(self, group: Group, node_id: str, task_id: str, at: float) -> None:
        """Take in that a task failed on a node."""
        self._failures.setdefault(group, {}).setdefault(node_id, {})[task_id] = at

    def bad_nodes(self, group: Group, now: float) -> dict[str, int]:
        """Return the nodes that go last for a group, with how often it failed there lately."""
        bad: dict[str, int] = {}
        for node_id, failures in self._failures.get(group, {}).items():
            recent = sum(1 for at in failures.values() if now - at <= FAILURE_WINDOW)
            if recent >= MAX_FAILURES:
                bad[node_id] = recent
        return bad

    def forget_old(self, now: float) -> None:
        """Drop failures that no ranking asks for again, and services without tasks."""
        self._by_service = {service_id: counts for service_id, counts in self._by_service.items() if counts}
        for group, nodes in list(self._failures.items()):
            for node_id, failures in list(nodes.items()):
                recent = {task_id: at for task_id, at in failures.items() if now - at <= FAILURE_WINDOW}
                if recent:
                    nodes[node_id] = recent
                else:
                    del nodes[node_id]
            if not nodes:
                del self._failures[group]

    def _unlist(self, info: NodeInfo) -> None:
        bucket = self._by_load[info.active]
        del bucket[info.node.id]
        if not bucket:
            del self._by_load[info.active]


def _plugins(node: api.Node) -> frozenset[tuple[str, str]] | None:
    if not node.description.HasField("engine"):
        return None
    listed = [(plugin.type, plugin.name) for plugin in node.description.engine.plugins]
    # A plugin is found by its bare name, too.
    return frozenset(listed + [(kind, name.removesuffix(":latest")) for kind, name in listed])


def _take(info: NodeInfo, held: Held) -> None:
    info.active += held.is_active
    info.nano_cpus -= held.nano_cpus
    info.memory_bytes -= held.memory_bytes
    if held.generic:
        info.generic.take(held.generic)
    if held.ports:
        info.ports.update(held.ports)


def _give_back(info: NodeInfo, held: Held, rest: Iterable[Held]) -> None:
    info.active -= held.is_active
    info.nano_cpus += held.nano_cpus
    info.memory_bytes += held.memory_bytes
    if held.generic:
        # Counted anew, as the node may have changed what it offers since the task took it.
        info.generic = Stock(info.node.description.resources.generic)
        for other in rest:
            info.generic.take(other.generic)
    for port in held.ports:
        info.ports[port] -= 1
