"""Who is asked what he sees of networks, and whose answers count. Pure.

In: the store's view, questions, answers of nodes, which may be anything. Out: nodes to ask, and the reply. An answer
counts once, and only from a node that was asked; whoever does not answer is named in the reply.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from shoal.api import v1 as api
from shoal.api.engines import can_manage
from shoal.api.gen import views_pb2 as pb
from shoal.api.states import NEVER_RAN_OR_ENDED
from shoal.store.memory import View

# A person looks at a few. Those beyond are named as not asked.
MOST_NODES = 64
# Of one node, and of all together. What is beyond is not kept: that node can be asked by its own daemon.
MOST_NODE_BYTES = 2 * 1024 * 1024
MOST_BYTES = 16 * 1024 * 1024
MOST_NETWORKS = 64

NOT_OURS = "not asked: it runs a Docker Engine"
NOT_THERE = "not asked: it is {}"
TOO_MANY = f"not asked: more than {MOST_NODES} nodes are on these networks"
SILENT = "it did not answer in time"
TOO_MUCH = "its answer is too long: ask its own daemon"


def concerned(view: View, network_ids: Iterable[str]) -> list[pb.NodeViews]:
    """Return the nodes that are on any of the networks, by hostname, each with whether it is asked, and why not."""
    wanted = frozenset(network_ids)
    on = {node.id for node in view.nodes.all() if any(each.network.id in wanted for each in node.attachments)}
    on |= {
        task.node_id
        for task in view.tasks.all()
        if task.status.state not in NEVER_RAN_OR_ENDED and any(each.network.id in wanted for each in task.networks)
    }
    nodes = [node for node_id in on if (node := view.nodes.get(node_id)) is not None]
    found = []
    count = 0
    for node in sorted(nodes, key=lambda node: (node.description.hostname, node.id)):
        reason = _why_not(node)
        if not reason:
            count += 1
            reason = TOO_MANY if count > MOST_NODES else ""
        found.append(
            pb.NodeViews(
                node_id=node.id,
                hostname=node.description.hostname,
                address=node.status.addr,
                asked=not reason,
                reason=reason,
            )
        )
    return found


def _why_not(node: api.Node) -> str:
    if node.status.state != api.NodeStatus.READY:
        return NOT_THERE.format(api.NodeStatus.State.Name(node.status.state).lower())
    return "" if can_manage(node.description) else NOT_OURS


@dataclass(slots=True)
class Question:
    """One question to several nodes."""

    nodes: list[pb.NodeViews]
    waiting: set[str] = field(default_factory=set)
    size_bytes: int = 0

    def __post_init__(self) -> None:
        """Wait for those that are asked."""
        self.waiting = {node.node_id for node in self.nodes if node.asked}

    def take(self, node_id: str, answer: pb.ViewAnswer) -> bool:
        """Take a node's answer; False where none is waited for."""
        if node_id not in self.waiting:
            return False
        self.waiting.discard(node_id)
        node = next(each for each in self.nodes if each.node_id == node_id)
        size = len(answer.views)
        if size > MOST_NODE_BYTES or self.size_bytes + size > MOST_BYTES:
            node.reason = TOO_MUCH
            return True
        self.size_bytes += size
        node.views, node.reason = answer.views, answer.reason[:1024]
        return True

    def miss(self, node_id: str, reason: str) -> None:
        """A node cannot be asked after all."""
        if node_id in self.waiting:
            self.waiting.discard(node_id)
            next(each for each in self.nodes if each.node_id == node_id).reason = reason

    def reply(self) -> pb.ViewsReply:
        """Return what has come."""
        for node in self.nodes:
            if node.node_id in self.waiting:
                node.reason = SILENT
        return pb.ViewsReply(nodes=self.nodes)
