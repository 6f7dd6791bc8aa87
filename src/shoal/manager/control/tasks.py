"""Control's tasks: get, list, remove. Source: SwarmKit manager/controlapi/task.go."""

from collections.abc import Iterable

from shoal.api import v1 as api
from shoal.api.naming import task_name
from shoal.errors import NotFound
from shoal.manager.control.base import Part, require
from shoal.manager.control.filters import among, begins, labelled, runtime
from shoal.manager.orchestrator.dirty import is_dirty
from shoal.store.memory import Transaction, View


class Tasks(Part):
    """The RPCs of tasks."""

    async def get_task(self, request: api.GetTaskRequest) -> api.GetTaskResponse:
        """Return a task."""
        require(request.task_id)
        task = self._store.view().tasks.get(request.task_id)
        if task is None:
            raise NotFound(f"task {request.task_id} not found")
        return api.GetTaskResponse(task=task)

    async def list_tasks(self, request: api.ListTasksRequest) -> api.ListTasksResponse:
        """Return the tasks that pass the filters."""
        view, filters = self._store.view(), request.filters
        return api.ListTasksResponse(
            tasks=[task for task in _candidates(view, filters) if _passes(view, task, filters)]
        )

    async def remove_task(self, request: api.RemoveTaskRequest) -> api.RemoveTaskResponse:
        """Remove a task outright; whatever runs for it is orphaned."""
        require(request.task_id)

        def remove(transaction: Transaction) -> None:
            if transaction.tasks.get(request.task_id) is None:
                raise NotFound(f"task {request.task_id} not found")
            transaction.remove(api.Task, request.task_id)

        await self._store.update(remove)
        return api.RemoveTaskResponse()


def _candidates(view: View, filters: api.ListTasksRequest.Filters) -> Iterable[api.Task]:
    # `docker service ps` and the progress bars of `service create` ask by service, a dozen times a second.
    if filters.service_ids:
        return [task for service in set(filters.service_ids) for task in view.tasks.find("service_id", service)]
    if filters.node_ids:
        return [task for node in set(filters.node_ids) for task in view.tasks.find("node_id", node)]
    return view.tasks.all()


def _passes(view: View, task: api.Task, filters: api.ListTasksRequest.Filters) -> bool:
    if (filters.names or filters.name_prefixes) and not (
        among(task_name(task), filters.names) and begins(task_name(task), filters.name_prefixes)
    ):
        return False
    return (
        begins(task.id, filters.id_prefixes)
        and labelled(task.service_annotations.labels, filters.labels)
        and among(task.service_id, filters.service_ids)
        and among(task.node_id, filters.node_ids)
        and among(runtime(task.spec), filters.runtimes)
        and among(task.desired_state, filters.desired_states)
        and (not filters.up_to_date or _is_up_to_date(view, task))
    )


def _is_up_to_date(view: View, task: api.Task) -> bool:
    service = view.services.get(task.service_id)
    return service is not None and not is_dirty(service, task, view.nodes.get(task.node_id))
