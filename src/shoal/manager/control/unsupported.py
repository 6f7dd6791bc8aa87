"""What Docker's Swarm has and Shoal does not have yet: refused by name, never ignored.

Each line goes when its feature comes. Looked at after validation, so that a wrong spec gets Docker's own message first.
"""

from shoal.api import v1 as api
from shoal.errors import Unimplemented

NETWORKS = "overlay networks are not supported by this version of Shoal; use host, bridge or none"
CREATE_NETWORK = "creating and removing overlay networks is not supported by this version of Shoal"
PORTS = "published ports are not supported by this version of Shoal"
SECRETS = "secrets are not supported by this version of Shoal"
CONFIGS = "configs are not supported by this version of Shoal"
VOLUMES = "cluster volumes are not supported by this version of Shoal"
MODES = {
    "global": "global services are not supported by this version of Shoal; use a replicated service",
    "replicated_job": "jobs are not supported by this version of Shoal; use a replicated service",
    "global_job": "jobs are not supported by this version of Shoal; use a replicated service",
}
ROOT_ROTATION = "rotating the root CA is not supported by this version of Shoal"
EXTERNAL_CAS = "external certificate authorities are not supported by this version of Shoal"
AUTOLOCK = "locking managers (autolock) is not supported by this version of Shoal"
RESOURCES = "the Resource API is not supported by this version of Shoal"


def refuse_unsupported_service(spec: api.ServiceSpec) -> None:
    """Raise Unimplemented for the first thing in a valid spec that cannot be done yet."""
    mode = spec.WhichOneof("mode") or ""
    if mode in MODES:
        raise Unimplemented(MODES[mode])
    if spec.endpoint.ports:
        raise Unimplemented(PORTS)
    container = spec.task.container
    if container.secrets:
        raise Unimplemented(SECRETS)
    if container.configs:
        raise Unimplemented(CONFIGS)
    if any(mount.type == api.Mount.CLUSTER for mount in container.mounts) or spec.task.resource_references:
        raise Unimplemented(VOLUMES)
