"""Refuses what Docker's Swarm has and Shoal does not have yet. Nothing of it is silently ignored.

A line is deleted when its feature comes. These checks run after validation, so a wrong spec gets Docker's own error.
"""

from shoal.api import v1 as api
from shoal.errors import Unimplemented

VOLUMES = "cluster volumes are not supported by this version of Shoal"
RESOURCES = "the Resource API is not supported by this version of Shoal"
ISOLATION = "isolation modes are for Windows and are not supported by this version of Shoal"
SELINUX = "SELinux labels are not supported by this version of Shoal"
LOG_DRIVER = "the log driver {} is not supported by this version of Shoal; use json-file"
LOG_OPTION = "the log option {} is not supported by this version of Shoal"

# The first four choose what `docker service logs --details` shows, the others how much is kept. As in Docker, the node
# checks their values.
LOG_OPTIONS = frozenset({"labels", "labels-regex", "env", "env-regex", "max-size", "max-file", "compress", "mode"})


def refuse_unsupported_service(spec: api.ServiceSpec) -> None:
    """Raise Unimplemented for the first thing in a valid spec that cannot be done yet."""
    refuse_unsupported_log_driver(spec.task.log_driver)
    _refuse_unsupported_container(spec)


def refuse_unsupported_log_driver(driver: api.Driver) -> None:
    """Raise Unimplemented for a driver or option that no node has. The scheduler looks for other drivers on nodes."""
    if driver.name == "none":
        raise Unimplemented(LOG_DRIVER.format(driver.name))
    for option in sorted(driver.options):
        if option not in LOG_OPTIONS:
            raise Unimplemented(LOG_OPTION.format(option))


def _refuse_unsupported_container(spec: api.ServiceSpec) -> None:
    container = spec.task.container
    if any(mount.type == api.Mount.CLUSTER for mount in container.mounts) or spec.task.resource_references:
        raise Unimplemented(VOLUMES)
    if container.isolation != api.ContainerSpec.ISOLATION_DEFAULT:
        raise Unimplemented(ISOLATION)
    selinux = container.privileges.selinux_context
    if selinux.user or selinux.role or selinux.type or selinux.level:
        raise Unimplemented(SELINUX)
