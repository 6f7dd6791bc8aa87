from typing import Any

import pytest

from shoal import errors
from shoal.api import times
from shoal.api import v1 as api
from shoal.manager.control.unsupported import refuse_unsupported_service
from shoal.manager.control.validate_service import validate_service_spec

FILE = api.FileTarget(name="f", mode=0o444)


def spec(**fields: object) -> api.ServiceSpec:
    """Return a valid spec with some fields changed. A field given as None is cleared."""
    base = api.ServiceSpec(
        annotations=api.Annotations(name="web"),
        task=api.TaskSpec(container=api.ContainerSpec(image="nginx:latest")),
        replicated=api.ReplicatedService(replicas=1),
    )
    for name, value in fields.items():
        base.ClearField(name)
        if value is not None:
            getattr(base, name).CopyFrom(value)
    return base


def container(**fields: object) -> api.ServiceSpec:
    return spec(task=api.TaskSpec(container=api.ContainerSpec(**{"image": "nginx", **fields})))  # type: ignore[arg-type]


def task(**fields: object) -> api.ServiceSpec:
    return spec(task=api.TaskSpec(container=api.ContainerSpec(image="nginx"), **fields))  # type: ignore[arg-type]


def named(name: str) -> api.ServiceSpec:
    return spec(annotations=api.Annotations(name=name))


def limits(**fields: Any) -> api.ServiceSpec:
    return task(resources=api.ResourceRequirements(limits=api.Resources(**fields)))


def secret(name: str, **fields: object) -> api.SecretReference:
    return api.SecretReference(secret_id=f"id-{name}", secret_name=name, **fields)  # type: ignore[arg-type]


def config(name: str, **fields: object) -> api.ConfigReference:
    return api.ConfigReference(config_id=f"id-{name}", config_name=name, **fields)  # type: ignore[arg-type]


def ports(*published: api.PortConfig, mode: api.EndpointSpec.ResolutionMode = api.EndpointSpec.VIP) -> api.ServiceSpec:
    return spec(endpoint=api.EndpointSpec(mode=mode, ports=published))


INVALID = [
    (named(""), "meta: name must be provided"),
    (named("-web"), "name must be valid as a DNS name component"),
    (named("web-"), "name must be valid as a DNS name component"),
    (named("we.b"), "name must be valid as a DNS name component"),
    (named("wéb"), "name must be valid as a DNS name component"),
    (named("web\n"), "name must be valid as a DNS name component"),
    (named("w" * 64), "name must be 63 characters or fewer"),
    (limits(nano_cpus=999_999), "invalid cpu value 0.000999999: Must be at least 0.001"),
    (limits(nano_cpus=10_000), "invalid cpu value 1e-05: Must be at least 0.001"),
    (limits(nano_cpus=-1_000_000_000), "invalid cpu value -1: Must be at least 0.001"),
    (limits(memory_bytes=4 * 1024 * 1024 - 1), "invalid memory value 4194303: Must be at least 4MiB"),
    (
        task(resources=api.ResourceRequirements(reservations=api.Resources(memory_bytes=1))),
        "invalid memory value 1: Must be at least 4MiB",
    ),
    (task(restart=api.RestartPolicy(delay=times.duration(-1))), "TaskSpec: restart-delay cannot be negative"),
    (task(restart=api.RestartPolicy(window=times.duration(-0.5))), "TaskSpec: restart-window cannot be negative"),
    (container(secrets=[api.SecretReference()]), "malformed secret reference"),
    (container(secrets=[secret("a")]), "malformed secret reference, no target provided"),
    (
        container(secrets=[secret("a", file=api.FileTarget())]),
        "malformed file secret reference, invalid target file name provided",
    ),
    (
        container(secrets=[secret("a", file=FILE), secret("b", file=FILE)]),
        "secret references 'a' and 'b' have a conflicting target: 'f'",
    ),
    (container(configs=[api.ConfigReference(config_id="x")]), "malformed config reference"),
    (container(configs=[config("a")]), "malformed config reference, no target provided"),
    (
        container(configs=[config("a", file=api.FileTarget())]),
        "malformed file config reference, invalid target file name provided",
    ),
    (
        container(configs=[config("a", file=FILE), config("b", file=FILE)]),
        "config references 'a' and 'b' have a conflicting target: 'f'",
    ),
    (
        container(
            privileges=api.Privileges(credential_spec=api.Privileges.CredentialSpec(config="id-a")),
            configs=[config("a", file=FILE)],
        ),
        "CredentialSpec references config 'id-a', but that config isn't in config references with RuntimeTarget",
    ),
    (spec(task=api.TaskSpec()), "TaskSpec: missing runtime"),
    (container(image=""), "ContainerSpec: image reference must be provided"),
    (container(image="Nginx"), 'ContainerSpec: "Nginx" is not a valid repository/tag'),
    (container(image="nginx:"), 'ContainerSpec: "nginx:" is not a valid repository/tag'),
    (container(image="a" * 64), f'ContainerSpec: "{"a" * 64}" is not a valid repository/tag'),
    (
        container(mounts=[api.Mount(target="/d"), api.Mount(target="/d")]),
        "ContainerSpec: duplicate mount point: /d",
    ),
    *(
        (
            container(healthcheck=api.HealthConfig(**{field: times.duration_from_nanos(999_999)})),  # type: ignore[arg-type]
            f"ContainerSpec: {name} in HealthConfig cannot be less than 1ms",
        )
        for name, field in (
            ("Interval", "interval"),
            ("Timeout", "timeout"),
            ("StartPeriod", "start_period"),
            ("StartInterval", "start_interval"),
        )
    ),
    (
        container(healthcheck=api.HealthConfig(retries=-1)),
        "ContainerSpec: Retries in HealthConfig cannot be negative",
    ),
    (spec(replicated=None), "Unrecognized service mode"),
    (spec(replicated=api.ReplicatedService(replicas=2**64 - 1)), "Number of replicas must be non-negative"),
    (
        spec(replicated_job=api.ReplicatedJob(max_concurrent=2**63)),
        "Maximum concurrent jobs must not be negative",
    ),
    (spec(replicated_job=api.ReplicatedJob(total_completions=2**63)), "Total completed jobs must not be negative"),
    (spec(global_job=api.GlobalJob(), update=api.UpdateConfig()), "Jobs may not have an update config"),
    (spec(update=api.UpdateConfig(delay=times.duration(-1))), "TaskSpec: update-delay cannot be negative"),
    (spec(update=api.UpdateConfig(monitor=times.duration(-1))), "TaskSpec: update-monitor cannot be negative"),
    (
        spec(update=api.UpdateConfig(max_failure_ratio=1.5)),
        "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
    ),
    (
        spec(update=api.UpdateConfig(max_failure_ratio=float("nan"))),
        "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
    ),
    (
        ports(api.PortConfig(target_port=80), mode=api.EndpointSpec.DNSRR),
        "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
    ),
    (
        ports(api.PortConfig(published_port=80), api.PortConfig(published_port=80, publish_mode=api.PortConfig.HOST)),
        "EndpointSpec: duplicate published ports provided",
    ),
    (
        ports(api.PortConfig(target_port=80, published_port=65536)),
        "EndpointSpec: invalid published port 65536: ports are 0 to 65535",
    ),
    (
        ports(api.PortConfig(target_port=70000, publish_mode=api.PortConfig.HOST)),
        "EndpointSpec: invalid target port 70000: ports are 1 to 65535",
    ),
    (
        ports(api.PortConfig(published_port=80)),
        "EndpointSpec: invalid target port 0: ports are 1 to 65535",
    ),
]


@pytest.mark.parametrize(("wrong", "message"), INVALID, ids=[message for _, message in INVALID])
def test_wrong_spec_is_refused_in_dockers_words(wrong: api.ServiceSpec, message: str) -> None:
    with pytest.raises(errors.InvalidArgument) as raised:
        validate_service_spec(wrong)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ("node.role=worker", "constraint expected one operator from ==, !="),
        ("n!e.role==worker", "key 'n!e.role' is invalid"),
        ("node.role == <x>", "value '<x>' is invalid"),
    ],
)
def test_wrong_constraint_is_a_plain_error(constraint: str, message: str) -> None:
    with pytest.raises(errors.ShoalError) as raised:
        validate_service_spec(task(placement=api.Placement(constraints=[constraint])))
    assert (str(raised.value), raised.value.http_status) == (message, 500)


def test_container_is_checked_with_its_placeholders_filled_in() -> None:
    seen = []

    def expand(task: api.Task, node: api.NodeDescription) -> api.ContainerSpec:
        seen.append((task.annotations.name, task.service_annotations.name, task.slot, node.hostname))
        return api.ContainerSpec(image="nginx", mounts=[api.Mount(target="/1"), api.Mount(target="/1")])

    mounts = [api.Mount(target="/{{.Task.Slot}}"), api.Mount(target="/1")]
    validate_service_spec(container(mounts=mounts))
    with pytest.raises(errors.InvalidArgument, match="duplicate mount point: /1"):
        validate_service_spec(container(mounts=mounts), expand)
    assert seen == [("taskname", "servicename", 1, "nodeHostname")]


@pytest.mark.parametrize("runtime", ["attachment", "generic"])
def test_other_runtimes_are_unimplemented(runtime: str) -> None:
    wrong = spec()
    getattr(wrong.task, runtime).SetInParent()
    with pytest.raises(errors.Unimplemented, match="RuntimeSpec: unimplemented runtime in service spec"):
        validate_service_spec(wrong)


@pytest.mark.parametrize(
    "right",
    [
        spec(),
        named("w" * 63),
        named("a_-_b9"),
        named("1"),
        limits(nano_cpus=1_000_000, memory_bytes=4 * 1024 * 1024),
        container(image="localhost:5000/a/b__c:1.0@sha256:" + "0" * 64),
        container(healthcheck=api.HealthConfig(interval=times.duration(0), timeout=times.duration(0.001))),
        spec(rollback=api.UpdateConfig(max_failure_ratio=7)),  # Docker does not check it either
        spec(replicated=api.ReplicatedService(replicas=0)),
        task(
            log_driver=api.Driver(
                name="json-file", options={"labels": "a", "env-regex": "b", "max-size": "1m", "max-file": "3"}
            )
        ),
        container(privileges=api.Privileges(selinux_context=api.Privileges.SELinuxContext(disable=True))),
        task(placement=api.Placement(constraints=["node.labels.disk == ssd", "node.role!=manager"])),
    ],
    ids=repr,
)
def test_right_spec_passes(right: api.ServiceSpec) -> None:
    validate_service_spec(right)
    refuse_unsupported_service(right)


@pytest.mark.parametrize(
    ("later", "word"),
    [
        (container(mounts=[api.Mount(type=api.Mount.CLUSTER, target="/d")]), "cluster volumes"),
        (task(log_driver=api.Driver(name="none")), "log driver none"),
        (task(log_driver=api.Driver(options={"labels": "a", "tag": "x"})), "log option tag"),
        (container(isolation=api.ContainerSpec.ISOLATION_PROCESS), "isolation"),
        (container(privileges=api.Privileges(selinux_context=api.Privileges.SELinuxContext(role="r"))), "SELinux"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_comes_later_is_refused_by_name(later: api.ServiceSpec, word: str) -> None:
    validate_service_spec(later)
    with pytest.raises(errors.Unimplemented) as raised:
        refuse_unsupported_service(later)
    assert word in str(raised.value)
