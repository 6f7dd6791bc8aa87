"""`TaskSpec`: resources, restart policy and placement of a task.

Source: moby api/types/swarm/task.go, daemon/cluster/convert/service.go.
"""

from collections.abc import Mapping
from typing import Any

from shoal.api import v1 as api
from shoal.engine.codec.common import DRIVER, GENERIC_RESOURCE, NETWORK_ATTACHMENT_CONFIG, PLATFORM
from shoal.engine.codec.container_spec import CONTAINER_SPEC
from shoal.engine.codec.kinds import DURATION, INT64, TEXT, TEXTS, UINT64, Enum, ListOf, Mismatch
from shoal.engine.codec.message import ALWAYS, NULLABLE, MessageCodec, field, member
from shoal.errors import InvalidArgument, Unimplemented

RESTART_POLICY = MessageCodec(
    api.RestartPolicy,
    field(
        "Condition",
        "condition",
        Enum(
            {api.RestartPolicy.NONE: "none", api.RestartPolicy.ON_FAILURE: "on-failure", api.RestartPolicy.ANY: "any"},
            'invalid RestartCondition: "%s"',
            default=api.RestartPolicy.ANY,
        ),
    ),
    field("Delay", "delay", DURATION),
    field("MaxAttempts", "max_attempts", UINT64, ALWAYS),
    field("Window", "window", DURATION),
    read=lambda _, arguments: arguments.setdefault("condition", api.RestartPolicy.ANY),
)

SPREAD_OVER = MessageCodec(api.SpreadOver, field("SpreadDescriptor", "spread_descriptor", when=ALWAYS))

PREFERENCE = MessageCodec(api.PlacementPreference, field("Spread", "spread", SPREAD_OVER, NULLABLE))


class _Preferences(ListOf):
    """Placement preferences. As in Docker, one without a kind of preference is dropped."""

    def decode(self, value: Any) -> list[Any]:
        return [preference for preference in super().decode(value) if preference.HasField("spread")]


PLACEMENT = MessageCodec(
    api.Placement,
    field("Constraints", "constraints", TEXTS),
    field("Preferences", "preferences", _Preferences(PREFERENCE, lambda preference: preference.HasField("spread"))),
    field("MaxReplicas", "max_replicas", UINT64),
    field("Platforms", "platforms", ListOf(PLATFORM)),
)

# The limit of processes is among these limits in JSON, but in the container's spec in the message.
LIMITS = MessageCodec(
    api.Resources, field("NanoCPUs", "nano_cpus", INT64), field("MemoryBytes", "memory_bytes", INT64), go_name="Limit"
)
RESERVATIONS = MessageCodec(
    api.Resources,
    field("NanoCPUs", "nano_cpus", INT64),
    field("MemoryBytes", "memory_bytes", INT64),
    field("GenericResources", "generic", ListOf(GENERIC_RESOURCE)),
)


def _show_swap(message: Any, shown: dict[str, Any]) -> None:
    if message.HasField("swap_bytes"):
        shown["SwapBytes"] = message.swap_bytes.value
    if message.HasField("memory_swappiness"):
        shown["MemorySwappiness"] = message.memory_swappiness.value


# Swap settings are shown if a manager of Docker's stored them. They are not read, because they came with API 1.52.
REQUIREMENTS = MessageCodec(
    api.ResourceRequirements,
    field("Limits", "limits", LIMITS),
    field("Reservations", "reservations", RESERVATIONS),
    shown=_show_swap,
)

ATTACHMENT_SPEC = MessageCodec(api.NetworkAttachmentSpec, field("ContainerID", "container_id", when=ALWAYS))


def _show_pids_limit(message: Any, shown: dict[str, Any]) -> None:
    limit = message.container.pidsLimit
    if limit:
        shown.setdefault("Resources", {}).setdefault("Limits", {})["Pids"] = limit
    if message.HasField("attachment"):
        shown["Runtime"] = "attachment"


def _read_runtime(given: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    runtime = member(given, "Runtime") or "container"
    if runtime == "plugin":
        raise Unimplemented("services of plugins are not supported by this daemon")
    if not isinstance(runtime, str):
        raise _at(Mismatch(runtime, TEXT.go_type), "Runtime")
    if runtime != "container":
        raise InvalidArgument("unsupported runtime")
    if "container" not in arguments:
        raise InvalidArgument("mismatched Runtime and *Spec fields")
    pids = member(member(member(given, "Resources"), "Limits"), "Pids")
    if pids is not None:
        try:
            arguments["container"].pidsLimit = INT64.decode(pids)
        except Mismatch as error:
            raise _at(error, "Resources", "Limits", "Pids") from None


def _at(error: Mismatch, *path: str) -> Mismatch:
    error.path[:0] = path
    return error


TASK_SPEC = MessageCodec(
    api.TaskSpec,
    field("ContainerSpec", "container", CONTAINER_SPEC),
    field("NetworkAttachmentSpec", "attachment", ATTACHMENT_SPEC, set=False),
    field("Resources", "resources", REQUIREMENTS),
    field("RestartPolicy", "restart", RESTART_POLICY),
    field("Placement", "placement", PLACEMENT),
    field("Networks", "networks", ListOf(NETWORK_ATTACHMENT_CONFIG)),
    field("LogDriver", "log_driver", DRIVER),
    field("ForceUpdate", "force_update", UINT64, ALWAYS),
    shown=_show_pids_limit,
    read=_read_runtime,
)
