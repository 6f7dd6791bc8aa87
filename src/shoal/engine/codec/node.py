"""Nodes: spec and object. Source: moby api/types/swarm/node.go, daemon/cluster/convert/node.go."""

from collections.abc import Mapping
from typing import Any

from shoal.api import v1 as api
from shoal.engine.codec.common import ANNOTATIONS, META, PLATFORM, RESOURCES
from shoal.engine.codec.kinds import (
    BYTES,
    FLAG,
    INT64,
    TEXT_BYTES,
    TEXT_MAP,
    AnyCaseEnum,
    ListOf,
    lower_names,
)
from shoal.engine.codec.message import ALWAYS, MessageCodec, field, inline
from shoal.errors import InvalidArgument


def _read_spec(_: Mapping[str, Any], arguments: dict[str, Any]) -> None:
    for attribute, name in (("desired_role", "Role"), ("availability", "Availability")):
        # Both are required, and an empty one is as wrong as an unknown one. The kinds read it as -1.
        if arguments.get(attribute, -1) < 0:
            raise InvalidArgument(f'invalid {name}: ""')


AVAILABILITY = AnyCaseEnum(lower_names(api.NodeSpec.Availability.items), 'invalid Availability: "%s"', default=-1)

NODE_SPEC: MessageCodec[api.NodeSpec] = MessageCodec(
    api.NodeSpec,
    inline("annotations", ANNOTATIONS),
    field("Role", "desired_role", AnyCaseEnum(lower_names(api.NodeRole.items), 'invalid Role: "%s"', default=-1)),
    field("Availability", "availability", AVAILABILITY),
    read=_read_spec,
)

PLUGIN = MessageCodec(api.PluginDescription, field("Type", "type"), field("Name", "name"))

ENGINE = MessageCodec(
    api.EngineDescription,
    field("EngineVersion", "engine_version"),
    field("Labels", "labels", TEXT_MAP),
    field("Plugins", "plugins", ListOf(PLUGIN)),
)

TLS_INFO = MessageCodec(
    api.NodeTLSInfo,
    field("TrustRoot", "trust_root", TEXT_BYTES),
    field("CertIssuerSubject", "cert_issuer_subject", BYTES),
    field("CertIssuerPublicKey", "cert_issuer_public_key", BYTES),
)

TOPOLOGY = MessageCodec(api.Topology, field("Segments", "segments", TEXT_MAP))

CSI_INFO = MessageCodec(
    api.NodeCSIInfo,
    field("PluginName", "plugin_name"),
    field("NodeID", "node_id"),
    field("MaxVolumesPerNode", "max_volumes_per_node", INT64),
    field("AccessibleTopology", "accessible_topology", TOPOLOGY),
)

DESCRIPTION = MessageCodec(
    api.NodeDescription,
    field("Hostname", "hostname"),
    field("Platform", "platform", PLATFORM, ALWAYS),
    field("Resources", "resources", RESOURCES, ALWAYS),
    field("Engine", "engine", ENGINE, ALWAYS),
    field("TLSInfo", "tls_info", TLS_INFO, ALWAYS),
    field("CSIInfo", "csi_info", ListOf(CSI_INFO)),
)

STATUS = MessageCodec(
    api.NodeStatus,
    field("State", "state", AnyCaseEnum(lower_names(api.NodeStatus.State.items))),
    field("Message", "message"),
    field("Addr", "addr"),
)

MANAGER_STATUS = MessageCodec(
    api.ManagerStatus,
    field("Leader", "leader", FLAG),
    field("Reachability", "reachability", AnyCaseEnum(lower_names(api.RaftMemberStatus.Reachability.items))),
    field("Addr", "addr"),
)

NODE: MessageCodec[api.Node] = MessageCodec(
    api.Node,
    field("ID", "id", when=ALWAYS),
    inline("meta", META),
    field("Spec", "spec", NODE_SPEC, ALWAYS),
    field("Description", "description", DESCRIPTION, ALWAYS),
    field("Status", "status", STATUS, ALWAYS),
    field("ManagerStatus", "manager_status", MANAGER_STATUS),
)
