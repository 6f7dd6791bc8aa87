"""Secrets and configs of services: which are missing, and which may not be removed."""

import pytest

from shoal import errors
from shoal.api import v1 as api
from shoal.manager.control import Control
from shoal.store.memory import Transaction
from tests.unit.manager.control.conftest import Make

PREVIOUS = api.UpdateServiceRequest.PREVIOUS


def stored(kind: str, name: str) -> api.Secret | api.Config:
    if kind == "secret":
        return api.Secret(id=f"id-{name}", spec={"annotations": {"name": name}, "data": b"x"})
    return api.Config(id=f"id-{name}", spec={"annotations": {"name": name}, "data": b"x"})


def spec(service: str, kind: str, *names: str, image: str = "nginx") -> api.ServiceSpec:
    """Return the spec of a service that uses these secrets or configs."""
    container = api.ContainerSpec(image=image)
    for name in names:
        target = api.FileTarget(name=name, uid="0", gid="0", mode=0o444)
        if kind == "secret":
            container.secrets.add(secret_id=f"id-{name}", secret_name=name, file=target)
        else:
            container.configs.add(config_id=f"id-{name}", config_name=name, file=target)
    return api.ServiceSpec(
        annotations=api.Annotations(name=service),
        task=api.TaskSpec(container=container),
        replicated=api.ReplicatedService(replicas=1),
    )


async def create(control: Control, of: api.ServiceSpec) -> api.Service:
    return (await control.create_service(api.CreateServiceRequest(spec=of))).service


async def update(control: Control, service: api.Service, to: api.ServiceSpec, **more: object) -> api.Service:
    request = api.UpdateServiceRequest(
        service_id=service.id,
        service_version=service.meta.version,
        spec=to,
        **more,  # type: ignore[arg-type]
    )
    return (await control.update_service(request)).service


async def remove(control: Control, kind: str, name: str) -> None:
    if kind == "secret":
        await control.remove_secret(api.RemoveSecretRequest(secret_id=f"id-{name}"))
    else:
        await control.remove_config(api.RemoveConfigRequest(config_id=f"id-{name}"))


async def refusal(control: Control, kind: str, name: str) -> str:
    with pytest.raises(errors.InvalidArgument) as raised:
        await remove(control, kind, name)
    return str(raised.value)


@pytest.mark.parametrize("kind", ["secret", "config"])
async def test_a_service_is_refused_that_names_what_does_not_exist(make: Make, kind: str) -> None:
    control, store = make(stored(kind, "a"))
    with pytest.raises(errors.InvalidArgument, match=rf"^{kind} not found: b$"):
        await create(control, spec("web", kind, "a", "b"))
    with pytest.raises(errors.InvalidArgument, match=rf"^{kind}s not found: b, c$"):
        await create(control, spec("web", kind, "b", "c"))
    renamed = spec("web", kind, "a")
    for reference in renamed.task.container.secrets:
        reference.secret_name = "z"
    for config in renamed.task.container.configs:
        config.config_name = "z"
    with pytest.raises(errors.InvalidArgument, match=rf"^{kind} not found: z$"):
        await create(control, renamed)
    assert len(store.view().services) == 0
    service = await create(control, spec("web", kind, "a"))
    with pytest.raises(errors.InvalidArgument, match=rf"^{kind} not found: b$"):
        await update(control, service, spec("web", kind, "b"))


@pytest.mark.parametrize("kind", ["secret", "config"])
async def test_known_fault_51_what_services_use_is_not_removed_and_they_are_named(make: Make, kind: str) -> None:
    control, _ = make(stored(kind, "a"), stored(kind, "free"))
    service = await create(control, spec("web", kind, "a"))
    assert await refusal(control, kind, "a") == f"{kind} 'a' is in use by the following service: web"
    await create(control, spec("db", kind, "a"))
    assert await refusal(control, kind, "a") == f"{kind} 'a' is in use by the following services: db, web"
    await remove(control, kind, "free")
    await control.remove_service(api.RemoveServiceRequest(service_id=service.id))
    assert await refusal(control, kind, "a") == f"{kind} 'a' is in use by the following service: db"


@pytest.mark.parametrize("kind", ["secret", "config"])
async def test_known_fault_51_a_rollback_never_needs_what_was_removed(make: Make, kind: str) -> None:
    control, _ = make(stored(kind, "old"), stored(kind, "new"))
    service = await create(control, spec("web", kind, "old"))
    service = await update(control, service, spec("web", kind, "new"))
    words = f"{kind} 'old' is in use by the following service: web; a rollback of web would need it"
    assert await refusal(control, kind, "old") == words
    service = await update(control, service, service.spec, rollback=PREVIOUS)
    assert "a rollback of web would need it" in await refusal(control, kind, "new")
    service = await update(control, service, spec("web", kind, "old", image="nginx:2"))
    await remove(control, kind, "new")


@pytest.mark.parametrize("kind", ["secret", "config"])
async def test_known_fault_51_a_task_that_runs_keeps_what_its_spec_names(make: Make, kind: str) -> None:
    control, store = make(stored(kind, "a"), stored(kind, "b"), stored(kind, "c"))
    service = await create(control, spec("web", kind, "a"))
    task = api.Task(id="t1", service_id=service.id, spec=service.spec.task, desired_state=api.RUNNING)
    task.status.state = api.RUNNING
    await store.update(lambda transaction: transaction.create(task))
    service = await update(control, service, spec("web", kind, "b"))
    service = await update(control, service, spec("web", kind, "c"))
    assert await refusal(control, kind, "a") == (
        f"{kind} 'a' is in use by the following service: web; tasks of web still run with it"
    )

    def end(transaction: Transaction) -> None:
        found = transaction.tasks.get("t1")
        assert found is not None
        ended = api.Task()
        ended.CopyFrom(found)
        ended.status.state = api.SHUTDOWN
        transaction.update(ended)

    await store.update(end)
    await remove(control, kind, "a")


@pytest.mark.parametrize("kind", ["secret", "config"])
async def test_what_only_tasks_of_a_removed_service_use_can_be_removed(make: Make, kind: str) -> None:
    """As `docker stack rm` does, right after the services."""
    control, store = make(stored(kind, "a"))
    service = await create(control, spec("web", kind, "a"))
    task = api.Task(id="t1", service_id=service.id, spec=service.spec.task, desired_state=api.RUNNING)
    await store.update(lambda transaction: transaction.create(task))
    await control.remove_service(api.RemoveServiceRequest(service_id=service.id))
    await remove(control, kind, "a")


async def test_a_credential_spec_is_kept_and_counts_as_use_of_its_config(make: Make) -> None:
    control, _ = make(stored("config", "cred"))
    made = spec("web", "config")
    made.task.container.configs.add(config_id="id-cred", config_name="cred", runtime=api.RuntimeTarget())
    made.task.container.privileges.credential_spec.config = "id-cred"
    service = await create(control, made)
    assert service.spec.task.container.privileges.credential_spec.config == "id-cred"
    assert await refusal(control, "config", "cred") == "config 'cred' is in use by the following service: web"


async def test_resource_references_count_as_use(make: Make) -> None:
    control, store = make(stored("secret", "s"), stored("config", "c"))
    service = await create(control, spec("web", "secret"))
    used = api.Service()
    used.CopyFrom(service)
    for kind, object_id in ((api.ResourceType.SECRET, "id-s"), (api.ResourceType.CONFIG, "id-c")):
        used.spec.task.resource_references.add(resource_id=object_id, resource_type=kind)
    await store.update(lambda transaction: transaction.update(used))
    assert await refusal(control, "secret", "s") == "secret 's' is in use by the following service: web"
    assert await refusal(control, "config", "c") == "config 'c' is in use by the following service: web"
