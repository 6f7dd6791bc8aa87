"""Keys of a compose file that Swarm has nothing for: each is named with file and line, none is dropped silently."""

from collections.abc import Iterator

from shoal.compose.errors import Warned
from shoal.compose.node import Node
from shoal.compose.project import Project

_NOT_IN_SWARM = "Swarm has nothing like it: it does not count"
_SERVICE = {
    **dict.fromkeys(
        (
            *("annotations", "attach", "blkio_config", "cgroup", "cgroup_parent", "cpu_count", "cpu_percent"),
            *("cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares", "cpuset", "develop"),
            *("device_cgroup_rules", "devices", "domainname", "ipc", "mac_address", "mem_swappiness", "memswap_limit"),
            *("models", "oom_kill_disable", "pid", "platform", "post_start", "pre_stop", "privileged", "provider"),
            *("runtime", "security_opt", "shm_size", "storage_opt", "use_api_socket", "userns_mode", "uts"),
            *("volumes_from", "external_links", "gpus"),
        ),
        _NOT_IN_SWARM,
    ),
    "build": "Swarm builds no image: it takes the one that image names",
    "container_name": "Swarm names containers itself: they are found by their service",
    "depends_on": "Swarm starts all services at once: let a service wait for what it needs",
    "expose": "on a network of the stack every port is open to the others: it is not needed",
    "links": "services of a network find each other by name: it is not needed",
    "pull_policy": "nodes pull an image that they do not have: shoal stack deploy --resolve-image says when tags count",
    "pull_refresh_after": _NOT_IN_SWARM,
}
_MODES = "Swarm has host and none, as networks: any other does not count"
_NETWORK = (
    "ipv4_address",
    "ipv6_address",
    "link_local_ips",
    "mac_address",
    "interface_name",
    "priority",
    "gw_priority",
)


def unsupported(project: Project) -> list[Warned]:
    """Return what of a project does not count in a swarm."""
    found = []
    for name, service in project.services.items():
        found += list(_of_service(f"services.{name}", service))
    for name, each in project.networks.items():
        if (network := each.get("enable_ipv4")) is not None and network.value is False:
            found.append(Warned(network.named_at, f"networks.{name}.enable_ipv4", "a network of the swarm has IPv4"))
    return found


def _of_service(key: str, service: Node) -> Iterator[Warned]:
    for name, each in service.entries.items():
        if name in _SERVICE and each.value not in (None, False, [], {}):
            yield Warned(each.named_at, f"{key}.{name}", _SERVICE[name])
    yield from _of_networks(key, service)
    for number, port in enumerate((service.get("ports") or Node([], service.place)).items):
        address = port.get("host_ip")
        if address is not None and address.value:
            text = f"Swarm publishes on every address of a node, not on {address.value} alone"
            yield Warned(address.named_at, f"{key}.ports[{number}].host_ip", text)
    for number, mount in enumerate((service.get("volumes") or Node([], service.place)).items):
        for path in (("bind", "selinux"), ("volume", "labels")):
            found = mount.get(*path)
            if found is not None:
                yield Warned(found.named_at, f"{key}.volumes[{number}].{'.'.join(path)}", _NOT_IN_SWARM)
    devices = service.get("deploy", "resources", "reservations", "devices")
    if devices is not None and devices.items:
        text = "Swarm counts devices as generic_resources"
        yield Warned(devices.named_at, f"{key}.deploy.resources.reservations.devices", text)


def _of_networks(key: str, service: Node) -> Iterator[Warned]:
    mode = service.get("network_mode")
    if mode is not None and mode.value not in ("host", "none"):
        yield Warned(mode.named_at, f"{key}.network_mode", _MODES)
    for network, each in (service.get("networks") or Node({}, service.place)).entries.items():
        for name in _NETWORK:
            if name in each.entries:
                yield Warned(each.entries[name].named_at, f"{key}.networks.{network}.{name}", _NOT_IN_SWARM)
