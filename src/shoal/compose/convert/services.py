"""A service of a compose project, as the Engine API's spec of a service."""

from collections.abc import Mapping
from typing import Any

from shoal.compose.convert.contents import references
from shoal.compose.convert.mounts import mounts
from shoal.compose.convert.namespace import IMAGE, labelled, scoped
from shoal.compose.convert.networks import attachments
from shoal.compose.convert.resources import resources, ulimits
from shoal.compose.convert.values import given, nanos
from shoal.compose.errors import ComposeError
from shoal.compose.node import Node
from shoal.compose.project import Project

Found = Mapping[str, tuple[str, str]]  # the name and id of each secret or config, by its key
ANY_CAPABILITY = "ALL"


def service_spec(name: str, project: Project, secrets: Found, configs: Found) -> dict[str, Any]:
    """Return the spec of a service. Raises ComposeError for what contradicts itself."""
    service = project.services[name]
    key = f"services.{name}"
    image = service.get("image")
    if image is None or not image.value:
        raise ComposeError(service.named_at, key, "must have the key image: Swarm builds none")
    labels = {**labelled(project.name, service.find("deploy", "labels")), IMAGE: image.value}
    task = given(
        ContainerSpec=_container(name, service, project, secrets, configs),
        LogDriver=_log_driver(service),
        Resources=resources(service),
        RestartPolicy=_restart_policy(key, service),
        Placement=_placement(service),
        Networks=attachments(name, service, project),
    )
    return {
        "Name": scoped(project.name, name),
        "Labels": labels,
        "TaskTemplate": task,
        "Mode": _mode(key, service),
        "EndpointSpec": _endpoint(key, service),
        **given(
            UpdateConfig=_update(service.get("deploy", "update_config")),
            RollbackConfig=_update(service.get("deploy", "rollback_config")),
        ),
    }


def _container(name: str, service: Node, project: Project, secrets: Found, configs: Found) -> dict[str, Any]:
    add, drop = _capabilities(service)
    refs = references("configs", name, service, configs)
    return given(
        Image=service.find("image"),
        Command=service.find("entrypoint"),
        Args=service.find("command"),
        Hostname=service.find("hostname"),
        Hosts=_hosts(service),
        DNSConfig=_dns(service),
        Healthcheck=_healthcheck(service),
        Env=_environment(service),
        Labels=labelled(project.name, service.find("labels")),
        Dir=service.find("working_dir"),
        User=service.find("user"),
        Groups=service.find("group_add"),
        Mounts=mounts(name, service, project),
        StopGracePeriod=nanos(service.get("stop_grace_period")),
        StopSignal=service.find("stop_signal"),
        TTY=service.find("tty"),
        OpenStdin=service.find("stdin_open"),
        Secrets=references("secrets", name, service, secrets),
        Configs=refs,
        ReadOnly=service.find("read_only"),
        Privileges=_privileges(name, service, refs),
        Isolation=service.find("isolation"),
        Init=service.find("init"),
        Sysctls=service.find("sysctls"),
        CapabilityAdd=add,
        CapabilityDrop=drop,
        Ulimits=ulimits(service),
        OomScoreAdj=service.find("oom_score_adj"),
    )


def _environment(service: Node) -> list[str]:
    values = service.find("environment") or {}
    return sorted(key if value is None else f"{key}={value}" for key, value in values.items())


def _hosts(service: Node) -> list[str]:
    pairs = [each.partition("=") for each in service.find("extra_hosts") or ()]
    return [f"{address} {host}" for host, _, address in pairs]


def _dns(service: Node) -> dict[str, Any] | None:
    found = given(Nameservers=service.find("dns"), Search=service.find("dns_search"), Options=service.find("dns_opt"))
    return found or None


def _healthcheck(service: Node) -> dict[str, Any] | None:
    check = service.get("healthcheck")
    if check is None:
        return None
    if check.find("disable"):
        return {"Test": ["NONE"]}
    return given(
        Test=check.find("test"),
        Interval=nanos(check.get("interval")),
        Timeout=nanos(check.get("timeout")),
        Retries=check.find("retries"),
        StartPeriod=nanos(check.get("start_period")),
        StartInterval=nanos(check.get("start_interval")),
    )


def _privileges(name: str, service: Node, configs: list[dict[str, Any]]) -> dict[str, Any]:
    spec = service.get("credential_spec")
    if spec is None or not spec.entries:
        return {}
    values = {key: each for key, each in spec.entries.items() if each.value and not key.startswith("x-")}
    if len(values) > 1:
        key = f"services.{name}.credential_spec"
        raise ComposeError(spec.place, key, f"{' and '.join(values)} exclude each other")
    if "config" in values:
        (identity,) = [each["ConfigID"] for each in configs if "Runtime" in each]
        return {"CredentialSpec": {"Config": identity}}
    return {"CredentialSpec": {key.capitalize(): each.value for key, each in values.items()}}


def _capabilities(service: Node) -> tuple[list[str], list[str]]:
    """Return what is added and dropped, in the form of the kernel, as Docker's command sends it: adding counts more."""
    add = {_capability(each) for each in service.find("cap_add") or ()}
    drop = {_capability(each) for each in service.find("cap_drop") or ()}
    if ANY_CAPABILITY in add:
        add = {ANY_CAPABILITY}
    if ANY_CAPABILITY in drop:
        drop = {ANY_CAPABILITY}
    return sorted(add), sorted(drop - add)


def _capability(name: str) -> str:
    name = name.strip().upper()
    return name if name in (ANY_CAPABILITY, "RESET") or name.startswith("CAP_") else f"CAP_{name}"


def _log_driver(service: Node) -> dict[str, Any] | None:
    logging = service.get("logging")
    if logging is None:
        return None
    options = {key: value or "" for key, value in (logging.find("options") or {}).items()}
    return given(Name=logging.find("driver"), Options=options or None)


_RESTARTS = {"no": None, "": None, "always": {"Condition": "any"}, "unless-stopped": {"Condition": "any"}}


def _restart_policy(key: str, service: Node) -> dict[str, Any] | None:
    policy = service.get("deploy", "restart_policy")
    if policy is not None:
        return given(
            Condition=policy.find("condition"),
            Delay=nanos(policy.get("delay")),
            MaxAttempts=policy.find("max_attempts"),
            Window=nanos(policy.get("window")),
        )
    restart = service.get("restart")
    if restart is None or restart.value in _RESTARTS:
        return _RESTARTS[restart.value] if restart is not None else None
    name, _, attempts = restart.value.partition(":")
    if name != "on-failure" or (attempts and not (attempts.isascii() and attempts.isdigit())):
        raise ComposeError(restart.place, f"{key}.restart", f"is {restart.value!r}: no, always or on-failure[:NUMBER]")
    return {"Condition": "on-failure", "MaxAttempts": int(attempts or 0)}


def _placement(service: Node) -> dict[str, Any]:
    placement = service.get("deploy", "placement") or Node({}, service.place)
    spreads = [each.get("spread") for each in placement.find("preferences") or ()]
    return given(
        Constraints=placement.find("constraints"),
        Preferences=[{"Spread": {"SpreadDescriptor": each or ""}} for each in spreads],
        MaxReplicas=placement.find("max_replicas_per_node"),
    )


def _mode(key: str, service: Node) -> dict[str, Any]:
    mode = service.get("deploy", "mode")
    replicas = service.get("deploy", "replicas") or service.get("scale")
    count = replicas.value if replicas is not None else None
    word = mode.value if mode is not None and mode.value else "replicated"
    if word in ("global", "global-job"):
        if replicas is not None:
            raise ComposeError(replicas.named_at, f"{key}.deploy.replicas", f"a {word} service has one task a node")
        return {"Global": {}} if word == "global" else {"GlobalJob": {}}
    if word == "replicated-job":
        return {"ReplicatedJob": given(MaxConcurrent=count, TotalCompletions=count)}
    if word != "replicated":
        assert mode is not None
        raise ComposeError(
            mode.place, f"{key}.deploy.mode", f"is {word!r}: replicated, global, replicated-job or global-job"
        )
    return {"Replicated": given(Replicas=count)}


def _endpoint(key: str, service: Node) -> dict[str, Any]:
    ports = []
    for number, each in enumerate((service.get("ports") or Node([], service.place)).items):
        published = each.get("published")
        text = str(published.value) if published is not None else ""
        if text and not (text.isascii() and text.isdigit() and int(text[:6]) < 65536):
            assert published is not None
            raise ComposeError(published.place, f"{key}.ports[{number}]", f"Swarm publishes one port, not {text}")
        ports.append(
            {
                "Protocol": each.find("protocol"),
                "TargetPort": each.find("target"),
                "PublishMode": each.find("mode"),
                **({"PublishedPort": int(text)} if text else {}),
            }
        )
    ports.sort(key=lambda port: int(port.get("PublishedPort", 0)))
    return given(Mode=(service.find("deploy", "endpoint_mode") or "").lower() or None, Ports=ports)


def _update(config: Node | None) -> dict[str, Any] | None:
    if config is None:
        return None
    parallelism = config.find("parallelism")
    return given(
        Parallelism=1 if parallelism is None else parallelism,
        Delay=nanos(config.get("delay")),
        FailureAction=config.find("failure_action"),
        Monitor=nanos(config.get("monitor")),
        MaxFailureRatio=config.find("max_failure_ratio"),
        Order=config.find("order"),
    )
