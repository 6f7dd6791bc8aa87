"""What `shoal stack` lists: stacks, their services and their tasks, as rows."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from shoal.cli.json_client import Object
from shoal.cli.output import moment, natural, short_id, shortened
from shoal.cli.rendering import Column
from shoal.cli.stack_api import labels_of, name_of
from shoal.compose.convert.namespace import STACK

_ERROR_LENGTH = 30  # letters, as in Docker's listing


def _without_digest(image: str) -> str:
    return image.partition("@")[0]


_MODES = {"Replicated": "replicated", "Global": "global", "ReplicatedJob": "replicated job", "GlobalJob": "global job"}
STACKS = (Column("NAME", "Name"), Column("SERVICES", "Services"))
SERVICES = (
    Column("ID", "ID", short=short_id),
    Column("NAME", "Name"),
    Column("MODE", "Mode"),
    Column("REPLICAS", "Replicas"),
    Column("IMAGE", "Image", short=_without_digest),
    Column("PORTS", "Ports"),
)
TASKS = (
    Column("ID", "ID", short=short_id),
    Column("NAME", "Name"),
    Column("IMAGE", "Image", short=_without_digest),
    Column("NODE", "Node"),
    Column("DESIRED STATE", "DesiredState"),
    Column("STATE", "State"),
    Column("SINCE", "Since", text=moment),
    Column("ERROR", "Error", short=shortened(_ERROR_LENGTH)),
)


def stack_rows(services: Sequence[Object]) -> list[dict[str, Any]]:
    """Return a row for each stack that has services."""
    count = Counter(labels_of(each).get(STACK, "") for each in services)
    return [{"Name": name, "Services": count[name]} for name in sorted(filter(None, count), key=natural)]


def service_rows(services: Sequence[Object]) -> list[dict[str, Any]]:
    """Return a row for each service, with the status that the API was asked for."""
    return [_service(each) for each in sorted(services, key=lambda each: natural(name_of(each)))]


def _service(each: Object) -> dict[str, Any]:
    spec, status = each["Spec"], each.get("ServiceStatus") or {}
    mode = next(iter(spec.get("Mode") or {"Replicated": {}}))
    return {
        "ID": each["ID"],
        "Name": spec["Name"],
        "Mode": _MODES.get(mode, mode),
        "Replicas": f"{status.get('RunningTasks', 0)}/{status.get('DesiredTasks', 0)}",
        "Image": spec["TaskTemplate"].get("ContainerSpec", {}).get("Image", ""),
        "Ports": ", ".join(_port(port) for port in (each.get("Endpoint") or {}).get("Ports") or ()),
    }


def _port(port: dict[str, Any]) -> str:
    published = port.get("PublishedPort")
    target = f"{port.get('TargetPort')}/{port.get('Protocol', 'tcp')}"
    return f"*:{published}->{target}" if published else target


def task_rows(tasks: Sequence[Object], services: Sequence[Object], nodes: Sequence[Object]) -> list[dict[str, Any]]:
    """Return a row for each task, those of a slot newest first."""
    names = {str(each["ID"]): name_of(each) for each in services}
    hosts = {str(each["ID"]): str((each.get("Description") or {}).get("Hostname", "")) for each in nodes}
    newest = sorted(tasks, key=lambda each: str(each.get("CreatedAt", "")).rstrip("Z"), reverse=True)
    rows = [_task(each, names, hosts) for each in newest]
    return sorted(rows, key=lambda row: natural(row["Name"]))


def _task(each: Object, names: dict[str, str], hosts: dict[str, str]) -> dict[str, Any]:
    service, node, status = str(each.get("ServiceID", "")), str(each.get("NodeID", "")), each.get("Status") or {}
    return {
        "ID": each["ID"],
        "Name": f"{names.get(service, service)}.{each.get('Slot') or node}",
        "Image": (each.get("Spec") or {}).get("ContainerSpec", {}).get("Image", ""),
        "Node": hosts.get(node, node),
        "DesiredState": str(each.get("DesiredState", "")),
        "State": str(status.get("State", "")),
        "Since": str(status.get("Timestamp", "")),
        "Error": str(status.get("Err", "")),
    }
