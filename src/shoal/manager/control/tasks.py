"""Control's tasks: get, list, remove. Source: SwarmKit manager/controlapi/task.go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.naming import task_name
from shoal.errors import NotFound
from shoal.manager.control.filters import among, begins, labelled, runtime
from shoal.manager.control.requests import require
from shoal.manager.orchestrator.dirty import is_dirty
from shoal.store.memory import Transaction, View

if TYPE_CHECKING:
    from shoal.store.store import Store


class Tasks:
    """The RPCs of tasks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get_task(self, request: api.GetTaskRequest) -> api.GetTaskResponse:
        """Return a task. Raises NotFound."""
        require(request.task_id)
        task = self._store.view().tasks.get(request.task_id)
        if task is None:
            raise NotFound(f"task {request.task_id} not found")
        return api.GetTaskResponse(task=task)

    async def list_tasks(self, request: api.ListTasksRequest) -> api.ListTasksResponse:
        """Return the tasks that pass the filters."""
        view, filters = self._store.view(), request.filters
        tests = _tests(view, filters)
        return api.ListTasksResponse(
            tasks=[task for task in _candidates(view, filters) if all(test(task) for test in tests)]
        )

    async def remove_task(self, request: api.RemoveTaskRequest) -> api.RemoveTaskResponse:
        """Remove a task from the store at once. Its node then removes the container. Raises NotFound."""
        require(request.task_id)

        def remove(transaction: Transaction) -> None:
            if transaction.tasks.get(request.task_id) is None:
                raise NotFound(f"task {request.task_id} not found")
            transaction.remove(api.Task, request.task_id)

        await self._store.update(remove)
        return api.RemoveTaskResponse()


def _candidates(view: View, filters: api.ListTasksRequest.Filters) -> Iterable[api.Task]:
    # `docker service ps` and the progress view of `service create` list by service, up to a dozen times a second.
    if filters.service_ids:
        return [task for service in set(filters.service_ids) for task in view.tasks.find("service_id", service)]
    if filters.node_ids:
        return [task for node in set(filters.node_ids) for task in view.tasks.find("node_id", node)]
    return view.tasks.all()


def _tests(view: View, filters: api.ListTasksRequest.Filters) -> list[Callable[[api.Task], bool]]:
    """Return the tests that a task must pass. Filters that are not given have no test, which keeps lists fast."""
    names, prefixes, id_prefixes = set(filters.names), tuple(filters.name_prefixes), tuple(filters.id_prefixes)
    services, nodes, runtimes = set(filters.service_ids), set(filters.node_ids), set(filters.runtimes)
    states = set(filters.desired_states)
    tests: list[Callable[[api.Task], bool]] = []
    if names or prefixes:
        tests.append(lambda task: among(task_name(task), names) and begins(task_name(task), prefixes))
    if id_prefixes:
        tests.append(lambda task: task.id.startswith(id_prefixes))
    if filters.labels:
        tests.append(lambda task: labelled(task.service_annotations.labels, filters.labels))
    if services:
        tests.append(lambda task: task.service_id in services)
    if nodes:
        tests.append(lambda task: task.node_id in nodes)
    if runtimes:
        tests.append(lambda task: runtime(task.spec) in runtimes)
    if states:
        tests.append(lambda task: task.desired_state in states)
    if filters.up_to_date:
        tests.append(lambda task: _is_up_to_date(view, task))
    return tests


def _is_up_to_date(view: View, task: api.Task) -> bool:
    service = view.services.get(task.service_id)
    return service is not None and not is_dirty(service, task, view.nodes.get(task.node_id))
