"""The JSON of a container for `GET /containers/{id}/json`. Pure.

Source of the shapes: moby api/types/container/{config,hostconfig,state,network_settings}.go. Fields for things that
Shoal's containers cannot have (links, for example) have Docker's empty value.
"""

from typing import Any

from shoal.engine import container_ports
from shoal.engine.container_json import image_config, instant, labels, mount_point, networks
from shoal.runtime import log_options
from shoal.runtime.types import Container, Health, HealthConfig, Image, Mount, Phase

_NANOS = 1_000_000_000

# Docker's empty values for settings that Shoal's containers cannot have.
_UNUSED_HOST_CONFIG: dict[str, Any] = {
    "Binds": None,
    "ContainerIDFile": "",
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    "AutoRemove": False,
    "VolumeDriver": "",
    "VolumesFrom": None,
    "ConsoleSize": [0, 0],
    "CgroupnsMode": "private",
    "IpcMode": "private",
    "Cgroup": "",
    "Links": None,
    "PidMode": "",
    "Privileged": False,
    "PublishAllPorts": False,
    "UTSMode": "",
    "UsernsMode": "",
    "ShmSize": 67108864,
    "Isolation": "",
    "CpuShares": 0,
    "CgroupParent": "",
    "BlkioWeight": 0,
    "BlkioWeightDevice": None,
    "BlkioDeviceReadBps": None,
    "BlkioDeviceWriteBps": None,
    "BlkioDeviceReadIOps": None,
    "BlkioDeviceWriteIOps": None,
    "CpuPeriod": 0,
    "CpuQuota": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "CpusetCpus": "",
    "CpusetMems": "",
    "Devices": None,
    "DeviceCgroupRules": None,
    "DeviceRequests": None,
    "MemoryReservation": 0,
    "OomKillDisable": None,
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
}

# Until API 1.52 these are shown beside the networks. These are Docker's empty values.
_UNUSED_NETWORK_SETTINGS: dict[str, Any] = {
    "Bridge": "",
    "SandboxID": "",
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
    "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPv6Gateway": "",
}


def inspect(container: Container, image: Image | None, exec_ids: list[str], *, driver: str) -> dict[str, Any]:
    """Return the whole JSON of a container.

    `image` is its image, if that still exists; `driver` is the storage driver.
    """
    return {
        "Id": container.id,
        "Created": instant(container.created_at),
        "Path": container.path,
        "Args": list(container.args),
        "State": state(container),
        "Image": container.image_id,
        # Where these files are is internal to the runtime.
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": container.log_path,
        "Name": f"/{container.config.name}",
        "RestartCount": container.restart_count,
        "Driver": driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": container.apparmor_profile,
        "ExecIDs": exec_ids or None,
        "HostConfig": host_config(container),
        "GraphDriver": {"Name": driver, "Data": None},
        "Mounts": [mount_point(container, mount) for mount in container.mounts],
        "Config": config(container, image),
        "NetworkSettings": network_settings(container, image),
    }


def state(container: Container) -> dict[str, Any]:
    """Return the `State` part."""
    shown: dict[str, Any] = {
        "Status": container.phase.value,
        "Running": container.phase is Phase.RUNNING,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": container.oom_killed,
        "Dead": container.phase is Phase.DEAD,
        "Pid": container.pid,
        "ExitCode": container.exit_code,
        "Error": container.error,
        "StartedAt": instant(container.started_at),
        "FinishedAt": instant(container.finished_at),
    }
    if container.health is not Health.NONE:
        shown["Health"] = {
            "Status": container.health.value,
            "FailingStreak": container.failing_streak,
            "Log": [
                {
                    "Start": instant(probe.started_at),
                    "End": instant(probe.ended_at),
                    "ExitCode": probe.exit_code,
                    "Output": probe.output,
                }
                for probe in container.probes
            ],
        }
    return shown


def health_json(health: HealthConfig) -> dict[str, Any]:
    """Return a health check with durations in nanoseconds, without unset fields."""
    shown: dict[str, Any] = {"Test": list(health.test)} if health.test else {}
    times = {
        "Interval": health.interval,
        "Timeout": health.timeout,
        "StartPeriod": health.start_period,
        "StartInterval": health.start_interval,
    }
    shown |= {name: round(length * _NANOS) for name, length in times.items() if length}
    return shown | ({"Retries": health.retries} if health.retries else {})


def config(container: Container, image: Image | None) -> dict[str, Any]:
    """Return the `Config` part, which does not depend on this host."""
    wanted, base = container.config, image_config(image)
    shown: dict[str, Any] = {
        "Hostname": wanted.hostname or ("" if wanted.network == "host" else container.id[:12]),
        "Domainname": wanted.domainname,
        "User": wanted.user or base.get("User", ""),
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": wanted.tty,
        "OpenStdin": wanted.open_stdin,
        "StdinOnce": False,
        "Env": list(container.env) or None,
        "Cmd": list(wanted.command) or (None if wanted.entrypoint else base.get("Cmd")),
        "Image": wanted.image,
        "Volumes": base.get("Volumes"),
        "WorkingDir": wanted.working_dir or base.get("WorkingDir", ""),
        "Entrypoint": list(wanted.entrypoint) or base.get("Entrypoint"),
        "OnBuild": None,
        "Labels": labels(container, image),
    }
    if wanted.health is not None:
        shown["Healthcheck"] = health_json(wanted.health)
    elif base.get("Healthcheck"):
        shown["Healthcheck"] = base["Healthcheck"]
    if exposed := container_ports.exposed(container, base):
        shown["ExposedPorts"] = exposed
    if wanted.stop_signal or base.get("StopSignal"):
        shown["StopSignal"] = wanted.stop_signal or base["StopSignal"]
    return shown | {"StopTimeout": round(wanted.stop_timeout)}


def host_config(container: Container) -> dict[str, Any]:
    """Return the `HostConfig` part: limits, rights, mounts."""
    wanted = container.config
    shown = _UNUSED_HOST_CONFIG | {
        "LogConfig": {"Type": wanted.log_driver or log_options.DRIVER, "Config": dict(wanted.log_options)},
        "NetworkMode": wanted.network,
        "PortBindings": container_ports.asked_for(container),
        "CapAdd": list(wanted.cap_add) or None,
        "CapDrop": list(wanted.cap_drop) or None,
        "Dns": list(wanted.dns) or None,
        "DnsOptions": list(wanted.dns_options) or None,
        "DnsSearch": list(wanted.dns_search) or None,
        "ExtraHosts": [f"{name}:{address}" for address, names in wanted.hosts for name in names] or None,
        "GroupAdd": list(wanted.groups) or None,
        "OomScoreAdj": wanted.oom_score_adj,
        "ReadonlyRootfs": wanted.read_only,
        "SecurityOpt": _security(container),
        "NanoCpus": wanted.nano_cpus,
        "Memory": wanted.memory_bytes,
        "MemorySwap": _memory_and_swap(container),
        "MemorySwappiness": wanted.memory_swappiness,
        "PidsLimit": wanted.pids_limit or None,
        "Ulimits": [{"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft} for limit in wanted.ulimits] or None,
    }
    if wanted.sysctls:
        shown["Sysctls"] = dict(wanted.sysctls)
    if wanted.init is not None:
        shown["Init"] = wanted.init
    if wanted.mounts:
        shown["Mounts"] = [_host_mount(mount) for mount in wanted.mounts]
    return shown


def _security(container: Container) -> list[str] | None:
    wanted = container.config
    options = ["no-new-privileges"] if wanted.no_new_privileges else []
    if wanted.seccomp != "default":
        options.append(f"seccomp={wanted.seccomp}")
    if wanted.apparmor == "disabled":
        options.append("apparmor=unconfined")
    return options or None


def _memory_and_swap(container: Container) -> int:
    wanted = container.config
    if not wanted.memory_bytes:
        return 0
    swap = wanted.memory_bytes if wanted.memory_swap_bytes is None else wanted.memory_swap_bytes
    return -1 if swap < 0 else wanted.memory_bytes + swap


def _host_mount(mount: Mount) -> dict[str, Any]:
    """Return a mount as the request had it. Source: moby api/types/mount/mount.go."""
    shown: dict[str, Any] = {"Type": mount.type}
    if mount.source:
        shown["Source"] = mount.source
    shown["Target"] = mount.target
    if mount.read_only:
        shown["ReadOnly"] = True
    if mount.type == "bind" and mount.propagation:
        shown["BindOptions"] = {"Propagation": mount.propagation}
    if mount.type == "tmpfs" and (mount.tmpfs_size_bytes or mount.tmpfs_mode):
        given = {"SizeBytes": mount.tmpfs_size_bytes, "Mode": mount.tmpfs_mode}
        shown["TmpfsOptions"] = {name: value for name, value in given.items() if value}
    if mount.type == "volume" and (options := _volume_options(mount)):
        shown["VolumeOptions"] = options
    return shown


def _volume_options(mount: Mount) -> dict[str, Any]:
    options: dict[str, Any] = {"NoCopy": True} if mount.no_copy else {}
    if mount.volume_labels:
        options["Labels"] = dict(mount.volume_labels)
    if mount.subpath:
        options["Subpath"] = mount.subpath
    if mount.volume_driver or mount.volume_options:
        driver = {"Name": mount.volume_driver, "Options": dict(mount.volume_options)}
        options["DriverConfig"] = {name: value for name, value in driver.items() if value}
    return options


def network_settings(container: Container, image: Image | None) -> dict[str, Any]:
    """Return the `NetworkSettings` part. As in Docker before API 1.52, the top fields repeat the first endpoint's."""
    endpoint = container.sandbox.first
    return _UNUSED_NETWORK_SETTINGS | {
        "SandboxKey": container.sandbox.netns,
        "Ports": container_ports.bound(container, image_config(image)),
        "EndpointID": endpoint.endpoint_id,
        "Gateway": endpoint.gateway,
        "IPAddress": endpoint.of_ipv4[0],
        "IPPrefixLen": endpoint.of_ipv4[1],
        "GlobalIPv6Address": endpoint.of_ipv6[0],
        "GlobalIPv6PrefixLen": endpoint.of_ipv6[1],
        "MacAddress": endpoint.mac,
        "Networks": networks(container),
    }
