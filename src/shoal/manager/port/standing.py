"""Whether a certificate still says what its node is: by the store, and not by the certificate alone. Pure.

In: who a certificate is for, the store's nodes. Out: why it does not count, if so. A certificate is good for months; a
node may be demoted or removed today. One that says less than its node is counts: a worker that is being promoted has no
other yet.
"""

from shoal.api import v1 as api
from shoal.ca.identity import MANAGER_OU
from shoal.manager.port.authorization import Subject
from shoal.store.changes import Event
from shoal.store.memory import View


def standing(view: View, subject: Subject) -> str:
    """Return why a certificate counts no more; empty where it does."""
    node = view.nodes.get(subject.common_name)
    if node is None:
        return f"node {subject.common_name} is not part of this swarm"
    if MANAGER_OU in subject.units and node.role != api.MANAGER:
        return f"node {subject.common_name} is not a manager any more: its certificate has to be renewed"
    return ""


def loses_standing(event: Event) -> str:
    """Return the id of a node some of whose certificates count no more since a change; empty where there is none."""
    node, old = event.obj, event.old
    if not isinstance(node, api.Node):
        return ""
    if event.action == "remove":
        return node.id
    if isinstance(old, api.Node) and old.role == api.MANAGER and node.role != api.MANAGER:
        return node.id
    return ""
