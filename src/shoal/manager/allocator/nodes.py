"""What nodes get: an address on ingress, and on every overlay on which they run a task.

Pure. A node keeps an address from the first task on a network to the last. Source: SwarmKit
manager/allocator/network.go (`allocateNodes`).
"""

from collections import Counter
from collections.abc import Callable, Sequence

from shoal.api import v1 as api
from shoal.manager.allocator.networks import Networks
from shoal.manager.allocator.waiting import Lacking
from shoal.store.changes import copy


class Nodes:
    """The addresses of all nodes, and how many tasks of each use which network."""

    def __init__(self, networks: Networks) -> None:
        self.ingress_id = ""
        """Which network is ingress. Empty: there is none."""
        self._networks = networks
        self._users: dict[str, Counter[str]] = {}
        self._held: dict[str, dict[str, list[str]]] = {}  # by node and network

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._held

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    def on(self, network_id: str) -> list[str]:
        """Return the nodes that have an address on a network."""
        return [node_id for node_id, held in self._held.items() if network_id in held]

    def use(self, node_id: str, network_ids: Sequence[str]) -> bool:
        """Count a task of a node on these networks. Returns whether the node needs another address for it."""
        users = self._users.setdefault(node_id, Counter())
        users.update(network_ids)
        return self._needs_change(node_id)

    def leave(self, node_id: str, network_ids: Sequence[str]) -> bool:
        """Stop counting a task. Returns whether the node now has an address that it does not need."""
        users = self._users[node_id]
        for network_id in network_ids:
            users[network_id] -= 1
            if users[network_id] <= 0:
                del users[network_id]
        if not users:
            del self._users[node_id]
        return self._needs_change(node_id)

    def restore(self, node: api.Node) -> list[str]:
        """Restore what a node was given before. Returns what is wrong with it, in words."""
        held = self._held.setdefault(node.id, {})
        wrong = []
        for attachment in node.attachments:
            if attachment.network.id in held or self._networks.get(attachment.network.id) is None:
                continue
            held[attachment.network.id] = list(attachment.addresses)
            wrong += [
                f"node {node.id}: another has its address {text}"
                for text in self._networks.hold(attachment.network.id, attachment.addresses)
            ]
        return wrong

    def allocate(
        self, node: api.Node, network: Callable[[str], api.Network | None]
    ) -> tuple[api.Node | None, list[tuple[str, Lacking]]]:
        """Return the changed node (None: no change), and the networks on which it lacks an address."""
        held = self._held.setdefault(node.id, {})
        # Ingress first, because the legacy field has the first address.
        users = dict.fromkeys([self.ingress_id, *self._users.get(node.id, ())])
        wanted = [each for each in users if self._networks.get(each) is not None]
        lacking: list[tuple[str, Lacking]] = []
        for network_id in [each for each in held if each not in wanted]:
            self._networks.release(network_id, held.pop(network_id))
        for network_id in wanted:
            if network_id not in held:
                taken = self._networks.take(network_id)
                if isinstance(taken, Lacking):
                    lacking.append((network_id, taken))
                else:
                    held[network_id] = taken
        recorded = {each.network.id: each for each in node.attachments}
        if recorded.keys() == held.keys() and len(node.attachments) == len(held):
            return None, lacking
        changed = copy(node)
        del changed.attachments[:]
        changed.ClearField("attachment")
        for network_id in wanted:
            obj = network(network_id)
            if network_id in held and obj is not None:
                changed.attachments.add(network=obj, addresses=held[network_id])
                if network_id == self.ingress_id:
                    changed.attachment.CopyFrom(changed.attachments[-1])
        return changed, lacking

    def drop(self, node_id: str) -> None:
        """Take back what a node had."""
        for network_id, addresses in self._held.pop(node_id, {}).items():
            self._networks.release(network_id, addresses)

    def _needs_change(self, node_id: str) -> bool:
        held = self._held.get(node_id)
        if held is None:
            return False
        users = self._users.get(node_id, Counter())
        return any(each not in held for each in users) or any(
            each not in users and each != self.ingress_id for each in held
        )
