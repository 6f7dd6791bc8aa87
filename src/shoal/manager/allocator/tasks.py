"""What tasks get: an address on each of their overlays, and the virtual IPs of their service.

Pure. In: a task and its service; out: the task as it is admitted (PENDING), or what it lacks. A task has its addresses
until it has ended. Source: SwarmKit manager/allocator/network.go (`allocateTask`, `taskCreateNetworkAttachments`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shoal.api import v1 as api
from shoal.api.times import timestamp
from shoal.manager.allocator import waiting
from shoal.manager.allocator.networks import Networks, is_overlay
from shoal.manager.allocator.nodes import Nodes
from shoal.manager.allocator.waiting import Lacking
from shoal.store.changes import copy

MESSAGE = "pending task scheduling"
WAITS = "pending network allocation"

Lookup = Callable[[str], api.Network | None]


@dataclass(slots=True)
class _Held:
    """What one task holds: its own and its service's addresses by network, and where it counts as a user."""

    own: dict[str, Sequence[str]] = field(default_factory=dict)
    vips: list[tuple[str, str]] = field(default_factory=list)
    node_id: str = ""


class Tasks:
    """The addresses of all tasks that have not ended."""

    def __init__(self, networks: Networks, nodes: Nodes) -> None:
        self._networks = networks
        self._nodes = nodes
        self._held: dict[str, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def restore(self, task: api.Task) -> list[str]:
        """Restore what a task was given before. Returns what is wrong with it, in words."""
        held = _Held()
        wrong = []
        for attachment in task.networks:
            network_id = attachment.network.id
            if attachment.addresses and network_id not in held.own and self._networks.get(network_id) is not None:
                held.own[network_id] = list(attachment.addresses)
                wrong += [
                    f"task {task.id}: another has its address {text}"
                    for text in self._networks.hold(network_id, attachment.addresses)
                ]
        if held.own or task.endpoint.virtual_ips:
            self._held[task.id] = held
        return wrong

    def restore_vips(self, task: api.Task) -> None:
        """Restore the virtual IPs that a task knows. To be called after their services are holders of them."""
        held = self._held.get(task.id)
        if held is not None:
            self._hold_vips(held, task.endpoint)

    def note_node(self, task: api.Task) -> bool:
        """Count a task on its node. Returns whether the node needs another address."""
        held = self._held.get(task.id)
        if held is None or held.node_id or not task.node_id or task.status.state < api.ASSIGNED:
            return False
        held.node_id = task.node_id
        return self._nodes.use(task.node_id, list(held.own))

    def drop(self, task_id: str) -> str:
        """Take back what a task had. Returns a node that now has an address that it does not need."""
        held = self._held.pop(task_id, None)
        if held is None:
            return ""
        for network_id, addresses in held.own.items():
            self._networks.release(network_id, addresses)
        for network_id, address in held.vips:
            self._networks.release(network_id, [address])
        return held.node_id if held.node_id and self._nodes.leave(held.node_id, list(held.own)) else ""

    def admit(
        self,
        task: api.Task,
        wanted: Sequence[api.NetworkAttachmentConfig],
        endpoint: api.Endpoint | None,
        network: Lookup,
        now: float,
    ) -> api.Task | Lacking:
        """Return a task with what it needs. `endpoint`: the endpoint of its service, if the service has one."""
        held = _Held()
        attachments: list[api.NetworkAttachment] = []
        for config in wanted:
            attachment = self._attachment(config, network, held)
            if isinstance(attachment, Lacking):
                for network_id, addresses in held.own.items():
                    self._networks.release(network_id, addresses)
                return attachment
            attachments.append(attachment)
        changed = admitted(task, now)
        del changed.networks[:]
        changed.networks.extend(attachments)
        if endpoint is not None:
            changed.endpoint.CopyFrom(endpoint)
            self._hold_vips(held, endpoint)
        if held.own or held.vips:
            self._held[task.id] = held
        return changed

    def _attachment(
        self, config: api.NetworkAttachmentConfig, lookup: Lookup, held: _Held
    ) -> api.NetworkAttachment | Lacking:
        network = lookup(config.target)
        if network is None:
            return Lacking(f"network {config.target} not found", waiting.network(config.target))
        attachment = api.NetworkAttachment(
            network=network, aliases=config.aliases, driver_attachment_opts=config.driver_attachment_opts
        )
        if not is_overlay(network):
            return attachment
        if self._networks.get(network.id) is None:
            reason = f"network {network.spec.annotations.name} has not been allocated"
            return Lacking(reason, waiting.network(network.id))
        if network.id in held.own:
            return Lacking(f"network {network.spec.annotations.name} is named twice", waiting.NEVER)
        if config.addresses:
            taken = self._networks.take_fixed(network.id, config.addresses)
        else:
            taken = self._networks.take(network.id, all_families=True)
        if isinstance(taken, Lacking):
            return taken
        held.own[network.id] = taken
        attachment.addresses.extend(taken)
        return attachment

    def _hold_vips(self, held: _Held, endpoint: api.Endpoint) -> None:
        for vip in endpoint.virtual_ips:
            if self._networks.get(vip.network_id) is not None:
                self._networks.hold(vip.network_id, [vip.addr])
                held.vips.append((vip.network_id, vip.addr))


def admitted(task: api.Task, now: float) -> api.Task:
    """Return a task as the scheduler gets it."""
    changed = copy(task)
    changed.status.state = api.PENDING
    changed.status.message = MESSAGE
    changed.status.ClearField("err")
    changed.status.timestamp.CopyFrom(timestamp(now))
    return changed


def explained(task: api.Task, reason: str, now: float) -> api.Task | None:
    """Return the task with the reason why it waits. None if it has that reason already."""
    if task.status.err == reason:
        return None
    changed = copy(task)
    changed.status.message = WAITS
    changed.status.err = reason
    changed.status.timestamp.CopyFrom(timestamp(now))
    return changed
