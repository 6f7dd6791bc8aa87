"""Networks of a stack, and which a service is on, as the Engine API takes them."""

from typing import Any

from shoal.compose.convert.namespace import labelled
from shoal.compose.convert.values import given
from shoal.compose.finishing import DEFAULT
from shoal.compose.node import Node, node
from shoal.compose.project import Project

_PREDEFINED = ("bridge", "host", "none", "default")


def used(project: Project) -> list[str]:
    """Return the keys of the networks that services are on, sorted."""
    found = {name for each in project.services.values() for name in (each.get("networks") or each).entries}
    return sorted(name for name in found if name in project.networks)


def network_specs(project: Project) -> dict[str, dict[str, Any]]:
    """Return how to make each network that is not there already, by its name."""
    return {
        str(project.networks[key].find("name")): _spec(project, project.networks[key])
        for key in used(project)
        if not project.networks[key].find("external")
    }


def external_networks(project: Project) -> dict[str, Node]:
    """Return the networks that must be there already, by their names: the places where they are described."""
    networks = [project.networks[key] for key in used(project)]
    return {str(each.find("name")): each for each in networks if each.find("external")}


def _spec(project: Project, network: Node) -> dict[str, Any]:
    made = {
        "Name": network.find("name"),
        "Driver": network.find("driver") or "overlay",
        "Labels": labelled(project.name, network.find("labels")),
        "Options": network.find("driver_opts"),
        "Internal": network.find("internal"),
        "Attachable": network.find("attachable"),
        "EnableIPv4": network.find("enable_ipv4"),
        "EnableIPv6": network.find("enable_ipv6"),
    }
    driver, config = network.find("ipam", "driver"), network.find("ipam", "config")
    if driver or config:
        made["IPAM"] = given(Driver=driver, Config=[_subnet(each) for each in config or ()])
    return given(**made)


def _subnet(each: dict[str, Any]) -> dict[str, Any]:
    return given(
        Subnet=each.get("subnet"),
        IPRange=each.get("ip_range"),
        Gateway=each.get("gateway"),
        AuxiliaryAddresses=each.get("aux_addresses"),
    )


def attachments(name: str, service: Node, project: Project) -> list[dict[str, Any]]:
    """Return the networks that a service is on, by their names, with its own name as an alias."""
    mode = service.find("network_mode")
    if mode in ("host", "none"):  # Swarm has these two as networks
        return [{"Target": mode}]
    found = []
    for key, each in (service.get("networks") or node({DEFAULT: None}, service.place)).entries.items():
        target = str(project.networks[key].find("name")) if key in project.networks else f"{project.name}_{key}"
        aliases = list(each.find("aliases") or ())
        if target not in _PREDEFINED:
            aliases.append(name)
        found.append(given(Target=target, Aliases=aliases, DriverOpts=each.find("driver_opts")))
    return sorted(found, key=lambda one: str(one["Target"]))
