"""What a task asks of its node. In: a task, which stands for all tasks of its group; out: plain values.

A demand has two halves. The standing half depends only on properties of the node, and many services share it, so the
nodes that satisfy it are kept (`shortlist`). The other half depends on what the node's tasks have taken.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from shoal.api import v1 as api
from shoal.manager.scheduler.platforms import Platform, wanted

Port = tuple[int, int]  # protocol, published port


class Standing(NamedTuple):
    """The half that depends only on properties of the node. It is the key of a shortlist."""

    constraints: tuple[str, ...] = ()
    plugins: frozenset[tuple[str, str]] = frozenset()  # type and name
    log_driver: str = ""
    platforms: tuple[Platform, ...] = ()  # one of them must match; empty: any platform


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
ASKS_NOTHING = Demand(NOTHING)


def demand_of(task: api.Task) -> Demand:
    """Return what a task asks for. It reads no absent message, which would be slow: most tasks ask for nothing."""
    spec = task.spec
    placement = spec.placement if spec.HasField("placement") else None
    reserved = spec.resources.reservations if spec.HasField("resources") else None
    mounts = spec.container.mounts if spec.HasField("container") else ()
    ports = host_ports(task)
    standing = _standing(task, placement, mounts)
    if placement is None and reserved is None and not mounts and not ports and standing is NOTHING:
        return ASKS_NOTHING
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
    """Return the ports that a task publishes in host mode. A port without a number is left out: the node chooses it."""
    if not task.HasField("endpoint"):
        return ()
    return tuple(
        (port.protocol, port.published_port)
        for port in task.endpoint.ports
        if port.publish_mode == api.PortConfig.HOST and port.published_port
    )


def wanted_counts(wanted: Iterable[api.GenericResource]) -> tuple[tuple[str, int], ...]:
    """Return how many of each kind are wanted. Counts of a kind that is named twice are added."""
    counts: dict[str, int] = {}
    for resource in wanted:
        # A task may only ask for counts (Control refuses others). A named resource reads as a kind that no node has.
        counted = resource.discrete_resource_spec
        counts[counted.kind] = counts.get(counted.kind, 0) + counted.value
    return tuple(counts.items())
