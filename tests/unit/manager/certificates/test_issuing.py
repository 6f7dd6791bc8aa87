from collections.abc import Callable
from datetime import timedelta

import pytest

from shoal.api import v1 as api
from shoal.api.times import duration
from shoal.ca.csr import MAX_CSR_BYTES, make_csr, new_key
from shoal.ca.identity import identity_of, read_chain
from shoal.ca.root import create_root
from shoal.ca.tokens import new_token
from shoal.errors import Aborted, InvalidArgument, InvariantBroken, NotFound, ResourceExhausted
from shoal.manager.certificates.issuing import (
    MAX_ABSENT,
    MAX_ABSENT_OF_HOST,
    MAX_SIGNED,
    RETRY,
    Joiners,
    Signer,
    admit,
    awaits_signature,
    check_request,
)
from shoal.manager.deciding.plan import Plan
from shoal.manager.port.authorization import Caller
from shoal.store.changes import Create, Event, Update, copy
from shoal.store.memory import Memory
from tests.unit.ca.swarms import CLUSTER_ID, NOW

ROOT = create_root(NOW)
CSR = make_csr(new_key())
TOKENS = api.JoinTokens(worker=new_token(ROOT.certs_pem), manager=new_token(ROOT.certs_pem))
STRANGER = Caller("", None, CLUSTER_ID, "10.0.0.9:4")
State = api.IssuanceStatus


def cluster(**root_ca: object) -> api.Cluster:
    held = api.RootCA(ca_cert=ROOT.certs_pem, ca_key=ROOT.key_pem, join_tokens=TOKENS)
    held.MergeFrom(api.RootCA(**root_ca))  # type: ignore[arg-type]
    return api.Cluster(id=CLUSTER_ID, root_ca=held, VXLANUDPPort=4790)


def node(
    node_id: str = "n1",
    state: int = State.RENEW,
    *,
    csr: bytes = CSR,
    role: int = api.WORKER,
    membership: int = api.NodeSpec.ACCEPTED,
) -> api.Node:
    status = State(state=state)  # type: ignore[arg-type]
    certificate = api.Certificate(role=role, csr=csr, cn=node_id, status=status, certificate=b"old")  # type: ignore[arg-type]
    return api.Node(id=node_id, role=role, certificate=certificate, spec=api.NodeSpec(membership=membership))  # type: ignore[arg-type]


def request(token: str = "", **fields: object) -> api.IssueNodeCertificateRequest:
    return api.IssueNodeCertificateRequest(csr=CSR, token=token, **fields)  # type: ignore[arg-type]


def fixed(*ids: str) -> Callable[[], str]:
    waiting = iter(ids)
    return lambda: next(waiting)


@pytest.mark.parametrize(
    ("token", "role"), [(TOKENS.worker, api.WORKER), (TOKENS.manager, api.MANAGER)], ids=["worker", "manager"]
)
def test_a_token_makes_a_node_of_its_role_whatever_role_is_asked_for(token: str, role: int) -> None:
    asked = request(token, role=api.MANAGER, availability=api.NodeSpec.DRAIN)
    admitted = admit(Memory.of([cluster()]), asked, STRANGER, CLUSTER_ID, fixed("new"), Joiners())
    certificate = api.Certificate(role=role, csr=CSR, cn="new", status=State(state=State.PENDING))  # type: ignore[arg-type]
    spec = api.NodeSpec(desired_role=role, membership=api.NodeSpec.ACCEPTED, availability=api.NodeSpec.DRAIN)  # type: ignore[arg-type]
    assert admitted.change == Create(
        api.Node(
            id="new",
            role=role,  # type: ignore[arg-type]
            spec=spec,
            certificate=certificate,
            status=api.NodeStatus(addr="10.0.0.9"),
            VXLANUDPPort=4790,
        )
    )
    assert admitted.response == api.IssueNodeCertificateResponse(node_id="new", node_membership=api.NodeSpec.ACCEPTED)


@pytest.mark.parametrize(
    "token", ["", "x", TOKENS.worker[:-1], TOKENS.worker + " "], ids=["empty", "x", "cut short", "with a blank"]
)
def test_without_a_right_token_nobody_joins(token: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^A valid join token is necessary to join this cluster$"):
        admit(Memory.of([cluster()]), request(token), STRANGER, CLUSTER_ID, fixed("new"), Joiners())


def test_a_cluster_without_tokens_takes_no_empty_one() -> None:
    bare = api.Cluster(id=CLUSTER_ID)
    with pytest.raises(InvalidArgument, match="join token"):
        admit(Memory.of([bare]), request(""), STRANGER, CLUSTER_ID, fixed("new"), Joiners())


def test_an_id_that_is_taken_is_drawn_again_three_times() -> None:
    view = Memory.of([cluster(), node("a", csr=make_csr(new_key()))])
    admitted = admit(view, request(TOKENS.worker), STRANGER, CLUSTER_ID, fixed("a", "a", "a", "b"), Joiners())
    assert admitted.response.node_id == "b"
    with pytest.raises(InvariantBroken):
        admit(view, request(TOKENS.worker), STRANGER, CLUSTER_ID, fixed("a", "a", "a", "a", "b"), Joiners())


def made(
    view: Memory,
    asked: api.IssueNodeCertificateRequest,
    node_id: str,
    caller: Caller = STRANGER,
    joiners: Joiners | None = None,
) -> api.Node:
    """Return the node that a request makes, and add it to the view."""
    change = admit(view, asked, caller, CLUSTER_ID, fixed(node_id), joiners or Joiners()).change
    assert isinstance(change, Create)
    assert isinstance(change.obj, api.Node)
    view.load(change.obj)
    return change.obj


@pytest.mark.parametrize("role", ["worker", "manager"])
@pytest.mark.parametrize("leader", ["same", "new"])
def test_a_joiner_that_asks_again_is_the_node_that_it_was(role: str, leader: str) -> None:
    view, token, joiners = Memory.of([cluster()]), getattr(TOKENS, role), Joiners()
    made(view, request(token), "new", joiners=joiners)
    if leader == "new":
        joiners = Joiners()
    again = admit(view, request(token), STRANGER, CLUSTER_ID, fixed(), joiners)
    assert (again.change, again.response.node_id) == (None, "new")


def test_by_its_key_and_not_by_the_bytes_of_its_request() -> None:
    view, key = Memory.of([cluster()]), new_key()
    first, second = make_csr(key), make_csr(key)
    assert first != second
    old = made(view, api.IssueNodeCertificateRequest(csr=first, token=TOKENS.worker), "new")
    asked = api.IssueNodeCertificateRequest(csr=second, token=TOKENS.worker)
    again = admit(view, asked, STRANGER, CLUSTER_ID, fixed(), Joiners())
    wanted = copy(old)
    wanted.certificate.csr = second
    assert again.change == Update(wanted)
    assert again.response.node_id == "new"


def test_a_node_that_came_or_has_another_role_is_nobody_elses() -> None:
    view = Memory.of([cluster()])
    came = copy(made(view, request(TOKENS.worker), "came"))
    came.description.hostname = "host"
    view.load(came)
    made(view, request(TOKENS.manager), "manager")
    made(view, request(TOKENS.worker), "other")


def test_a_node_that_was_not_made_after_all_is_not_found() -> None:
    view, joiners = Memory.of([cluster()]), Joiners()
    admit(view, request(TOKENS.worker), STRANGER, CLUSTER_ID, fixed("lost"), joiners)
    made(view, request(TOKENS.worker), "new", joiners=joiners)


def absent(count: int, host: str) -> list[api.Node]:
    status = api.NodeStatus(addr=host)
    return [api.Node(id=f"{host}-{number}", status=status) for number in range(count)]


def test_nodes_that_never_came_are_limited_by_host_and_in_sum() -> None:
    elsewhere = Caller("", None, CLUSTER_ID, "[fd00::1]:4")
    full = Memory.of([cluster(), *absent(MAX_ABSENT_OF_HOST, "10.0.0.9")])
    with pytest.raises(ResourceExhausted, match=r"joined from 10\.0\.0\.9 have never come"):
        admit(full, request(TOKENS.worker), STRANGER, CLUSTER_ID, fixed("new"), Joiners())
    assert made(full, request(TOKENS.worker), "new", elsewhere).status.addr == "fd00:0000:0000:0000"
    many = Memory.of([cluster(), *(node for number in range(MAX_ABSENT) for node in absent(1, f"10.1.1.{number}"))])
    with pytest.raises(ResourceExhausted, match="nodes that joined have never come"):
        admit(many, request(TOKENS.worker), STRANGER, CLUSTER_ID, fixed("new"), Joiners())
    came = [api.Node(id=f"n{number}", description=api.NodeDescription()) for number in range(MAX_ABSENT)]
    made(Memory.of([cluster(), *came]), request(TOKENS.worker), "new")


@pytest.mark.parametrize("caller", [STRANGER, Caller("n1", api.WORKER, CLUSTER_ID, "")], ids=["joiner", "node"])
def test_what_cannot_be_signed_is_not_written(caller: Caller) -> None:
    junk = api.IssueNodeCertificateRequest(csr=b"junk" * 100, token=TOKENS.worker)
    with pytest.raises(InvalidArgument, match="cannot be read"):
        admit(Memory.of([cluster(), node("n1")]), junk, caller, CLUSTER_ID, fixed("new"), Joiners())


def test_without_a_token_a_request_is_not_even_read() -> None:
    junk = api.IssueNodeCertificateRequest(csr=b"junk" * 100, token="no")
    with pytest.raises(InvalidArgument, match="A valid join token"):
        check_request(Memory.of([cluster()]), junk, STRANGER, CLUSTER_ID)


def test_a_known_caller_renews_its_own_certificate_with_its_observed_role() -> None:
    held = node("n1", State.ISSUED, role=api.WORKER)
    held.spec.desired_role = api.MANAGER
    caller = Caller("n1", api.WORKER, CLUSTER_ID, "")
    admitted = admit(Memory.of([cluster(), held]), request(TOKENS.manager), caller, CLUSTER_ID, fixed(), Joiners())
    wanted = copy(held)
    wanted.certificate.CopyFrom(api.Certificate(role=api.WORKER, csr=CSR, cn="n1", status=State(state=State.RENEW)))
    assert admitted.change == Update(wanted)
    assert admitted.response == api.IssueNodeCertificateResponse(node_id="n1", node_membership=api.NodeSpec.ACCEPTED)


def test_a_node_that_was_removed_renews_nothing() -> None:
    caller = Caller("gone", api.MANAGER, CLUSTER_ID, "")
    with pytest.raises(NotFound, match=r"^node gone not found when attempting to renew certificate$"):
        admit(Memory.of([cluster()]), request(TOKENS.worker), caller, CLUSTER_ID, fixed("new"), Joiners())


def test_the_request_is_looked_at_first() -> None:
    with pytest.raises(InvalidArgument, match=r"^InvalidArgument$"):
        admit(Memory(), api.IssueNodeCertificateRequest(), STRANGER, CLUSTER_ID, fixed(), Joiners())
    huge = api.IssueNodeCertificateRequest(csr=b"x" * (MAX_CSR_BYTES + 1))
    with pytest.raises(InvalidArgument, match="larger"):
        admit(Memory(), huge, STRANGER, CLUSTER_ID, fixed(), Joiners())
    with pytest.raises(Aborted, match=r"^CA signer is still starting$"):
        admit(Memory(), request(TOKENS.worker), STRANGER, CLUSTER_ID, fixed(), Joiners())


@pytest.mark.parametrize(
    ("state", "membership", "awaits"),
    [
        (State.UNKNOWN, api.NodeSpec.ACCEPTED, False),
        (State.RENEW, api.NodeSpec.ACCEPTED, True),
        (State.RENEW, api.NodeSpec.PENDING, True),
        (State.PENDING, api.NodeSpec.ACCEPTED, True),
        (State.PENDING, api.NodeSpec.PENDING, False),
        (State.ISSUED, api.NodeSpec.ACCEPTED, False),
        (State.FAILED, api.NodeSpec.ACCEPTED, False),
        (State.ROTATE, api.NodeSpec.ACCEPTED, False),
    ],
)
def test_what_awaits_a_signature(state: int, membership: int, awaits: bool) -> None:
    assert awaits_signature(node(state=state, membership=membership)) is awaits


def signed_nodes(plan: Plan) -> list[api.Node]:
    return [change.obj for change in plan.changes if isinstance(change, Update) and isinstance(change.obj, api.Node)]


def test_a_request_is_signed_for_the_node_and_role_that_the_store_says() -> None:
    held = node("n1", role=api.MANAGER)
    plan = Signer(CLUSTER_ID).decide(Memory.of([cluster(), held, node("n2", State.ISSUED)]), NOW, None)
    (changed,) = signed_nodes(plan)
    identity = identity_of(read_chain(changed.certificate.certificate)[0])
    assert (identity.node_id, identity.role, identity.organization) == ("n1", api.MANAGER, CLUSTER_ID)
    assert changed.certificate.status == State(state=State.ISSUED)
    assert changed.certificate.csr == CSR
    assert (plan.notes, plan.look_again_at) == ((), None)
    assert held.certificate.certificate == b"old"


def test_the_clusters_lifetime_is_used() -> None:
    held = cluster()
    held.spec.ca_config.node_cert_expiry.CopyFrom(duration(7200.0))
    (changed,) = signed_nodes(Signer(CLUSTER_ID).decide(Memory.of([held, node()]), NOW, None))
    identity = identity_of(read_chain(changed.certificate.certificate)[0])
    assert abs(identity.not_after_at - NOW - 7200) <= 60


def test_a_request_that_cannot_be_signed_fails_with_the_reason() -> None:
    plan = Signer(CLUSTER_ID).decide(Memory.of([cluster(), node(csr=b"x"), node("n2")]), NOW, None)
    failed, fine = signed_nodes(plan)
    assert failed.certificate.status.state == State.FAILED
    assert "cannot be read" in failed.certificate.status.err
    assert fine.certificate.status.state == State.ISSUED
    assert plan.notes == (f"node n1 gets no certificate: {failed.certificate.status.err}",)


def test_only_what_changed_is_looked_at() -> None:
    signer, held = Signer(CLUSTER_ID), cluster()
    assert signer.decide(Memory.of([held, node("n1", State.ISSUED)]), NOW, None) == Plan()
    changed = node("n1")
    view = Memory.of([held, changed, node("unseen")])
    assert [each.id for each in signed_nodes(signer.decide(view, NOW, [Event("update", changed, None)]))] == ["n1"]


def test_an_event_that_is_out_of_date_leads_to_nothing() -> None:
    signer = Signer(CLUSTER_ID)
    view = Memory.of([cluster(), node("n1", State.ISSUED)])
    events = [Event("update", node("n1"), None), Event("remove", node("n2"), None), Event("create", node("n3"), None)]
    assert signer.decide(view, NOW, events) == Plan()


def test_many_requests_are_signed_in_portions() -> None:
    signer, view = Signer(CLUSTER_ID), Memory.of([cluster(), *(node(f"n{i:03}") for i in range(MAX_SIGNED + 3))])
    first = signer.decide(view, NOW, None)
    assert (len(first.changes), first.look_again_at) == (MAX_SIGNED, NOW)
    second = signer.decide(view, NOW, [])
    assert (len(second.changes), second.look_again_at) == (3, None)
    assert not {each.id for each in signed_nodes(first)} & {each.id for each in signed_nodes(second)}


def test_what_an_external_ca_signs_is_left_to_it_until_there_is_none() -> None:
    held = cluster()
    held.spec.ca_config.external_cas.add(url="https://ca")
    signer = Signer(CLUSTER_ID)
    assert signer.decide(Memory.of([held, node()]), NOW, None) == Plan()
    (change,) = signer.decide(Memory.of([cluster(), node()]), NOW, [Event("update", cluster(), held)]).changes
    assert isinstance(change, Update)
    assert isinstance(change.obj, api.Node)
    assert change.obj.certificate.status.state == State.ISSUED


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda held: held.root_ca.ClearField("ca_key"), "no CA key"),
        (lambda held: setattr(held.root_ca, "ca_key", create_root(NOW).key_pem), "does not belong"),
        (lambda held: setattr(held.root_ca, "ca_cert", b"x"), "not a PEM certificate"),
    ],
)
def test_a_ca_that_cannot_sign_leaves_the_request_and_is_asked_again(
    spoil: Callable[[api.Cluster], None], reason: str
) -> None:
    held = cluster()
    spoil(held)
    signer = Signer(CLUSTER_ID)
    plan = signer.decide(Memory.of([held, node()]), NOW, None)
    assert plan.changes == ()
    assert plan.look_again_at == NOW + RETRY
    assert len(plan.notes) == 1
    assert reason in plan.notes[0]
    again = signer.decide(Memory.of([held, node()]), NOW + RETRY, [])
    assert again == Plan(look_again_at=NOW + 2 * RETRY)
    mended = signer.decide(Memory.of([cluster(), node()]), NOW + 2 * RETRY, [])
    assert len(mended.changes) == 1


def test_an_expired_root_signs_nothing() -> None:
    late = NOW + timedelta(days=365 * 21).total_seconds()
    plan = Signer(CLUSTER_ID).decide(Memory.of([cluster(), node()]), late, None)
    assert plan.changes == ()
    assert "expired" in plan.notes[0]


def test_an_external_ca_of_another_root_is_not_asked() -> None:
    held = cluster()
    held.spec.ca_config.external_cas.add(url="https://ca", ca_cert=create_root(NOW).certs_pem)
    assert len(Signer(CLUSTER_ID).decide(Memory.of([held, node()]), NOW, None).changes) == 1
