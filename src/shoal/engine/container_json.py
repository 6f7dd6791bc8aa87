"""The JSON of a container in a list, and the parts that it shares with `inspect`. Pure.

Source of the shapes: moby api/types/container/container.go, api/types/network/endpoint.go.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shoal.engine import container_ports
from shoal.engine.human import human_duration
from shoal.network.types import Endpoint
from shoal.runtime.types import Container, Health, Image, Mount, Phase

NO_TIME = "0001-01-01T00:00:00Z"


def instant(at: float) -> str:
    """Return an instant in seconds since 1970 in Go's format; 0 is Go's zero time."""
    if not at:
        return NO_TIME
    text = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"


def status_text(container: Container, now: float) -> str:
    """Return the status text of `docker ps`: `Up 5 seconds (healthy)`, `Exited (1) 2 minutes ago`."""
    if container.phase is Phase.RUNNING:
        up = f"Up {human_duration(now - container.started_at)}"
        if container.health is Health.NONE:
            return up
        return f"{up} ({'health: starting' if container.health is Health.STARTING else container.health})"
    if container.phase is Phase.EXITED:
        return f"Exited ({container.exit_code}) {human_duration(now - container.finished_at)} ago"
    return {Phase.CREATED: "Created", Phase.REMOVING: "Removal In Progress", Phase.DEAD: "Dead"}[container.phase]


def image_config(image: Image | None) -> Mapping[str, Any]:
    """Return the `config` part of an image's configuration, which containers inherit."""
    found = image.config.get("config") if image is not None else None
    return found if isinstance(found, dict) else {}


def labels(container: Container, image: Image | None) -> dict[str, str]:
    """Return a container's labels: the image's, overridden by the container's own."""
    inherited = image_config(image).get("Labels") if image is not None else None
    return {**inherited, **container.config.labels} if inherited else dict(container.config.labels)


def row(container: Container, now: float, image: Image | None = None, *, renamed: bool = False) -> dict[str, Any]:
    """Return a container as `GET /containers/json` lists it.

    `image`: the image that it was made from, if it is here; `renamed`: that image's name now means another image.
    """
    return {
        "Id": container.id,
        "Names": [f"/{container.config.name}"],
        "Image": container.image_id if renamed else container.config.image,
        "ImageID": container.image_id,
        "Command": command_line(container),
        "Created": int(container.created_at),
        "Ports": container_ports.rows(container, image_config(image)),
        "Labels": labels(container, image),
        "State": container.phase.value,
        "Status": status_text(container, now),
        "HostConfig": {"NetworkMode": container.config.network},
        "NetworkSettings": {"Networks": networks(container)},
        "Mounts": [mount_point(container, mount) for mount in container.mounts],
    }


def command_line(container: Container) -> str:
    """Return the command line, with quotes around arguments with blanks. Source: moby daemon/container/view.go."""
    quoted = [f"'{argument}'" if " " in argument else argument for argument in container.args]
    return " ".join([container.path, *quoted])


def networks(container: Container) -> dict[str, Any]:
    """Return the networks of a container by name."""
    endpoints = container.sandbox.endpoints or (Endpoint(network_name=container.config.network),)
    return {
        endpoint.network_name: {
            "IPAMConfig": None,
            "Links": None,
            "Aliases": None,
            "MacAddress": endpoint.mac,
            "DriverOpts": None,
            "GwPriority": 0,
            "NetworkID": endpoint.network_id,
            "EndpointID": endpoint.endpoint_id,
            "Gateway": endpoint.gateway,
            "IPAddress": endpoint.of_ipv4[0],
            "IPPrefixLen": endpoint.of_ipv4[1],
            "IPv6Gateway": "",
            "GlobalIPv6Address": endpoint.of_ipv6[0],
            "GlobalIPv6PrefixLen": endpoint.of_ipv6[1],
            "DNSNames": None,
        }
        for endpoint in endpoints
    }


def mount_point(container: Container, mount: Mount) -> dict[str, Any]:
    """Return one mount as `docker inspect` shows it."""
    point: dict[str, Any] = {"Type": mount.type}
    if mount.type == "volume":
        point["Name"] = mount.source
    point["Source"] = container.mount_sources.get(mount.target, mount.source if mount.type == "bind" else "")
    point["Destination"] = mount.target
    if mount.type == "volume":
        point["Driver"] = mount.volume_driver or "local"
    point["Mode"] = "z" if mount.type == "volume" else ""
    point["RW"] = not mount.read_only
    point["Propagation"] = (mount.propagation or "rprivate") if mount.type == "bind" else ""
    return point
