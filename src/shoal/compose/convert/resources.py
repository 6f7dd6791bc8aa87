"""Limits, reservations and ulimits of a service, as the Engine API takes them."""

from typing import Any

from shoal.compose.convert.values import cpus, number
from shoal.compose.node import Node


def resources(service: Node) -> dict[str, Any]:
    """Return what `deploy.resources` says, and where that says nothing, what the older keys of a service do."""
    found: dict[str, Any] = {}
    limits, reserved = service.get("deploy", "resources", "limits"), service.get("deploy", "resources", "reservations")
    old = {key: service.get(key) for key in ("cpus", "mem_limit", "pids_limit", "mem_reservation")}
    if limits is not None or old["cpus"] or old["mem_limit"] or old["pids_limit"]:
        limits = limits or Node({}, service.place)
        found["Limits"] = {
            "NanoCPUs": cpus(limits.get("cpus") or old["cpus"], "limits.cpus"),
            "MemoryBytes": number(limits.get("memory") or old["mem_limit"]),
            "Pids": number(limits.get("pids") or old["pids_limit"]),
        }
    if reserved is not None or old["mem_reservation"]:
        reserved = reserved or Node({}, service.place)
        found["Reservations"] = {
            "NanoCPUs": cpus(reserved.get("cpus"), "reservations.cpus"),
            "MemoryBytes": number(reserved.get("memory") or old["mem_reservation"]),
            "GenericResources": [_generic(each) for each in (reserved.get("generic_resources") or reserved).items],
        }
    return found


def _generic(each: Node) -> dict[str, Any]:
    kind, value = each.find("discrete_resource_spec", "kind"), each.find("discrete_resource_spec", "value")
    return {"DiscreteResourceSpec": {"Kind": kind or "", "Value": value or 0}}


def ulimits(service: Node) -> list[dict[str, Any]]:
    """Return the limits of a service's processes, by name."""
    found = []
    for name, each in sorted((service.get("ulimits") or Node({}, service.place)).entries.items()):
        soft, hard = (each.find("soft"), each.find("hard")) if each.entries else (each.value, each.value)
        found.append({"Name": name, "Soft": soft, "Hard": hard})
    return found
