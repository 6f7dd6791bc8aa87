"""Which nodes can take a task, and why the others cannot. In: what a task asks for, a node; out: verdicts.

Source: SwarmKit manager/scheduler/filter.go, pipeline.go; the explanations are Docker's texts.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from shoal.errors import ShoalError
from shoal.manager.scheduler import constraints, platforms
from shoal.manager.scheduler.demand import Demand, Standing
from shoal.manager.scheduler.nodeinfo import NodeInfo

Check = Callable[[NodeInfo], bool]

# Many services have the same demands, so parsed constraints are kept for the next group.
_CACHED_STANDINGS = 1024


class Filter(NamedTuple):
    """A check of a node, and Docker's words for nodes that fail it."""

    singular: str
    plural: str  # with {} for the number of nodes
    check: Check

    def explain(self, nodes: int) -> str:
        """Return Docker's words for a number of nodes that fail."""
        return self.singular if nodes == 1 else self.plural.format(nodes)


class Pipeline:
    """The filters for one demand, in SwarmKit's order. The first filter that a node fails is its reason."""

    def __init__(self, demand: Demand, counts: Mapping[str, int]) -> None:
        """`counts` are the active tasks of the service by node; the caller keeps the mapping current."""
        self._of_tasks = _of_tasks(demand, counts)
        self._wants = demand.standing

    @property
    def filters(self) -> dict[str, Filter]:
        """Return the filters by name, in SwarmKit's order."""
        found = {**standing_filters(self._wants), **self._of_tasks}
        return {name: found[name] for name in _ORDER if name in found}

    def has_room(self, info: NodeInfo) -> bool:
        """Return whether a node that satisfies the standing half can take the task now."""
        # This runs for every node that is looked at, and most tasks ask for nothing.
        return not self._of_tasks or all(one.check(info) for one in self._of_tasks.values())

    def passes(self, info: NodeInfo) -> bool:
        """Return whether a node can take the task now."""
        return satisfies(standing_filters(self._wants), info) and self.has_room(info)

    def first_failing(self, info: NodeInfo) -> str:
        """Return the name of the filter under which a node is counted, "" if it can take the task now."""
        return next((name for name, one in self.filters.items() if not one.check(info)), "")

    def failing(self, info: NodeInfo) -> list[str]:
        """Return the names of all filters that a node fails, in order; empty if it can take the task now."""
        return [name for name, one in self.filters.items() if not one.check(info)]

    def explain(self, infos: Iterable[NodeInfo]) -> str:
        """Return why nodes cannot take the task, the commonest reason first; "" if all can, or there are no nodes."""
        filters = list(self.filters.values())
        turned_down: Counter[int] = Counter()
        for info in infos:
            for number, one in enumerate(filters):
                if not one.check(info):
                    turned_down[number] += 1
                    break
        reasons = sorted(turned_down.items(), key=lambda item: (-item[1], item[0]))
        return "; ".join(filters[number].explain(count) for number, count in reasons)


# SwarmKit's order. A node is counted under the first filter that it fails.
_ORDER = ("ready", "resources", "plugins", "constraints", "platform", "ports", "replicas", "volumes")

Filters = Mapping[str, Filter]


@lru_cache(_CACHED_STANDINGS)
def standing_filters(standing: Standing) -> Filters:
    """Return the filters that depend on the node alone."""
    filters = {
        "ready": Filter(
            "1 node not available for new tasks", "{} nodes not available for new tasks", lambda info: info.is_ready
        )
    }
    if standing.plugins or standing.log_driver:
        filters["plugins"] = _filter("missing plugin", _plugins(standing))
    if standing.constraints:
        try:
            parsed = constraints.parse(standing.constraints)
        except ShoalError:
            # Control refuses such constraints. SwarmKit too schedules such a task as if it had no constraints.
            parsed = []
        filters["constraints"] = _filter(
            "scheduling constraints not satisfied", lambda info: constraints.matches(parsed, info.node)
        )
    if standing.platforms:
        filters["platform"] = _filter("unsupported platform", _platform(standing))
    return filters


def satisfies(standing: Filters, info: NodeInfo) -> bool:
    """Return whether a node passes all these filters."""
    return all(one.check(info) for one in standing.values())


def _of_tasks(demand: Demand, counts: Mapping[str, int]) -> Filters:
    """Return the filters that depend on what the node's tasks have taken."""
    filters: dict[str, Filter] = {}
    if demand.nano_cpus or demand.memory_bytes or demand.generic:
        filters["resources"] = _filter("insufficient resources", _resources(demand))
    if demand.ports:
        filters["ports"] = _filter(
            "host-mode port already in use", lambda info: not any(port in info.ports for port in demand.ports)
        )
    limit = demand.max_replicas
    if limit:
        # Docker's own words: the text has this spelling and no number.
        text = "max replicas per node limit exceed"
        filters["replicas"] = Filter(text, text, lambda info: counts.get(info.id, 0) < limit)
    if demand.wants_cluster_volumes:
        # No node has cluster volumes yet.
        filters["volumes"] = _filter("cannot fulfill requested CSI volume mounts", lambda _: False)
    return filters


def _filter(text: str, check: Check) -> Filter:
    return Filter(f"{text} on 1 node", f"{text} on {{}} nodes", check)


def _resources(demand: Demand) -> Check:
    return lambda info: (
        demand.nano_cpus <= info.nano_cpus
        and demand.memory_bytes <= info.memory_bytes
        and all(info.generic.has(kind, count) for kind, count in demand.generic)
    )


def _plugins(standing: Standing) -> Check:
    wanted, log = standing.plugins, standing.log_driver

    def check(info: NodeInfo) -> bool:
        there = info.plugins
        if there is None:
            return True
        if not wanted <= there:
            return False
        # A node that lists no log plugin at all is too old to report them.
        return not log or ("Log", log) in there or all(kind != "Log" for kind, _ in there)

    return check


def _platform(standing: Standing) -> Check:
    return lambda info: platforms.matches(standing.platforms, info.node)
