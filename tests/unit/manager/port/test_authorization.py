import inspect
from collections.abc import Callable

import pytest

from shoal.api import v1 as api
from shoal.api.gen import (
    ca_grpc,
    control_grpc,
    dispatcher_grpc,
    health_grpc,
    logbroker_grpc,
    managers_grpc,
    placement_grpc,
    raft_grpc,
    resource_grpc,
    views_grpc,
    watch_grpc,
)
from shoal.errors import PermissionDenied, Unavailable
from shoal.manager.port.authorization import (
    AUTHORIZATION,
    Caller,
    Forwarded,
    Peer,
    Rule,
    Subject,
    forwarded_from,
    identify,
    judge,
    subject_of,
)

CLUSTER = "c1"
ADDRESS = "10.0.0.7:41000"
WORKER = Subject("w", CLUSTER, ("swarm-worker",))
MANAGER = Subject("m", CLUSTER, ("swarm-manager",))
NODES = ("swarm-worker", "swarm-manager")
MANAGERS = ("swarm-manager",)
DIRECT = "Permission denied: unauthorized peer role: rpc error: code = PermissionDenied desc = "
VIA = "Permission denied: unauthorized forwarder role: rpc error: code = PermissionDenied desc = "


def peer(subject: Subject | None, **facts: bool) -> Peer:
    return Peer(ADDRESS, subject=subject, **facts)


def nobody(_node_id: str) -> bool:
    return False


def removed(*node_ids: str) -> Callable[[str], bool]:
    return lambda node_id: node_id in node_ids


def test_the_table_names_every_method_there_is_and_no_other() -> None:
    modules = (
        ca_grpc,
        control_grpc,
        dispatcher_grpc,
        health_grpc,
        logbroker_grpc,
        managers_grpc,
        placement_grpc,
        raft_grpc,
        resource_grpc,
        views_grpc,
        watch_grpc,
    )
    paths: set[str] = set()
    for module in modules:
        for _, base in inspect.getmembers(module, inspect.isclass):
            if hasattr(base, "__mapping__"):
                paths |= set(base.__mapping__(base))
    assert paths == set(AUTHORIZATION)


def test_only_what_a_joiner_needs_is_open_to_anyone() -> None:
    assert sorted(path.rpartition("/")[2] for path, rule in AUTHORIZATION.items() if not rule.units) == [
        "GetRootCACertificate",
        "IssueNodeCertificate",
        "NodeCertificateStatus",
    ]


def test_workers_may_use_four_services_and_answer_but_not_ask() -> None:
    services = {
        path.split("/")[1].split(".")[-1] for path, rule in AUTHORIZATION.items() if "swarm-worker" in rule.units
    }
    assert services == {"Dispatcher", "LogBroker", "ResourceAllocator", "Views"}
    assert AUTHORIZATION["/shoal.v1.Views/Ask"].units == MANAGERS
    assert all(rule.leader_only for rule in AUTHORIZATION.values() if "swarm-worker" in rule.units)


def test_a_node_of_the_right_role_is_told_by_its_certificate() -> None:
    assert judge(NODES, peer(WORKER), None, CLUSTER, nobody) == Caller("w", api.WORKER, CLUSTER, ADDRESS)
    assert judge(MANAGERS, peer(MANAGER), None, CLUSTER, nobody) == Caller("m", api.MANAGER, CLUSTER, ADDRESS)


@pytest.mark.parametrize(
    ("who", "text"),
    [
        (Peer(ADDRESS, tls=False, subject=MANAGER), "request is not using TLS"),
        (peer(None), "no client certificates in request"),
        (peer(MANAGER, verified=False), "no verified chains for remote certificate"),
        (peer(WORKER), "Permission denied: remote certificate not part of OUs: [swarm-manager]"),
        (peer(Subject("gone", CLUSTER, MANAGERS)), "Permission denied: node gone was removed from swarm"),
        (peer(Subject("m", "other", MANAGERS)), "Permission denied: remote certificate not part of organization: c1"),
        # the checks are made in this order
        (Peer(ADDRESS, tls=False), "request is not using TLS"),
        (peer(Subject("gone", "other", ())), "Permission denied: remote certificate not part of OUs: [swarm-manager]"),
        (peer(Subject("gone", "other", MANAGERS)), "Permission denied: node gone was removed from swarm"),
    ],
)
def test_others_are_refused_in_swarms_words(who: Peer, text: str) -> None:
    with pytest.raises(PermissionDenied) as caught:
        judge(MANAGERS, who, None, CLUSTER, removed("gone"))
    assert str(caught.value) == DIRECT + text


def test_both_units_are_named_where_both_may() -> None:
    with pytest.raises(PermissionDenied) as caught:
        judge(NODES, peer(Subject("x", CLUSTER, ("swarm-ca",))), None, CLUSTER, nobody)
    assert str(caught.value).endswith("not part of OUs: [swarm-worker swarm-manager]")


def test_a_manager_speaks_for_a_worker() -> None:
    forwarded = Forwarded(WORKER, "10.0.0.9:5")
    assert judge(NODES, peer(MANAGER), forwarded, CLUSTER, nobody) == Caller("w", api.WORKER, CLUSTER, "10.0.0.9:5")


@pytest.mark.parametrize(
    ("who", "forwarded", "text"),
    [
        (WORKER, MANAGER, VIA + "Permission denied: remote certificate not part of OUs: [swarm-manager]"),
        (None, MANAGER, VIA + "no client certificates in request"),
        (MANAGER, Subject(), "Permission denied: missing information in forwarded request"),
        (MANAGER, Subject("w", CLUSTER, ()), "Permission denied: missing information in forwarded request"),
        (MANAGER, WORKER, "Permission denied: unauthorized forwarded role, expecting: [swarm-manager]"),
        (MANAGER, Subject("gone", CLUSTER, MANAGERS), "Permission denied: node gone was removed from swarm"),
        (MANAGER, Subject("m2", "other", MANAGERS), "Permission denied: organization mismatch, expecting: c1"),
    ],
)
def test_what_a_manager_may_not_forward(who: Subject | None, forwarded: Subject, text: str) -> None:
    with pytest.raises(PermissionDenied) as caught:
        judge(MANAGERS, peer(who), Forwarded(forwarded, ""), CLUSTER, removed("gone"))
    assert str(caught.value) == text


OPEN = Rule((), leader_only=True)


def test_anyone_may_call_an_open_method_and_is_nobody_without_a_right_certificate() -> None:
    stranger = Caller("", None, CLUSTER, ADDRESS)
    assert identify(OPEN, peer(None), None, CLUSTER, nobody) == stranger
    assert identify(OPEN, peer(WORKER), None, CLUSTER, removed("w")) == stranger
    assert identify(OPEN, peer(Subject("w", "other", NODES)), None, CLUSTER, nobody) == stranger
    assert identify(OPEN, peer(WORKER), None, CLUSTER, nobody).node_id == "w"


def test_a_joiner_behind_a_follower_is_not_taken_for_the_follower() -> None:
    joiner = forwarded_from({"forwarded_cert": "true", "remote_addr": "10.0.0.9:5"}, [""])
    assert identify(OPEN, peer(MANAGER), joiner, CLUSTER, nobody) == Caller("", None, CLUSTER, "10.0.0.9:5")


def test_a_stranger_cannot_speak_for_a_node_nor_name_an_address() -> None:
    forged = forwarded_from(
        {
            "forwarded_cert": "true",
            "forwarded_cert_cn": "m",
            "forwarded_cert_org": CLUSTER,
            "remote_addr": "10.0.0.9:5",
        },
        ["swarm-manager"],
    )
    for who in (None, WORKER):
        assert identify(OPEN, peer(who), forged, CLUSTER, nobody) == Caller("", None, CLUSTER, ADDRESS)


def test_only_the_mark_makes_a_call_a_forwarded_one() -> None:
    assert forwarded_from({"forwarded_cert_cn": "m"}, []) is None
    assert forwarded_from({"forwarded_cert": "yes"}, []) is None


def test_names_are_read_as_ssl_gives_them() -> None:
    names = (
        (("organizationName", "c1"),),
        (("organizationalUnitName", "swarm-worker"),),
        (("commonName", "w"),),
    )
    assert subject_of(names) == WORKER
    assert subject_of(()) == Subject()


def demoted(subject: Subject) -> str:
    return "it was demoted" if subject == MANAGER else ""


@pytest.mark.parametrize("units", [MANAGERS, NODES])
def test_a_certificate_that_counts_no_more_opens_nothing(units: tuple[str, ...]) -> None:
    for rule in (Rule(units, leader_only=True), Rule(units, leader_only=False)):
        with pytest.raises(PermissionDenied, match="it was demoted"):
            identify(rule, peer(MANAGER), None, CLUSTER, nobody, demoted)
        with pytest.raises(PermissionDenied, match="it was demoted"):
            identify(rule, peer(Subject("l", CLUSTER, MANAGERS)), Forwarded(MANAGER, ADDRESS), CLUSTER, nobody, demoted)


def test_it_renews_itself_and_speaks_for_nobody_else() -> None:
    anyone = Rule((), leader_only=True)
    assert identify(anyone, peer(MANAGER), None, CLUSTER, nobody, demoted).node_id == "m"
    via = identify(anyone, peer(Subject("l", CLUSTER, MANAGERS)), Forwarded(MANAGER, ADDRESS), CLUSTER, nobody, demoted)
    assert via.node_id == "m"
    with pytest.raises(Unavailable, match="not one any more"):
        identify(anyone, peer(MANAGER), Forwarded(WORKER, "10.9.9.9:1"), CLUSTER, nobody, demoted)
