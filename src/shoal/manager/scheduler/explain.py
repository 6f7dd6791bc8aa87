"""Explains why a task is on its node, or has none: the scheduler's present verdict about each node.

In: a task, the nodes as the scheduler knows them, failures, the time. Out: an `Explanation` with the nodes in the order
in which the scheduler would try them (`ranking`). Each reason begins with the words of Docker's summary, and goes on
with what the task asks for and what the node has.
"""

from collections.abc import Mapping
from typing import NamedTuple

from shoal.api import v1 as api
from shoal.api.gen import placement_pb2 as pb
from shoal.api.naming import enum_name
from shoal.errors import ShoalError
from shoal.manager.scheduler import constraints
from shoal.manager.scheduler.demand import Demand, demand_of
from shoal.manager.scheduler.failures import MAX_FAILURES, Failures, Group
from shoal.manager.scheduler.filters import Pipeline
from shoal.manager.scheduler.nodeinfo import NodeInfo
from shoal.manager.scheduler.nodeset import NodeSet
from shoal.manager.scheduler.platforms import Platform, named
from shoal.manager.scheduler.ranking import descriptors_of
from shoal.manager.scheduler.shortlist import Path

# A swarm may have a hundred thousand nodes: all are counted, and only the best ones are listed.
MAX_NODES = 1000
# Characters shown of a label's value, or of another text that a user or a node chose.
MAX_TEXT = 100


class _Judged(NamedTuple):
    """A node, its sort key among the others, and the filters that it fails."""

    key: tuple[object, ...]
    info: NodeInfo
    path: Path
    failing: list[str]


def explain(task: api.Task, nodes: NodeSet, failures: Failures, now: float, *, is_bound: bool) -> pb.Explanation:
    """Return what speaks for and against each node. `is_bound`: the task came with its node; only that one counts."""
    demand = demand_of(task)
    look = _Look(task, nodes, failures, now)
    infos = [look.without_it(info) for info in nodes.infos.values() if not is_bound or info.id == task.node_id]
    pipeline = Pipeline(demand, look.counts)
    judged = sorted((look.judge(info, pipeline) for info in infos), key=lambda one: one.key)
    suitable = sum(1 for one in judged if not one.failing)
    return pb.Explanation(
        task_id=task.id,
        service_id=task.service_id,
        state=enum_name(api.TaskState, task.status.state),
        node_id=task.node_id,
        message=_message(task, suitable, pipeline.explain(infos), is_bound=is_bound),
        considered=len(judged),
        suitable=suitable,
        nodes=[look.verdict(one, demand) for one in judged[:MAX_NODES]],
    )


class _Look:
    """Judges nodes for one task, as if the task had no node yet."""

    def __init__(self, task: api.Task, nodes: NodeSet, failures: Failures, now: float) -> None:
        self._task = task
        self._failures = failures
        self._group = Group(task.service_id, task.spec_version.index)
        self._now = now
        self.counts = dict(nodes.counts(task.service_id)) if task.service_id else {}
        own = nodes.infos.get(task.node_id)
        held = own.tasks.get(task.id) if own is not None else None
        if held is not None and held.is_active and task.service_id:
            self.counts[task.node_id] -= 1
        preferences = task.spec.placement.preferences if task.spec.HasField("placement") else ()
        self._descriptors = descriptors_of(preferences)
        self._branches: dict[Path, int] = {}  # tasks of the service by the first values of a node's path
        for node_id, count in self.counts.items():
            info = nodes.infos.get(node_id)
            path = self._path_of(info) if info is not None else ()
            for depth in range(1, len(path) + 1):
                self._branches[path[:depth]] = self._branches.get(path[:depth], 0) + count

    def without_it(self, info: NodeInfo) -> NodeInfo:
        """Return a node as it would be if the task were not on it."""
        if self._task.id not in info.tasks:
            return info
        return NodeInfo(info.node, {task_id: held for task_id, held in info.tasks.items() if task_id != self._task.id})

    def judge(self, info: NodeInfo, pipeline: Pipeline) -> _Judged:
        """Return the filters that a node fails, and its sort key."""
        failing = pipeline.failing(info)
        path = self._path_of(info)
        branches = [(self._branches.get(path[:depth], 0), path[:depth]) for depth in range(1, len(path) + 1)]
        failures = self._failures.count(self._group, info.id, self._now)
        rank = (failures if failures >= MAX_FAILURES else 0, self.counts.get(info.id, 0), info.active)
        return _Judged((not self._is_there(info), bool(failing), branches, rank, info.id), info, path, failing)

    def verdict(self, judged: _Judged, demand: Demand) -> pb.NodeVerdict:
        """Return the verdict about a node, in words and numbers."""
        info = judged.info
        failures = self._failures.count(self._group, info.id, self._now)
        return pb.NodeVerdict(
            node_id=info.id,
            hostname=_cut(info.node.description.hostname),
            is_chosen=self._is_there(info),
            reasons=[_reason(name, demand, info, self.counts) for name in judged.failing],
            failures=failures,
            is_avoided=failures >= MAX_FAILURES,
            spread=[
                pb.SpreadBranch(
                    descriptor=descriptor,
                    value=_cut(judged.path[depth]),
                    service_tasks=self._branches.get(judged.path[: depth + 1], 0),
                )
                for depth, descriptor in enumerate(self._descriptors)
            ],
            service_tasks=self.counts.get(info.id, 0),
            tasks=info.active,
        )

    def _is_there(self, info: NodeInfo) -> bool:
        # A task that came with its node has a node id from the start, but is only placed once the node is confirmed.
        return info.id == self._task.node_id and self._task.status.state > api.PENDING

    def _path_of(self, info: NodeInfo) -> Path:
        return tuple([constraints.label_of(one, info.node) or "" for one in self._descriptors])


def _message(task: api.Task, suitable: int, details: str, *, is_bound: bool) -> str:
    state = task.status.state
    if state > api.RUNNING:
        return f"the task has ended ({enum_name(api.TaskState, state)}): this is how one like it would be placed now"
    if state > api.PENDING:
        return f"the task was placed on node {task.node_id}: this is how it would be placed now"
    if task.desired_state > api.COMPLETE:
        return "the task is not meant to run any more, and gets no node"
    if state < api.PENDING:
        return "the task waits for what it needs of networks and ports, before a node is looked for"
    if is_bound:
        return details or f"the task belongs on node {task.node_id}, which can take it"
    if suitable:
        return f"{suitable} {'node' if suitable == 1 else 'nodes'} can take the task: it is about to be placed"
    return f"no suitable node ({details})" if details else "no suitable node"


def _reason(name: str, demand: Demand, info: NodeInfo, counts: Mapping[str, int]) -> str:
    match name:
        case "ready":
            return f"not available for new tasks: {_unavailable(info.node)}"
        case "resources":
            return f"insufficient resources: {'; '.join(_short_of(demand, info))}"
        case "plugins":
            return f"missing plugin: {', '.join(_missing_plugins(demand, info))}"
        case "constraints":
            return f"scheduling constraints not satisfied: {'; '.join(_unsatisfied(demand, info.node))}"
        case "platform":
            there = _platform_name(named(info.node.description.platform))
            wanted = " or ".join(_platform_name(one) for one in demand.standing.platforms)
            return f"unsupported platform: {there}, the image is for {_cut(wanted)}"
        case "ports":
            taken = [one for one in demand.ports if one in info.ports]
            ports = ", ".join(f"{number}/{enum_name(api.PortConfig.Protocol, kind)}" for kind, number in taken)
            return f"host-mode port already in use: {ports}"
        case "replicas":
            there_now = counts.get(info.id, 0)
            return f"max replicas per node limit exceed: {there_now} there, at most {demand.max_replicas}"
        case _:
            return "cannot fulfill requested CSI volume mounts"


def _unavailable(node: api.Node) -> str:
    if node.status.state != api.NodeStatus.READY:
        return f"its state is {enum_name(api.NodeStatus.State, node.status.state)}"
    return f"its availability is {enum_name(api.NodeSpec.Availability, node.spec.availability)}"


def _short_of(demand: Demand, info: NodeInfo) -> list[str]:
    there = info.node.description.resources
    found = []
    if demand.nano_cpus > info.nano_cpus:
        found.append(
            f"{_cpus(demand.nano_cpus)} CPUs asked for, {_cpus(info.nano_cpus)} of {_cpus(there.nano_cpus)} left"
        )
    if demand.memory_bytes > info.memory_bytes:
        found.append(
            f"{_size(demand.memory_bytes)} of memory asked for,"
            f" {_size(info.memory_bytes)} of {_size(there.memory_bytes)} left"
        )
    found += [
        f"{count} {_cut(kind)} asked for, {info.generic.left(kind)} left"
        for kind, count in demand.generic
        if not info.generic.has(kind, count)
    ]
    return found


def _missing_plugins(demand: Demand, info: NodeInfo) -> list[str]:
    there = info.plugins or frozenset()
    wanted = [
        *sorted(demand.standing.plugins),
        *([("Log", demand.standing.log_driver)] * bool(demand.standing.log_driver)),
    ]
    return [f"{kind} {_cut(name)}" for kind, name in wanted if (kind, name) not in there]


def _unsatisfied(demand: Demand, node: api.Node) -> list[str]:
    found = []
    for one in _parsed(demand):
        if not constraints.matches((one,), node):
            actual = constraints.value_of(one.key, node)
            found.append(
                f"{_cut(str(one))}, but " + ("no node has such a key" if actual is None else f"it is {_quoted(actual)}")
            )
    return found


def _parsed(demand: Demand) -> list[constraints.Constraint]:
    try:
        return constraints.parse(demand.standing.constraints)
    except ShoalError:
        return []  # As in `filters`: such a task is placed as if it had no constraints.


def _platform_name(given: Platform) -> str:
    return "/".join(part or "any" for part in reversed(given))


def _cpus(nano_cpus: int) -> str:
    return f"{nano_cpus / 1e9:.9g}"


def _size(size_bytes: int) -> str:
    """Return a size with four digits, in the largest unit that is not larger than it."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(size_bytes) >= factor:
            return f"{size_bytes / factor:.4g} {unit}"
    return f"{size_bytes} B"


def _quoted(text: str) -> str:
    return f'"{_cut(text)}"'


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
