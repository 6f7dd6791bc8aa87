"""Which messages about members are believed: the table of incoming messages (gossip.md 1.9), and its bounds."""

import pytest

from shoal.network.gossip.delegate import State
from shoal.network.gossip.members import VERSIONS, is_compatible, packed_of, text_of
from shoal.network.gossip.messages import Alive, Dead, Suspect
from tests.unit.network.gossip.fakes import NOW, Node, alive

ALIVE, SUSPECT, DEAD, LEFT = State.ALIVE, State.SUSPECT, State.DEAD, State.LEFT


def told(node: Node) -> list[tuple[str, str]]:
    return [event[:2] for event in node.told.events]


def queued(node: Node, name: str) -> bool:
    return name in node.list._broadcasts


def test_unknown_member_is_added_told_and_passed_on() -> None:
    node = Node()
    node.get(alive(2))
    assert node.states() == {"n1": ALIVE, "n2": ALIVE}
    assert told(node) == [("joined", "n2")]
    assert queued(node, "n2")


@pytest.mark.parametrize(
    ("versions", "good"),
    [
        (VERSIONS, True), (b"\1\5\5\0\0\0", True), (b"\2\2\2\0\0\0", True), (b"\1\5\2\0\3\0", True),
        (b"", False), (b"\1\5", False), (VERSIONS + b"\0", False), (b"\0\5\2\0\0\0", False), (b"\1\0\2\0\0\0", False),
        (b"\5\1\2\0\0\0", False), (b"\3\5\3\0\0\0", False), (b"\1\1\1\0\0\0", False), (b"\1\5\6\0\0\0", False),
        (b"\1\5\0\0\0\0", False), (b"\1\5\2\1\1\1", False), (b"\1\5\2\0\1\1", False),
    ],
)  # fmt: skip
def test_only_who_is_understood_is_kept(versions: bytes, good: bool) -> None:
    assert is_compatible(versions) == good
    node = Node()
    node.get(alive(2, versions=versions))
    assert ("n2" in node.states()) == good


def test_older_word_about_another_is_ignored() -> None:
    node = Node()
    node.get(alive(2, 5), alive(2, 5, meta=b"new"), alive(2, 4, meta=b"new"))
    assert told(node) == [("joined", "n2")]
    node.get(alive(2, 6, meta=b"new"))
    assert told(node) == [("joined", "n2"), ("updated", "n2")]


def test_address_changes_only_of_who_has_left() -> None:
    node = Node(2)
    moved = alive(2, 9, address=b"\x0a\x09\x00\x63")
    node.get(moved)
    assert node.list.table.get("n2").address == b"\x0a\x09\x00\x02"  # type: ignore[union-attr]
    assert "address" in node.notes()
    node.get(Dead(1, "n2", "n2"))
    node.get(alive(2, 1, address=b"\x0a\x09\x00\x63"))
    assert node.states()["n2"] == ALIVE
    assert node.list.table.get("n2").address == b"\x0a\x09\x00\x63"  # type: ignore[union-attr]
    assert told(node) == [("joined", "n2"), ("left", "n2"), ("joined", "n2")]


def test_suspect_ends_in_death_unless_it_speaks_up() -> None:
    node = Node(2, 3)
    node.get(Suspect(1, "n2", "n3"), Suspect(1, "n3", "n2"))
    assert node.states() == {"n1": ALIVE, "n2": SUSPECT, "n3": SUSPECT}
    node.get(alive(3, 2))
    node.list.table.expire(NOW + 3.9)
    assert node.states()["n2"] == SUSPECT
    node.list.table.expire(NOW + 4.0)
    assert node.states() == {"n1": ALIVE, "n2": DEAD, "n3": ALIVE}
    assert told(node)[2:] == [("failed", "n2")]
    assert node.list.table.counts == {"suspected": 2, "dead": 1}
    node.get(alive(2, 1))
    assert node.states()["n2"] == DEAD, "an old word does not wake the dead"
    node.get(alive(2, 2))
    assert told(node)[3:] == [("joined", "n2")]


def test_more_who_suspect_bring_death_sooner() -> None:
    node = Node(*range(2, 12))
    node.get(Suspect(1, "n2", "n3"))
    first = node.list.table.next_expiry()
    node.get(Suspect(1, "n2", "n4"))
    node.get(Suspect(1, "n2", "n4"), Suspect(1, "n2", "n3"))
    second = node.list.table.next_expiry()
    assert first is not None
    assert second is not None
    assert second < first


@pytest.mark.parametrize(
    "word", [Suspect(0, "n2", "n3"), Dead(0, "n2", "n3"), Suspect(1, "x", "n3"), Dead(1, "x", "n3")]
)
def test_old_word_and_word_about_strangers_is_ignored(word: Suspect | Dead) -> None:
    node = Node(2, 3)
    node.get(word)
    assert node.states() == {"n1": ALIVE, "n2": ALIVE, "n3": ALIVE}


def test_who_says_itself_that_it_leaves_has_left() -> None:
    node = Node(2, 3)
    node.get(Dead(1, "n2", "n2"), Dead(1, "n3", "n2"))
    assert node.states() == {"n1": ALIVE, "n2": LEFT, "n3": DEAD}
    node.get(Dead(1, "n2", "n3"), Suspect(1, "n2", "n3"))
    assert node.states()["n2"] == LEFT
    assert told(node)[2:] == [("left", "n2"), ("failed", "n3")]
    assert node.list.number_of_members == 1


@pytest.mark.parametrize("word", [Suspect(7, "n1", "n2"), Dead(7, "n1", "n2"), Dead(7, "n1", "n1"), alive(1, 7)])
def test_accusation_is_refuted_with_a_higher_incarnation(word: Suspect | Dead | Alive) -> None:
    node = Node(2)
    node.get(word)
    assert node.states()["n1"] == ALIVE
    assert node.list.table.me.incarnation == 8
    assert node.list.awareness.score == 1
    assert ("10.9.0.2", Alive(8, "n1", b"\x0a\x09\0\1", 7946, b"", VERSIONS)) in _gossip(node)


def _gossip(node: Node) -> list[tuple[str, object]]:
    node.tick(NOW + 0.3)
    return list(node.sent(Alive))


def test_own_word_that_comes_back_is_no_accusation() -> None:
    node = Node(2)
    node.get(alive(1, 1), alive(1, 0), alive(1, 9, address=b"\x0a\x09\x00\x63"))
    assert node.list.table.me.incarnation == 1
    assert node.list.awareness.score == 0


def test_highest_accusation_is_survived() -> None:
    node = Node(2)
    node.get(Suspect(2**32 - 1, "n1", "n2"), Dead(2**32 - 1, "n1", "n2"))
    assert node.list.table.me.incarnation == 2**32 - 1
    assert node.states()["n1"] == ALIVE


def test_forged_members_make_room_for_each_other_and_never_take_it_from_who_answers() -> None:
    node = Node(2, 3, 4, max_members=50)
    for number in (2, 3):
        record = node.list.table.get(f"n{number}")
        assert record is not None
        node.list.table.prove(record)
    for number in range(10, 3000):
        node.get(alive(number))
    assert len(node.list.table) == 50
    assert len(node.list.table.order) <= 2 * 50 + 64
    assert len(node.list._broadcasts) <= 50
    assert {"n1", "n2", "n3"} <= set(node.states())
    assert "n4" not in node.states()
    assert len([event for event in told(node) if event[0] == "left"]) == 3 + 2990 - 49


def test_full_of_members_that_answer_there_is_no_room() -> None:
    node = Node(2, 3, max_members=3)
    for number in (2, 3):
        record = node.list.table.get(f"n{number}")
        assert record is not None
        node.list.table.prove(record)
    node.get(alive(4))
    assert set(node.states()) == {"n1", "n2", "n3"}
    assert "full" in node.notes()
    node.get(Dead(1, "n2", "n3"), alive(4))
    assert set(node.states()) == {"n1", "n3", "n4"}


def test_one_address_proves_one_member() -> None:
    """Otherwise a host that answers under 10,000 names would fill the table for good."""
    node = Node(2, max_members=20)
    for number in range(10, 100):
        node.get(alive(number, address=b"\x0a\x09\x00\x02"))
        record = node.list.table.get(f"n{number}")
        assert record is not None
        node.list.table.prove(record)
    assert sum(record.answered for record in node.list.table) == 2
    assert node.list.knows("10.9.0.2")
    assert node.list.knows("::ffff:10.9.0.2")
    assert not node.list.knows("10.9.0.3")
    assert not node.list.knows("no address")


def test_gone_members_are_forgotten_after_a_while() -> None:
    node = Node(2, 3)
    node.get(Dead(1, "n2", "n3"))
    node.list.table.reap(NOW + 29)
    assert "n2" in node.states()
    node.list.table.reap(NOW + 31)
    assert set(node.states()) == {"n1", "n3"}


def test_addresses_are_packed_and_unpacked() -> None:
    assert text_of(packed_of("fd00::1%eth0")) == "fd00::1"
    assert text_of(packed_of("::ffff:10.0.0.1")) == "10.0.0.1"
    assert packed_of("x") == b""
