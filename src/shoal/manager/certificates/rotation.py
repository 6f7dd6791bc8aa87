"""Moves all nodes to a new root CA, and then the swarm. Pure.

In: the cluster while its root is being rotated; the nodes, whose descriptions name the issuer of their certificates.
Out: nodes that must renew their certificates, a few at a time; when all have done so, the cluster with the new root and
new join tokens. `control/root_change.py` begins a rotation. Source: SwarmKit ca/reconciler.go.
"""

from collections.abc import Callable, Sequence

from shoal.api import v1 as api
from shoal.ca.identity import InvalidCertificate, public_key_der, read_chain
from shoal.ca.tokens import new_token, root_digest
from shoal.manager.deciding.plan import NOTHING, Plan
from shoal.store.changes import Event, Kind, Update, copy
from shoal.store.memory import View

ROUND = 3.0  # seconds between two rounds in which nodes are told to renew
MAX_TOLD = 30  # nodes in one round, because all of them ask for a certificate at once
_Status = api.IssuanceStatus
_TOLD = frozenset({_Status.RENEW, _Status.PENDING, _Status.ROTATE})

Issuer = tuple[bytes, bytes]  # DER subject, DER public key


def wanted_issuer(root_ca: api.RootCA) -> Issuer:
    """Return the issuer that all certificates should have in the end. Raises InvalidCertificate."""
    rotating = root_ca.HasField("root_rotation")
    certificate = read_chain(root_ca.root_rotation.ca_cert if rotating else root_ca.ca_cert)[0]
    return certificate.subject.public_bytes(), public_key_der(certificate)


def has_issuer(node: api.Node, issuer: Issuer) -> bool:
    """Return whether a node reports a certificate from this issuer."""
    info = node.description.tls_info
    return (info.cert_issuer_subject, info.cert_issuer_public_key) == issuer


def completed(root_ca: api.RootCA, make_token: Callable[[bytes], str] = new_token) -> api.RootCA:
    """Return the cluster's root after the rotation: the next root, with new join tokens."""
    rotation = root_ca.root_rotation
    tokens = api.JoinTokens(worker=make_token(rotation.ca_cert), manager=make_token(rotation.ca_cert))
    return api.RootCA(
        ca_cert=rotation.ca_cert,
        ca_key=rotation.ca_key,
        ca_cert_hash=f"sha256:{root_digest(rotation.ca_cert)}",
        join_tokens=tokens,
        last_forced_rotation=root_ca.last_forced_rotation,
    )


class RootRotation:
    """The decider of a running root rotation. It also waits for nodes that are down, until they are removed."""

    name = "root rotation"
    kinds: tuple[Kind, ...] = (api.Node, api.Cluster)

    def __init__(self, cluster_id: str, make_token: Callable[[bytes], str] = new_token) -> None:
        self._cluster_id = cluster_id
        self._make_token = make_token
        self._target = b""  # the new root certificate; empty while no rotation runs
        self._issuer: Issuer = (b"", b"")
        self._behind: set[str] = set()  # nodes whose certificates are from another issuer
        self._next_round = 0.0

    def decide(self, view: View, now: float, events: Sequence[Event] | None) -> Plan:
        """Return the nodes that must renew now or, when all have, the cluster with the new root."""
        cluster = view.clusters.get(self._cluster_id)
        if cluster is None or not cluster.root_ca.HasField("root_rotation"):
            self._target, self._behind = b"", set()
            return NOTHING
        target = cluster.root_ca.root_rotation.ca_cert
        if target != self._target:
            try:
                self._issuer = wanted_issuer(cluster.root_ca)
            except InvalidCertificate as fault:
                return Plan(notes=(f"the root cannot be rotated: {fault}",))
            self._target, self._next_round = target, now
            events = None
        self._look(view, events)
        if not self._behind:
            changed = copy(cluster)
            changed.root_ca.CopyFrom(completed(cluster.root_ca, self._make_token))
            return Plan((Update(changed),), ("every node has a certificate of the swarm's new root",))
        if now < self._next_round:
            return Plan(look_again_at=self._next_round)
        self._next_round = now + ROUND
        return Plan(tuple(self._tell(view)), look_again_at=self._next_round)

    def _look(self, view: View, events: Sequence[Event] | None) -> None:
        """Update `_behind` from the changed nodes, or from all nodes if `events` is None."""
        if events is None:
            self._behind = {node.id for node in view.nodes.all() if not has_issuer(node, self._issuer)}
            return
        for node_id in {event.obj.id for event in events if isinstance(event.obj, api.Node)}:
            node = view.nodes.get(node_id)
            if node is None or has_issuer(node, self._issuer):
                self._behind.discard(node_id)
            else:
                self._behind.add(node_id)

    def _tell(self, view: View) -> list[Update]:
        told: list[Update] = []
        for node_id in sorted(self._behind):
            node = view.nodes.get(node_id)
            if node is None or node.certificate.status.state in _TOLD:
                continue
            if len(told) == MAX_TOLD:
                break
            changed = copy(node)
            changed.certificate.status.state = _Status.ROTATE
            told.append(Update(changed))
        return told
