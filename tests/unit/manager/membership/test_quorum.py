"""Which members may leave the quorum, and which must."""

import pytest

from shoal.api import v1 as api
from shoal.manager.membership.quorum import Quorum, Reachability, Seat
from tests.unit.manager.stores import MemoryStore


def node(node_id: str, role: int = api.MANAGER, *, desired: int | None = None) -> api.Node:
    spec = api.NodeSpec(desired_role=role if desired is None else desired)  # type: ignore[arg-type]
    status = api.ManagerStatus(raft_id=ord(node_id), addr=f"10.0.0.{ord(node_id)}:2377")
    return api.Node(id=node_id, role=role, spec=spec, manager_status=status)  # type: ignore[arg-type]


def quorum(voters: str, there: str, *, nodes: list[api.Node] | None = None, learners: str = "") -> Quorum:
    store = MemoryStore([node(each) for each in voters + learners] if nodes is None else nodes)
    made = Quorum(voters[0], store.view, there.__contains__)
    made.seats = {each: Seat(ord(each)) for each in voters} | {each: Seat(ord(each), votes=False) for each in learners}
    return made


@pytest.mark.parametrize(
    ("voters", "there", "who", "may"),
    [
        ("a", "", "a", False),  # the last one
        ("ab", "b", "b", True),
        ("ab", "b", "a", True),
        ("ab", "", "b", True),  # a member that is gone for good
        ("ab", "", "a", False),
        ("abc", "bc", "b", True),
        ("abc", "b", "c", True),  # two of two remain
        ("abc", "b", "b", False),  # one of two
        ("abcd", "b", "b", False),
        ("abcde", "bc", "d", True),  # three of four
        ("abcde", "b", "d", False),
        ("abcde", "bcd", "e", True),
    ],
)
def test_a_member_goes_only_where_a_majority_of_the_rest_is_there(voters: str, there: str, who: str, may: bool) -> None:
    remaining = [each for each in voters if each != who]
    present = [each for each in remaining if each == voters[0] or each in there]
    assert may is (len(present) >= len(remaining) // 2 + 1)
    assert quorum(voters, there).can_remove(who) is may


def test_a_learner_may_always_go() -> None:
    assert quorum("ab", "", learners="c").can_remove("c")


def test_statuses_tell_who_leads_and_who_is_reachable() -> None:
    statuses = quorum("abc", "b").statuses()
    assert [statuses[each].leader for each in "abc"] == [True, False, False]
    reachable, unreachable = api.RaftMemberStatus.REACHABLE, api.RaftMemberStatus.UNREACHABLE
    assert [statuses[each].reachability for each in "abc"] == [reachable, reachable, unreachable]
    assert statuses["b"].raft_id == ord("b")
    assert statuses["b"].addr == "10.0.0.98:2377"


def test_who_is_demoted_or_gone_is_to_be_removed_the_leader_last() -> None:
    nodes = [node("a", desired=api.WORKER), node("b"), node("c", desired=api.WORKER)]
    assert list(quorum("abcd", "bcd", nodes=nodes).to_remove()) == ["c", "d", "a"]


def test_a_leader_without_a_node_stays() -> None:
    assert list(quorum("ab", "b", nodes=[node("b")]).to_remove()) == []


def test_nodes_are_told_where_members_are() -> None:
    nodes = [node("a"), node("b"), api.Node(id="c"), node("w")]
    assert [(peer.node_id, peer.addr) for peer in quorum("abc", "", nodes=nodes).peers()] == [
        ("a", "10.0.0.97:2377"),
        ("b", "10.0.0.98:2377"),
    ]


def test_a_manager_is_reachable_for_a_moment_after_it_was_heard() -> None:
    now = 10.0
    heard = Reachability(lambda: now, within=1.0)
    assert not heard.is_reachable("a")
    heard.heard("a")
    assert heard.is_reachable("a")
    now = 11.1
    assert not heard.is_reachable("a")
