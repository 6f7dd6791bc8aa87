"""Control's services: create, get, list, update, roll back, remove, and the counts of their tasks.

Source of the rules, the order of checks and the texts: SwarmKit manager/controlapi/service.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.api import options, times
from shoal.api import v1 as api
from shoal.api.defaults import with_defaults
from shoal.api.predefined import is_ingress
from shoal.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound, ShoalError, Unimplemented
from shoal.manager.allocator.endpoints import networks_of
from shoal.manager.control.dependencies import check_references
from shoal.manager.control.filters import among, named, runtime
from shoal.manager.control.requests import require
from shoal.manager.control.unsupported import refuse_unsupported_service
from shoal.manager.control.validate_ports import check_host_network, check_mesh, check_ports
from shoal.manager.control.validate_service import Expand, is_job, validate_service_spec
from shoal.store.changes import copy
from shoal.store.memory import Transaction, View

if TYPE_CHECKING:
    from shoal.store.store import Store

Status = api.ListServiceStatusesResponse.ServiceStatus


class Services:
    """The RPCs of services. `expand` fills in placeholders as a node would, so a node's errors are found here."""

    def __init__(self, store: Store, clock: Callable[[], float], new_id: Callable[[], str], expand: Expand) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._expand = expand

    async def create_service(self, request: api.CreateServiceRequest) -> api.CreateServiceResponse:
        """Store a new service. Raises Conflict if the name is taken, and the errors of `validate_service_spec`."""
        require(request.HasField("spec"))
        spec = request.spec
        _check_spec(self._store.view(), spec, self._expand)
        options.SERVICE.check(spec.annotations.labels)
        service = api.Service(id=self._new_id(), spec=spec, spec_version=api.Version())
        if is_job(spec):
            service.job_status.last_execution.CopyFrom(times.timestamp(self._clock()))

        def create(transaction: Transaction) -> None:
            check_ports(transaction, spec)
            check_references(transaction, spec)
            check_mesh(transaction, spec)
            if transaction.services.find("name", spec.annotations.name.lower()):
                raise Conflict(
                    f"name conflicts with an existing object: service {spec.annotations.name} already exists"
                )
            transaction.create(service)

        await self._store.update(create)
        return api.CreateServiceResponse(service=self._service(service.id))

    async def get_service(self, request: api.GetServiceRequest) -> api.GetServiceResponse:
        """Return a service, with the defaults filled in if the request says so. Raises NotFound."""
        require(request.service_id)
        response = api.GetServiceResponse(service=self._service(request.service_id))
        if request.insert_defaults:
            response.service.spec.CopyFrom(with_defaults(response.service.spec))
        return response

    async def list_services(self, request: api.ListServicesRequest) -> api.ListServicesResponse:
        """Return the services that pass the filters."""
        filters = request.filters
        return api.ListServicesResponse(
            services=[
                service
                for service in self._store.view().services.all()
                if named(service.id, service.spec.annotations, filters)
                and among(runtime(service.spec.task), filters.runtimes)
            ]
        )

    async def update_service(self, request: api.UpdateServiceRequest) -> api.UpdateServiceResponse:
        """Change the spec of a service, or go back to its previous spec.

        Raises OutOfSequence if the request's version is not the stored one, FailedPrecondition for a rollback without a
        previous spec, Unimplemented for a change of name or mode, NotFound.
        """
        require(request.service_id, request.HasField("service_version"), request.HasField("spec"))
        view = self._store.view()
        _check_spec(view, request.spec, self._expand)
        self._service(request.service_id)

        def update(transaction: Transaction) -> None:
            current = transaction.services.get(request.service_id)
            if current is None:
                raise _not_found(request.service_id)
            service = copy(current)
            if request.spec.endpoint != current.spec.endpoint:
                check_ports(transaction, request.spec, current.id)
            _check_update(transaction, current, request.spec)
            options.SERVICE.check(request.spec.annotations.labels, current.spec.annotations.labels)
            service.meta.version.CopyFrom(request.service_version)
            if service.HasField("job_status"):
                # Every update of a job runs it again.
                service.job_status.job_iteration.index += 1
                service.job_status.last_execution.CopyFrom(times.timestamp(self._clock()))
            if request.rollback == api.UpdateServiceRequest.PREVIOUS:
                _swap_specs(service, current, self._clock())
            else:
                _replace_spec(service, current, request)
            check_mesh(transaction, service.spec)
            transaction.update(service)

        await self._store.update(update)
        return api.UpdateServiceResponse(service=self._service(request.service_id))

    async def remove_service(self, request: api.RemoveServiceRequest) -> api.RemoveServiceResponse:
        """Remove a service. The orchestrator then stops its tasks. Raises NotFound."""
        require(request.service_id)

        def remove(transaction: Transaction) -> None:
            if transaction.services.get(request.service_id) is None:
                raise _not_found(request.service_id)
            transaction.remove(api.Service, request.service_id)

        await self._store.update(remove)
        return api.RemoveServiceResponse()

    async def list_service_statuses(self, request: api.ListServiceStatusesRequest) -> api.ListServiceStatusesResponse:
        """Return how many tasks of each service run, and how many should. All counts of an unknown service are 0."""
        view = self._store.view()
        return api.ListServiceStatusesResponse(statuses=[service_status(view, service) for service in request.services])

    def _service(self, service_id: str) -> api.Service:
        service = self._store.view().services.get(service_id)
        if service is None:
            raise _not_found(service_id)
        return service


def service_status(view: View, service_id: str) -> api.ListServiceStatusesResponse.ServiceStatus:
    """Return the counts of one service. For a job only tasks of its present iteration count."""
    status = Status(service_id=service_id)
    service = view.services.get(service_id)
    mode = service.spec.WhichOneof("mode") if service is not None else None
    if service is not None and mode == "replicated":
        status.desired_tasks = service.spec.replicated.replicas
    elif service is not None and mode == "replicated_job":
        status.desired_tasks = service.spec.replicated_job.max_concurrent
    is_job = service is not None and service.HasField("job_status")
    for task in view.tasks.find("service_id", service_id):
        if service is not None and is_job:
            if task.job_iteration.index != service.job_status.job_iteration.index:
                continue
            status.completed_tasks += task.status.state == api.COMPLETE
        status.running_tasks += task.status.state == api.RUNNING
        if mode in ("global", "global_job"):
            status.desired_tasks += task.desired_state == api.RUNNING or (
                task.desired_state == api.COMPLETE and task.status.state != api.COMPLETE
            )
    return status


def _not_found(service_id: str) -> NotFound:
    return NotFound(f"service {service_id} not found")


def _check_spec(view: View, spec: api.ServiceSpec, expand: Expand) -> None:
    validate_service_spec(spec, expand)
    attachments = networks_of(spec)
    networks = [view.networks.get(attachment.target) for attachment in attachments]
    for network in networks:
        if network is not None and is_ingress(network):
            raise InvalidArgument(
                f'Service cannot be explicitly attached to the ingress network "{network.spec.annotations.name}"'
            )
    check_host_network(spec, networks)
    refuse_unsupported_service(spec)
    for attachment, network in zip(attachments, networks, strict=True):
        if network is None:
            # SwarmKit stores such a service and its tasks wait for ever. Docker's Engine API refuses it with this text.
            raise ShoalError(f"network {attachment.target} not found")


def _check_update(view: View, current: api.Service, spec: api.ServiceSpec) -> None:
    networks_changed = list(spec.networks) != list(current.spec.networks)
    if networks_changed and list(spec.task.networks) == list(current.spec.task.networks):
        raise Unimplemented("networks must be migrated to TaskSpec before being changed")
    check_references(view, spec)
    if current.spec.WhichOneof("mode") != spec.WhichOneof("mode"):
        raise Unimplemented("service mode change is not allowed")
    if current.spec.annotations.name != spec.annotations.name:
        raise Unimplemented("renaming services is not supported")


def _swap_specs(service: api.Service, current: api.Service, now: float) -> None:
    if not current.HasField("previous_spec"):
        raise FailedPrecondition(f"service {current.id} does not have a previous spec")
    service.spec.CopyFrom(current.previous_spec)
    service.spec_version.CopyFrom(current.previous_spec_version)
    service.previous_spec.CopyFrom(current.spec)
    service.previous_spec_version.CopyFrom(current.spec_version)
    service.update_status.CopyFrom(
        api.UpdateStatus(
            state=api.UpdateStatus.ROLLBACK_STARTED,
            message="manually requested rollback",
            started_at=times.timestamp(now),
        )
    )


def _replace_spec(service: api.Service, current: api.Service, request: api.UpdateServiceRequest) -> None:
    service.previous_spec.CopyFrom(current.spec)
    service.previous_spec_version.CopyFrom(current.spec_version)
    service.spec.CopyFrom(request.spec)
    # The version of the request, not the next one: it is only compared with the `spec_version` of tasks.
    service.spec_version.CopyFrom(request.service_version)
    service.ClearField("update_status")
