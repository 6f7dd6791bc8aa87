"""What a task asks of its node, read from it once for all tasks of its kind. In: a task; out: plain values.

A demand has two halves. Its standing half can be answered by a node's own properties, and is equal for many services:
the nodes that satisfy it are kept (`shortlist`). The other half depends on what tasks of the node have taken.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from shoal.api import v1 as api
from shoal.manager.scheduler.platforms import Platform, wanted

Port = tuple[int, int]  # protocol, published port


class Standing(NamedTuple):
    """The half that a node answers by what it is. Hashable: a key of shortlists."""

    constraints: tuple[str, ...] = ()
    plugins: frozenset[tuple[str, str]] = frozenset()  # type and name
    log_driver: str = ""
    platforms: tuple[Platform, ...] = ()  # any of them


class Demand(NamedTuple):
    """All that a task asks for."""

    standing: Standing = Standing()
    nano_cpus: int = 0
    memory_bytes: int = 0
    generic: tuple[tuple[str, int], ...] = ()  # kind and count
    ports: tuple[Port, ...] = ()
    max_replicas: int = 0
    wants_cluster_volumes: bool = False


NOTHING = Standing()
_ASKS_NOTHING = Demand(NOTHING)


def demand_of(task: api.Task) -> Demand:
    """Return what a task asks for. A field that is absent is not read: most tasks ask for nothing."""
    spec = task.spec
    placement = spec.placement if spec.HasField("placement") else None
    reserved = spec.resources.reservations if spec.HasField("resources") else None
    mounts = spec.container.mounts if spec.HasField("container") else ()
    ports = host_ports(task)
    standing = _standing(task, placement, mounts)
    if placement is None and reserved is None and not mounts and not ports and standing is NOTHING:
        return _ASKS_NOTHING
    return Demand(
        standing=standing,
        nano_cpus=reserved.nano_cpus if reserved is not None else 0,
        memory_bytes=reserved.memory_bytes if reserved is not None else 0,
        generic=wanted_counts(reserved.generic) if reserved is not None else (),
        ports=ports,
        max_replicas=placement.max_replicas if placement is not None else 0,
        wants_cluster_volumes=any(mount.type == api.Mount.CLUSTER for mount in mounts),
    )


def _standing(task: api.Task, placement: api.Placement | None, mounts: Sequence[api.Mount]) -> Standing:
    plugins = [("Network", name) for one in task.networks if (name := one.network.driver_state.name)]
    if mounts:
        drivers = [mount.volume_options.driver_config.name for mount in mounts if mount.type == api.Mount.VOLUME]
        plugins += [("Volume", name) for name in drivers if name not in ("", "local")]
    log_driver = task.spec.log_driver.name if task.spec.HasField("log_driver") else ""
    if placement is None and not plugins and not log_driver:
        return NOTHING
    return Standing(
        constraints=tuple(placement.constraints) if placement is not None else (),
        plugins=frozenset(plugins),
        log_driver="" if log_driver == "none" else log_driver,
        platforms=wanted(placement.platforms) if placement is not None else (),
    )


def host_ports(task: api.Task) -> tuple[Port, ...]:
    """Return the ports that a task publishes on its node itself. One without a number is the node's to choose."""
    if not task.HasField("endpoint"):
        return ()
    return tuple(
        (port.protocol, port.published_port)
        for port in task.endpoint.ports
        if port.publish_mode == api.PortConfig.HOST and port.published_port
    )


def wanted_counts(wanted: Iterable[api.GenericResource]) -> tuple[tuple[str, int], ...]:
    """Return how many of each kind are wanted. A kind that is named twice is wanted as often as both say."""
    counts: dict[str, int] = {}
    for resource in wanted:
        # A task may only ask for counts (Control refuses others); a named one asks for a kind that nobody has.
        counted = resource.discrete_resource_spec
        counts[counted.kind] = counts.get(counted.kind, 0) + counted.value
    return tuple(counts.items())
