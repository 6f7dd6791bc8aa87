"""Parts that several objects share: names and labels, versions, drivers, platforms, resources, ports."""

from shoal.api import v1 as api
from shoal.engine.codec.kinds import INSTANT, INT64, TEXT_MAP, TEXTS, UINT32, UINT64, AnyCaseEnum, ListOf, lower_names
from shoal.engine.codec.message import ALWAYS, FILLED, MessageCodec, field

ANNOTATIONS = MessageCodec(api.Annotations, field("Name", "name"), field("Labels", "labels", TEXT_MAP, ALWAYS))

VERSION = MessageCodec(api.Version, field("Index", "index", UINT64))

META = MessageCodec(
    api.Meta,
    field("Version", "version", VERSION, ALWAYS),
    field("CreatedAt", "created_at", INSTANT, ALWAYS),
    field("UpdatedAt", "updated_at", INSTANT, ALWAYS),
)

DRIVER = MessageCodec(api.Driver, field("Name", "name"), field("Options", "options", TEXT_MAP))

PLATFORM = MessageCodec(api.Platform, field("Architecture", "architecture"), field("OS", "os"))

NAMED_RESOURCE = MessageCodec(api.NamedGenericResource, field("Kind", "kind"), field("Value", "value"))
DISCRETE_RESOURCE = MessageCodec(
    api.DiscreteGenericResource, field("Kind", "kind"), field("Value", "value", INT64, FILLED)
)
GENERIC_RESOURCE = MessageCodec(
    api.GenericResource,
    field("NamedResourceSpec", "named_resource_spec", NAMED_RESOURCE),
    field("DiscreteResourceSpec", "discrete_resource_spec", DISCRETE_RESOURCE),
)

RESOURCES = MessageCodec(
    api.Resources,
    field("NanoCPUs", "nano_cpus", INT64),
    field("MemoryBytes", "memory_bytes", INT64),
    field("GenericResources", "generic", ListOf(GENERIC_RESOURCE)),
)

# An unknown protocol or publish mode is read as the first one, because Docker does not check them here.
PORT = MessageCodec(
    api.PortConfig,
    field("Name", "name"),
    field("Protocol", "protocol", AnyCaseEnum(lower_names(api.PortConfig.Protocol.items))),
    field("TargetPort", "target_port", UINT32),
    field("PublishedPort", "published_port", UINT32),
    field("PublishMode", "publish_mode", AnyCaseEnum(lower_names(api.PortConfig.PublishMode.items))),
)
PORTS = ListOf(PORT)

ENDPOINT_SPEC = MessageCodec(
    api.EndpointSpec,
    field(
        "Mode",
        "mode",
        AnyCaseEnum(lower_names(api.EndpointSpec.ResolutionMode.items), 'invalid resolution mode: "%s"'),
    ),
    field("Ports", "ports", PORTS),
)

NETWORK_ATTACHMENT_CONFIG = MessageCodec(
    api.NetworkAttachmentConfig,
    field("Target", "target"),
    field("Aliases", "aliases", TEXTS),
    field("DriverOpts", "driver_attachment_opts", TEXT_MAP),
)
