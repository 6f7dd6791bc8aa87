"""One node as the scheduler sees it: its properties, its tasks and what they leave free. `nodeset` keeps it current.

In: a node, what its tasks take; out: fields to compare. Source of the rules: SwarmKit manager/scheduler/nodeinfo.go.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shoal.api import v1 as api
from shoal.manager.scheduler.demand import Demand, Port, host_ports
from shoal.manager.scheduler.generic import Stock

# Read once, because reading a protobuf enum value is as slow as reading a field.
_READY, _ACTIVE = api.NodeStatus.READY, api.NodeSpec.ACTIVE

_NO_PORTS: Mapping[Port, int] = {}


class Held(NamedTuple):
    """What a task takes from its node."""

    service_id: str
    node_id: str
    is_active: bool  # whether the task is meant to run; only such tasks count when nodes are compared
    nano_cpus: int
    memory_bytes: int
    generic: tuple[api.GenericResource, ...]
    ports: tuple[Port, ...]


def held_by(task: api.Task) -> Held:
    """Return what a placed task takes. Only `is_active` can change during the task's life."""
    nano_cpus = memory_bytes = 0
    if task.spec.HasField("resources"):
        reserved = task.spec.resources.reservations
        nano_cpus, memory_bytes = reserved.nano_cpus, reserved.memory_bytes
    generic = tuple(task.assigned_generic_resources)
    return Held(task.service_id, task.node_id, is_active(task), nano_cpus, memory_bytes, generic, host_ports(task))


def held_for(demand: Demand, service_id: str, node_id: str, generic: Iterable[api.GenericResource]) -> Held:
    """Return what a task takes that is being placed now."""
    return Held(service_id, node_id, True, demand.nano_cpus, demand.memory_bytes, tuple(generic), demand.ports)


def is_active(task: api.Task) -> bool:
    """Return whether a task is meant to run, now or soon."""
    return bool(task.desired_state <= api.COMPLETE)


class NodeInfo:
    """A node and its free resources.

    There may be a hundred thousand nodes, so generic resources and plugins, which few tasks ask for, are only read
    when a task asks for them.
    """

    __slots__ = ("_generic", "_left", "_plugins", "_ports", "active", "id", "is_ready", "node", "tasks")

    def __init__(self, node: api.Node, tasks: dict[str, Held] | None = None) -> None:
        """`tasks` is what is on the node, by the task's id. `take` and `give_back` change this very dictionary."""
        self.node = node
        self.id: str = node.id
        # Reading an absent protobuf message creates it, which is slow.
        self.is_ready = node.status.state == _READY and (not node.HasField("spec") or node.spec.availability == _ACTIVE)
        self.active = 0
        self.tasks: dict[str, Held] = {} if tasks is None else tasks
        self._ports: dict[Port, int] | None = None  # taken host ports, each with the number of its tasks
        self._left: list[int] | None = None  # CPUs and memory
        self._generic: Stock | None = None
        self._plugins: frozenset[tuple[str, str]] | None = None
        if tasks:
            for held in tasks.values():
                self._count(held)

    @property
    def nano_cpus(self) -> int:
        """Return the CPUs that are left; less than none where the node offers less than before."""
        return self._resources()[0]

    @property
    def memory_bytes(self) -> int:
        """Return the memory that is left, as `nano_cpus`."""
        return self._resources()[1]

    @property
    def ports(self) -> Mapping[Port, int]:
        """Return the host ports that are taken, each with the number of its tasks."""
        return self._ports if self._ports is not None else _NO_PORTS

    @property
    def generic(self) -> Stock:
        """Return the generic resources that are left."""
        if self._generic is None:
            self._generic = Stock(self.node.description.resources.generic)
            for held in self.tasks.values():
                self._generic.take(held.generic)
        return self._generic

    @property
    def plugins(self) -> frozenset[tuple[str, str]] | None:
        """Return type and name of each plugin; None if the node has not described an engine."""
        if self._plugins is None and self.node.description.HasField("engine"):
            listed = [(plugin.type, plugin.name) for plugin in self.node.description.engine.plugins]
            # A plugin NAME:latest is also found by NAME.
            self._plugins = frozenset(listed + [(kind, name.removesuffix(":latest")) for kind, name in listed])
        return self._plugins

    def take(self, task_id: str, held: Held) -> None:
        """Add a task."""
        self.tasks[task_id] = held
        self._count(held)
        if held.generic and self._generic is not None:
            self._generic.take(held.generic)

    def give_back(self, task_id: str) -> None:
        """Drop a task and free what it took."""
        held = self.tasks.pop(task_id)
        self.active -= held.is_active
        if self._left is not None:
            self._left[0] += held.nano_cpus
            self._left[1] += held.memory_bytes
        if held.generic:
            # Computed again on demand, because the node may offer other resources than when the task took them.
            self._generic = None
        taken = self._ports
        if held.ports and taken is not None:
            for port in held.ports:
                taken[port] -= 1
                if not taken[port]:
                    del taken[port]

    def _count(self, held: Held) -> None:
        self.active += held.is_active
        if self._left is not None:
            self._left[0] -= held.nano_cpus
            self._left[1] -= held.memory_bytes
        if held.ports:
            taken = self._ports
            if taken is None:
                taken = self._ports = {}
            for port in held.ports:
                taken[port] = taken.get(port, 0) + 1

    def _resources(self) -> list[int]:
        if self._left is None:
            offered = self.node.description.resources
            tasks = self.tasks.values()
            self._left = [
                offered.nano_cpus - sum(held.nano_cpus for held in tasks),
                offered.memory_bytes - sum(held.memory_bytes for held in tasks),
            ]
        return self._left
