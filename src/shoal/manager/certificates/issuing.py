"""Decides who gets a certificate, and signs the admitted requests. Pure.

In: a request with its caller and the store's view, or only the view. Out: changes of node objects. Source of the
checks, their order and their texts: SwarmKit ca/server.go. Root rotation is in `rotation`; external CAs are in
`external_signer`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shoal.api import v1 as api
from shoal.api.times import seconds
from shoal.ca.csr import MAX_CSR_BYTES, csr_key, csr_public_key
from shoal.ca.identity import InvalidCertificate
from shoal.ca.root import RootCA, root_from_api
from shoal.ca.tokens import same_token
from shoal.errors import Aborted, InvalidArgument, InvariantBroken, NotFound, ResourceExhausted
from shoal.manager.certificates.external_ca import signing_urls
from shoal.manager.deciding.plan import Plan
from shoal.manager.dispatcher.node_states import host_of
from shoal.manager.port.authorization import Caller
from shoal.manager.port.crowd import origin
from shoal.store.changes import Change, Create, Event, Update, copy

if TYPE_CHECKING:
    from shoal.store.memory import View

# Limits of nodes that were made for a token and have not registered yet. A joining node registers within a second, but
# 1,000 may join from one host at once. Somebody with a leaked token can make no more nodes than this, and `absent`
# removes them. These limits are Shoal's own; Swarm has none.
MAX_ABSENT_OF_HOST = 2_000
MAX_ABSENT = 5_000
ABSENCE = "after an hour"
NO_TOKEN = "A valid join token is necessary to join this cluster"
ID_ATTEMPTS = 4  # the first, and three retries after a collision
# Per transaction. A signature takes 0.3 ms, so this many do not delay the leader's other work.
MAX_SIGNED = 50
RETRY = 10.0  # seconds, after a failure that is not the node's fault (SwarmKit: reconciliationRetryInterval)
FINAL = frozenset({api.IssuanceStatus.ISSUED, api.IssuanceStatus.FAILED, api.IssuanceStatus.ROTATE})
_SETTLED = frozenset({api.IssuanceStatus.ISSUED, api.IssuanceStatus.ROTATE})


@dataclass(frozen=True, slots=True)
class Admitted:
    """An admitted request: the change to write (None if it is written already) and the response."""

    change: Change | None
    response: api.IssueNodeCertificateResponse


class Joiners:
    """Remembers which unregistered node was made for which key, so that a repeated join makes no second node."""

    def __init__(self) -> None:
        self._ids: dict[bytes, str] | None = None  # None: not read from the store yet

    def find(self, view: "View", csr: bytes) -> api.Node | None:
        """Return the node that an earlier request with this key made, if it has not registered yet."""
        if self._ids is None or len(self._ids) > 2 * MAX_ABSENT:
            self._ids = {csr_key(node.certificate.csr): node.id for node in view.nodes.find("came", key=False)}
        key = csr_key(csr)
        node = view.nodes.get(self._ids.get(key, "")) if key else None
        if node is None or node.HasField("description") or csr_key(node.certificate.csr) != key:
            return None
        return node

    def add(self, csr: bytes, node_id: str) -> None:
        """Remember a node that is about to be written. If it is not written, `find` does not return it."""
        if self._ids is not None:
            self._ids[csr_key(csr)] = node_id


def check_request(
    view: "View", request: api.IssueNodeCertificateRequest, caller: Caller, cluster_id: str
) -> api.Cluster:
    """Check that a request can lead to a certificate, with the cheapest checks first. Return the cluster.

    A request that cannot be signed is never written. Raises InvalidArgument, Aborted.
    """
    if not request.csr:
        raise InvalidArgument("InvalidArgument")  # this is Swarm's text
    if len(request.csr) > MAX_CSR_BYTES:
        raise InvalidArgument(f"certificate request is larger than {MAX_CSR_BYTES} bytes")
    cluster = view.clusters.get(cluster_id)
    if cluster is None:
        raise Aborted("CA signer is still starting")
    if not caller.node_id and token_role(request.token, cluster.root_ca.join_tokens) is None:
        raise InvalidArgument(NO_TOKEN)
    csr_public_key(request.csr)
    return cluster


def admit(
    view: "View",
    request: api.IssueNodeCertificateRequest,
    caller: Caller,
    cluster_id: str,
    new_id: Callable[[], str],
    joiners: "Joiners",
) -> Admitted:
    """Admit a certificate request: as a renewal for a caller with a certificate, as a new node for a join token.

    A second request with the key of an unregistered node is for that node. Raises the errors of `check_request`,
    NotFound if the caller's node was removed, ResourceExhausted while too many nodes have not registered.
    """
    cluster = check_request(view, request, caller, cluster_id)
    if caller.node_id:
        return _renewal(view, caller.node_id, request.csr)
    role = token_role(request.token, cluster.root_ca.join_tokens)
    if role is None:
        raise InvalidArgument(NO_TOKEN)
    known = joiners.find(view, request.csr)
    if known is not None and known.role == role:
        return _repeated(known, request.csr)
    host = origin(host_of(caller.address))
    check_room(view, host)
    for _ in range(ID_ATTEMPTS):
        node_id = new_id()
        if view.nodes.get(node_id) is None:
            joiners.add(request.csr, node_id)
            return _newcomer(node_id, role, request, cluster, host)
    raise InvariantBroken("no fresh node id in four attempts: the random source is broken")


def token_role(token: str, tokens: api.JoinTokens) -> "api.NodeRole | None":
    """Return the role that a join token gives, or None. The role that a joining node asks for is ignored."""
    is_manager, is_worker = same_token(token, tokens.manager), same_token(token, tokens.worker)
    if is_manager:
        return api.MANAGER
    return api.WORKER if is_worker else None


def check_room(view: "View", host: str) -> None:
    """Raise ResourceExhausted if too many nodes, of this host or in all, were made and have not registered."""
    if len(view.nodes.find("absent_from", host)) >= MAX_ABSENT_OF_HOST:
        raise ResourceExhausted(
            f"{MAX_ABSENT_OF_HOST} nodes that joined from {host} have never come: they are forgotten {ABSENCE}"
        )
    if len(view.nodes.find("came", key=False)) >= MAX_ABSENT:
        raise ResourceExhausted(f"{MAX_ABSENT} nodes that joined have never come: they are forgotten {ABSENCE}")


def _repeated(node: api.Node, csr: bytes) -> Admitted:
    response = api.IssueNodeCertificateResponse(node_id=node.id, node_membership=node.spec.membership)
    if node.certificate.csr == csr:
        return Admitted(None, response)
    changed = copy(node)
    changed.certificate.CopyFrom(
        api.Certificate(
            role=node.role, csr=csr, cn=node.id, status=api.IssuanceStatus(state=api.IssuanceStatus.PENDING)
        )
    )
    return Admitted(Update(changed), response)


def _newcomer(
    node_id: str, role: "api.NodeRole", request: api.IssueNodeCertificateRequest, cluster: api.Cluster, host: str
) -> Admitted:
    node = api.Node(
        id=node_id,
        role=role,
        spec=api.NodeSpec(desired_role=role, membership=api.NodeSpec.ACCEPTED, availability=request.availability),
        certificate=api.Certificate(
            role=role,
            csr=request.csr,
            cn=node_id,
            status=api.IssuanceStatus(state=api.IssuanceStatus.PENDING),
        ),
        # The address that it joins from. When it registers, it gives its own.
        status=api.NodeStatus(addr=host),
        VXLANUDPPort=cluster.VXLANUDPPort,
    )
    response = api.IssueNodeCertificateResponse(node_id=node_id, node_membership=api.NodeSpec.ACCEPTED)
    return Admitted(Create(node), response)


def _renewal(view: "View", node_id: str, csr: bytes) -> Admitted:
    node = view.nodes.get(node_id)
    if node is None:
        raise NotFound(f"node {node_id} not found when attempting to renew certificate")
    changed = copy(node)
    # The observed role, not the desired one: the role manager changes the observed role when that is safe.
    changed.certificate.CopyFrom(
        api.Certificate(role=node.role, csr=csr, cn=node_id, status=api.IssuanceStatus(state=api.IssuanceStatus.RENEW))
    )
    response = api.IssueNodeCertificateResponse(node_id=node_id, node_membership=node.spec.membership)
    return Admitted(Update(changed), response)


def awaits_signature(node: api.Node) -> bool:
    """Return whether a node's certificate request should be signed now."""
    state = node.certificate.status.state
    if state == api.IssuanceStatus.RENEW:
        return True
    return state == api.IssuanceStatus.PENDING and node.spec.membership == api.NodeSpec.ACCEPTED


class Signer:
    """The decider that signs admitted requests with the cluster's key. It keeps the key and the waiting nodes."""

    name = "signer"
    kinds = (api.Node, api.Cluster)

    def __init__(self, cluster_id: str) -> None:
        self._cluster_id = cluster_id
        self._waiting: set[str] = set()
        self._told = ""
        self._root_as_stored = b""
        self._root: RootCA | None = None

    def decide(self, view: "View", now: float, events: Sequence[Event] | None) -> Plan:
        """Sign up to `MAX_SIGNED` requests. If there are more, ask to look again at once; without a key, later."""
        if events is None:
            self._waiting.clear()
            self._root_as_stored = b""
        seen: Iterable[api.Node] = view.nodes.all() if events is None else _nodes(events)
        self._waiting.update(node.id for node in seen if awaits_signature(node))
        if not self._waiting:
            return Plan()
        cluster = view.clusters.get(self._cluster_id)
        if cluster is not None and signing_urls(cluster):
            return Plan()  # an external CA signs; `_waiting` is kept, in case it is removed from the spec
        problem = "there is no cluster object" if cluster is None else self._read_root(cluster, now)
        if problem or cluster is None or self._root is None:
            return self._postpone(problem, now)
        self._told = ""
        changes: list[Change] = []
        notes: list[str] = []
        for node_id in sorted(self._waiting):
            if len(changes) == MAX_SIGNED:
                return Plan(tuple(changes), tuple(notes), look_again_at=now)
            self._waiting.discard(node_id)
            node = view.nodes.get(node_id)
            if node is not None and awaits_signature(node):
                signed = _signed(node, self._root, cluster, now)
                changes.append(Update(signed))
                if signed.certificate.status.err:
                    notes.append(f"node {node_id} gets no certificate: {signed.certificate.status.err}")
        return Plan(tuple(changes), tuple(notes))

    def _read_root(self, cluster: api.Cluster, now: float) -> str:
        """Read the signing key into `_root`. Return the problem, or an empty text."""
        if not root_from_api(cluster.root_ca).can_sign:
            return "the cluster has no CA key"
        stored = cluster.root_ca.SerializeToString(deterministic=True)
        if stored != self._root_as_stored:
            root = root_from_api(cluster.root_ca)
            try:
                root.check(now)
            except InvalidCertificate as fault:
                return f"the cluster's CA cannot sign: {fault}"
            self._root, self._root_as_stored = root, stored
        return ""

    def _postpone(self, problem: str, now: float) -> Plan:
        note = f"certificates of {len(self._waiting)} nodes wait: {problem}"
        notes = () if problem == self._told else (note,)
        self._told = problem
        return Plan(notes=notes, look_again_at=now + RETRY)


def _signed(node: api.Node, root: RootCA, cluster: api.Cluster, now: float) -> api.Node:
    """Return the node with the certificate that it asked for, or with the reason why it gets none."""
    config = cluster.spec.ca_config
    lifetime = timedelta(seconds=seconds(config.node_cert_expiry)) if config.HasField("node_cert_expiry") else None
    request = node.certificate
    try:
        pem = root.issue(request.csr, request.cn, request.role, cluster.id, now=now, lifetime=lifetime)
    except InvalidArgument as fault:
        return refused(node, str(fault))
    return issued(node, pem)


def issued(node: api.Node, pem: bytes) -> api.Node:
    """Return the node with its new certificate."""
    changed = copy(node)
    changed.certificate.certificate = pem
    changed.certificate.status.CopyFrom(api.IssuanceStatus(state=api.IssuanceStatus.ISSUED))
    return changed


def refused(node: api.Node, reason: str) -> api.Node:
    """Return the node with its request refused for this reason."""
    changed = copy(node)
    changed.certificate.status.CopyFrom(api.IssuanceStatus(state=api.IssuanceStatus.FAILED, err=reason))
    return changed


def _nodes(events: Sequence[Event]) -> list[api.Node]:
    return [event.obj for event in events if event.action != "remove" and isinstance(event.obj, api.Node)]
