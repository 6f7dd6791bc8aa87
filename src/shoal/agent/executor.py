"""Makes the configuration of a container from a task. Pure.

In: a task as assigned, and this node's description; out: a `ContainerConfig`, or a ShoalError whose text becomes the
task's error. Source of the rules: moby daemon/cluster/executor/container/container.go and validate.go, SwarmKit
template/expand.go.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from shoal.agent.attachments import attachments, own_networks
from shoal.agent.ports import host_ports
from shoal.agent.templates import Struct, expand
from shoal.api import v1 as api
from shoal.api.defaults import STOP_GRACE_PERIOD
from shoal.api.naming import enum_name, task_name
from shoal.api.options import PULL_ALWAYS, PULL_NEVER
from shoal.api.predefined import is_predefined
from shoal.api.times import seconds
from shoal.errors import InvalidArgument, ShoalError, Unimplemented
from shoal.json_text import read_json
from shoal.network.types import Mode
from shoal.runtime.types import ContainerConfig, HealthConfig, Image, Mount, Ulimit

LABEL = "com.docker.swarm"
TASK_LABEL = f"{LABEL}.task"
TASK_ID_LABEL = f"{LABEL}.task.id"
GENERIC_PREFIX = "DOCKER_RESOURCE"

_MOUNT_TYPES = {api.Mount.BIND: "bind", api.Mount.VOLUME: "volume", api.Mount.TMPFS: "tmpfs"}
_PROPAGATION = {value: name.lower() for name, value in api.Mount.BindOptions.Propagation.items()}
_SECCOMP = {
    api.Privileges.SeccompOpts.DEFAULT: "default",
    api.Privileges.SeccompOpts.UNCONFINED: "unconfined",
}


def container_id(task_id: str) -> str:
    """Return the id of a task's container. It is a hash of the task's id, so a restarted agent finds the container."""
    return sha256(task_id.encode()).hexdigest()


def container_config(task: api.Task, node: api.NodeDescription) -> ContainerConfig:
    """Return the container that a task asks for, with its placeholders filled in.

    Raises InvalidArgument for a wrong spec, Unimplemented for what is no container, ShoalError for a network that does
    not exist.
    """
    if task.spec.WhichOneof("runtime") != "container":
        raise Unimplemented("unsupported runtime")
    if not task.spec.container.image:
        raise InvalidArgument("dockerexec: image required")
    _refuse_credential_spec(task.spec.container.privileges)
    for mount in task.spec.container.mounts:
        _check_mount(mount)
    spec = expand_spec(task, node)
    limits = task.spec.resources.limits
    dns = spec.dns_config
    driver = task.log_driver if task.HasField("log_driver") else task.spec.log_driver
    return ContainerConfig(
        name=task_name(task),
        image=spec.image,
        entrypoint=tuple(spec.command),
        command=tuple(spec.args),
        env=(*spec.env, *generic_env(task.assigned_generic_resources)),
        working_dir=spec.dir,
        user=spec.user,
        groups=tuple(spec.groups),
        hostname=spec.hostname,
        labels=labels(task),
        mounts=tuple(_mount(mount) for mount in spec.mounts),
        tty=spec.tty,
        open_stdin=spec.open_stdin,
        read_only=spec.read_only,
        init=spec.init.value if spec.HasField("init") else None,
        stop_signal=spec.stop_signal,
        stop_timeout=stop_grace_period(task),
        health=_health(spec),
        hosts=_hosts(spec.hosts),
        dns=tuple(dns.nameservers),
        dns_search=tuple(dns.search),
        dns_options=tuple(dns.options),
        cap_add=tuple(spec.capability_add),
        cap_drop=tuple(spec.capability_drop),
        ulimits=tuple(Ulimit(each.name, each.soft, each.hard) for each in spec.ulimits),
        sysctls=dict(spec.sysctls),
        nano_cpus=max(limits.nano_cpus, 0),
        memory_bytes=max(limits.memory_bytes, 0),
        memory_swap_bytes=_swap(task.spec.resources),
        memory_swappiness=_swappiness(task.spec.resources),
        pids_limit=max(spec.pidsLimit, 0),
        oom_score_adj=spec.oom_score_adj,
        seccomp=_seccomp(spec.privileges),
        apparmor="disabled" if spec.privileges.apparmor.mode == api.Privileges.AppArmorOpts.DISABLED else "default",
        no_new_privileges=spec.privileges.no_new_privileges,
        network=_network(task),
        attachments=attachments(task),
        ports=host_ports(task.endpoint.ports),
        own_networks=own_networks(task),
        log_driver=driver.name,
        log_options=dict(driver.options),
        generic=named_resources(task.assigned_generic_resources),
    )


def must_pull(reference: str, present: Image | None, policy: str = "") -> bool:
    """Return whether to ask the registry for a task's image. `present` is the image of that name on this node.

    `policy` is the value of the service's label `shoal.pull`. With no policy an image that is missing is pulled, and
    an image named by digest or id is not pulled again. A tag is pulled again, as in Docker, because the registry may
    have a newer image for it. The exception is an image that was loaded or built on this node: every start would wait
    for a registry that probably does not have it.
    """
    if reference.startswith("sha256:") or policy == PULL_NEVER:
        return False
    if present is None:
        return True
    if policy:
        return policy == PULL_ALWAYS
    return "@" not in reference and bool(present.repo_digests)


def stop_grace_period(task: api.Task) -> float:
    """Return how long a task may take to end by itself, in seconds."""
    spec = task.spec.container
    return seconds(spec.stop_grace_period) if spec.HasField("stop_grace_period") else STOP_GRACE_PERIOD


def labels(task: api.Task) -> dict[str, str]:
    """Return the labels of a task's container: the spec's, the task's, and Swarm's own, which name task and service."""
    return {
        **task.spec.container.labels,
        **task.annotations.labels,
        TASK_LABEL: "",
        TASK_ID_LABEL: task.id,
        f"{LABEL}.task.name": task_name(task),
        f"{LABEL}.node.id": task.node_id,
        f"{LABEL}.service.id": task.service_id,
        f"{LABEL}.service.name": task.service_annotations.name,
    }


def named_resources(resources: Sequence[api.GenericResource]) -> tuple[tuple[str, str], ...]:
    """Return kind and value of each named resource. Some of them stand for a device."""
    named = (each.named_resource_spec for each in resources if each.HasField("named_resource_spec"))
    return tuple((each.kind, each.value) for each in named)


def generic_env(resources: Sequence[api.GenericResource]) -> list[str]:
    """Return one environment variable for each kind of generic resource that the container was given."""
    given: dict[str, list[str]] = {}
    for resource in resources:
        if resource.HasField("named_resource_spec"):
            named = resource.named_resource_spec
            given.setdefault(named.kind, []).append(named.value)
        elif resource.HasField("discrete_resource_spec"):
            discrete = resource.discrete_resource_spec
            given.setdefault(discrete.kind, []).append(str(discrete.value))
    return [f"{GENERIC_PREFIX}_{kind}".upper() + "=" + ",".join(values) for kind, values in given.items()]


def template_values(task: api.Task, node: api.NodeDescription) -> Struct:
    """Return the values that placeholders may use."""
    platform = Struct("template.Platform", Architecture=node.platform.architecture, OS=node.platform.os)
    return Struct(
        "*template.Context",
        Service=Struct(
            ID=task.service_id, Name=task.service_annotations.name, Labels=dict(task.service_annotations.labels)
        ),
        Node=Struct(ID=task.node_id, Hostname=node.hostname, Platform=platform),
        Task=Struct(ID=task.id, Name=task_name(task), Slot=str(task.slot) if task.slot else task.node_id),
    )


def expand_spec(task: api.Task, node: api.NodeDescription) -> api.ContainerSpec:
    """Return the container's spec with the placeholders of environment, mounts and hostname filled in."""
    spec = api.ContainerSpec()
    spec.CopyFrom(task.spec.container)
    values = template_values(task, node)
    for at, entry in enumerate(spec.env):
        key, equals, value = entry.partition("=")
        spec.env[at] = key + equals + _expand(value, values, f'expanding env failed: expanding env "{entry}"')
    for mount in spec.mounts:
        for name in ("source", "target"):
            where = f'expanding mounts failed: expanding mount {name} "{getattr(mount, name)}"'
            setattr(mount, name, _expand(getattr(mount, name), values, where))
        _expand_map(mount.volume_options.labels, values, "expanding volume labels")
        _expand_map(mount.volume_options.driver_config.options, values, "expanding volume driver config")
    spec.hostname = _expand(spec.hostname, values, "expanding hostname failed")
    return spec


def _expand(text: str, values: Struct, where: str) -> str:
    try:
        return expand(text, values)
    except InvalidArgument as error:
        raise InvalidArgument(f"{where}: {error}") from error


def _expand_map(entries: "Mapping[str, str]", values: Struct, where: str) -> None:
    for key in list(entries):
        text = entries[key]
        if "{{" in text:
            at = f'expanding mounts failed: {where}: expanding map entry "{key}"="{text}"'
            entries[key] = _expand(text, values, at)  # type: ignore[index]


def _refuse_credential_spec(privileges: api.Privileges) -> None:
    # Credential specs are for Windows. Docker hands one on as a security option, which a Linux host does not know.
    if not privileges.HasField("credential_spec"):
        return
    credential = privileges.credential_spec
    source = credential.WhichOneof("source")
    if source is not None:
        raise InvalidArgument(f'invalid --security-opt 2: "credentialspec={source}://{getattr(credential, source)}"')


def _check_mount(mount: api.Mount) -> None:
    source, target = mount.source, mount.target
    if not target.startswith("/"):
        raise InvalidArgument(f"invalid mount target, must be an absolute path: {target}")
    if mount.type == api.Mount.BIND and not source.startswith("/"):
        raise InvalidArgument(f"invalid bind mount source, must be an absolute path: {source}")
    if mount.type == api.Mount.VOLUME and source.startswith("/"):
        raise InvalidArgument(f"invalid volume mount source, must not be an absolute path: {source}")
    if mount.type == api.Mount.TMPFS and source:
        raise InvalidArgument("invalid tmpfs source, source must be empty")
    if mount.type not in _MOUNT_TYPES:
        raise InvalidArgument(f"invalid mount type: {enum_name(api.Mount.Type, mount.type).upper()}")


def _mount(mount: api.Mount) -> Mount:
    bind, volume, tmpfs = mount.bind_options, mount.volume_options, mount.tmpfs_options
    return Mount(
        type=_MOUNT_TYPES[mount.type],  # type: ignore[arg-type]
        target=mount.target,
        source=mount.source,
        read_only=mount.readonly,
        propagation=_PROPAGATION[bind.propagation] if mount.HasField("bind_options") else "",
        non_recursive=bind.nonrecursive,
        create_mountpoint=bind.createmountpoint,
        no_copy=volume.nocopy,
        subpath=volume.subpath,
        volume_driver=volume.driver_config.name,
        volume_options=dict(volume.driver_config.options),
        volume_labels=dict(volume.labels),
        tmpfs_size_bytes=tmpfs.size_bytes,
        tmpfs_mode=tmpfs.mode,
        tmpfs_options=_tmpfs_options(tmpfs.options),
    )


def _tmpfs_options(text: str) -> tuple[str, ...]:
    # The options are a JSON list of lists: [["noexec"], ["uid", "1000"]]. Docker too ignores anything else.
    try:
        options = read_json(text or "[]")
    except ValueError:
        return ()
    if not isinstance(options, list):
        return ()
    return tuple("=".join(map(str, option)) for option in options if isinstance(option, list))


def _health(spec: api.ContainerSpec) -> HealthConfig | None:
    if not spec.HasField("healthcheck"):
        return None
    check = spec.healthcheck
    return HealthConfig(
        test=tuple(check.test),
        interval=seconds(check.interval),
        timeout=seconds(check.timeout),
        start_period=seconds(check.start_period),
        start_interval=seconds(check.start_interval),
        retries=check.retries,
    )


def _hosts(entries: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    # An entry is "address name alias...". Docker takes only the first name.
    split = (entry.split() for entry in entries)
    return tuple((parts[0], (parts[1],)) for parts in split if len(parts) > 1)


def _swap(resources: api.ResourceRequirements) -> int | None:
    # Docker sets no swap limit without a memory limit.
    if not resources.HasField("swap_bytes") or resources.limits.memory_bytes <= 0 or resources.swap_bytes.value < -1:
        return None
    return resources.swap_bytes.value


def _swappiness(resources: api.ResourceRequirements) -> int | None:
    return resources.memory_swappiness.value if resources.HasField("memory_swappiness") else None


def _seccomp(privileges: api.Privileges) -> str:
    if privileges.seccomp.mode != api.Privileges.SeccompOpts.CUSTOM:
        return _SECCOMP[privileges.seccomp.mode]
    try:
        return privileges.seccomp.profile.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument("the seccomp profile is not text") from error


def _network(task: api.Task) -> Mode:
    names = [each.network.spec.annotations.name for each in task.networks if is_predefined(each.network)]
    name = names[0] if names else "bridge"
    if name in {"bridge", "host", "none"}:
        return name  # type: ignore[return-value]
    raise ShoalError(f"network {name} not found")
