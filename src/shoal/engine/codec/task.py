"""Tasks, and the networks that they are attached to. They are only encoded, never decoded.

Source: moby api/types/swarm/task.go, network.go, daemon/cluster/convert/task.go, network.go.
"""

from typing import Any

from shoal.api import states
from shoal.api import v1 as api
from shoal.engine.codec.common import ANNOTATIONS, DRIVER, GENERIC_RESOURCE, META, PORTS, VERSION
from shoal.engine.codec.kinds import FLAG, INSTANT, INT32, TEXTS, UINT64, Enum, ListOf
from shoal.engine.codec.message import ALWAYS, MessageCodec, field, inline
from shoal.engine.codec.task_spec import TASK_SPEC

_STATES = Enum(dict(states.NAMES), unknown="unknown")

CONTAINER_STATUS = MessageCodec(
    api.ContainerStatus,
    field("ContainerID", "container_id", when=ALWAYS),
    field("PID", "pid", INT32, ALWAYS),
    field("ExitCode", "exit_code", INT32, ALWAYS),
)

PORT_STATUS = MessageCodec(api.PortStatus, field("Ports", "ports", PORTS))

TASK_STATUS = MessageCodec(
    api.TaskStatus,
    field("Timestamp", "timestamp", INSTANT, ALWAYS),
    field("State", "state", _STATES),
    field("Message", "message"),
    field("Err", "err"),
    field("ContainerStatus", "container", CONTAINER_STATUS),
    field("PortStatus", "port_status", PORT_STATUS, ALWAYS),
)

IPAM_CONFIG = MessageCodec(
    api.IPAMConfig, field("Subnet", "subnet"), field("Range", "range"), field("Gateway", "gateway")
)
IPAM_OPTIONS = MessageCodec(
    api.IPAMOptions, field("Driver", "driver", DRIVER, ALWAYS), field("Configs", "configs", ListOf(IPAM_CONFIG))
)


def _show_network_spec(message: Any, shown: dict[str, Any]) -> None:
    if message.network:
        shown["ConfigFrom"] = {"Network": message.network}
    shown["Scope"] = "swarm"


NETWORK_SPEC = MessageCodec(
    api.NetworkSpec,
    inline("annotations", ANNOTATIONS),
    field("DriverConfiguration", "driver_config", DRIVER),
    field("IPv6Enabled", "ipv6_enabled", FLAG),
    field("Internal", "internal", FLAG),
    field("Attachable", "attachable", FLAG),
    field("Ingress", "ingress", FLAG),
    field("IPAMOptions", "ipam", IPAM_OPTIONS),
    shown=_show_network_spec,
)

NETWORK: MessageCodec[api.Network] = MessageCodec(
    api.Network,
    field("ID", "id", when=ALWAYS),
    inline("meta", META),
    field("Spec", "spec", NETWORK_SPEC, ALWAYS),
    field("DriverState", "driver_state", DRIVER, ALWAYS),
    field("IPAMOptions", "ipam", IPAM_OPTIONS),
)

ATTACHMENT = MessageCodec(
    api.NetworkAttachment, field("Network", "network", NETWORK, ALWAYS), field("Addresses", "addresses", TEXTS)
)

VOLUME_ATTACHMENT = MessageCodec(
    api.VolumeAttachment, field("ID", "id"), field("Source", "source"), field("Target", "target")
)


def _show_volumes(message: Any, shown: dict[str, Any]) -> None:
    # In Go it is a nil slice without omitempty, which is written as null.
    shown["Volumes"] = [VOLUME_ATTACHMENT.encode(volume) for volume in message.volumes] or None


TASK: MessageCodec[api.Task] = MessageCodec(
    api.Task,
    field("ID", "id", when=ALWAYS),
    inline("meta", META),
    inline("annotations", ANNOTATIONS),
    field("Spec", "spec", TASK_SPEC, ALWAYS),
    field("ServiceID", "service_id"),
    field("Slot", "slot", UINT64),
    field("NodeID", "node_id"),
    field("Status", "status", TASK_STATUS, ALWAYS),
    field("DesiredState", "desired_state", _STATES),
    field("NetworksAttachments", "networks", ListOf(ATTACHMENT)),
    field("GenericResources", "assigned_generic_resources", ListOf(GENERIC_RESOURCE)),
    field("JobIteration", "job_iteration", VERSION),
    shown=_show_volumes,
)
