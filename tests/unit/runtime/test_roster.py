"""How a container is found."""

import pytest

from shoal.errors import Conflict, InvalidArgument, NotFound
from shoal.runtime.life import Life
from shoal.runtime.roster import Roster
from shoal.runtime.types import Container, ContainerConfig, Phase

FIRST, SECOND = "ab1" + "0" * 61, "ab2" + "0" * 61


def life(id: str, name: str, phase: Phase = Phase.CREATED, at: float = 0.0) -> Life:  # noqa: A002
    return Life(Container(id, ContainerConfig(name, "busybox"), "sha256:1", phase, at))


@pytest.fixture
def roster() -> Roster:
    made = Roster()
    made.add(life(FIRST, "web", Phase.RUNNING, 1.0))
    made.add(life(SECOND, "db", at=2.0))
    return made


@pytest.mark.parametrize("ref", [FIRST, "web", "/web", "ab1"])
def test_one_is_found_by_id_name_and_prefix(roster: Roster, ref: str) -> None:
    assert roster.find(ref).value.id == FIRST


def test_what_names_none_or_several_is_refused(roster: Roster) -> None:
    with pytest.raises(InvalidArgument, match="multiple IDs found with provided prefix: ab"):
        roster.find("ab")
    for ref in ("", "cd", "we"):
        with pytest.raises(NotFound, match=f"No such container: {ref}"):
            roster.find(ref)


def test_a_name_that_is_an_id_of_another_is_not_preferred(roster: Roster) -> None:
    roster.add(life("c" * 64, FIRST))
    assert roster.find(FIRST).value.id == FIRST


def test_one_that_must_run_does(roster: Roster) -> None:
    assert roster.running("web").value.id == FIRST
    with pytest.raises(Conflict, match=f"container {SECOND} is not running"):
        roster.running("db")


def test_the_newest_comes_first(roster: Roster) -> None:
    assert [one.id for one in roster.list()] == [SECOND, FIRST]


def test_a_name_is_taken_while_a_container_is_made(roster: Roster) -> None:
    roster.take_name("new", "d" * 64)
    with pytest.raises(Conflict, match=f'The container name "/new" is already in use by container "{"d" * 64}"'):
        roster.take_name("new", "e" * 64)
    roster.give_name_back("new", "e" * 64)
    with pytest.raises(Conflict):
        roster.take_name("new", "e" * 64)
    roster.give_name_back("new", "d" * 64)
    roster.take_name("new", "e" * 64)


def test_a_removed_container_is_not_found_and_its_name_is_free(roster: Roster) -> None:
    roster.remove(roster.find("web").value)
    assert roster.by_id(FIRST) is None
    with pytest.raises(NotFound):
        roster.find("web")
    roster.take_name("web", "d" * 64)
