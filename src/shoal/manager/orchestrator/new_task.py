"""Makes the new task of a service. In: the service, the cluster, a place; out: the task.

Source: SwarmKit manager/orchestrator/task.go (`NewTask`).
"""

from collections.abc import Callable

from shoal.api import v1 as api
from shoal.api.times import timestamp
from shoal.manager.orchestrator.places import Place, is_job

MakeTask = Callable[[api.Service, Place], api.Task]


def new_task(task_id: str, service: api.Service, place: Place, now: float, cluster: api.Cluster | None) -> api.Task:
    """Return a task in state NEW. Its desired state is RUNNING, or COMPLETE for a job.

    The task's annotations have no name, as in SwarmKit: clients compute it. The log driver is that of the task spec,
    else the cluster's default.
    """
    task = api.Task(id=task_id, service_id=service.id, slot=place.slot, node_id=place.node_id)
    task.desired_state = api.RUNNING
    if is_job(service):
        task.desired_state = api.COMPLETE
        task.job_iteration.SetInParent()
        task.job_iteration.index = service.job_status.job_iteration.index
    task.service_annotations.CopyFrom(service.spec.annotations)
    task.spec.CopyFrom(service.spec.task)
    task.spec_version.CopyFrom(service.spec_version)
    task.status.state = api.NEW
    task.status.timestamp.CopyFrom(timestamp(now))
    task.status.message = "created"
    task.endpoint.spec.CopyFrom(service.spec.endpoint)
    if service.spec.task.HasField("log_driver"):
        task.log_driver.CopyFrom(service.spec.task.log_driver)
    elif cluster is not None and cluster.spec.task_defaults.HasField("log_driver"):
        task.log_driver.CopyFrom(cluster.spec.task_defaults.log_driver)
    return task
