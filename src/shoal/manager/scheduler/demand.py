"""What a task asks of its node, read from it once for all tasks of its kind. In: a task; out: plain values.

A demand has two halves. Its standing half can be answered by a node's own properties, and is equal for many services:
the nodes that satisfy it are kept (`shortlist`). The other half depends on what tasks of the node have taken.
"""

from collections.abc import Iterable
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


def demand_of(task: api.Task) -> Demand:
    """Return what a task asks for. A field that is absent is not read: most tasks ask for nothing."""
    spec = task.spec
    nano_cpus = memory_bytes = 0
    generic: tuple[tuple[str, int], ...] = ()
    if spec.HasField("resources"):
        reserved = spec.resources.reservations
        nano_cpus, memory_bytes = reserved.nano_cpus, reserved.memory_bytes
        generic = wanted_counts(reserved.generic)
    constraints: tuple[str, ...] = ()
    image_is_for: tuple[Platform, ...] = ()
    max_replicas = 0
    if spec.HasField("placement"):
        constraints = tuple(spec.placement.constraints)
        image_is_for = wanted(spec.placement.platforms)
        max_replicas = spec.placement.max_replicas
    mounts = spec.container.mounts if spec.HasField("container") else ()
    plugins = [
        ("Volume", mount.volume_options.driver_config.name)
        for mount in mounts
        if mount.type == api.Mount.VOLUME and mount.volume_options.driver_config.name not in ("", "local")
    ]
    plugins += [("Network", one.network.driver_state.name) for one in task.networks if one.network.driver_state.name]
    log_driver = spec.log_driver.name if spec.HasField("log_driver") else ""
    return Demand(
        standing=Standing(constraints, frozenset(plugins), "" if log_driver == "none" else log_driver, image_is_for)
        if constraints or plugins or log_driver or image_is_for
        else NOTHING,
        nano_cpus=nano_cpus,
        memory_bytes=memory_bytes,
        generic=generic,
        ports=host_ports(task),
        max_replicas=max_replicas,
        wants_cluster_volumes=any(mount.type == api.Mount.CLUSTER for mount in mounts),
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
