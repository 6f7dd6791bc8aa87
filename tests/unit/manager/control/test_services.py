import re

import pytest

from shoal import errors
from shoal.api import times
from shoal.api import v1 as api
from shoal.manager.control import unsupported
from tests.unit.manager.control.conftest import NOW, Make

PREVIOUS = api.UpdateServiceRequest.PREVIOUS


def spec(name: str = "web", image: str = "nginx", replicas: int = 1, networks: tuple[str, ...] = ()) -> api.ServiceSpec:
    return api.ServiceSpec(
        annotations=api.Annotations(name=name, labels={"tier": name}),
        task=api.TaskSpec(
            container=api.ContainerSpec(image=image),
            networks=[api.NetworkAttachmentConfig(target=target) for target in networks],
        ),
        replicated=api.ReplicatedService(replicas=replicas),
    )


def create(of: api.ServiceSpec) -> api.CreateServiceRequest:
    return api.CreateServiceRequest(spec=of)


def update(service: api.Service, to: api.ServiceSpec, **fields: object) -> api.UpdateServiceRequest:
    return api.UpdateServiceRequest(
        service_id=service.id,
        service_version=service.meta.version,
        spec=to,
        **fields,  # type: ignore[arg-type]
    )


async def test_created_service_has_an_id_a_version_and_spec_version_zero(make: Make) -> None:
    control, store = make()
    service = (await control.create_service(create(spec()))).service
    assert (service.id, service.spec) == ("id1", spec())
    assert service.HasField("spec_version")
    assert service.spec_version.index == 0
    assert service.meta.version.index > 0
    assert store.view().services.get("id1") == service


async def test_taken_name_is_a_conflict_in_whatever_case(make: Make) -> None:
    control, _ = make()
    await control.create_service(create(spec("web")))
    with pytest.raises(errors.Conflict) as raised:
        await control.create_service(create(spec("WEB")))
    assert str(raised.value) == "name conflicts with an existing object: service WEB already exists"


async def test_nothing_is_stored_of_a_refused_service(make: Make) -> None:
    control, store = make()
    for wrong in (spec(name=""), spec(networks=("net-ingress",))):
        with pytest.raises(errors.ShoalError):
            await control.create_service(create(wrong))
    assert len(store.view().services) == 0


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        ("create_service", api.CreateServiceRequest()),
        ("get_service", api.GetServiceRequest()),
        ("update_service", api.UpdateServiceRequest(service_id="x", spec=api.ServiceSpec())),
        ("update_service", api.UpdateServiceRequest(service_id="x", service_version=api.Version())),
        ("remove_service", api.RemoveServiceRequest()),
    ],
)
async def test_missing_parts_are_invalid(make: Make, call: str, request_: object) -> None:
    control, _ = make()
    with pytest.raises(errors.InvalidArgument, match=r"^invalid argument$"):
        await getattr(control, call)(request_)


@pytest.mark.parametrize("name", ["host", "bridge", "none", "blue"])
async def test_predefined_networks_and_overlays_pass(make: Make, name: str) -> None:
    control, _ = make()
    service = (await control.create_service(create(spec(networks=(f"net-{name}",))))).service
    assert service.spec.task.networks[0].target == f"net-{name}"


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (
            "net-ingress",
            errors.InvalidArgument,
            'Service cannot be explicitly attached to the ingress network "ingress"',
        ),
        ("net-red", errors.ShoalError, "network net-red not found"),
    ],
)
async def test_other_networks_do_not(make: Make, target: str, error: type[Exception], message: str) -> None:
    control, _ = make()
    with pytest.raises(error) as raised:
        await control.create_service(create(spec(networks=(target,))))
    assert str(raised.value) == message


async def test_get_finds_and_fills_in_defaults_when_asked(make: Make) -> None:
    control, store = make()
    await control.create_service(create(spec()))
    plain = await control.get_service(api.GetServiceRequest(service_id="id1"))
    full = await control.get_service(api.GetServiceRequest(service_id="id1", insert_defaults=True))
    assert plain.service.spec == spec()
    assert times.seconds(full.service.spec.task.container.stop_grace_period) == 10
    assert full.service.spec.update.parallelism == 1
    assert store.view().services.get("id1") == plain.service


@pytest.mark.parametrize("call", ["get_service", "update_service", "remove_service"])
async def test_unknown_service_is_not_found(make: Make, call: str) -> None:
    control, _ = make()
    requests = {
        "get_service": api.GetServiceRequest(service_id="x"),
        "update_service": api.UpdateServiceRequest(service_id="x", service_version=api.Version(), spec=spec()),
        "remove_service": api.RemoveServiceRequest(service_id="x"),
    }
    with pytest.raises(errors.NotFound, match=r"^service x not found$"):
        await getattr(control, call)(requests[call])


async def test_update_keeps_the_previous_spec_and_takes_the_version_of_the_request(make: Make) -> None:
    control, _ = make()
    first = (await control.create_service(create(spec()))).service
    second = (await control.update_service(update(first, spec(replicas=2)))).service
    assert (second.spec, second.previous_spec) == (spec(replicas=2), spec())
    assert second.spec_version == first.meta.version
    assert second.previous_spec_version.index == 0
    assert second.meta.version.index > first.meta.version.index
    assert not second.HasField("update_status")


async def test_update_with_an_old_version_is_out_of_sequence(make: Make) -> None:
    control, store = make()
    first = (await control.create_service(create(spec()))).service
    second = (await control.update_service(update(first, spec(replicas=2)))).service
    with pytest.raises(errors.OutOfSequence, match=r"^update out of sequence$"):
        await control.update_service(update(first, spec(replicas=3)))
    assert store.view().services.get("id1") == second


async def test_rollback_swaps_and_a_second_one_swaps_back(make: Make) -> None:
    control, _ = make()
    first = (await control.create_service(create(spec()))).service
    second = (await control.update_service(update(first, spec(replicas=2)))).service
    third = (await control.update_service(update(second, spec(image="ignored"), rollback=PREVIOUS))).service
    assert (third.spec, third.previous_spec) == (spec(), spec(replicas=2))
    assert (third.spec_version.index, third.previous_spec_version) == (0, second.spec_version)
    assert third.update_status == api.UpdateStatus(
        state=api.UpdateStatus.ROLLBACK_STARTED,
        message="manually requested rollback",
        started_at=times.timestamp(NOW),
    )
    fourth = (await control.update_service(update(third, spec(), rollback=PREVIOUS))).service
    assert fourth.spec == spec(replicas=2)
    fifth = (await control.update_service(update(fourth, spec(replicas=5)))).service
    assert not fifth.HasField("update_status")


async def test_rollback_of_a_new_service_is_refused(make: Make) -> None:
    control, _ = make()
    first = (await control.create_service(create(spec()))).service
    with pytest.raises(errors.FailedPrecondition, match=r"^service id1 does not have a previous spec$"):
        await control.update_service(update(first, spec(), rollback=PREVIOUS))


async def test_rename_is_refused(make: Make) -> None:
    control, _ = make()
    first = (await control.create_service(create(spec()))).service
    with pytest.raises(errors.Unimplemented, match=r"^renaming services is not supported$"):
        await control.update_service(update(first, spec("db")))


async def test_mode_change_is_refused(make: Make) -> None:
    job = spec()
    job.replicated_job.SetInParent()
    control, store = make(api.Service(id="j", spec=job))
    service = store.view().services.get("j")
    assert service is not None
    with pytest.raises(errors.Unimplemented, match=r"^service mode change is not allowed$"):
        await control.update_service(update(service, spec()))


async def test_each_change_of_a_job_is_another_run_and_says_when(make: Make) -> None:
    control, _ = make()
    job = spec()
    job.replicated_job.total_completions = job.replicated_job.max_concurrent = 2
    job = api.ServiceSpec.FromString(job.SerializeToString())
    service = (await control.create_service(create(job))).service
    assert (service.job_status.job_iteration.index, service.job_status.last_execution.seconds) == (0, int(NOW))
    service.job_status.last_execution.Clear()
    service = (await control.update_service(update(service, job))).service
    assert (service.job_status.job_iteration.index, service.job_status.last_execution.seconds) == (1, int(NOW))
    service = (await control.update_service(update(service, job, rollback=PREVIOUS))).service
    assert service.job_status.job_iteration.index == 2
    assert service.update_status.message == "manually requested rollback"
    assert not (await control.create_service(create(spec("other")))).service.HasField("job_status")


async def test_more_at_a_time_than_in_all_is_taken_as_docker_takes_it(make: Make) -> None:
    control, _ = make()
    job = spec()
    job.replicated_job.CopyFrom(api.ReplicatedJob(max_concurrent=9, total_completions=1))
    assert (await control.create_service(create(job))).service.spec.replicated_job.max_concurrent == 9


async def test_old_style_networks_alone_are_refused(make: Make) -> None:
    control, _ = make()
    first = (await control.create_service(create(spec()))).service
    changed = spec()
    changed.networks.add(target="net-host")
    with pytest.raises(errors.Unimplemented, match="networks must be migrated to TaskSpec before being changed"):
        await control.update_service(update(first, changed))


async def test_remove_removes_the_service_at_once(make: Make) -> None:
    control, store = make()
    await control.create_service(create(spec()))
    await control.remove_service(api.RemoveServiceRequest(service_id="id1"))
    assert len(store.view().services) == 0


async def test_list_filters(make: Make) -> None:
    control, _ = make()
    for name in ("web", "web2", "db"):
        await control.create_service(create(spec(name)))

    async def found(**filters: object) -> list[str]:
        request = api.ListServicesRequest(filters=api.ListServicesRequest.Filters(**filters))  # type: ignore[arg-type]
        return [service.spec.annotations.name for service in (await control.list_services(request)).services]

    assert await found() == ["web", "web2", "db"]
    assert await found(names=["web"]) == ["web"]
    assert await found(names=["WEB"]) == []
    assert await found(name_prefixes=["web", "x"]) == ["web", "web2"]
    assert await found(id_prefixes=["id3"]) == ["db"]
    assert await found(labels={"tier": "db"}) == ["db"]
    assert await found(labels={"tier": ""}) == ["web", "web2", "db"]
    assert await found(labels={"tier": "web", "other": ""}) == []
    assert await found(runtimes=["container"]) == ["web", "web2", "db"]
    assert await found(runtimes=["plugin"]) == []
    assert await found(name_prefixes=["web"], labels={"tier": "web2"}) == ["web2"]


async def test_statuses_count_tasks_and_give_zeros_for_an_unknown_service(make: Make) -> None:
    def task(number: int, state: api.TaskState) -> api.Task:
        return api.Task(id=f"t{number}", service_id="s", status=api.TaskStatus(state=state), desired_state=api.RUNNING)

    control, _ = make(
        api.Service(id="s", spec=spec(replicas=3)), task(1, api.RUNNING), task(2, api.RUNNING), task(3, api.FAILED)
    )
    response = await control.list_service_statuses(api.ListServiceStatusesRequest(services=["s", "gone"]))
    status = api.ListServiceStatusesResponse.ServiceStatus
    assert list(response.statuses) == [
        status(service_id="s", desired_tasks=3, running_tasks=2),
        status(service_id="gone"),
    ]


@pytest.mark.parametrize(
    ("mode", "desired", "running", "completed"),
    [("global", 1, 1, 0), ("global_job", 1, 1, 1), ("replicated_job", 4, 1, 1)],
)
async def test_statuses_of_other_modes(make: Make, mode: str, desired: int, running: int, completed: int) -> None:
    service = api.Service(id="s", spec=spec())
    getattr(service.spec, mode).SetInParent()
    target = api.RUNNING
    if mode != "global":
        service.job_status.job_iteration.index = 2
        target = api.COMPLETE
    if mode == "replicated_job":
        service.spec.replicated_job.max_concurrent = 4

    def task(number: int, state: api.TaskState, wanted: api.TaskState, iteration: int) -> api.Task:
        return api.Task(
            id=f"t{number}",
            service_id="s",
            status=api.TaskStatus(state=state),
            desired_state=wanted,
            job_iteration=api.Version(index=iteration),
        )

    control, _ = make(
        service,
        task(1, api.RUNNING, target, 2),
        task(2, api.COMPLETE, api.SHUTDOWN if mode == "global" else target, 2),
        task(3, api.FAILED, api.SHUTDOWN, 1),
    )
    response = await control.list_service_statuses(api.ListServiceStatusesRequest(services=["s"]))
    status = response.statuses[0]
    assert (status.desired_tasks, status.running_tasks, status.completed_tasks) == (desired, running, completed)


async def test_labels_of_ours_are_checked_at_create_and_update(make: Make) -> None:
    control, store = make()
    wrong = spec()
    wrong.annotations.labels["shoal.pull"] = "sometimes"
    with pytest.raises(errors.InvalidArgument, match=r"^label shoal\.pull: "):
        await control.create_service(create(wrong))
    service = (await control.create_service(create(spec()))).service
    with pytest.raises(errors.InvalidArgument, match=r"^label shoal\.pull: "):
        await control.update_service(update(service, wrong))
    assert store.view().services.get(service.id) == service
    right = spec()
    right.annotations.labels["shoal.pull"] = "never"
    updated = (await control.update_service(update(service, right))).service
    assert updated.spec.annotations.labels["shoal.pull"] == "never"


def published(*ports: int, mode: api.PortConfig.PublishMode = api.PortConfig.INGRESS) -> api.ServiceSpec:
    made = spec("api")
    for port in ports:
        made.endpoint.ports.add(published_port=port, target_port=80, publish_mode=mode)
    return made


async def test_services_on_overlays_with_ports(make: Make) -> None:
    control, _ = make()
    wanted = spec(networks=("net-blue", "net-host"))
    wanted.task.networks[0].aliases.append("db")
    web = (await control.create_service(create(wanted))).service
    assert list(web.spec.task.networks[0].aliases) == ["db"]
    first = (await control.create_service(create(published(80, 0)))).service
    clashing = published(80)
    clashing.annotations.name = "other"
    text = f"port '80' is already in use by service 'api' ({first.id}) as an ingress port"
    with pytest.raises(errors.InvalidArgument, match=f"^{re.escape(text)}$"):
        await control.create_service(create(clashing))
    changed = spec()
    changed.endpoint.ports.add(published_port=80, target_port=80)
    with pytest.raises(errors.InvalidArgument, match=f"^{re.escape(text)}$"):
        await control.update_service(
            api.UpdateServiceRequest(service_id=web.id, service_version=web.meta.version, spec=changed)
        )
    on_host = published(81)
    on_host.task.networks.add(target="net-host")
    with pytest.raises(errors.InvalidArgument, match="ports cannot be published for a service on the network host"):
        await control.create_service(create(on_host))


async def test_ports_without_ingress_are_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsupported, "REFUSES_HOST_PORTS", False)
    control, store = make()
    await store.update(lambda tx: tx.remove(api.Network, "net-ingress"))
    with pytest.raises(errors.FailedPrecondition, match=r"^service needs ingress network, but no ingress network is"):
        await control.create_service(create(published(80)))
    await control.create_service(create(published(80, mode=api.PortConfig.HOST)))
