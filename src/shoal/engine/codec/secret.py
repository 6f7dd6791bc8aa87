"""Secrets and configs. Source: moby api/types/swarm/secret.go, config.go."""

from shoal.api import v1 as api
from shoal.engine.codec.common import ANNOTATIONS, DRIVER, META
from shoal.engine.codec.kinds import BYTES
from shoal.engine.codec.message import ALWAYS, MessageCodec, field, inline

SECRET_SPEC: MessageCodec[api.SecretSpec] = MessageCodec(
    api.SecretSpec,
    inline("annotations", ANNOTATIONS),
    field("Data", "data", BYTES),
    field("Driver", "driver", DRIVER),
    field("Templating", "templating", DRIVER),
)

SECRET: MessageCodec[api.Secret] = MessageCodec(
    api.Secret, field("ID", "id", when=ALWAYS), inline("meta", META), field("Spec", "spec", SECRET_SPEC, ALWAYS)
)

CONFIG_SPEC: MessageCodec[api.ConfigSpec] = MessageCodec(
    api.ConfigSpec,
    inline("annotations", ANNOTATIONS),
    field("Data", "data", BYTES),
    field("Templating", "templating", DRIVER),
)

CONFIG: MessageCodec[api.Config] = MessageCodec(
    api.Config, field("ID", "id", when=ALWAYS), inline("meta", META), field("Spec", "spec", CONFIG_SPEC, ALWAYS)
)
