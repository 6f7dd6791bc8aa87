"""Who may call what on port 2377: the table, and the check of one call. Pure.

In: what TLS says about the peer, the forwarding headers, the cluster's id and its removed nodes. Out: the `Caller`, or
`PermissionDenied` with SwarmKit's texts. Source of table, order and texts: SwarmKit api/*.proto (`tls_authorization`),
ca/auth.go.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shoal.api import v1 as api
from shoal.ca.identity import MANAGER_OU, WORKER_OU
from shoal.errors import PermissionDenied, Unavailable

ROLES = {MANAGER_OU: api.MANAGER, WORKER_OU: api.WORKER}

# The headers that a follower adds when it forwards a call to the leader (SwarmKit ca/forward.go).
FORWARDED_MARK = "forwarded_cert"
FORWARDED_CN = "forwarded_cert_cn"
FORWARDED_ORG = "forwarded_cert_org"
FORWARDED_OU = "forwarded_cert_ou"
FORWARDED_ADDRESS = "remote_addr"
REDIRECT = "redirect"
FORMER_FORWARDER = "the manager that was asked is not one any more: ask another"


@dataclass(frozen=True, slots=True)
class Subject:
    """The names in a node's certificate: its node id, the cluster's id, and its roles."""

    common_name: str = ""
    organization: str = ""
    units: tuple[str, ...] = ()


# Returns why a valid certificate does not count any more, or an empty text if it counts.
Standing = Callable[[Subject], str]


@dataclass(frozen=True, slots=True)
class Peer:
    """What is known about the other end of a connection. `address` is host:port."""

    address: str = ""
    tls: bool = True
    subject: Subject | None = None
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The original caller, as named by the forwarding manager."""

    subject: Subject
    address: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes the present call.

    Without a certificate of this cluster, `node_id` is empty and `role` is None; this only happens in methods that are
    open to anyone. `address` is host:port of the node itself, also if a manager forwarded the call.
    """

    node_id: str
    role: api.NodeRole | None
    cluster_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a method, and whether only the leader answers it. Without `units` anyone may call it."""

    units: tuple[str, ...]
    leader_only: bool


def _rules(
    service: str, methods: str, units: tuple[str, ...], *, leader_only: bool, package: str = "docker.swarmkit.v1"
) -> dict[str, Rule]:
    return {f"/{package}.{service}/{method}": Rule(units, leader_only) for method in methods.split()}


_MANAGERS = (MANAGER_OU,)
_NODES = (WORKER_OU, MANAGER_OU)
_CRUD = "Get{0} List{0}s Create{0} Update{0} Remove{0}"
_CONTROL = " ".join(
    [
        *(_CRUD.format(kind) for kind in ("Service", "Secret", "Config", "Resource", "Volume")),
        "GetNode ListNodes UpdateNode RemoveNode GetTask ListTasks RemoveTask ListServiceStatuses",
        "GetNetwork ListNetworks CreateNetwork RemoveNetwork GetCluster ListClusters UpdateCluster",
        "GetExtension CreateExtension RemoveExtension",
    ]
)

AUTHORIZATION: Mapping[str, Rule] = {
    **_rules("CA", "GetRootCACertificate", (), leader_only=True),
    **_rules("CA", "GetUnlockKey", _MANAGERS, leader_only=True),
    **_rules("NodeCA", "IssueNodeCertificate NodeCertificateStatus", (), leader_only=True),
    **_rules(
        "Dispatcher",
        "Session Heartbeat UpdateTaskStatus UpdateVolumeStatus Tasks Assignments",
        _NODES,
        leader_only=True,
    ),
    **_rules("LogBroker", "ListenSubscriptions PublishLogs", _NODES, leader_only=True),
    **_rules("ResourceAllocator", "AttachNetwork DetachNetwork", _NODES, leader_only=True),
    **_rules("RaftMembership", "Join Leave", _MANAGERS, leader_only=True),
    **_rules("Raft", "ProcessRaftMessage StreamRaftMessage ResolveAddress", _MANAGERS, leader_only=False),
    **_rules("Health", "Check", _MANAGERS, leader_only=False),
    # Docker's managers do not serve these two on their port. Shoal's managers forward calls to the leader by them.
    **_rules("Control", _CONTROL, _MANAGERS, leader_only=True),
    **_rules("Logs", "SubscribeLogs", _MANAGERS, leader_only=True),
    **_rules("Watch", "Watch", _MANAGERS, leader_only=False),
    **_rules("Managers", "Join", _MANAGERS, leader_only=True, package="shoal.v1"),
    **_rules("Placement", "Explain", _MANAGERS, leader_only=True, package="shoal.v1"),
    **_rules("Views", "Ask", _MANAGERS, leader_only=True, package="shoal.v1"),
    **_rules("Views", "Answer", _NODES, leader_only=True, package="shoal.v1"),
}


def subject_of(names: Sequence[Sequence[tuple[str, str]]]) -> Subject:
    """Return the names of a subject in the form that `ssl` gives: relative names, each with pairs of kind and value."""
    values: dict[str, list[str]] = {}
    for relative in names:
        for kind, value in relative:
            values.setdefault(kind, []).append(value)
    return Subject(
        common_name=values.get("commonName", [""])[-1],
        organization=values.get("organizationName", [""])[0],
        units=tuple(values.get("organizationalUnitName", [])),
    )


def forwarded_from(metadata: Mapping[str, str], units: Sequence[str]) -> Forwarded | None:
    """Return the original caller of a forwarded call, else None. Its names are empty if it had no certificate."""
    if metadata.get(FORWARDED_MARK) != "true":
        return None
    subject = Subject(
        common_name=metadata.get(FORWARDED_CN, ""),
        organization=metadata.get(FORWARDED_ORG, ""),
        units=tuple(unit for unit in units if unit),
    )
    return Forwarded(subject, metadata.get(FORWARDED_ADDRESS, ""))


def unquestioned(_subject: Subject) -> str:
    """Accept every certificate. For callers that cannot judge it, or leave that to the leader."""
    return ""


def judge(
    units: tuple[str, ...],
    peer: Peer,
    forwarded: Forwarded | None,
    cluster_id: str,
    is_removed: Callable[[str], bool],
    standing: Standing = unquestioned,
    *,
    renews: bool = False,
) -> Caller:
    """Return the caller, if its role is in `units`. Raises PermissionDenied.

    The order of the checks is SwarmKit's. `is_removed` returns whether a node's certificates were blacklisted,
    `standing` why another certificate does not count. With `renews` the caller may renew a certificate that does not
    count. A forwarder's certificate must count even then; otherwise it could get the certificate of any node.
    """
    of_caller = unquestioned if renews else standing
    if forwarded is None:
        try:
            subject = _authorize(peer, units, cluster_id, is_removed, of_caller)
        except PermissionDenied as refusal:
            raise PermissionDenied(_wrapped("unauthorized peer role", refusal)) from refusal
        return _caller(subject, units, cluster_id, peer.address)
    try:
        _authorize(peer, _MANAGERS, cluster_id, is_removed, standing)
    except PermissionDenied as refusal:
        raise PermissionDenied(_wrapped("unauthorized forwarder role", refusal)) from refusal
    subject = forwarded.subject
    if not (subject.common_name and subject.organization and subject.units):
        raise PermissionDenied("Permission denied: missing information in forwarded request")
    if not _may(subject, units):
        raise PermissionDenied(f"Permission denied: unauthorized forwarded role, expecting: {_listed(units)}")
    if is_removed(subject.common_name):
        raise PermissionDenied(f"Permission denied: node {subject.common_name} was removed from swarm")
    if subject.organization != cluster_id:
        raise PermissionDenied(f"Permission denied: organization mismatch, expecting: {cluster_id}")
    _check(of_caller, subject)
    return _caller(subject, units, cluster_id, forwarded.address)


def identify(
    rule: Rule,
    peer: Peer,
    forwarded: Forwarded | None,
    cluster_id: str,
    is_removed: Callable[[str], bool],
    standing: Standing = unquestioned,
) -> Caller:
    """Return the caller under `rule`. If anyone may call, a caller without a valid certificate has an empty node id.

    Raises PermissionDenied. Raises Unavailable if a former manager forwards a call that is open to anyone.
    """
    if rule.units:
        return judge(rule.units, peer, forwarded, cluster_id, is_removed, standing)
    try:
        return judge(_NODES, peer, forwarded, cluster_id, is_removed, standing, renews=True)
    except PermissionDenied:
        # A joiner has no certificate, and a removed node joins again with a token, so the method decides. The address
        # in the headers is only believed if the forwarder is a manager of this swarm.
        address = peer.address
        if forwarded is not None and _is_manager(peer, cluster_id, is_removed, unquestioned):
            if not _is_manager(peer, cluster_id, is_removed, standing):
                raise Unavailable(FORMER_FORWARDER) from None
            address = forwarded.address
        return Caller("", None, cluster_id, address)


def _is_manager(peer: Peer, cluster_id: str, is_removed: Callable[[str], bool], standing: Standing) -> bool:
    try:
        _authorize(peer, _MANAGERS, cluster_id, is_removed, standing)
    except PermissionDenied:
        return False
    return True


def _authorize(
    peer: Peer, units: tuple[str, ...], cluster_id: str, is_removed: Callable[[str], bool], standing: Standing
) -> Subject:
    if not peer.tls:
        raise PermissionDenied("request is not using TLS")
    if peer.subject is None:
        raise PermissionDenied("no client certificates in request")
    if not peer.verified:
        raise PermissionDenied("no verified chains for remote certificate")
    if not _may(peer.subject, units):
        raise PermissionDenied(f"Permission denied: remote certificate not part of OUs: {_listed(units)}")
    if is_removed(peer.subject.common_name):
        raise PermissionDenied(f"Permission denied: node {peer.subject.common_name} was removed from swarm")
    if peer.subject.organization != cluster_id:
        raise PermissionDenied(f"Permission denied: remote certificate not part of organization: {cluster_id}")
    _check(standing, peer.subject)
    return peer.subject


def _check(standing: Standing, subject: Subject) -> None:
    refusal = standing(subject)
    if refusal:
        raise PermissionDenied(f"Permission denied: {refusal}")


def _caller(subject: Subject, units: tuple[str, ...], cluster_id: str, address: str) -> Caller:
    unit = next(unit for unit in subject.units if unit in units)
    return Caller(subject.common_name, ROLES[unit], cluster_id, address)


def _may(subject: Subject, units: tuple[str, ...]) -> bool:
    return any(unit in units for unit in subject.units)


def _listed(units: tuple[str, ...]) -> str:
    return f"[{' '.join(units)}]"  # as Go prints a slice of strings


def _wrapped(what: str, refusal: PermissionDenied) -> str:
    return f"Permission denied: {what}: rpc error: code = PermissionDenied desc = {refusal}"
