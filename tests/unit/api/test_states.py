"""The laws of the table of task states."""

import itertools
from pathlib import Path
from typing import cast

import pytest

from shoal.api import v1 as api
from shoal.api.states import AGENT, ALLOCATOR, LEAVES, MANAGER, MOVES, NAMES, SCHEDULER, check_move
from shoal.errors import InvariantBroken

STATES = [state for state in api.TaskState.values() if state != api.REMOVE]
OWNERS = [ALLOCATOR, SCHEDULER, AGENT, MANAGER]


def test_states_only_grow() -> None:
    assert all(before < after for before, after in MOVES)


def test_each_state_is_left_by_its_owner_or_by_the_manager() -> None:
    for (before, _), owners in MOVES.items():
        assert owners <= {LEAVES[cast(api.TaskState, before)], MANAGER}


def test_ended_tasks_stay_as_they_are() -> None:
    assert all(before <= api.RUNNING for before, _ in MOVES)


def test_nothing_is_ever_observed_to_be_removed() -> None:
    assert all(api.REMOVE not in move for move in MOVES)


@pytest.mark.parametrize("owner", OWNERS)
def test_every_pair_moves_stays_or_raises(owner: str) -> None:
    for before, after in itertools.product(STATES, STATES):
        if before == after or owner in MOVES.get((before, after), ()):
            check_move(before, after, owner)
        else:
            with pytest.raises(InvariantBroken):
                check_move(before, after, owner)


def test_the_table_in_the_architecture_is_this_one() -> None:
    text = (Path(__file__).parents[3] / "docs" / "architecture.md").read_text()
    section = text.partition("\n## Task states\n")[2].partition("\n## ")[0]
    told = set()
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] in NAMES.values():
            told |= {(cells[0], after, cells[2]) for after in cells[1].split(", ")}
    assert told == {
        (NAMES[before], NAMES[after], owner) for (before, after), owners in MOVES.items() for owner in owners
    }
