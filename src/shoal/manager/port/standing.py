"""Whether a certificate still counts, by the store and not only by the certificate (decision 13). Pure.

In: the subject of a certificate, the store's nodes. Out: why the certificate does not count, if so. A certificate is
valid for months, but a node may be demoted or removed today. A worker's certificate counts for a node that is being
promoted, because the node has no other one yet.
"""

from shoal.api import v1 as api
from shoal.ca.identity import MANAGER_OU
from shoal.manager.port.authorization import Subject
from shoal.store.changes import Event
from shoal.store.memory import View


def standing(view: View, subject: Subject) -> str:
    """Return why a certificate does not count any more; an empty text if it counts."""
    node = view.nodes.get(subject.common_name)
    if node is None:
        return f"node {subject.common_name} is not part of this swarm"
    if MANAGER_OU in subject.units and node.role != api.MANAGER:
        return f"node {subject.common_name} is not a manager any more: its certificate has to be renewed"
    return ""


def loses_standing(event: Event) -> str:
    """Return the node's id if some of its certificates stop counting with this change; otherwise an empty text."""
    node, old = event.obj, event.old
    if not isinstance(node, api.Node):
        return ""
    if event.action == "remove":
        return node.id
    if isinstance(old, api.Node) and old.role == api.MANAGER and node.role != api.MANAGER:
        return node.id
    return ""
