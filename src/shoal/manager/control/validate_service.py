"""Checks a service's spec, without looking at the rest of the swarm.

The checks, their order and their texts are Docker's: SwarmKit manager/controlapi/service.go. `unsupported` then refuses
what Docker has and Shoal does not have yet.
"""

from collections.abc import Callable

from google.protobuf.duration_pb2 import Duration

from shoal.api import times
from shoal.api import v1 as api
from shoal.api.reference import is_reference
from shoal.errors import InvalidArgument, Unimplemented
from shoal.manager.control.names import validate_annotations
from shoal.manager.control.validate_references import validate_config_references, validate_secret_references
from shoal.manager.scheduler import constraints

MIN_NANO_CPUS = 1_000_000
MIN_MEMORY_BYTES = 4 * 1024 * 1024
MIN_HEALTH_NANOS = 1_000_000
LAST_PORT = 65535
INT64_MAX = 2**63 - 1  # a larger count was a negative number in the client's request

_HEALTH_FIELDS = {
    "Interval": "interval",
    "Timeout": "timeout",
    "StartPeriod": "start_period",
    "StartInterval": "start_interval",
}

# Fills in the placeholders of a task's container, or raises an error, as the node would.
Expand = Callable[[api.Task, api.NodeDescription], api.ContainerSpec]


def unexpanded(task: api.Task, node: api.NodeDescription) -> api.ContainerSpec:
    """Return the container's spec with its placeholders as they are."""
    return task.spec.container


def validate_service_spec(spec: api.ServiceSpec, expand: Expand = unexpanded) -> None:
    """Raise Docker's error for the first mistake: InvalidArgument, Unimplemented, or ShoalError for a constraint."""
    validate_annotations(spec.annotations)
    validate_task_spec(spec.task, expand)
    _validate_mode(spec)
    if is_job(spec):
        if spec.HasField("update"):
            raise InvalidArgument("Jobs may not have an update config")
    elif spec.HasField("update"):
        _validate_update(spec.update)
    if spec.HasField("endpoint"):
        _validate_endpoint(spec.endpoint)


def is_job(spec: api.ServiceSpec) -> bool:
    """Return whether a service is a job."""
    return spec.WhichOneof("mode") in ("replicated_job", "global_job")


def validate_task_spec(spec: api.TaskSpec, expand: Expand = unexpanded) -> None:
    """Raise Docker's error for the first mistake in a task's spec, as `validate_service_spec` does."""
    if spec.HasField("resources"):
        _validate_resources(spec.resources.limits)
        _validate_resources(spec.resources.reservations)
    _refuse_negative(spec.restart, "delay", "TaskSpec: restart-delay cannot be negative")
    _refuse_negative(spec.restart, "window", "TaskSpec: restart-window cannot be negative")
    constraints.parse(spec.placement.constraints)
    validate_secret_references(spec.container)
    validate_config_references(spec.container)
    match spec.WhichOneof("runtime"):
        case None:
            raise InvalidArgument("TaskSpec: missing runtime")
        case "container":
            _validate_container(_expanded(spec, expand))
        case _:
            raise Unimplemented("RuntimeSpec: unimplemented runtime in service spec")


def _validate_resources(resources: api.Resources) -> None:
    if resources.nano_cpus and resources.nano_cpus < MIN_NANO_CPUS:
        cpus = repr(resources.nano_cpus / 1e9).removesuffix(".0")
        raise InvalidArgument(f"invalid cpu value {cpus}: Must be at least 0.001")
    if resources.memory_bytes and resources.memory_bytes < MIN_MEMORY_BYTES:
        raise InvalidArgument(f"invalid memory value {resources.memory_bytes}: Must be at least 4MiB")


def _refuse_negative(owner: api.RestartPolicy | api.UpdateConfig, field: str, message: str) -> None:
    length: Duration = getattr(owner, field)
    if times.nanos(length) < 0:
        raise InvalidArgument(message)


def _expanded(spec: api.TaskSpec, expand: Expand) -> api.ContainerSpec:
    # No task or node exists yet. Docker's own sample values, used here, show most mistakes in placeholders.
    task = api.Task(
        spec=spec,
        service_id="serviceid",
        slot=1,
        node_id="nodeid",
        annotations=api.Annotations(name="taskname"),
        service_annotations=api.Annotations(name="servicename"),
    )
    platform = api.Platform(os="os", architecture="architecture")
    return expand(task, api.NodeDescription(hostname="nodeHostname", platform=platform))


def _validate_container(container: api.ContainerSpec) -> None:
    if not container.image:
        raise InvalidArgument("ContainerSpec: image reference must be provided")
    if not is_reference(container.image):
        raise InvalidArgument(f'ContainerSpec: "{container.image}" is not a valid repository/tag')
    targets: set[str] = set()
    for mount in container.mounts:
        if mount.target in targets:
            raise InvalidArgument(f"ContainerSpec: duplicate mount point: {mount.target}")
        targets.add(mount.target)
    _validate_health(container.healthcheck)


def _validate_health(health: api.HealthConfig) -> None:
    for name, field in _HEALTH_FIELDS.items():
        length = times.nanos(getattr(health, field))
        if length and length < MIN_HEALTH_NANOS:
            raise InvalidArgument(f"ContainerSpec: {name} in HealthConfig cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidArgument("ContainerSpec: Retries in HealthConfig cannot be negative")


def _validate_mode(spec: api.ServiceSpec) -> None:
    match spec.WhichOneof("mode"):
        case None:
            raise InvalidArgument("Unrecognized service mode")
        case "replicated":
            if spec.replicated.replicas > INT64_MAX:
                raise InvalidArgument("Number of replicas must be non-negative")
        case "replicated_job":
            if spec.replicated_job.max_concurrent > INT64_MAX:
                raise InvalidArgument("Maximum concurrent jobs must not be negative")
            if spec.replicated_job.total_completions > INT64_MAX:
                raise InvalidArgument("Total completed jobs must not be negative")


def _validate_update(config: api.UpdateConfig) -> None:
    _refuse_negative(config, "delay", "TaskSpec: update-delay cannot be negative")
    _refuse_negative(config, "monitor", "TaskSpec: update-monitor cannot be negative")
    # Written so that NaN is refused too: every comparison with NaN is false.
    if not 0 <= config.max_failure_ratio <= 1:
        raise InvalidArgument("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1")


def _validate_endpoint(endpoint: api.EndpointSpec) -> None:
    taken: set[tuple[int, int]] = set()
    for port in endpoint.ports:
        if endpoint.mode == api.EndpointSpec.DNSRR and port.publish_mode == api.PortConfig.INGRESS:
            raise InvalidArgument("EndpointSpec: port published with ingress mode can't be used with dnsrr mode")
        if not port.published_port:
            continue
        key = (port.published_port, port.protocol)
        if key in taken:
            raise InvalidArgument("EndpointSpec: duplicate published ports provided")
        taken.add(key)
    # Docker takes these, and no node can ever run the tasks.
    for port in endpoint.ports:
        for number, what, least in ((port.target_port, "target", 1), (port.published_port, "published", 0)):
            if not least <= number <= LAST_PORT:
                raise InvalidArgument(f"EndpointSpec: invalid {what} port {number}: ports are {least} to {LAST_PORT}")
