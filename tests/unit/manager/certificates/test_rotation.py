import pytest

from shoal.api import v1 as api
from shoal.ca.identity import public_key_der
from shoal.ca.root import RootCA, create_root
from shoal.ca.tokens import root_digest
from shoal.manager.certificates.rotation import MAX_TOLD, ROUND, RootRotation, has_issuer, wanted_issuer
from shoal.manager.deciding.plan import Plan
from shoal.store.changes import Create, Event, Remove, Update, copy
from shoal.store.memory import Memory, Transaction
from tests.unit.ca.swarms import CLUSTER_ID, NOW

OLD, NEXT = create_root(NOW), create_root(NOW)
State = api.IssuanceStatus
TOLD = (State.RENEW, State.PENDING, State.ROTATE)


def rotating(to: RootCA = NEXT, force: int = 7) -> api.Cluster:
    rotation = api.RootRotation(
        ca_cert=to.certs_pem, ca_key=to.key_pem, cross_signed_ca_cert=OLD.cross_sign(to.certs_pem)
    )
    return api.Cluster(
        id=CLUSTER_ID,
        root_ca=api.RootCA(
            ca_cert=OLD.certs_pem,
            ca_key=OLD.key_pem,
            ca_cert_hash="old",
            join_tokens=api.JoinTokens(worker="w", manager="m"),
            root_rotation=rotation,
            last_forced_rotation=force,
        ),
    )


def node(node_id: str, issuer: RootCA | None = OLD, state: int = State.ISSUED) -> api.Node:
    made = api.Node(id=node_id, certificate=api.Certificate(status=State(state=state)))  # type: ignore[arg-type]
    if issuer is not None:
        certificate = issuer.certificates[0]
        made.description.tls_info.cert_issuer_subject = certificate.subject.public_bytes()
        made.description.tls_info.cert_issuer_public_key = public_key_der(certificate)
    return made


def decider() -> RootRotation:
    return RootRotation(CLUSTER_ID, lambda pem: f"token of {root_digest(pem)}")


def told(plan: Plan) -> list[str]:
    ids = []
    for change in plan.changes:
        assert isinstance(change, Update)
        assert isinstance(change.obj, api.Node)
        assert change.obj.certificate.status.state == State.ROTATE
        ids.append(change.obj.id)
    return ids


def apply(memory: Memory, *changes: object) -> list[Event]:
    transaction = Transaction(memory)
    transaction.apply(changes)  # type: ignore[arg-type]
    return memory.commit(transaction)


def cluster_of(memory: Memory) -> api.Cluster:
    cluster = memory.clusters.get(CLUSTER_ID)
    assert cluster is not None
    return copy(cluster)


def finished(plan: Plan) -> api.RootCA:
    (change,) = plan.changes
    assert isinstance(change, Update)
    assert isinstance(change.obj, api.Cluster)
    return change.obj.root_ca


def test_without_a_rotation_nothing_happens() -> None:
    cluster = rotating()
    cluster.root_ca.ClearField("root_rotation")
    assert decider().decide(Memory.of([cluster, node("n")]), NOW, None) == Plan()
    assert decider().decide(Memory(), NOW, None) == Plan()


def test_what_is_wanted_is_the_next_root_while_there_is_one() -> None:
    cluster = rotating()
    assert has_issuer(node("n", NEXT), wanted_issuer(cluster.root_ca))
    cluster.root_ca.ClearField("root_rotation")
    assert has_issuer(node("n", OLD), wanted_issuer(cluster.root_ca))


def test_nodes_of_another_issuer_are_told_to_renew_and_the_others_are_not() -> None:
    nodes = [node("behind"), node("there", NEXT), node("unheard", None), *(node(str(s), state=s) for s in TOLD)]
    plan = decider().decide(Memory.of([rotating(), *nodes]), NOW, None)
    assert told(plan) == ["behind", "unheard"]
    assert plan.look_again_at == NOW + ROUND


def test_a_failed_certificate_is_renewed_as_well() -> None:
    assert told(decider().decide(Memory.of([rotating(), node("n", state=State.FAILED)]), NOW, None)) == ["n"]


def test_at_most_thirty_nodes_are_told_in_three_seconds() -> None:
    memory = Memory.of([rotating(), *(node(f"n{i:02}") for i in range(2 * MAX_TOLD + 5))])
    rotation = decider()
    counts = []
    events: list[Event] | None = None
    for second in range(10):
        plan = rotation.decide(memory, NOW + second, events)
        counts.append(len(told(plan)))
        events = apply(memory, *plan.changes) if plan.changes else []
    assert counts == [30, 0, 0, 30, 0, 0, 5, 0, 0, 0]


def test_it_ends_once_every_node_has_arrived_or_was_removed() -> None:
    memory = Memory.of([rotating(), node("a"), node("down"), node("c", NEXT)])
    rotation = decider()
    events = apply(memory, *rotation.decide(memory, NOW, None).changes)
    assert rotation.decide(memory, NOW + 1, events).changes == ()

    arrived = node("a", NEXT, State.ROTATE)
    stored = memory.nodes.get("a")
    assert stored is not None
    arrived.meta.CopyFrom(stored.meta)
    assert rotation.decide(memory, NOW + 2, apply(memory, Update(arrived))).changes == ()
    events = apply(memory, Create(node("late")))
    assert told(rotation.decide(memory, NOW + 3, events)) == ["late"]
    events = apply(memory, Remove(api.Node, "late"))
    assert rotation.decide(memory, NOW + 4, events).changes == ()

    digest = root_digest(NEXT.certs_pem)
    token = f"token of {digest}"
    assert finished(rotation.decide(memory, NOW + 5, apply(memory, Remove(api.Node, "down")))) == api.RootCA(
        ca_cert=NEXT.certs_pem,
        ca_key=NEXT.key_pem,
        ca_cert_hash=f"sha256:{digest}",
        join_tokens=api.JoinTokens(worker=token, manager=token),
        last_forced_rotation=7,
    )


def test_a_rotation_that_begins_anew_looks_at_every_node_again() -> None:
    third = create_root(NOW)
    memory = Memory.of([rotating(), node("a", NEXT), node("b")])
    rotation = decider()
    events = apply(memory, *rotation.decide(memory, NOW, None).changes)
    other = cluster_of(memory)
    other.root_ca.CopyFrom(rotating(third).root_ca)
    events += apply(memory, Update(other))
    # At once, and not after the round of the former rotation; and "b" has been told already.
    assert told(rotation.decide(memory, NOW + 1, events)) == ["a"]


def test_a_cancelled_rotation_is_forgotten() -> None:
    memory = Memory.of([rotating(), node("a"), node("b", NEXT)])
    rotation = decider()
    apply(memory, *rotation.decide(memory, NOW, None).changes)
    kept = cluster_of(memory)
    kept.root_ca.ClearField("root_rotation")
    assert rotation.decide(memory, NOW + 1, apply(memory, Update(kept))) == Plan()
    again = cluster_of(memory)
    again.root_ca.CopyFrom(rotating().root_ca)
    plan = rotation.decide(memory, NOW + 2, apply(memory, Update(again)))
    assert told(plan) == []  # "a" must still renew
    assert plan.look_again_at == NOW + 2 + ROUND


def test_a_new_leader_goes_on_where_the_last_one_was() -> None:
    memory = Memory.of([rotating(), node("a", NEXT), node("b", state=State.ROTATE), node("c")])
    assert told(decider().decide(memory, NOW, None)) == ["c"]


@pytest.mark.parametrize("damage", [b"", b"x"])
def test_a_root_that_cannot_be_read_stops_nothing_else(damage: bytes) -> None:
    cluster = rotating()
    cluster.root_ca.root_rotation.ca_cert = damage + b"?"
    plan = decider().decide(Memory.of([cluster, node("a")]), NOW, None)
    assert plan.changes == ()
    assert "cannot be rotated" in plan.notes[0]
