"""How a container reads in Docker's JSON: the row of a list and the whole of `inspect`. Pure.

Source of the shapes: moby api/types/container/{container,config,hostconfig,state,network_settings}.go. What a container
of Shoal's cannot have (links, devices, log drivers of its own) has Docker's empty value.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shoal.engine.human import human_duration
from shoal.runtime.types import Container, Health, HealthConfig, Image, Mount, Phase

NO_TIME = "0001-01-01T00:00:00Z"
_NANOS = 1_000_000_000


def instant(at: float) -> str:
    """Return an instant as Go prints it, Go's zero for 0."""
    if not at:
        return NO_TIME
    text = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"


def status_text(container: Container, now: float) -> str:
    """Return the sentence of `docker ps`: `Up 5 seconds (healthy)`, `Exited (1) 2 minutes ago`."""
    if container.phase is Phase.RUNNING:
        up = f"Up {human_duration(now - container.started_at)}"
        if container.health is Health.NONE:
            return up
        return f"{up} ({'health: starting' if container.health is Health.STARTING else container.health})"
    if container.phase is Phase.EXITED:
        return f"Exited ({container.exit_code}) {human_duration(now - container.finished_at)} ago"
    return {Phase.CREATED: "Created", Phase.REMOVING: "Removal In Progress", Phase.DEAD: "Dead"}[container.phase]


def row(container: Container, now: float) -> dict[str, Any]:
    """Return a container as `GET /containers/json` lists it."""
    return {
        "Id": container.id,
        "Names": [f"/{container.config.name}"],
        "Image": container.config.image,
        "ImageID": container.image_id,
        "Command": " ".join([container.path, *container.args]),
        "Created": int(container.created_at),
        "Ports": [],
        "Labels": dict(container.config.labels),
        "State": str(container.phase),
        "Status": status_text(container, now),
        "HostConfig": {"NetworkMode": network_mode(container)},
        "NetworkSettings": {"Networks": networks(container)},
        "Mounts": [mount_point(container, mount) for mount in container.mounts],
    }


def network_mode(container: Container) -> str:
    """Return what Docker calls the way a container is connected."""
    return container.config.network


def networks(container: Container) -> dict[str, Any]:
    """Return the networks of a container by name."""
    endpoint = container.endpoint
    name = endpoint.network_name or container.config.network
    return {
        name: {
            "IPAMConfig": None,
            "Links": None,
            "Aliases": None,
            "DriverOpts": None,
            "MacAddress": endpoint.mac,
            "NetworkID": endpoint.network_id,
            "EndpointID": endpoint.endpoint_id,
            "Gateway": endpoint.gateway,
            "IPAddress": endpoint.address,
            "IPPrefixLen": endpoint.prefix_length,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "DNSNames": None,
        }
    }


def mount_point(container: Container, mount: Mount) -> dict[str, Any]:
    """Return one mount as `docker inspect` shows it."""
    point: dict[str, Any] = {"Type": mount.type}
    if mount.type == "volume":
        point |= {"Name": mount.source}
    point["Source"] = container.mount_sources.get(mount.target, mount.source if mount.type == "bind" else "")
    point["Destination"] = mount.target
    if mount.type == "volume":
        point["Driver"] = mount.volume_driver or "local"
    point["Mode"] = "z" if mount.type == "volume" else ""
    point["RW"] = not mount.read_only
    point["Propagation"] = (mount.propagation or "rprivate") if mount.type == "bind" else ""
    return point


def inspect(container: Container, image: Image | None) -> dict[str, Any]:
    """Return a container as `GET /containers/{id}/json` shows it. `image`: what it was made from, if still here."""
    folder = container.log_path.rpartition("/")[0]
    return {
        "Id": container.id,
        "Created": instant(container.created_at),
        "Path": container.path,
        "Args": list(container.args),
        "State": state(container),
        "Image": container.image_id,
        "ResolvConfPath": f"{folder}/resolv.conf",
        "HostnamePath": f"{folder}/hostname",
        "HostsPath": f"{folder}/hosts",
        "LogPath": container.log_path,
        "Name": f"/{container.config.name}",
        "RestartCount": container.restart_count,
        "Driver": "overlayfs",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": host_config(container),
        "GraphDriver": {"Name": "overlayfs", "Data": None},
        "Mounts": [mount_point(container, mount) for mount in container.mounts],
        "Config": config(container, image),
        "NetworkSettings": network_settings(container),
    }


def state(container: Container) -> dict[str, Any]:
    """Return the `State` part."""
    shown: dict[str, Any] = {
        "Status": str(container.phase),
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
            "Status": str(container.health),
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
    """Return a health check, durations in nanoseconds, without what is not set."""
    shown: dict[str, Any] = {"Test": list(health.test)} if health.test else {}
    times = {
        "Interval": health.interval,
        "Timeout": health.timeout,
        "StartPeriod": health.start_period,
        "StartInterval": health.start_interval,
    }
    shown |= {name: round(length * _NANOS) for name, length in times.items() if length}
    return shown | ({"Retries": health.retries} if health.retries else {})


def _image_config(image: Image | None) -> Mapping[str, Any]:
    found = image.config.get("config") if image is not None else None
    return found if isinstance(found, dict) else {}


def config(container: Container, image: Image | None) -> dict[str, Any]:
    """Return the `Config` part: what is independent of this host."""
    wanted, base = container.config, _image_config(image)
    entrypoint = list(wanted.entrypoint) or base.get("Entrypoint")
    command = list(wanted.command) or (None if wanted.entrypoint else base.get("Cmd"))
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
        "Env": list(container.env),
        "Cmd": command,
        "Image": wanted.image,
        "Volumes": base.get("Volumes"),
        "WorkingDir": wanted.working_dir or base.get("WorkingDir", ""),
        "Entrypoint": entrypoint,
        "OnBuild": None,
        "Labels": {**(base.get("Labels") or {}), **wanted.labels},
    }
    if wanted.health is not None:
        shown["Healthcheck"] = health_json(wanted.health)
    elif base.get("Healthcheck"):
        shown["Healthcheck"] = base["Healthcheck"]
    if exposed := base.get("ExposedPorts"):
        shown["ExposedPorts"] = exposed
    if wanted.stop_signal or base.get("StopSignal"):
        shown["StopSignal"] = wanted.stop_signal or base["StopSignal"]
    return shown | {"StopTimeout": round(wanted.stop_timeout)}


def host_config(container: Container) -> dict[str, Any]:
    """Return the `HostConfig` part: limits, rights, mounts."""
    wanted = container.config
    memory_swap = 0
    if wanted.memory_bytes:
        swap = wanted.memory_bytes if wanted.memory_swap_bytes is None else wanted.memory_swap_bytes
        memory_swap = -1 if swap < 0 else wanted.memory_bytes + swap
    security = ["no-new-privileges"] if wanted.no_new_privileges else []
    if wanted.seccomp != "default":
        security.append(f"seccomp={wanted.seccomp}")
    return {
        "Binds": None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": network_mode(container),
        "PortBindings": {},
        "RestartPolicy": {"Name": "", "MaximumRetryCount": 0},
        "AutoRemove": False,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "CapAdd": list(wanted.cap_add) or None,
        "CapDrop": list(wanted.cap_drop) or None,
        "CgroupnsMode": "private",
        "Dns": list(wanted.dns) or None,
        "DnsOptions": list(wanted.dns_options) or None,
        "DnsSearch": list(wanted.dns_search) or None,
        "ExtraHosts": [f"{name}:{address}" for address, names in wanted.hosts for name in names] or None,
        "GroupAdd": list(wanted.groups) or None,
        "IpcMode": "private",
        "Links": None,
        "OomScoreAdj": wanted.oom_score_adj,
        "PidMode": "",
        "Privileged": False,
        "PublishAllPorts": False,
        "ReadonlyRootfs": wanted.read_only,
        "SecurityOpt": security or None,
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": 67108864,
        "Sysctls": dict(wanted.sysctls),
        "Runtime": "",
        "Isolation": "",
        "NanoCpus": wanted.nano_cpus,
        "Memory": wanted.memory_bytes,
        "MemorySwap": memory_swap,
        "MemorySwappiness": wanted.memory_swappiness,
        "PidsLimit": wanted.pids_limit or None,
        "Ulimits": [{"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft} for limit in wanted.ulimits] or None,
        "Init": wanted.init,
        "Mounts": [_host_mount(mount) for mount in wanted.mounts] or None,
    }


def _host_mount(mount: Mount) -> dict[str, Any]:
    shown: dict[str, Any] = {"Type": mount.type, "Source": mount.source, "Target": mount.target}
    return shown | ({"ReadOnly": True} if mount.read_only else {})


def network_settings(container: Container) -> dict[str, Any]:
    """Return the `NetworkSettings` part. The fields on top repeat the bridge's, as Docker did before 1.50."""
    endpoint = container.endpoint
    return {
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": endpoint.netns,
        "Ports": {},
        "EndpointID": endpoint.endpoint_id,
        "Gateway": endpoint.gateway,
        "IPAddress": endpoint.address,
        "IPPrefixLen": endpoint.prefix_length,
        "MacAddress": endpoint.mac,
        "Networks": networks(container),
    }
