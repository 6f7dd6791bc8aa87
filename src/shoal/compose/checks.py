"""What must fit together in a project: that all is there which services name, and that nothing contradicts itself."""

import ipaddress

from shoal.compose.errors import ComposeError
from shoal.compose.node import Node
from shoal.compose.project import Project

_SOURCES = {"secrets": ("file", "environment"), "configs": ("file", "environment", "content")}


def check(project: Project) -> None:
    """Raise ComposeError for the first thing that does not fit."""
    for name, service in project.services.items():
        _check_service(f"services.{name}", service, project)
    for section in ("networks", "volumes", "secrets", "configs"):
        for name, made in getattr(project, section).items():
            _check_resource(f"{section}.{name}", section, made)


def _check_service(key: str, service: Node, project: Project) -> None:
    if not any(service.get(each) for each in ("image", "build", "provider")):
        raise ComposeError(service.named_at, key, "must have the key image")
    mode, networks = service.get("network_mode"), service.get("networks")
    if mode is not None and networks is not None and networks.entries:
        raise ComposeError(mode.place, f"{key}.network_mode", "network_mode and networks exclude each other")
    for name, each in (networks or Node({}, service.place)).entries.items():
        _there(name, "network", project.networks, each, f"{key}.networks.{name}")
    for number, mount in enumerate((service.get("volumes") or Node([], service.place)).items):
        _check_mount(f"{key}.volumes[{number}]", mount, project)
    for section, word in (("secrets", "secret"), ("configs", "config")):
        for number, each in enumerate((service.get(section) or Node([], service.place)).items):
            source = each.find("source")
            if not source:
                raise ComposeError(each.place, f"{key}.{section}[{number}]", "must have the key source")
            _there(source, word, getattr(project, section), each, f"{key}.{section}[{number}]")
    for name, each in (service.get("depends_on") or Node({}, service.place)).entries.items():
        if name not in project.services and (each.find("required") or name not in project.disabled):
            raise ComposeError(each.named_at, f"{key}.depends_on.{name}", f"there is no service {name}")
    _check_scale(key, service)
    _check_twice(key, service)
    _check_health(key, service)
    for number, port in enumerate((service.get("ports") or Node([], service.place)).items):
        _check_port(f"{key}.ports[{number}]", port)


def _there(name: str, word: str, found: object, at: Node, key: str) -> None:
    if name not in found:  # type: ignore[operator]
        raise ComposeError(at.named_at, key, f"there is no {word} {name} under {word}s")


def _check_mount(key: str, mount: Node, project: Project) -> None:
    if not mount.find("target"):
        raise ComposeError(mount.place, key, "must have the key target")
    source = mount.find("source")
    if mount.find("type") == "volume" and source:
        _there(source, "volume", project.volumes, mount, key)


def _check_scale(key: str, service: Node) -> None:
    scale, replicas = service.get("scale"), service.get("deploy", "replicas")
    for each, where in ((scale, f"{key}.scale"), (replicas, f"{key}.deploy.replicas")):
        if each is not None and isinstance(each.value, int) and each.value < 0:
            raise ComposeError(each.place, where, "must be 0 or more")
    if scale is not None and replicas is not None and scale.value != replicas.value:
        raise ComposeError(scale.place, f"{key}.scale", f"differs from deploy.replicas, which is {replicas.value}")


_TWICE = (
    ("mem_limit", ("deploy", "resources", "limits", "memory")),
    ("mem_reservation", ("deploy", "resources", "reservations", "memory")),
    ("cpus", ("deploy", "resources", "limits", "cpus")),
    ("pids_limit", ("deploy", "resources", "limits", "pids")),
)


def _check_twice(key: str, service: Node) -> None:
    for old, path in _TWICE:
        one, other = service.get(old), service.get(*path)
        if one is not None and other is not None and str(one.value) != str(other.value):
            raise ComposeError(one.place, f"{key}.{old}", f"differs from {'.'.join(path)}, which is {other.value}")


def _check_health(key: str, service: Node) -> None:
    test, disabled = service.get("healthcheck", "test"), service.find("healthcheck", "disable")
    if test is not None and test.items and disabled:
        raise ComposeError(test.place, f"{key}.healthcheck.test", "test and disable exclude each other")


def _check_port(key: str, port: Node) -> None:
    target = port.get("target")
    if target is None:
        raise ComposeError(port.place, key, "must have the key target")
    if not 0 < target.value < 65536:
        raise ComposeError(target.place, f"{key}.target", f"{target.value} is no port")
    address = port.get("host_ip")
    if address is not None and address.value:
        try:
            ipaddress.ip_address(address.value)
        except ValueError as error:
            raise ComposeError(address.place, f"{key}.host_ip", f"{address.value!r} is no address") from error


def _check_resource(key: str, section: str, made: Node) -> None:
    if made.find("external"):
        for each, found in made.entries.items():
            if each not in ("name", "external") and not each.startswith("x-"):
                text = "says how to make it, and external says that it is there already"
                raise ComposeError(found.named_at, f"{key}.{each}", text)
        return
    sources = _SOURCES.get(section)
    if sources is None:
        return
    given = [each for each in sources if each in made.entries]
    if len(given) > 1:
        raise ComposeError(
            made.entries[given[1]].named_at, f"{key}.{given[1]}", f"{' and '.join(given)} exclude each other"
        )
    if not given and "driver" not in made.entries and "external" not in made.entries:
        raise ComposeError(made.named_at, key, f"must have one of the keys {', '.join(sources)} and external")
