"""Which nodes can take a task, and why the others cannot. In: a task, node infos; out: a verdict for each.

Source: SwarmKit manager/scheduler/filter.go, pipeline.go; the explanations are Docker's texts.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from shoal.api import v1 as api
from shoal.errors import ShoalError
from shoal.manager.scheduler import constraints
from shoal.manager.scheduler.nodes import NodeInfo, host_ports

Check = Callable[[NodeInfo], bool]


class Filter(NamedTuple):
    """One reason for which a node may not do."""

    singular: str
    plural: str  # with {} for the number of nodes
    check: Check


class Pipeline:
    """The filters that concern one task, or any other task of the same service and spec version.

    Counts the nodes that it turned down under the first filter that they failed.
    """

    def __init__(self, task: api.Task, counts: Mapping[str, int]) -> None:
        """`counts` are the active tasks of the task's service by node, as they are whenever a node is judged."""
        self._filters = _filters_for(task, counts)
        self._turned_down: Counter[int] = Counter()

    def passes(self, info: NodeInfo) -> bool:
        """Return whether a node can take the task now."""
        for number, (_, _, check) in enumerate(self._filters):
            if not check(info):
                self._turned_down[number] += 1
                return False
        return True

    def explain(self) -> str:
        """Return why nodes were turned down: the commonest reason first, "" if none was."""
        reasons = sorted(self._turned_down.items(), key=lambda item: (-item[1], item[0]))
        return "; ".join(
            self._filters[number].singular if count == 1 else self._filters[number].plural.format(count)
            for number, count in reasons
        )


def _filters_for(task: api.Task, counts: Mapping[str, int]) -> list[Filter]:
    filters = [
        Filter("1 node not available for new tasks", "{} nodes not available for new tasks", lambda info: info.is_ready)
    ]
    for text, check in (
        ("insufficient resources", _resources(task)),
        ("missing plugin", _plugins(task)),
        ("scheduling constraints not satisfied", _constraints(task)),
        ("unsupported platform", _platform(task)),
        ("host-mode port already in use", _ports(task)),
    ):
        if check is not None:
            filters.append(Filter(f"{text} on 1 node", f"{text} on {{}} nodes", check))
    limit = task.spec.placement.max_replicas
    if limit:
        # No number, and this spelling: Docker's own words.
        text = "max replicas per node limit exceed"
        filters.append(Filter(text, text, lambda info: counts.get(info.node.id, 0) < limit))
    if any(mount.type == api.Mount.CLUSTER for mount in task.spec.container.mounts):
        text = "cannot fulfill requested CSI volume mounts"
        filters.append(Filter(f"{text} on 1 node", f"{text} on {{}} nodes", lambda _: False))
    return filters


def _resources(task: api.Task) -> Check | None:
    reserved = task.spec.resources.reservations
    nano_cpus, memory_bytes = reserved.nano_cpus, reserved.memory_bytes
    generic = [(one.discrete_resource_spec.kind, one.discrete_resource_spec.value) for one in reserved.generic]
    if not (nano_cpus or memory_bytes or generic):
        return None
    return lambda info: (
        nano_cpus <= info.nano_cpus
        and memory_bytes <= info.memory_bytes
        and all(info.generic.has(kind, count) for kind, count in generic)
    )


def _plugins(task: api.Task) -> Check | None:
    wanted = {
        ("Volume", mount.volume_options.driver_config.name)
        for mount in task.spec.container.mounts
        if mount.type == api.Mount.VOLUME and mount.volume_options.driver_config.name not in ("", "local")
    }
    wanted |= {("Network", one.network.driver_state.name) for one in task.networks if one.network.driver_state.name}
    log = task.spec.log_driver.name
    if log in ("", "none"):
        log = ""
    if not wanted and not log:
        return None

    def check(info: NodeInfo) -> bool:
        there = info.plugins
        if there is None:
            return True
        if not wanted <= there:
            return False
        # A node that lists no log plugin at all is too old to report them.
        return not log or ("Log", log) in there or all(kind != "Log" for kind, _ in there)

    return check


def _constraints(task: api.Task) -> Check | None:
    expressions = task.spec.placement.constraints
    if not expressions:
        return None
    try:
        parsed = constraints.parse(expressions)
    except ShoalError:
        # Control lets none through; SwarmKit, too, schedules such a task as if it had no constraints.
        return None
    return lambda info: constraints.matches(parsed, info.node)


_SAME_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}


def _platform(task: api.Task) -> Check | None:
    wanted = [(_architecture(platform), platform.os) for platform in task.spec.placement.platforms]
    if not wanted:
        return None

    def check(info: NodeInfo) -> bool:
        description = info.node.description
        if not description.HasField("platform"):
            return False
        there = (_architecture(description.platform), description.platform.os)
        return any(arch in ("", there[0]) and system in ("", there[1]) for arch, system in wanted)

    return check


def _architecture(platform: api.Platform) -> str:
    return _SAME_ARCHITECTURE.get(platform.architecture, platform.architecture)


def _ports(task: api.Task) -> Check | None:
    ports = host_ports(task)
    if not ports:
        return None
    return lambda info: not any(info.ports[port] for port in ports)
