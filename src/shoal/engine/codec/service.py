"""Services: spec and object, and which fields an older API version does not have.

Source: moby api/types/swarm/service.go, daemon/cluster/convert/service.go, router/swarm/helpers.go.
"""

from collections.abc import Mapping
from typing import Any

from shoal.api import v1 as api
from shoal.engine.codec.common import (
    ANNOTATIONS,
    ENDPOINT_SPEC,
    META,
    NETWORK_ATTACHMENT_CONFIG,
    PORTS,
    VERSION,
)
from shoal.engine.codec.container_spec import check_credential_spec
from shoal.engine.codec.kinds import DURATION, FLOAT32, INSTANT, UINT64, Enum, ListOf, Mismatch
from shoal.engine.codec.message import ALWAYS, NONZERO, MessageCodec, field, inline, member
from shoal.engine.codec.task_spec import TASK_SPEC
from shoal.errors import InvalidArgument

_FAILURE_ACTIONS = Enum(
    {
        api.UpdateConfig.PAUSE: "pause",
        api.UpdateConfig.CONTINUE: "continue",
        api.UpdateConfig.ROLLBACK: "rollback",
    },
    "unrecognized update failure action %s",
)
_ORDERS = Enum(
    {api.UpdateConfig.STOP_FIRST: "stop-first", api.UpdateConfig.START_FIRST: "start-first"},
    "unrecognized update order %s",
)

UPDATE_CONFIG = MessageCodec(
    api.UpdateConfig,
    field("Parallelism", "parallelism", UINT64, ALWAYS),
    field("Delay", "delay", DURATION, NONZERO),
    field("FailureAction", "failure_action", _FAILURE_ACTIONS),
    field("Monitor", "monitor", DURATION, NONZERO),
    field("MaxFailureRatio", "max_failure_ratio", FLOAT32, ALWAYS),
    field("Order", "order", _ORDERS, ALWAYS),
)

_STATES = {
    value: name.lower()
    for name, value in api.UpdateStatus.UpdateState.items()
    if value != api.UpdateStatus.UNKNOWN  # Docker does not show it
}


def _show_ends(message: Any, shown: dict[str, Any]) -> None:
    for name, instant in (("StartedAt", message.started_at), ("CompletedAt", message.completed_at)):
        if instant.seconds:
            shown[name] = INSTANT.encode(instant)


UPDATE_STATUS = MessageCodec(
    api.UpdateStatus, field("State", "state", Enum(_STATES)), field("Message", "message"), shown=_show_ends
)

REPLICATED = MessageCodec(api.ReplicatedService, field("Replicas", "replicas", UINT64, ALWAYS))
REPLICATED_JOB = MessageCodec(
    api.ReplicatedJob,
    field("MaxConcurrent", "max_concurrent", UINT64, ALWAYS),
    field("TotalCompletions", "total_completions", UINT64, ALWAYS),
)
GLOBAL = MessageCodec(api.GlobalService)
GLOBAL_JOB = MessageCodec(api.GlobalJob)

# The modes of a service: name in JSON, attribute, kind, name in filters.
MODES = (
    ("Replicated", "replicated", REPLICATED, "replicated"),
    ("Global", "global", GLOBAL, "global"),
    ("ReplicatedJob", "replicated_job", REPLICATED_JOB, "replicated-job"),
    ("GlobalJob", "global_job", GLOBAL_JOB, "global-job"),
)
MODE_NAMES = {attribute: name for _, attribute, _, name in MODES}


def _show_spec(message: Any, shown: dict[str, Any]) -> None:
    mode = message.WhichOneof("mode")
    shown["Mode"] = {
        json: codec.encode(getattr(message, attribute)) for json, attribute, codec, _ in MODES if attribute == mode
    }
    template = shown["TaskTemplate"]
    if message.networks and not message.task.networks:
        # Before API 1.25 a service's networks were in this place.
        template["Networks"] = ListOf(NETWORK_ATTACHMENT_CONFIG).encode(message.networks)
    if message.task.HasField("container"):
        template["Runtime"] = "container"


def _read_spec(given: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    modes = member(given, "Mode") or {}
    if not isinstance(modes, dict):
        mismatch = Mismatch(modes, "swarm.ServiceMode")
        mismatch.struct, mismatch.path = "ServiceSpec", ["Mode"]
        raise mismatch
    chosen = [(json, attribute, codec) for json, attribute, codec, _ in MODES if member(modes, json) is not None]
    if len(chosen) > 1:
        raise InvalidArgument("must specify only one service mode")
    for json, attribute, codec in chosen:
        try:
            arguments[attribute] = codec.decode(member(modes, json))
        except Mismatch as error:
            error.path[:0] = ["Mode", json]
            error.struct = error.struct or "ServiceMode"
            raise
    _default_mode(modes, arguments)
    # Without a template there is no container, so the refusal is the same as for an empty template.
    if "task" not in arguments:
        raise InvalidArgument("mismatched Runtime and *Spec fields")


def _default_mode(modes: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    """Fill in defaults: 1 replica; for a job 1 task at a time, and as many in all as at a time.

    Source: ServiceSpecToGRPC.
    """
    if "replicated_job" in arguments:
        job = arguments["replicated_job"]
        if member(member(modes, "ReplicatedJob"), "MaxConcurrent") is None:
            job.max_concurrent = 1
        if member(member(modes, "ReplicatedJob"), "TotalCompletions") is None:
            job.total_completions = job.max_concurrent
    elif "replicated" in arguments:
        if member(member(modes, "Replicated"), "Replicas") is None:
            arguments["replicated"].replicas = 1
    elif "global" not in arguments and "global_job" not in arguments:
        arguments["replicated"] = api.ReplicatedService(replicas=1)


SERVICE_SPEC: MessageCodec[api.ServiceSpec] = MessageCodec(
    api.ServiceSpec,
    inline("annotations", ANNOTATIONS),
    field("TaskTemplate", "task", TASK_SPEC, ALWAYS),
    field("UpdateConfig", "update", UPDATE_CONFIG),
    field("RollbackConfig", "rollback", UPDATE_CONFIG),
    field("EndpointSpec", "endpoint", ENDPOINT_SPEC),
    shown=_show_spec,
    read=_read_spec,
)

VIRTUAL_IP = MessageCodec(api.Endpoint.VirtualIP, field("NetworkID", "network_id"), field("Addr", "addr"))


def _show_endpoint_spec(message: Any, shown: dict[str, Any]) -> None:
    # In Go it is a struct without a pointer, so it is shown as empty if the message has none.
    shown["Spec"] = ENDPOINT_SPEC.encode(message.spec) if message.HasField("spec") else {}


ENDPOINT = MessageCodec(
    api.Endpoint,
    field("Ports", "ports", PORTS),
    field("VirtualIPs", "virtual_ips", ListOf(VIRTUAL_IP)),
    shown=_show_endpoint_spec,
)

JOB_STATUS = MessageCodec(
    api.JobStatus,
    field("JobIteration", "job_iteration", VERSION, ALWAYS),
    field("LastExecution", "last_execution", INSTANT, ALWAYS),
)

SERVICE: MessageCodec[api.Service] = MessageCodec(
    api.Service,
    field("ID", "id", when=ALWAYS),
    inline("meta", META),
    field("Spec", "spec", SERVICE_SPEC, ALWAYS),
    field("PreviousSpec", "previous_spec", SERVICE_SPEC),
    field("Endpoint", "endpoint", ENDPOINT, ALWAYS),
    field("UpdateStatus", "update_status", UPDATE_STATUS),
    field("JobStatus", "job_status", JOB_STATUS),
)

_LEGACY_NETWORKS = ListOf(NETWORK_ATTACHMENT_CONFIG)


def read_legacy_networks(given: Mapping[str, Any], spec: api.ServiceSpec) -> None:
    """Take the networks from where clients before 1.44 may put them, unless the task's template has some.

    Raises InvalidArgument.
    """
    networks = member(given, "Networks")
    if networks and not spec.task.networks:
        try:
            spec.task.networks.extend(_LEGACY_NETWORKS.decode(networks))
        except Mismatch as error:
            raise InvalidArgument(f"invalid JSON: {error.text()}") from None


def drop_newer(spec: api.ServiceSpec, version: int) -> None:
    """Clear the fields that are newer than the client's API version (its minor number). Changes the spec in place.

    Source: moby daemon/server/router/swarm/helpers.go, adjustForAPIVersion.
    """
    container = spec.task.container
    if version < 46:
        container.oom_score_adj = 0
        for mount in container.mounts:
            if mount.HasField("tmpfs_options"):
                mount.tmpfs_options.options = ""
    if version < 44:
        _drop_newer_than_43(container)
    if version < 41:
        container.pidsLimit = 0
        for added in ("capability_add", "capability_drop", "ulimits"):
            container.ClearField(added)
        if spec.WhichOneof("mode") in ("replicated_job", "global_job"):
            spec.replicated.replicas = 1
    if version < 40:
        _drop_newer_than_39(spec)


def _drop_newer_than_43(container: api.ContainerSpec) -> None:
    if container.HasField("privileges"):
        container.privileges.ClearField("seccomp")
        container.privileges.ClearField("apparmor")
        container.privileges.no_new_privileges = False
    if container.HasField("healthcheck"):
        container.healthcheck.ClearField("start_interval")


def _drop_newer_than_39(spec: api.ServiceSpec) -> None:
    container = spec.task.container
    container.ClearField("sysctls")
    if container.privileges.credential_spec.WhichOneof("source") == "config":
        check_credential_spec([])
    if any(reference.HasField("runtime") for reference in container.configs):
        raise InvalidArgument("invalid Config: either File or Runtime should be set")
    if spec.task.HasField("placement"):
        spec.task.placement.max_replicas = 0
