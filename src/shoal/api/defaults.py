"""The defaults of fields that a service's spec leaves out. They are never written into a stored spec.

Durations are in seconds. Source: SwarmKit api/defaults/service.go.
"""

from shoal.api import times
from shoal.api import v1 as api

STOP_GRACE_PERIOD = 10.0
RESTART_DELAY = 5.0
UPDATE_MONITOR = 5.0
UPDATE_PARALLELISM = 1


def with_defaults(spec: api.ServiceSpec) -> api.ServiceSpec:
    """Return a copy of a spec with all defaults filled in."""
    full = api.ServiceSpec()
    full.CopyFrom(spec)
    task = full.task
    if task.HasField("container"):
        if not task.container.HasField("stop_grace_period"):
            task.container.stop_grace_period.CopyFrom(times.duration(STOP_GRACE_PERIOD))
        task.container.pull_options.SetInParent()
        task.container.dns_config.SetInParent()
    task.resources.SetInParent()
    if not task.HasField("restart"):
        task.restart.condition = api.RestartPolicy.ANY
    if not task.restart.HasField("delay"):
        task.restart.delay.CopyFrom(times.duration(RESTART_DELAY))
    task.placement.SetInParent()
    if not full.HasField("update"):
        full.update.parallelism = UPDATE_PARALLELISM
    if not full.HasField("rollback"):
        full.rollback.parallelism = UPDATE_PARALLELISM
    for config in (full.update, full.rollback):
        if not config.HasField("monitor"):
            config.monitor.CopyFrom(times.duration(UPDATE_MONITOR))
    return full
