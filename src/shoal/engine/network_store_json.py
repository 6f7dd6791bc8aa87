"""What the swarm's store says should be on a network, for `shoal network doctor` to hold against the nodes. Pure.

In: a view of the store. Out: JSON. Only tasks that have a node and have not ended count; whether one is to be found by
name already is told by its state.
"""

from collections.abc import Iterator
from typing import Any

from shoal.api import states
from shoal.api import v1 as api
from shoal.store.memory import View

Shown = dict[str, Any]


def on_network(view: View, network_id: str) -> Shown:
    """Return the tasks and virtual IPs of a network, and the nodes that have an address on it."""
    return {
        "Tasks": sorted(_tasks(view, network_id), key=lambda task: (task["Name"], task["ID"])),
        "VirtualIPs": {
            vip.addr.partition("/")[0]: service.spec.annotations.name
            for service in view.services.all()
            for vip in service.endpoint.virtual_ips
            if vip.network_id == network_id and vip.addr
        },
        "Nodes": sorted(
            (
                {"ID": node.id, "Hostname": node.description.hostname}
                for node in view.nodes.all()
                if any(each.network.id == network_id for each in node.attachments)
            ),
            key=lambda node: (node["Hostname"], node["ID"]),
        ),
    }


def networks_of(service: api.Service) -> list[str]:
    """Return the ids of the networks that a service is on or has a virtual IP of, ingress too."""
    attached = [each.target for each in (*service.spec.task.networks, *service.spec.networks)]
    return list(dict.fromkeys([*attached, *(vip.network_id for vip in service.endpoint.virtual_ips)]))


def _tasks(view: View, network_id: str) -> Iterator[Shown]:
    hosts = {node.id: node.description.hostname for node in view.nodes.all()}
    names = {service.id: service.spec.annotations.name for service in view.services.all()}
    for task in view.tasks.all():
        if not task.node_id or task.status.state in states.NEVER_RAN_OR_ENDED:
            continue
        for each in task.networks:
            if each.network.id == network_id and each.addresses:
                service = names.get(task.service_id, "")
                yield {
                    "ID": task.id,
                    "Name": f"{service}.{task.slot or task.node_id}" if service else task.id,
                    "Service": service,
                    "NodeID": task.node_id,
                    "Node": hosts.get(task.node_id, task.node_id),
                    "Addresses": [address.partition("/")[0] for address in each.addresses],
                    "State": states.NAMES[task.status.state],
                    "DesiredState": states.NAMES[task.desired_state],
                }
